"""Series of numbers: read from a CSV file, standardised, cut into windows."""

import csv
import functools
import io
import math
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from seqjax.data.files import read_text
from seqjax.typing import SPLITS

CUTS = (0.0, 0.8, 0.9, 1.0)  # where train, validation and test lie


def windows(
  series: Shaped[np.ndarray, 'T *D'], tau: int
) -> tuple[Shaped[np.ndarray, 'B L *D'], Shaped[np.ndarray, 'B *D']]:
  """Returns all windows of tau values (L = tau), and the value after each.

  1000 values at tau=4 give arrays of shape (996, 4) and (996,), without a copy.

  Raises:
    ValueError: tau is below 1, no value is left to predict, or a value
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
  """The parts of a series by split, standardised by the training part."""

  parts: dict[str, Float[np.ndarray, 'T *D']]
  mean: Float[np.ndarray, '*D']
  deviation: Float[np.ndarray, '*D']


def standardise(series: Float[np.ndarray, 'T *D']) -> Recording:
  """Cuts at 80 % and 90 %, and standardises by the first, the training part.

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
  train = train.astype(np.float64)
  with np.errstate(over='ignore', invalid='ignore'):
    mean, deviation = (np.asarray(f(train, axis=0)) for f in (np.mean, np.std))
  if not np.all(np.isfinite(deviation) & (deviation > 0)):
    raise ValueError(
      'A series is measured in units of its spread, but that of the first '
      f'{len(train)} of its {len(series)} values, for training, is '
      f'{deviation}: give the series in other units.'
    )
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


@functools.lru_cache(maxsize=4)
def read_series(path: str, column: str) -> Recording:
  series = read_column(path, column)
  try:
    return standardise(series)
  except ValueError as error:
    raise ValueError(f'{path}, column {column!r}: {error}') from error


def read_column(path: str | os.PathLike, column: str) -> Float[np.ndarray, 'T']:
  """Reads a column of a CSV file whose first row names the columns.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: no such column, a row without a finite number in it, or one
      that is no CSV.
  """
  # Some spreadsheets write this mark before the first name.
  text = read_text(path).removeprefix('\ufeff')
  rows = csv.reader(io.StringIO(text, newline=''))
  try:
    return _column(rows, path, column)
  except csv.Error as error:
    raise ValueError(f'{path}, line {rows.line_num}: {error}.') from error


def _column(rows, path, column: str) -> Float[np.ndarray, 'T']:
  names = next(rows)
  if column not in names:
    raise ValueError(
      f'{path} has no column {column!r}; its first row names: '
      f'{", ".join(names)}.'
    )
  at = names.index(column)
  return np.array(
    [
      _number(row[at] if at < len(row) else '', path, rows.line_num, column)
      for row in rows
      if row
    ]
  )


def _number(written: str, path, line: int, column: str) -> float:
  try:
    value = float(written)
  except ValueError:
    value = math.nan
  if not math.isfinite(value):
    raise ValueError(
      f'{path}, line {line}: column {column!r} holds {written!r}, which is not '
      'a finite number.'
    )
  return value
