"""Recorded series in windows: the next value at every position."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float, Int

from seqjax.data.files import checksum
from seqjax.data.series import Recording, Scale, read_series
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.task import Regression, at_least
from seqjax.typing import SPLITS, Array, Batch, Spec, TaskShape


def known_values(values: Float[Array, 'B T *D'], xp: Any = np) -> Any:
  """Returns values with 0 where one is missing; and 1 where none is, else 0.

  `xp` is numpy or jax.numpy.
  """
  finite = xp.isfinite(values)
  known = finite.all(axis=tuple(range(2, values.ndim)))
  return xp.where(finite, values, xp.float32(0)), known.astype(xp.float32)


class RecordedSeries(Regression):
  """The next value of one long series, in windows.

  The series is cut in three, contiguous in time: the first 80 % for training,
  then 10 % and 10 %. Values are standardised by the training part alone, or by
  the `scale` of another series, as that which a model was trained on. Chance is
  the variance of the training part, which is 1 in units of its own. An epoch
  cuts its part into windows from an offset that is sampled anew, and shuffles
  them. Subclasses have a `length`, and a `scale` that is None by default.
  """

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  on_device: ClassVar[bool] = False
  input: ClassVar[Spec] = Spec(())
  output: ClassVar[Spec] = Spec(())

  @property
  def chance(self) -> float:
    if self.scale is None:
      return 1.0
    return float(np.nanvar(self.recording.parts['train'], axis=0).mean())

  @property
  def fitted(self) -> dict[str, Any]:
    return {'scale': self.recording.scale}

  def with_fitted(self, values: Mapping[str, Any]) -> 'RecordedSeries':
    mean, deviation = (np.array(x, float) for x in values['scale'])
    right = mean.ndim == 1 and mean.shape == deviation.shape
    right &= bool(np.all(np.isfinite(mean))) and bool(np.all(deviation > 0))
    if set(values) != {'scale'} or not right:
      raise ValueError(
        'It fits a scale, which is a finite mean and a positive deviation of '
        f'each component, but {dict(values)} was given.'
      )
    scale = Scale(tuple(mean.tolist()), tuple(deviation.tolist()))
    return dataclasses.replace(self, scale=scale)

  @property
  def recording(self) -> Recording:
    """Returns the whole series."""
    raise NotImplementedError

  @property
  def num_unscored(self) -> int:
    """Counts the first positions, which have not seen enough to be scored."""
    return 0

  @property
  def ceiling(self) -> float | None:
    return self.floor(self.num_unscored + 1)

  def floor(self, seen: int, ahead: int = 1) -> float | None:
    """Returns the best squared error, `ahead` steps after `seen` values."""
    del seen, ahead
    return None

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    values = self.stretches(key, step, batch_size, split, self.length + 1)
    values, known = known_values(values, np)
    weights = known[:, 1:].copy()
    weights[:, : self.num_unscored] = 0
    return Batch(values[:, :-1], values[:, 1:], weights)

  def stretches(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str,
    length: int,
  ) -> Float[np.ndarray, 'B T *D']:
    """Returns `length` consecutive values per row; neighbours share one."""
    if split not in SPLITS:
      raise ValueError(unknown('split', split, SPLITS))
    part = self.recording.parts[split]
    if len(part) < length:
      raise ValueError(
        f'The {split} part of {self} ends at value {len(part)}, too early for '
        f'{length} values in a row.'
      )
    begin = epochs.windows(key, step, batch_size, split, len(part), length - 1)
    return part[begin[:, None] + np.arange(length)[None]]


@dataclasses.dataclass(frozen=True)
class CSVSeries(RecordedSeries):
  """The next value of a column of a file, or the next values of several.

  A column that holds 3 5 8 4 2 4 6 9 7 3, of which 8 are for training, with
  length 3:

      inputs   -.94 -.06 1.27
      targets  -.06 1.27 -.50

  A missing value (an empty field, nan, NA ...) is 0 among the inputs, the mean,
  and as a target has weight 0.

  Attributes:
    path: of a CSV file with any separator, whose first row names the columns
      (0, 1 ... without names), or of a .npy file, [time] or [time, columns].
    column: its name, or several with commas between them; of a .npy file, an
      empty one means all.
    length: T, in rows.
    scale: mean and deviation to standardise by; None: of the training part.
  """

  path: str = ''
  column: str = ''
  length: int = 64
  scale: Scale | None = dataclasses.field(default=None, repr=False)

  reference: ClassVar[str] = 'any CSV file'

  @property
  def input(self) -> Spec:
    """Describes a value, or one value for each of several columns."""
    return Spec(self.recording.mean.shape) if self._is_named else Spec(())

  @property
  def output(self) -> Spec:
    return self.input

  @property
  def _is_named(self) -> bool:
    return bool(self.path) and bool(self.column or self.path.endswith('.npy'))

  def __post_init__(self):
    at_least(self, length=1)

  @property
  def recording(self) -> Recording:
    if not self._is_named:
      raise ValueError(
        'CSVSeries needs the path of a file and the name of a column, but '
        f'path={self.path!r} and column={self.column!r} were given.'
      )
    return read_series(self.path, self.column, self.scale)

  @property
  def fingerprint(self) -> int:
    """Returns a checksum of the column."""
    return checksum(jax.tree.leaves(self.recording))
