"""Shows the constructors of Flax modules on the API page, with their defaults.

An extension of griffe, which reads the sources for mkdocstrings and knows the
dataclasses of Python. Flax makes a dataclass of every subclass of `nn.Module`,
without a decorator that could be read.
"""

from collections.abc import Iterator

import griffe

MODULE = 'flax.linen.Module'


class FlaxConstructors(griffe.Extension):
  """Gives each Flax module the `__init__` that Flax makes of its fields."""

  def on_package(self, *, pkg: griffe.Module, **_):
    for found in classes(pkg):
      lines = found.mro()
      if is_flax([found, *lines]) and '__init__' not in found.members:
        found.set_member('__init__', constructor(found, lines))


def classes(module: griffe.Module) -> Iterator[griffe.Class]:
  """Yields the classes that a package defines, without those it imports."""
  for member in module.members.values():
    if member.is_alias:
      continue
    if member.is_module:
      yield from classes(member)
    elif member.is_class:
      yield member


def is_flax(lines: list[griffe.Class]) -> bool:
  """Tells if a class with these ancestors is a Flax module."""
  bases = [base for each in lines for base in each.bases]
  return any(getattr(base, 'canonical_path', '') == MODULE for base in bases)


def constructor(
  found: griffe.Class, ancestors: list[griffe.Class]
) -> griffe.Function:
  """Returns the function with a parameter per field, ancestors' fields first.

  A field that a subclass declares again keeps its place, as in a dataclass.
  """
  fields = {}
  for each in [*reversed(ancestors), found]:
    fields |= {name: field(member) for name, member in declared(each)}
  kind = griffe.ParameterKind.positional_or_keyword
  own = griffe.Parameter('self', kind=kind)
  return griffe.Function(
    '__init__',
    parent=found,
    parameters=griffe.Parameters(own, *fields.values()),
  )


def declared(found: griffe.Class) -> Iterator[tuple[str, griffe.Attribute]]:
  """Yields the attributes that a class annotates: its fields."""
  for name, member in found.members.items():
    if member.is_attribute and member.annotation is not None:
      if 'property' not in member.labels and not name.startswith('_'):
        yield name, member


def field(attribute: griffe.Attribute) -> griffe.Parameter:
  """Returns the parameter that a field becomes."""
  return griffe.Parameter(
    attribute.name,
    annotation=attribute.annotation,
    kind=griffe.ParameterKind.positional_or_keyword,
    default=attribute.value,
  )
