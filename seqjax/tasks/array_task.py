"""A task of arrays: an example a row."""

import dataclasses
import functools
import os
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from seqjax.data.arrays import read_arrays
from seqjax.data.files import checksum
from seqjax.tasks import _arrays as arrays
from seqjax.tasks import epochs
from seqjax.tasks.own_data import IGNORED, OwnData, are_labels, as_numbers
from seqjax.typing import Batch, Segments, Spec, TaskShape

HELD_OUT = 0.1  # of the rows, for each of validation and test


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ArrayTask(OwnData):
  """A task of arrays: an example a row.

      ArrayTask(tokens, labels, lengths=lengths)      # classes of sequences
      ArrayTask(values[:, :-1], values[:, 1:])        # the next value

      inputs   3 1 2 .        5 0 4 2       (. is padding)
      target   1              0

  Integers are tokens and labels, other numbers are values. With one
  label per row, the task has one answer per row; with a label per position, one
  per position. Labels of -100, values of NaN and padding have weight 0.

  Without `splits`, rows are put in a fixed random order that never changes: 80
  % are for training, 10 % for validation and 10 % for test. A dozen rows
  suffice. Chance is that of the training split: the share of its commonest
  label, or the variance of values.

  Two tasks are the same if they are the same object.

  Attributes:
    inputs: [N T *I], or tokens [N T].
    targets: [N] or [N *O], or [N T] or [N T *O] where the first two axes are
      those of the inputs; labels are integers.
    lengths: [N], of rows that are padded at the end; None: no padding.
    weights: like the targets without *O; None: 1 for each.
    splits: {'train': rows, 'validation': rows, 'test': rows}, as indices or
      masks of rows.
    vocab: of tokens; None: one more than the largest.
    num_classes: of labels; None: one more than the largest.
    per_position: says if targets are of positions, not of rows; None: they are
      if their second axis is as long as that of the inputs.
  """

  inputs: Any
  targets: Any
  lengths: Any = None
  weights: Any = None
  splits: Any = None
  vocab: int | None = None
  num_classes: int | None = None
  per_position: bool | None = None

  def __post_init__(self):
    for name in ('inputs', 'targets', 'lengths', 'weights'):
      if getattr(self, name) is not None:
        object.__setattr__(self, name, np.asarray(getattr(self, name)))
    arrays.check(self)
    arrays.check_range('inputs', self.inputs[self.valid], self.vocab)
    targets = self.targets[self.scored]
    arrays.check_range('targets', targets, self.num_classes)
    if not self.scored[self.rows['train']].any():
      raise ValueError('No target of the training rows has a weight above 0.')

  @classmethod
  def from_npz(cls, path: str | os.PathLike, **options: Any) -> 'ArrayTask':
    """Reads inputs, labels (or targets), lengths and weights of an .npz file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it lacks inputs or labels, or they do not belong together.
    """
    return cls(**read_arrays(path), **options)

  def __repr__(self) -> str:
    shapes = f'inputs={self.inputs.shape}, targets={self.targets.shape}'
    return f'ArrayTask({shapes})'

  @property
  def shape(self) -> TaskShape:
    if self.at_positions:
      return TaskShape.MANY_TO_MANY
    one = self.inputs.shape[1] == 1
    return TaskShape.ONE_TO_ONE if one else TaskShape.MANY_TO_ONE

  @property
  def at_positions(self) -> bool:
    """Tells if there is a target at every position."""
    if self.per_position is not None:
      return self.per_position
    return self.targets.shape[:2] == self.inputs.shape[:2]

  @functools.cached_property
  def input(self) -> Spec:
    valid = self.valid.reshape(self.valid.shape + (1,) * (self.inputs.ndim - 2))
    return arrays.spec_of(np.where(valid, self.inputs, 0), 2, self.vocab)

  @functools.cached_property
  def output(self) -> Spec:
    labels = np.where(self.targets == IGNORED, 0, self.targets)
    return arrays.spec_of(
      labels, 2 if self.at_positions else 1, self.num_classes
    )

  @property
  def valid(self) -> Bool[np.ndarray, 'N T']:
    """Marks the positions that are not padding."""
    count, longest = self.inputs.shape[:2]
    if self.lengths is None:
      return np.ones((count, longest), bool)
    return np.arange(longest)[None] < self.lengths[:, None]

  @functools.cached_property
  def scored(self) -> Bool[np.ndarray, 'N *T']:
    """Marks the targets of weight other than 0."""
    targets, leading = self.targets, 2 if self.at_positions else 1
    if are_labels(targets):
      scored = targets != IGNORED
    else:
      components = tuple(range(leading, targets.ndim))
      scored = np.isfinite(targets).all(axis=components)
    if leading == 2:
      scored = scored & self.valid
    return scored if self.weights is None else scored & (self.weights != 0)

  @functools.cached_property
  def rows(self) -> dict[str, np.ndarray]:
    """Returns the indices of the rows of each split."""
    count = len(self.inputs)
    if self.splits is not None:
      return arrays.given_rows(self.splits, count)
    if count < 3:
      raise ValueError(
        f'ArrayTask needs 3 rows, one for each split, but {count} were given.'
      )
    # Of NumPy's generators this one is promised never to change.
    order = np.random.RandomState(0).permutation(count)
    held_out = max(1, round(count * HELD_OUT))
    cuts = [count - 2 * held_out, count - held_out]
    parts = np.split(order, cuts)
    return dict(zip(('train', 'validation', 'test'), parts, strict=True))

  @functools.cached_property
  def chance(self) -> float:
    """Returns the share of training's commonest label, or its variance."""
    rows = self.rows['train']
    scored = self.scored[rows]
    targets, weights = self.targets[rows][scored], self._weights(rows)[scored]
    if self.output.vocab is not None:
      return float(np.bincount(targets, weights).max() / weights.sum())
    mean = np.average(targets, axis=0, weights=weights)
    error = np.square(targets - mean).reshape(len(targets), -1).mean(axis=1)
    return float(np.average(error, weights=weights))

  def _weights(self, rows) -> Float[np.ndarray, 'B *T']:
    scored = self.scored[rows]
    given = 1.0 if self.weights is None else self.weights[rows]
    return np.where(scored, given, 0.0).astype(np.float32)

  @functools.cached_property
  def fingerprint(self) -> int:
    """Returns a checksum of the arrays."""
    kept = [self.inputs, self.targets, self.lengths, self.weights]
    return checksum([array for array in kept if array is not None])

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    rows = self.rows[split]
    chosen = epochs.examples(key, step, batch_size, split, len(rows))
    rows = rows[chosen]
    targets = as_numbers(self.targets[rows])
    scored = self.scored[rows]
    mask = scored.reshape(scored.shape + (1,) * (targets.ndim - scored.ndim))
    return Batch(
      inputs=as_numbers(self.inputs[rows]),
      targets=np.where(mask, targets, np.zeros_like(targets)),
      weights=self._weights(rows),
      segments=self._segments(rows),
    )

  def _segments(self, rows) -> Segments | None:
    if self.lengths is None:
      return None
    valid = self.valid[rows]
    return Segments(np.zeros_like(valid), valid)
