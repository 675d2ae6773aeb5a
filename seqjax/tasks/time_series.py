"""Recorded series in windows: the next value at every position."""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped

from seqjax.data.files import checksum, read_column
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.options import at_least
from seqjax.tasks.task import Regression
from seqjax.typing import SPLITS, Array, Batch, Spec, TaskShape

CUTS = (0.0, 0.8, 0.9, 1.0)  # where train, validation and test lie


def windows(
  series: Shaped[np.ndarray, 'T *D'], tau: int
) -> tuple[Shaped[np.ndarray, 'B L *D'], Shaped[np.ndarray, 'B *D']]:
  """Every tau values in a row (L = tau), and the value after each.

  1000 values at tau=4 give arrays of shape (996, 4) and (996,), without a copy.

  Raises:
    ValueError: tau is below 1, no value is left to be asked for, or a value
      is not finite.
  """
  _check_finite(series)
  if not 1 <= tau < len(series):
    raise ValueError(
      f'{len(series)} values have windows of 1 to {len(series) - 1} with a '
      f'value after them, but tau={tau} was given.'
    )
  seen = np.lib.stride_tricks.sliding_window_view(series[:-1], tau, axis=0)
  return np.moveaxis(seen, -1, 1), series[tau:]


class Recording(NamedTuple):
  """The parts of a series by split, in units of the training part's spread."""

  parts: dict[str, Float[np.ndarray, 'T *D']]
  mean: Float[np.ndarray, '*D']
  deviation: Float[np.ndarray, '*D']


def standardise(series: Float[np.ndarray, 'T *D']) -> Recording:
  """Cuts at 80 % and 90 %, then subtracts and divides by what train says.

  Raises:
    ValueError: the training part is empty or does not vary, or a value is not
      finite.
  """
  _check_finite(series)
  cuts = [int(cut * len(series)) for cut in CUTS]
  train = series[: cuts[1]]
  if len(train) < 2:
    raise ValueError(
      'A series is measured in units of its spread, which takes two values for '
      f'training, but the first {len(train)} of its {len(series)} are for it.'
    )
  if not np.all(np.ptp(train, axis=0) > 0):
    raise ValueError(
      'A series is measured in units of its spread, but the first '
      f'{len(train)} of its {len(series)} values, for training, do not vary.'
    )
  mean, deviation = (np.asarray(f(train, axis=0)) for f in (np.mean, np.std))
  scaled = ((series - mean) / deviation).astype(np.float32)
  parts = {
    split: scaled[begin:end]
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  return Recording(parts, mean, deviation)


def _check_finite(series):
  found = np.argwhere(~np.isfinite(series))
  if len(found):
    at = tuple(found[0].tolist())
    where = str(at[0]) if len(at) == 1 else f'{at[0]}, component {at[1]}'
    raise ValueError(
      f'A series consists of finite numbers, but value {where} is {series[at]}.'
    )


class RecordedSeries(Regression):
  """The next value of one long series, in windows.

  The series is cut in three, contiguous in time: the first 80 % for training,
  then 10 % and 10 %. Values are standardised by the training part alone, whose
  variance is the chance level, 1. An epoch cuts its part into windows from an
  offset that is drawn anew, and shuffles them. Subclasses have a `length`.
  """

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  on_device: ClassVar[bool] = False
  input: ClassVar[Spec] = Spec(())
  output: ClassVar[Spec] = Spec(())
  chance: ClassVar[float] = 1.0

  @property
  def recording(self) -> Recording:
    """The whole series."""
    raise NotImplementedError

  @property
  def num_unscored(self) -> int:
    """How many first positions have not seen enough to be asked."""
    return 0

  @property
  def ceiling(self) -> float | None:
    return self.floor(self.num_unscored + 1)

  def floor(self, seen: int, ahead: int = 1) -> float | None:
    """The best squared error, `ahead` steps after the last of `seen` values."""
    del seen, ahead
    return None

  def batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Windows of the series, as NumPy arrays.

    Raises:
      ValueError: the split is too short for a window.
    """
    values = self.stretches(key, step, batch_size, split, self.length + 1)
    weights = np.ones((batch_size, self.length), np.float32)
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
    """Values in a row, `length` at a time; neighbours share one."""
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
  """The next value of a column of a CSV file.

  A column that holds 3 5 8 4 2 4 6 9 7 3, of which 8 are for training, with
  length 3:

      inputs   -.94 -.06 1.27
      targets  -.06 1.27 -.50

  Attributes:
    path: of the file, whose first row names the columns.
    column: its name.
    length: T, in rows.
  """

  path: str = ''
  column: str = ''
  length: int = 64

  def __post_init__(self):
    at_least(self, length=1)

  @property
  def recording(self) -> Recording:
    if not self.path or not self.column:
      raise ValueError(
        'CSVSeries needs the path of a file and the name of a column, but '
        f'path={self.path!r} and column={self.column!r} were given.'
      )
    return _read(self.path, self.column)

  @property
  def fingerprint(self) -> int:
    """Of the column as it was read: another one has another one."""
    return checksum(jax.tree.leaves(self.recording))


@functools.lru_cache(maxsize=4)
def _read(path: str, column: str) -> Recording:
  series = read_column(path, column)
  try:
    return standardise(series)
  except ValueError as error:
    raise ValueError(f'{path}, column {column!r}: {error}') from error
