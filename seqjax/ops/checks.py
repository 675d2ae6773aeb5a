"""Checks of arguments: one place for every op, whatever computes it.

An op says which axes its arrays have, and which kind of numbers. Axes of one
name agree in size. What does not fit is refused by one sentence, before
anything is compiled: what is needed, what was given, and what to do.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.ops import segments as segments_lib
from seqjax.typing import Segments

_AXES = {
  'B': 'batch',
  'T': 'positions',
  'S': 'key positions',
  'D': 'features',
  'E': 'output features',
  'H': 'heads',
  'G': 'key heads',
  'K': 'key size',
  'V': 'value size',
  'N': 'state size',
  'M': 'columns',
  'U': 'units',
  'J': 'units per head',
  'L': 'taps',
  'W': 'window',
  'C': 'classes',
  'P': 'parts',
}
_KINDS = {
  'real': (jnp.floating, 'floating-point numbers', 'float32'),
  'inexact': (jnp.inexact, 'floating-point or complex numbers', 'float32'),
  'integer': (jnp.integer, 'integers', 'int32'),
  'bool': (jnp.bool_, 'booleans', 'bool'),
  'any': (jnp.generic, 'numbers', 'float32'),
}


def arrays(
  op: str, sizes: dict[str, Any] | None = None, **arguments: tuple
) -> tuple:
  """Returns the arguments as JAX arrays, if they have the axes that they need.

  Args:
    op: the name of the op, for the sentence.
    sizes: of axes that are known beforehand; those found are added.
    **arguments: (array, axes, kind) by name. An axis is a letter, a multiple of
      one as in '4*H', a number, or, last, any number of axes as in '*N'. An
      argument that is None stays None.

  Raises:
    ValueError: an argument is no array, or has other axes or numbers.
  """
  sizes = {} if sizes is None else sizes
  found = {letter: '' for letter in sizes}
  converted = []
  for name, (array, axes, kind) in arguments.items():
    if array is not None:
      _check_kind(op, name, array, kind)
      _check_axes(op, name, jnp.shape(array), axes, sizes, found)
      array = jnp.asarray(array)
    converted.append(array)
  return tuple(converted)


def leaves(op: str, name: str, tree: Any, axes: str, kind: str, sizes: dict):
  """Returns a tree of JAX arrays, if all begin with these axes.

  Raises:
    ValueError: as in `arrays`.
  """

  def check(path, leaf):
    name_of = name + jax.tree_util.keystr(path)
    _check_kind(op, name_of, leaf, kind)
    leading = jnp.shape(leaf)[: len(axes.split())]
    _check_axes(op, name_of, leading, axes, sizes, {})
    return jnp.asarray(leaf)

  return jax.tree_util.tree_map_with_path(check, tree)


def segments(
  op: str, given: Segments | None, batch_size: int, num_positions: int
) -> Segments | None:
  """Returns the segments as JAX arrays, if they fit [batch, positions]."""
  segments_lib.check(given, batch_size, num_positions, op)
  if given is None:
    return None
  return Segments(*map(jnp.asarray, given))


def real_into_real(op: str, carry: Any, **others: Any):
  """Raises ValueError where something complex would enter a real carry."""
  for name, array in others.items():
    if jnp.iscomplexobj(array) and not jnp.iscomplexobj(carry):
      raise ValueError(
        f'{op} computes in the dtype of the carry, but the carry is '
        f'{carry.dtype} and {name} is {array.dtype}; make the carry complex.'
      )


def fields(op: str, name: str, given: Any, kind: type):
  """Raises ValueError unless it has as many entries as the named tuple."""
  if not isinstance(given, tuple) or len(given) != len(kind._fields):
    raise ValueError(
      f'{op} needs {name} to be {kind.__name__}({", ".join(kind._fields)}), '
      f'but a {type(given).__name__} was given; make one of its arrays.'
    )


def size(op: str, name: str, value: Any, least: int = 1):
  """Raises ValueError unless the value is a whole number, `least` or more."""
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not whole or value < least:
    raise ValueError(
      f'{op} needs {name} to be a whole number of at least {least}, but '
      f'{name}={value!r} was given; change {name}.'
    )


def fraction(op: str, name: str, value: Any, most: float = 1.0):
  """Raises ValueError for a number outside 0..most; arrays may hold any."""
  if isinstance(value, jax.Array | np.ndarray):
    return
  number = isinstance(value, int | float | np.number)
  if not number or isinstance(value, bool) or not 0 <= value <= most:
    raise ValueError(
      f'{op} needs {name} to be a number from 0 to {most:g}, but '
      f'{name}={value!r} was given; change {name}.'
    )


def _check_kind(op, name, array, kind):
  numbers_of, said, dtype = _KINDS[kind]
  if not isinstance(array, jax.Array | np.ndarray | np.generic):
    raise ValueError(
      f'{op} needs {name} to be an array, but a {type(array).__name__} was '
      f'given; make it one by jnp.asarray({name}, jnp.{dtype}).'
    )
  if array.dtype == object or not jnp.issubdtype(array.dtype, numbers_of):
    raise ValueError(
      f'{op} needs {name} to hold {said}, but it holds {array.dtype}; convert '
      f'it by {name}.astype(jnp.{dtype}).'
    )


def _check_axes(op, name, shape, axes, sizes, found):
  """Compares a shape with its axes, and adds those that are new to sizes."""
  tokens = axes.split()
  rest = tokens.pop() if tokens and tokens[-1].startswith('*') else None
  fits = len(shape) >= len(tokens) if rest else len(shape) == len(tokens)
  new, wrong = {}, None
  for token, length in zip(tokens, shape, strict=False):
    factor, letter = _parts(token)
    known = sizes | new
    if letter in known or not letter:
      if length != factor * known.get(letter, 1):
        wrong = wrong or letter
    elif length % factor:
      wrong = wrong or letter
    else:
      new[letter] = length // factor
  if rest and fits:
    tail = tuple(shape[len(tokens) :])
    if sizes.get(rest, tail) != tail:
      wrong = wrong or rest
    new.setdefault(rest, tail)
  if fits and wrong is None:
    found.update({letter: name for letter in new if letter not in sizes})
    sizes.update({k: v for k, v in new.items() if k not in sizes})
    return
  other = found.get(wrong) or next(filter(None, found.values()), '')
  todo = 'change its axes'
  if other and other != name:
    todo = f'make it fit {other}'
  expected = [_said(token, sizes) for token in tokens]
  expected += [_said_rest(rest, sizes)] if rest else []
  raise ValueError(
    f'{op} needs {name} of shape [{", ".join(filter(None, expected))}], but '
    f'its shape is {list(shape)}; {todo}.'
  )


def _parts(token: str) -> tuple[int, str]:
  """Splits '4*H' into 4 and 'H', 'H' into 1 and 'H', '4' into 4 and ''."""
  factor, _, letter = token.rpartition('*')
  if letter.isdigit():
    return int(letter), ''
  return int(factor or 1), letter


def _said(token: str, sizes: dict) -> str:
  """Returns an axis in words, with its size if that is known."""
  factor, letter = _parts(token)
  if not letter:
    return str(factor)
  said = f'{factor} * {_AXES[letter]}' if factor > 1 else _AXES[letter]
  if letter in sizes:
    said += f' = {factor * sizes[letter]}'
  return said


def _said_rest(token: str, sizes: dict) -> str:
  if token in sizes:
    return ', '.join(map(str, sizes[token]))
  return '...'
