"""Segments of unequal length in one batch: padded, bucketed, or packed.

    segments  a a a a a   b b   c c c        padded    a a a a a
                                                       b b . . .
                                                       c c c . .

    bucketed by (3, 5)    b b .   a a a a a  packed    a a a a a
                          c c c                        c c c b b

A segment is the valid part of a row; the rest is padding, and `padding` tells
the share of it. Batches of every shape can be bucketed; only those in which
every position has its own target can be packed, for otherwise several segments
would share one. Models that respect segments give all three the same loss, as a
mean over what is scored, and spend time on every position, padding or not.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Int

from seqjax.typing import Batch, Segments


def padding(batch: Batch) -> float:
  """Returns the share of positions that are not valid, over both sides."""
  masks = [_valid(*side) for side in _sides(batch)]
  return float(1 - sum(map(np.sum, masks)) / sum(map(np.size, masks)))


def lengths(batch: Batch) -> Int[np.ndarray, 'B']:
  """Returns the length of each row's segment; the longer one of two sides.

  Raises:
    ValueError: a row is not one segment with padding at the end.
  """
  return np.max([_of_side(*side) for side in _sides(batch)], axis=0)


def _sides(batch):
  """Lists (inputs, segments): once, or for the source and the target."""
  if not isinstance(batch.inputs, tuple):
    return [(batch.inputs, batch.segments)]
  return list(zip(batch.inputs, batch.segments or (None, None), strict=True))


def _valid(inputs, segments):
  if segments is None:
    return np.ones(np.shape(inputs)[:2], bool)
  return np.asarray(segments.valid)


def _of_side(inputs, segments):
  batch_size, num_positions = np.shape(inputs)[:2]
  if segments is None:
    return np.full(batch_size, num_positions)
  start, valid = map(np.asarray, segments)
  found = valid.sum(axis=1)
  at_the_end = np.arange(num_positions)[None] < found[:, None]
  if start.any() or not np.array_equal(valid, at_the_end):
    row = int(np.argmax((start | (valid != at_the_end)).any(axis=1)))
    raise ValueError(
      'Only rows of one segment with padding at the end can be regrouped, but '
      f'row {row} is different.'
    )
  return found


def bucketed(batch: Batch, bounds: Sequence[int]) -> list[Batch]:
  """Groups rows of similar length, padded to the bound of their bucket.

  Returns a batch for each bucket that has rows, shortest first; rows keep their
  order. The longer of source and target decides the bucket of a row.

  Raises:
    ValueError: bounds do not ascend, or the last is below the longest
      segment.
  """
  of_row = lengths(batch)
  if list(bounds) != sorted(set(bounds)) or max(of_row) > bounds[-1]:
    raise ValueError(
      'Buckets need ascending bounds, the last at least the length of the '
      f'longest segment, {max(of_row)}, but bounds={tuple(bounds)} were given.'
    )
  bucket = np.searchsorted(bounds, of_row)
  found = []
  for i in np.unique(bucket).tolist():
    found.append(_cut(batch, np.flatnonzero(bucket == i), bounds[i]))
  return found


def _cut(batch, rows, length):
  """Takes some rows of a batch, cut or padded to a length."""

  def fit(leaf):
    kept = np.asarray(leaf)[rows, :length]
    more = (0, length - kept.shape[1])
    return np.pad(kept, [(0, 0), more] + [(0, 0)] * (kept.ndim - 2))

  def fit_side(inputs, segments):
    valid = fit(_valid(inputs, segments))
    return fit(inputs), Segments(np.zeros_like(valid), valid)

  inputs, segments = zip(*[fit_side(*side) for side in _sides(batch)])  # noqa: B905
  if not isinstance(batch.inputs, tuple):
    (inputs,), (segments,) = inputs, segments
  asked = (batch.targets, batch.weights, batch.group)
  each = fit if np.ndim(batch.weights) > 1 else lambda leaf: leaf[rows]
  targets, weights, group = jax.tree.map(each, asked)
  return Batch(inputs, targets, weights, segments, group)


def packed(
  batch: Batch, length: int | None = None, num_rows: int | None = None
) -> Batch:
  """Packs several segments per row, by first-fit decreasing.

  `segments.start` marks where a segment follows another; the first one of a row
  begins with the row.

  Args:
    batch: rows of one segment each.
    length: T of the rows; None for that of the batch.
    num_rows: the number of rows, the last ones empty; None for as few as
      possible.

  Raises:
    ValueError: a segment is longer than a row, segments need more rows, or
      there is not a target at every position.
  """
  leaves = batch._replace(segments=None)
  shapes = {np.shape(leaf)[:2] for leaf in jax.tree.leaves(leaves)}
  if isinstance(batch.inputs, tuple) or len(shapes) > 1:
    raise ValueError(
      'Segments are packed where every position has its own target, weight and '
      f'group, but this batch has arrays that begin with {sorted(shapes)}: pad '
      'or bucket it.'
    )
  of_row = lengths(batch)
  length = length or np.shape(batch.inputs)[1]
  if max(of_row) > length:
    raise ValueError(
      f'A segment of {max(of_row)} positions does not fit into rows of '
      f'{length}.'
    )
  rows, offsets = _first_fit_decreasing(of_row, length)
  needed = int(rows.max()) + 1
  if num_rows is not None and num_rows < needed:
    raise ValueError(
      f'These segments need {needed} rows of {length} positions, but '
      f'num_rows={num_rows} was given.'
    )
  shape = (num_rows or needed, length)
  return _place(batch, of_row, rows, offsets, shape)


def _first_fit_decreasing(sizes, length):
  """Finds (row, offset) of every segment, longest first, where it first fits.

  Johnson et al., "Worst-Case Performance Bounds for Simple One-Dimensional
  Packing Algorithms", 1974: at most 11/9 of the fewest rows there could be, and
  one.
  """
  free = np.full(len(sizes), length)
  rows, offsets = np.empty((2, len(sizes)), int)
  for i in np.argsort(-sizes, kind='stable'):
    row = int(np.argmax(free >= sizes[i]))
    rows[i], offsets[i] = row, length - free[row]
    free[row] -= sizes[i]
  return rows, offsets


def _place(batch, sizes, rows, offsets, shape):
  """Moves the segments of a batch to (rows, offsets) of another shape."""
  steps = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  source = np.repeat(np.arange(len(sizes)), sizes), steps
  target = np.repeat(rows, sizes), np.repeat(offsets, sizes) + steps

  def move(leaf):
    leaf = np.asarray(leaf)
    moved = np.zeros((*shape, *leaf.shape[2:]), leaf.dtype)
    moved[target] = leaf[source]
    return moved

  start, valid = np.zeros(shape, bool), np.zeros(shape, bool)
  follows = (offsets > 0) & (sizes > 0)
  start[rows[follows], offsets[follows]] = True
  valid[target] = True
  moved = jax.tree.map(move, batch._replace(segments=None))
  return moved._replace(segments=Segments(start, valid))
