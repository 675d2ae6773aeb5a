"""Segments of rows: where they begin, and which positions are valid.

An `unroll` under `segments` is this loop, whatever way it computes it:

    carry = where(start_t, initialize_carry(B), carry)
    new, y_t = step(carry, where(valid_t, x_t, 0))
    carry = where(valid_t, new, carry)
    y_t = where(valid_t, y_t, 0)

so a row whose first position is no start continues the carry it was given.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, Shaped

from seqjax.ops import over_time
from seqjax.typing import Array, Segments


def from_ids(segment_ids: Int[Array, 'B T']) -> Segments:
  """Segments of rows labelled by segment; 0 is padding.

  A segment ends where the id differs from that of the previous valid position,
  so an id that returns later is a new segment. A row's first valid position is
  never a start: the carry that is given decides what it continues.
  """
  segment_ids = _integers('from_ids', 'segment_ids', segment_ids, 2)
  valid = segment_ids != 0
  last_valid = jax.lax.cummax(
    jnp.where(valid, jnp.arange(segment_ids.shape[1])[None], -1), axis=1
  )
  previous = jnp.pad(last_valid, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
  previous_id = jnp.take_along_axis(
    segment_ids, jnp.maximum(previous, 0), axis=1
  )
  if over_time.is_cut():
    before = _last_id(segment_ids, last_valid[:, -1])
    previous_id = jnp.where(previous >= 0, previous_id, before[:, None])
  else:
    previous_id = jnp.where(previous >= 0, previous_id, 0)
  start = valid & (previous_id != 0) & (segment_ids != previous_id)
  return Segments(start, valid)


def _last_id(segment_ids, last_valid) -> Int[Array, 'B']:
  """Returns the last id, other than 0, in the parts before this one, or 0."""
  index = jnp.maximum(last_valid, 0)[:, None]
  last = jnp.take_along_axis(segment_ids, index, axis=1)[:, 0]
  return over_time.prefix(
    jnp.zeros_like(last),
    last,
    lambda earlier, later: jnp.where(later == 0, earlier, later),
  )


def from_lengths(lengths: Int[Array, 'B'], num_positions: int) -> Segments:
  """Segments of rows that hold one segment, padded at the end.

  Raises:
    ValueError: a length is negative or beyond `num_positions` (checked where
      lengths are concrete; under `jit` they are clipped to the row).

  Example:
    >>> import numpy as np
    >>> from seqjax.ops import segments
    >>> found = segments.from_lengths(np.array([3, 1]), 4)
    >>> found.valid.astype(int).tolist()
    [[1, 1, 1, 0], [1, 0, 0, 0]]
  """
  lengths = _integers('from_lengths', 'lengths', lengths, 1)
  if not isinstance(lengths, jax.core.Tracer):
    # By NumPy, since inside jit even a constant's items are traced.
    numbers = np.asarray(lengths).tolist()
    outside = [n for n in numbers if not 0 <= n <= num_positions]
    if outside:
      raise ValueError(
        f'Lengths must lie in 0..{num_positions} (the positions of a row), but '
        f'these do not: {outside}.'
      )
  places = over_time.offset(num_positions) + jnp.arange(num_positions)
  return one_piece(places[None] < lengths[:, None])


def chosen(
  segments: Segments | None, lengths: Int[Array, 'B'] | None, x: Array
) -> Segments | None:
  """Returns the segments given, or those of rows of the lengths given.

  Raises:
    ValueError: both are given, or lengths do not fit the rows of x [B T ...].
  """
  if lengths is None:
    return segments
  if segments is not None:
    raise ValueError(
      'Rows are described by segments= or by lengths=, but both were given; '
      'leave one out.'
    )
  made = from_lengths(lengths, x.shape[1])
  if len(made.valid) != len(x):
    raise ValueError(
      f'lengths needs one number per row, {len(x)} in all, but '
      f'{len(made.valid)} were given.'
    )
  return made


def one_piece(valid: Bool[Array, 'B T']) -> Segments:
  """Segments of rows without a start.

  XLA would sum constants up while it compiles, minutes for a million of them;
  the barrier makes it do so when it runs.
  """
  return Segments(jax.lax.optimization_barrier(jnp.zeros_like(valid)), valid)


def _integers(owner: str, name: str, given: Any, ndim: int) -> Array:
  """Returns an array of integers, or of what a list of them holds."""
  array = given if isinstance(given, jax.Array) else np.asarray(given)
  if array.ndim != ndim or not jnp.issubdtype(array.dtype, jnp.integer):
    raise ValueError(
      f'{owner} needs {name} to be integers with {ndim} '
      f'{"axis" if ndim == 1 else "axes"}, but {array.dtype}'
      f'{list(array.shape)} was given; give one number a '
      f'{"row" if ndim == 1 else "position"}.'
    )
  return jnp.asarray(array)


def check(
  segments: Segments | None,
  batch_size: int,
  num_positions: int,
  owner: str = 'A layer',
):
  """Raises ValueError unless both arrays of `segments` are Bool[B T]."""
  if segments is None:
    return
  if not isinstance(segments, Segments) or not all(
    isinstance(array, Array) for array in segments
  ):
    raise ValueError(
      f'{owner} takes Segments, or None, but a {type(segments).__name__} was '
      'given; make them by segments.from_lengths(lengths, T) or '
      'segments.from_ids(ids), or from masks by Segments(start, valid).'
    )
  for name, array in zip(Segments._fields, segments, strict=True):
    if array.shape != (batch_size, num_positions) or array.dtype != bool:
      raise ValueError(
        f'{owner} was given segments, but segments.{name} must be booleans of '
        f'shape [batch, positions] = [{batch_size}, {num_positions}] like the '
        f'inputs, and is {array.dtype}{list(array.shape)}; make them for these '
        'rows.'
      )


def zero_padding(
  x: Shaped[Array, 'B T *D'], segments: Segments | None
) -> Shaped[Array, 'B T *D']:
  """Puts zeros (False) wherever a position is not valid, NaN or not."""
  if segments is None:
    return x
  valid = jax.lax.expand_dims(segments.valid, range(2, x.ndim))
  return jnp.where(valid, x, jnp.zeros((), x.dtype))


def positions(
  count: Int[Array, 'B'], segments: Segments | None, num_positions: int
) -> tuple[Int[Array, 'B'], Int[Array, 'B T']]:
  """Counts the valid positions of each segment, padding left out.

  Args:
    count: how many valid positions the current segment has had before.
    segments: segments of the rows, or None.
    num_positions: T.

  Returns:
    The count after the rows, and for every position the number of valid
    positions of its segment before it.
  """
  if segments is None:
    steps = jnp.arange(num_positions, dtype=count.dtype)
    steps = steps + jnp.asarray(over_time.offset(num_positions), count.dtype)
    after = count + over_time.num_parts() * num_positions
    return after, count[:, None] + steps[None]
  if over_time.is_cut():
    count = _count_before(count, segments)
  after, places = _count(count, segments)
  return over_time.from_last(after), places


def _count(count, segments) -> tuple[Int[Array, 'B'], Int[Array, 'B T']]:
  """Counts the positions of one part, given the count before it."""
  if segments.valid.shape[1] == 0:
    return count, segments.valid.astype(count.dtype)
  after = jnp.cumsum(segments.valid, axis=1, dtype=count.dtype)
  before = after - segments.valid.astype(count.dtype)
  # At a start the count goes to zero: subtract what had been counted by then.
  at_start = jnp.where(segments.start, before, -count[:, None])
  base = jax.lax.cummax(at_start, axis=1)
  final = jnp.max(at_start, axis=1)
  return after[:, -1] - final, before - base


def _count_before(count, segments) -> Int[Array, 'B']:
  """Returns the count before the part of this device."""
  last, _ = _count(jnp.zeros_like(count), segments)
  start = jnp.any(segments.start, axis=1)

  def compose(earlier, later):
    (count_1, start_1), (count_2, start_2) = earlier, later
    return jnp.where(start_2, count_2, count_1 + count_2), start_1 | start_2

  first = count, jnp.ones_like(start)
  before, _ = over_time.prefix(first, (last, start), compose)
  return before


def piece_index(
  segments: Segments | None, batch_size: int, num_positions: int
) -> Int[Array, 'B T']:
  """Returns the running count of starts; -1 where a position is not valid."""
  if segments is None:
    return jnp.zeros((batch_size, num_positions), jnp.int32)
  index = jnp.cumsum(segments.start, axis=1, dtype=jnp.int32)
  if over_time.is_cut():
    starts = jnp.sum(segments.start, axis=1, dtype=jnp.int32)
    before = over_time.prefix(jnp.zeros_like(starts), starts, jnp.add)
    index = before[:, None] + index
  return jnp.where(segments.valid, index, -1)


def num_starts(segments: Segments | None, batch_size: int) -> Int[Array, 'B']:
  """Counts the starts of each row, which is the index of its last segment."""
  if segments is None:
    return jnp.zeros((batch_size,), jnp.int32)
  return over_time.total(jnp.sum(segments.start, axis=1, dtype=jnp.int32))


def reverse(segments: Segments | None) -> Segments | None:
  """Segments of the row read backwards.

  A boundary before t becomes one before T - t: the first position read of each
  segment is its last one. A start at the row's first position is left out,
  since nothing was read before what now comes last.

  Raises:
    ValueError: the positions are cut over devices, which would all have to
      change places.
  """
  over_time.check_whole('Reading a row backwards')
  if segments is None:
    return None
  start = jnp.flip(segments.start, axis=1)
  start = jnp.pad(start, ((0, 0), (1, 0)))[:, :-1]
  return Segments(start, jnp.flip(segments.valid, axis=1))
