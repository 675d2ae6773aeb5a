"""Chance, measured as the score of the best constants.

Constants know which positions are scored: there is one for every cell of
positions that the masks tell apart. They are fitted to one half of the
examples and scored on the other, and the other way round.
"""

import math

import jax
import numpy as np

from seqjax.tasks.task import Metric, Task
from seqjax.typing import Batch, TaskShape

BATCH_SIZE = 64
FEWEST = 30  # examples that a cell of its own needs
TO_ONE = (TaskShape.ONE_TO_ONE, TaskShape.MANY_TO_ONE)


def constant_score(task: Task, batches: list[Batch]) -> tuple[float, float]:
  """Returns the mean score of the best constants, and its standard error."""
  targets, weights = (
    np.concatenate([getattr(batch, name) for batch in batches])
    for name in ('targets', 'weights')
  )
  if weights.ndim == 1:
    targets, weights = targets[:, None], weights[:, None]
  cells = _cells(task, weights != 0)
  even = np.arange(len(targets)) % 2 == 0
  score, scores = jax.jit(task.score), []
  for fitted in (even, ~even):
    cell = _finest(cells, (weights != 0) & fitted[:, None])
    constants = _fit(task, cell, targets, weights * fitted[:, None])
    rest = np.flatnonzero(~fitted)
    for begin in range(0, len(rest), BATCH_SIZE):
      rows = rest[begin : begin + BATCH_SIZE]
      asked = Batch(None, targets[rows], weights[rows])
      outputs = constants[cell[rows]]
      if task.shape in TO_ONE:
        outputs, asked = jax.tree.map(lambda a: a[:, 0], (outputs, asked))
      scores.append(score(outputs, asked))
  return mean_and_error(scores)


def mean_and_error(scores) -> tuple[float, float]:
  """Returns the weighted mean, and its standard error over examples."""
  values, weights = (
    np.concatenate([np.asarray(leaf, np.float64) for leaf in leaves])
    for leaves in zip(*scores, strict=True)
  )
  values = np.where(weights != 0, values, 0)
  axes = tuple(range(1, values.ndim))
  value, weight = (weights * values).sum(axes), weights.sum(axes)
  mean = value.sum() / weight.sum()
  residual = value - mean * weight
  return mean, float(np.sqrt((residual**2).sum()) / weight.sum())


def _cells(task, masks):
  """Returns the cell of every position, finest first, each as [B T].

  Cells are told apart by mask and position; by the number of scored positions
  and the rank among them; by position. In bits there is but one: chance is the
  unigram entropy.
  """
  if task.metric is Metric.BITS:
    return []
  _, mask = np.unique(np.packbits(masks, axis=1), axis=0, return_inverse=True)
  size = masks.shape[1] + 1
  position = np.broadcast_to(np.arange(size - 1)[None], masks.shape)
  rank = np.cumsum(masks, axis=1)
  by_mask = mask.reshape(-1, 1) * size + position
  return [by_mask, rank[:, -1:] * size + rank, position]


def _finest(cells, fitted):
  """Returns each position's finest cell with enough fitted examples, [B T].

  Cells are numbered from 0, and positions without any share one.
  """
  chosen = np.zeros(fitted.shape, int)
  for cell in cells:
    left = chosen == 0
    counts = np.bincount(cell[left & fitted], minlength=cell.max() + 1)
    found = left & (counts[cell] >= FEWEST)
    chosen[found] = chosen.max() + 1 + cell[found]
  # Ranks, as np.unique would give them, but without sorting.
  used = np.bincount(chosen.ravel()) > 0
  return (np.cumsum(used) - 1)[chosen]


def _fit(task, cell, targets, weights):
  """Returns the best constant of every cell; that of all where it is empty."""
  classes, count = task.output.vocab, cell.max() + 1
  shape = task.output.shape + (() if classes is None else (classes,))
  scored = weights != 0
  cell, targets, weights = cell[scored], targets[scored], weights[scored]
  sums = np.zeros((count, math.prod(shape)))
  values = targets.reshape(len(targets), -1)
  if classes is None:
    for column, value in enumerate(values.T):  # as np.add.at, but faster
      sums[:, column] = np.bincount(cell, value * weights, count)
  else:
    first = classes * np.arange(values.shape[1])  # of each answer's classes
    np.add.at(sums, (cell[:, None], first + values), weights[:, None])
  total = np.bincount(cell, weights, minlength=count)[:, None]
  pooled = sums.sum(axis=0, keepdims=True) / total.sum()
  means = np.where(total > 0, sums / np.where(total > 0, total, 1), pooled)
  if task.metric is Metric.BITS:
    means = np.log(np.maximum(means, 1e-9))
  return means.reshape(count, *shape).astype(np.float32)
