"""Sentences for bad input, shared by the command line and by Python."""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import numbers
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MOST_LISTED = 12  # names that one message holds
LARGEST = 2**31 - 1  # whole number that an array of int32 holds
LARGEST_SEED = 2**32 - 1  # of those that give different keys
LARGEST_FLOAT = 3.4e38  # of float32
_WANTED = {
  bool: ('True or False', 'truth values'),
  int: ('a whole number', 'whole numbers'),
  float: ('a finite number', 'finite numbers'),
  str: ('a string', 'strings'),
  type(None): ('None', 'None'),
}
_LISTINGS = {
  'mixer': 'seqjax-train --mixer=help lists them',
  'task': 'seqjax-train --task=help lists them',
}


def unknown(
  what: str, name: str, known: Iterable[str], listing: str = ''
) -> str:
  """Returns the message for an unknown name, with the nearest known one.

  Args:
    what: the kind of thing that has names: 'mixer', 'task'.
    name: the name that was given.
    known: the names that exist. Matching ignores upper and lower case.
    listing: says where all names are found, as in 'seqjax-train --help lists
      them'; used where there are more than MOST_LISTED.
  """
  known = list(known)
  nearest = suggestion(name, known)
  meant = f' Did you mean {nearest!r}?' if nearest is not None else ''
  return f'Unknown {what} {name!r}.{meant} {_inventory(what, known, listing)}'


def suggestion(name: str, known: Iterable[str]) -> str | None:
  """Returns the known name nearest to `name`, or None if none is near."""
  lower = {str(candidate).lower(): candidate for candidate in known}
  close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
  return lower[close[0]] if close else None


def misfits(expected: Mapping[str, str], given: Mapping[str, str]) -> str:
  """Says which arrays are missing or unknown, and which are not as expected.

  Args:
    expected: descriptions by name, as in {'bias': 'float32 [4]'}.
    given: likewise.

  Returns:
    Parts of a sentence, at most MOST_LISTED; '' if the two are equal.
  """
  parts = [
    f'{name} is missing, and {expected[name]} is expected'
    for name in expected
    if name not in given
  ]
  parts += [
    f'{name} is unknown, and {given[name]} is given'
    for name in given
    if name not in expected
  ]
  parts += [
    f'{name} is {given[name]}, but {expected[name]} is expected'
    for name in expected
    if given.get(name, expected[name]) != expected[name]
  ]
  more = len(parts) - MOST_LISTED
  listed = '; '.join(parts[:MOST_LISTED])
  return f'{listed}; and {more} more' if more > 0 else listed


def check_fields(instance: Any, most: Mapping[str, int] | None = None):
  """Checks a dataclass: types, finiteness, whole numbers within 32 bits.

  Fields of the types bool, int, float, str, None, their unions and tuples are
  checked. Seeds (fields called seed) are 0 or more.

  Args:
    instance: the dataclass.
    most: the largest values of some fields, if lower ones than 32 bits hold.

  Raises:
    ValueError: names the first field that holds something else.
  """
  owner = type(instance).__name__
  for name, kind in field_kinds(type(instance)).items():
    high = (most or {}).get(name, LARGEST)
    check_value(owner, name, kind, getattr(instance, name), high=high)


def check_value(
  owner: str,
  name: str,
  kind: Any,
  value: Any,
  given: str | None = None,
  high: int = LARGEST,
):
  """Checks one option; `given` is what the user wrote, if it was text.

  Raises:
    ValueError: it is not of this type, not finite, or out of range.
  """
  if not _fits(kind, value):
    shown = f'{name}={value}' if isinstance(value, float) else repr(value)
    shown = shown if given is None else repr(given)
    raise ValueError(
      f'{owner} needs {name} to be {wanted(kind)}, but {shown} was given.'
    )
  low, high = (0, LARGEST_SEED) if name == 'seed' else (-LARGEST - 1, high)
  for number in value if isinstance(value, tuple) else (value,):
    if isinstance(number, numbers.Integral) and not low <= number <= high:
      bound = f'least {low}' if number < low else f'most {high}'
      raise ValueError(
        f'{owner} needs {name} of at {bound}, but {name}={value} was given.'
      )


def wanted(kind: Any) -> str | None:
  """Describes what a type holds; None for one that is not checked."""
  if kind in _WANTED:
    return _WANTED[kind][0]
  parts = typing.get_args(kind)
  if _is_union(kind):
    found = [wanted(part) for part in parts]
    return None if None in found else ' or '.join(found)
  if typing.get_origin(kind) is not tuple or parts[0] not in _WANTED:
    return None
  size = '' if parts[-1] is Ellipsis else f'{len(parts)} '
  return f'a tuple of {size}{_WANTED[parts[0]][1]}'


def _fits(kind: Any, value: Any) -> bool:
  """Checks a type that `wanted` describes; others fit all values."""
  if wanted(kind) is None or kind is type(None):
    return value is None or kind is not type(None)
  if _is_union(kind):
    return any(_fits(part, value) for part in typing.get_args(kind))
  if kind not in _WANTED:
    return _fits_tuple(typing.get_args(kind), value)
  if isinstance(value, bool) or kind is bool:
    return isinstance(value, bool) and kind is bool
  if kind is float:
    number = isinstance(value, numbers.Real)
    return number and -LARGEST_FLOAT <= value <= LARGEST_FLOAT
  return isinstance(value, numbers.Integral if kind is int else kind)


def _fits_tuple(parts: tuple[Any, ...], value: Any) -> bool:
  """Checks that every item is of its type, and their number."""
  if not isinstance(value, tuple):
    return False
  if parts[-1] is Ellipsis:
    parts = parts[:1] * len(value)
  pairs = zip(parts, value, strict=False)
  return len(parts) == len(value) and all(_fits(*pair) for pair in pairs)


def _is_union(kind: Any) -> bool:
  return typing.get_origin(kind) in (typing.Union, types.UnionType)


@functools.cache
def field_kinds(cls: type) -> dict[str, Any]:
  """Returns the types of a dataclass's fields, but Flax's own."""
  if not dataclasses.is_dataclass(cls):
    return {}
  names = [field.name for field in dataclasses.fields(cls)]
  try:
    hints = typing.get_type_hints(cls)
  except NameError:  # a class made in a function, of types that live there
    hints = {field.name: field.type for field in dataclasses.fields(cls)}
  return {name: hints[name] for name in names if name not in _FLAX}


_FLAX = ('parent', 'name')


class Note(UserWarning):
  """A warning that programs print as one line."""


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
  """Says how to install what is imported inside and is not there.

  Raises:
    ModuleNotFoundError: names the module, and the extra that installs it.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    raise _not_installed({str(error.name): extra}) from error


def require(modules: Mapping[str, str]):
  """Imports modules, given as {module: the extra that installs it}.

  Raises:
    ModuleNotFoundError: names all that are missing, and their extras, so that
      one command installs them together.
  """
  missing = {}
  for module, extra in modules.items():
    try:
      importlib.import_module(module)
    except ModuleNotFoundError:
      missing[module] = extra
  if missing:
    raise _not_installed(missing)


def _not_installed(missing: Mapping[str, str]) -> ModuleNotFoundError:
  """Returns the error for {module: extra}, with the command that installs them.

  seqjax is on no package index, so the command is that of a checkout.
  """
  several = len(missing) > 1
  extras = ','.join(sorted(set(missing.values())))
  return ModuleNotFoundError(
    f'The module{"s" * several} {" and ".join(missing)} '
    f'{"are" if several else "is"} not installed: in the checkout of seqjax, '
    f"pip install '.[{extras}]' installs {'them' if several else 'it'}.",
    name=next(iter(missing)),
  )


def _inventory(what: str, known: list[str], listing: str) -> str:
  """Returns a sentence that names what exists, or counts it if it is much."""
  if len(known) <= MOST_LISTED:
    return f'There are: {", ".join(map(str, known))}.'
  listing = listing or _LISTINGS.get(what, '')
  return f'{len(known)} names are known{"; " * bool(listing)}{listing}.'


class UnknownName(KeyError, ValueError):
  """A name that a catalogue does not have; its text is one sentence."""

  def __str__(self) -> str:
    return self.args[0]  # KeyError would put it in quotes


class Catalog(dict[str, Any]):
  """A dict from names to things, where an unknown name gets a suggestion.

      MIXERS = Catalog('mixer', {'lstm': LSTM, 'gru': GRU})
      MIXERS['lsmt']  # UnknownName: Unknown mixer 'lsmt'. Did you mean ...

  Attributes:
    what: the kind of thing that has names.
    listing: says where all names are found, as in `unknown`.
  """

  def __init__(self, what: str, mapping: Mapping[str, Any], listing: str = ''):
    super().__init__(mapping)
    self.what, self.listing = what, listing

  def unknown(self, name: str, listing: str = '') -> str:
    """Returns the message for a name that is not in the catalogue.

    `listing` replaces that of the catalogue, where an option lists the names.
    """
    return unknown(self.what, name, self, listing or self.listing)

  def __missing__(self, name: str):
    raise UnknownName(self.unknown(name))

  def __or__(self, other: Mapping[str, Any]) -> 'Catalog':
    return type(self)(self.what, {**self, **other}, self.listing)


class Importable(Catalog):
  """A catalogue that also has what other modules define, by module:name.

  MIXERS = Importable('mixer', {'lstm': LSTM})
  MIXERS['my_package.my_module:MyMixer']  # imported
  """

  def __contains__(self, name: object) -> bool:
    if not is_imported(name):
      return super().__contains__(name)
    try:
      self._imported(str(name))
    except UnknownName:
      return False
    return True

  def unknown(self, name: str, listing: str = '') -> str:
    if is_imported(name):
      try:
        self._imported(name)
      except UnknownName as error:
        return str(error)
    return super().unknown(name, listing)

  def __missing__(self, name: str) -> Any:
    return (
      self._imported(name) if is_imported(name) else super().__missing__(name)
    )

  def _imported(self, name: str) -> Any:
    """Imports what a name is that of; UnknownName says why it cannot."""
    module, _, attribute = name.partition(':')
    try:
      found = importlib.import_module(module)
    except Exception as error:  # whatever a caller's module does when it runs
      raise UnknownName(
        f'The {self.what} {name!r} is that of a module, {module!r}, which '
        f'cannot be imported from here: {error}'
      ) from error
    if not callable(getattr(found, attribute, None)):
      defined = [x for x in vars(found) if callable(getattr(found, x))]
      raise UnknownName(unknown(f'{self.what} of {module}', attribute, defined))
    return getattr(found, attribute)


def is_imported(name: object) -> bool:
  """Tells if a name is that of something in a module, as in 'my.module:Name'.

  Both parts are identifiers, so that the name of a hybrid, say, is none.
  """
  module, colon, attribute = str(name).partition(':')
  parts = [*module.split('.'), attribute]
  return bool(colon) and all(part.isidentifier() for part in parts)
