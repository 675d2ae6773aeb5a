"""Checks of tokens, lengths and numbers, shared by models; one sentence each.

Ranges are checked where values are concrete; traced ones pass.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.typing import Segments


def rows(given: Any):
  """Raises ValueError unless these are integers [B T]."""
  if given.ndim != 2:
    raise ValueError(
      'Tokens are given as [B T], one row a sequence, but their shape is '
      f'{list(given.shape)}.'
    )
  _integers(given)


def tokens(given: Any, vocab: int):
  """Raises ValueError unless these are integers in 0..vocab - 1, of any shape.

  Ranges are checked where values are concrete.
  """
  _integers(given)
  if isinstance(given, jax.core.Tracer):
    return
  given = np.asarray(given)
  outside = np.unique(given[(given < 0) | (given >= vocab)])
  if outside.size:
    raise ValueError(
      f'Tokens of this model are 0..{vocab - 1}, but these were given: '
      f'{outside.tolist()}.'
    )


def one_array(model: Any, given: Any):
  """Raises ValueError unless a model's input is one array, and no pair."""
  if not _is_array(given):
    raise ValueError(
      f'{type(model).__name__} reads one array, a row for each sequence, but '
      f'a {type(given).__name__} was given; Seq2Seq reads a source and a '
      'target.'
    )


def pair(model: Any, given: Any):
  """Raises ValueError unless a model's input is a source and a target."""
  sides = given if isinstance(given, tuple | list) else ()
  if len(sides) != 2 or not all(map(_is_array, sides)):
    what = ', '.join(type(side).__name__ for side in sides)
    raise ValueError(
      f'{type(model).__name__} reads a pair of arrays (source, target), but a '
      f'{type(given).__name__} {f"of ({what}) " if sides else ""}was given.'
    )


def _is_array(given: Any) -> bool:
  return hasattr(given, 'ndim') and hasattr(given, 'dtype')


def _integers(given: Any):
  """Raises ValueError unless these are integers; empty ones may be any.

  An empty array that says nothing of its type holds floats in NumPy.
  """
  if given.size and not jnp.issubdtype(given.dtype, jnp.integer):
    raise ValueError(
      f'Tokens are integers, but these are of type {given.dtype}.'
    )


def vocabulary(given: Any, segments: Segments | None, vocab: int):
  """Raises ValueError if a valid token is none of 0..vocab - 1."""
  rows(given)
  if isinstance(given, jax.core.Tracer):
    return
  if segments is None:
    tokens(given, vocab)
  elif not isinstance(segments.valid, jax.core.Tracer):
    tokens(np.asarray(given)[np.asarray(segments.valid)], vocab)


def lengths(given: Any, batch_size: int, lowest: int, highest: int):
  """Raises ValueError unless there is a length for each row, in its range."""
  if isinstance(given, jax.core.Tracer):
    return
  given = np.asarray(given).tolist()
  inside = all(lowest <= length <= highest for length in given)
  if len(given) != batch_size or not inside:
    raise ValueError(
      f'Lengths are {batch_size} numbers in {lowest}..{highest}, one for each '
      f'row of the prompt, but {given} were given.'
    )


def valid(given: Any, batch_size: int, num_positions: int):
  """Raises ValueError unless it masks a prompt with a position in each row."""
  shape = [batch_size, num_positions]
  if not _is_array(given) or given.dtype != bool or list(given.shape) != shape:
    found = type(given).__name__
    if _is_array(given):
      found = f'{given.dtype}{list(given.shape)}'
    raise ValueError(
      'A mask of the valid positions of a prompt holds booleans of its shape '
      f'[batch, positions] = {shape}, but {found} was given; make it by '
      'jnp.asarray(mask, bool).'
    )
  if isinstance(given, jax.core.Tracer):
    return
  empty = np.flatnonzero(~np.asarray(given).any(axis=1)).tolist()
  if empty:
    raise ValueError(
      'Each row of a prompt needs a valid position to go on from, but the mask '
      f'has none in rows {empty}; put a begin token there.'
    )


def num_steps(given: Any):
  """Raises ValueError unless it is a number of steps to take."""
  if not isinstance(given, numbers.Integral) or given < 1:
    raise ValueError(
      f'At least 1 step is taken, a whole number, but {given} were given.'
    )


def temperature(given: Any):
  """Raises ValueError unless logits can be divided by it, or it is 0."""
  if not isinstance(given, jax.core.Tracer) and not 0 <= given < math.inf:
    raise ValueError(
      'temperature is 0 (greedy) or more, and finite, but '
      f'temperature={given} was given.'
    )


def stop_token(given: Any, vocab: int):
  """Raises ValueError unless it is None or one of the vocabulary."""
  if given is None or isinstance(given, jax.core.Tracer):
    return
  if not 0 <= given < vocab:
    raise ValueError(
      f'stop_token is one of the tokens 0..{vocab - 1}, but {given} was given.'
    )


def beams(given: Any):
  """Raises ValueError unless it is a number of hypotheses to keep."""
  if not isinstance(given, numbers.Integral) or given < 1:
    raise ValueError(
      f'beams is the number of hypotheses that are kept, a whole number of at '
      f'least 1, but beams={given} was given; set it to 4, say.'
    )


def length_penalty(given: Any):
  """Raises ValueError unless longer hypotheses gain by it, or it is 0."""
  if not isinstance(given, jax.core.Tracer) and not 0 <= given < math.inf:
    raise ValueError(
      'length_penalty is 0 (none) or more, and finite, but '
      f'length_penalty={given} was given; values up to 1 are usual.'
    )
