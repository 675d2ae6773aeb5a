"""Checks of arrays that a task is made of."""

from typing import Any

import numpy as np

from seqjax.tasks.own_data import are_labels
from seqjax.typing import SPLITS, Spec


def spec_of(array: np.ndarray, leading: int, size: int | None) -> Spec:
  """Returns the spec of tokens or labels, or of values."""
  if not are_labels(array):
    return Spec(array.shape[leading:])
  return Spec((), size or int(array.max(initial=0)) + 1)


def given_rows(splits: Any, count: int) -> dict[str, np.ndarray]:
  """Returns the rows of splits that were given, as indices."""
  rows = {}
  for name in SPLITS:
    if name not in splits:
      raise ValueError(
        'splits names the rows of train, validation and test, but those of '
        f'{name} are missing.'
      )
    given = np.asarray(splits[name])
    given = np.flatnonzero(given) if given.dtype == bool else given
    if not len(given) or given.min() < 0 or given.max() >= count:
      raise ValueError(
        f'The split {name} holds rows of 0..{count - 1}, at least one, but '
        f'{given.tolist()[:3]} ... were given.'
      )
    rows[name] = given
  return rows


def check(task: Any):
  """Raises ValueError unless the arrays belong together."""
  for name in ('inputs', 'targets', 'lengths', 'weights'):
    array = getattr(task, name)
    if array is None:
      continue
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
      raise ValueError(
        f'{name} is an array of numbers, but one of {array.dtype} was given.'
      )
    if not array.ndim or len(array) != len(task.inputs):
      raise ValueError(
        f'{name} has a row for each of the inputs, whose shape is '
        f'{list(task.inputs.shape)}, but {list(array.shape)} was given.'
      )
  if task.inputs.ndim < 2 or not task.inputs.shape[1]:
    raise ValueError(
      'inputs is [examples, positions, ...], but an array of shape '
      f'{list(task.inputs.shape)} was given.'
    )
  leading = 2 if task.at_positions else 1
  wanted = task.targets.shape[:leading]
  if task.at_positions and wanted != task.inputs.shape[:2]:
    raise ValueError(
      f'targets has a target at every position, [{len(task.inputs)}, '
      f'{task.inputs.shape[1]}], but {list(task.targets.shape)} was given.'
    )
  if task.weights is not None and task.weights.shape != wanted:
    raise ValueError(
      f'weights has the shape {list(wanted)}, one for each target, but '
      f'{list(task.weights.shape)} was given.'
    )
  _check_lengths(task.lengths, task.inputs.shape[1])
  if are_labels(task.targets) and task.targets.ndim != leading:
    raise ValueError(
      f'A label is one integer, but targets of shape {list(task.targets.shape)}'
      ' were given; per_position says if they are those of positions.'
    )


def _check_lengths(lengths: np.ndarray | None, longest: int):
  if lengths is None:
    return
  if not are_labels(lengths) or lengths.min() < 0 or lengths.max() > longest:
    raise ValueError(
      f'lengths are whole numbers of 0..{longest}, one for each row, but they '
      f'lie in {lengths.min()}..{lengths.max()}.'
    )


def check_range(name: str, array: np.ndarray, size: int | None):
  """Raises ValueError for tokens or labels outside 0..size - 1."""
  if not are_labels(array) or not array.size:
    return
  if array.min() < 0 or (size is not None and array.max() >= size):
    raise ValueError(
      f'{name} lie in 0..{"" if size is None else size - 1}, but there are '
      f'{array.min()}..{array.max()}.'
    )
