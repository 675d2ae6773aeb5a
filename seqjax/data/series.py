"""Series of numbers: read from a file, standardised, cut into windows."""

import csv
import functools
import io
import math
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from seqjax.data.arrays import read_array
from seqjax.data.files import read_text
from seqjax.typing import SPLITS

SEPARATORS = (',', ';', '\t', '|', ' ')
MISSING = ('', 'nan', 'na', 'n/a', 'null', 'none', '?', '-')
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


class Scale(NamedTuple):
  """The mean and the deviation of each component of a series."""

  mean: tuple[float, ...]
  deviation: tuple[float, ...]


class Recording(NamedTuple):
  """The parts of a series by split, in units of `deviation` from `mean`."""

  parts: dict[str, Float[np.ndarray, 'T *D']]
  mean: Float[np.ndarray, '*D']
  deviation: Float[np.ndarray, '*D']

  @property
  def scale(self) -> Scale:
    each = (np.atleast_1d(x).tolist() for x in (self.mean, self.deviation))
    return Scale(*map(tuple, each))


def standardise(
  series: Float[np.ndarray, 'T *D'],
  missing: bool = False,
  scale: Scale | None = None,
) -> Recording:
  """Splits at 80 % and 90 %, and standardises by the training part.

  Args:
    series: the values in order.
    missing: allow NaN for missing values; they stay NaN.
    scale: standardise by this instead, for example that of another series.

  Raises:
    ValueError: the training part is empty or does not vary, or a value is not
      finite; the scale has another number of components.
  """
  _check_finite(np.where(np.isnan(series), 0, series) if missing else series)
  cuts = [int(cut * len(series)) for cut in CUTS]
  train = series[: cuts[1]]
  if len(train) < 2 or np.any(np.sum(np.isfinite(train), axis=0) < 2):
    raise ValueError(
      'A series is standardised by its training part, which needs two values, '
      f'but {len(train)} of its {len(series)} values are for training.'
    )
  if not np.all(np.nanmax(train, axis=0) > np.nanmin(train, axis=0)):
    raise ValueError(
      'A series is standardised by its training part, but the first '
      f'{len(train)} of its {len(series)} values, for training, are all equal.'
    )
  train = train.astype(np.float64)
  with np.errstate(over='ignore', invalid='ignore'):
    moments = (np.nanmean, np.nanstd) if missing else (np.mean, np.std)
    mean, deviation = (np.asarray(f(train, axis=0)) for f in moments)
  if scale is not None:
    mean, deviation = _components(scale, series)
  if not np.all(np.isfinite(deviation) & (deviation > 0)):
    raise ValueError(
      'A series is standardised by its training part, but the deviation of the '
      f'first {len(train)} of its {len(series)} values is '
      f'{deviation}: give the series in other units.'
    )
  scaled = ((series - mean) / deviation).astype(np.float32)
  parts = {
    split: scaled[begin:end]
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  return Recording(parts, mean, deviation)


def _components(scale: Scale, series):
  """Returns a scale as arrays that have the components of a series."""
  shape = series.shape[1:]
  if len(scale.mean) != math.prod(shape):
    raise ValueError(
      f'The scale is that of {len(scale.mean)} components, but the series has '
      f'{math.prod(shape)}.'
    )
  return [np.reshape(values, shape) for values in scale]


def _check_finite(series):
  found = np.argwhere(~np.isfinite(series))
  if len(found):
    at = tuple(found[0].tolist())
    where = str(at[0]) if len(at) == 1 else f'{at[0]}, component {at[1]}'
    raise ValueError(
      f'A series consists of finite numbers, but value {where} is {series[at]}.'
    )


@functools.lru_cache(maxsize=4)
def read_series(
  path: str, column: str, scale: Scale | None = None
) -> Recording:
  """Reads a series, once per process; missing values become NaN.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: as `read_columns`, or it does not vary, or is too short.
  """
  series = read_columns(path, column)
  try:
    return standardise(series, missing=True, scale=scale)
  except ValueError as error:
    raise ValueError(f'{path}, column {column!r}: {error}') from error


def read_columns(
  path: str | os.PathLike, column: str
) -> Float[np.ndarray, 'T *D']:
  """Reads columns of a .npy file, or of a CSV file of any separator.

  One column gives [T], several give [T D].

  Args:
    path: of the file. The first row of a CSV file names the columns; if it
      holds numbers alone, they are called 0, 1, 2 ...
    column: a name, or names with commas between them (in double quotes where a
      name holds a comma). Of a .npy file, an empty one means all.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: no such column, a field that is no number, or a file that is
      none of these.
  """
  path = pathlib.Path(path).expanduser()
  if path.suffix == '.npy':
    return _array_columns(read_array(path), path, column)
  # Some spreadsheets write a mark before the first name; it is not read.
  text = read_text(path)
  separator = _separator(text)
  if separator == ' ':
    text = re.sub(r'(?m)^ +| +$', '', re.sub(' +', ' ', text))
  rows = csv.reader(io.StringIO(text, newline=''), delimiter=separator)
  try:
    return _columns(rows, path, column, decimal_comma=separator != ',')
  except csv.Error as error:
    raise ValueError(f'{path}, line {rows.line_num}: {error}.') from error


def _separator(text: str) -> str:
  """Returns what separates the fields: what the first row has most of."""
  first = re.sub(r'"[^"]*"', '', text.partition('\n')[0])
  counts = [first.count(separator) for separator in SEPARATORS]
  return SEPARATORS[int(np.argmax(counts))] if any(counts) else ','


def _columns(rows, path, column: str, decimal_comma: bool):
  """Returns the columns that are named, NaN where a value is missing."""
  first = next(rows)
  numbers = list(map(str, range(len(first))))
  numeric = all(_is_number(field, decimal_comma) for field in first)
  numeric &= first != numbers  # as pandas names columns without names
  names = numbers if numeric else first
  chosen = _chosen(path, column, names)
  lines = [(rows.line_num, first)] if numeric else []
  lines += [(rows.line_num, row) for row in rows if row]
  values = [
    [_number(row, at, path, line, names[at], decimal_comma) for at in chosen]
    for line, row in lines
  ]
  values = np.array(values, np.float64).reshape(len(lines), len(chosen))
  return values[:, 0] if len(chosen) == 1 else values


def _chosen(path, column: str, names: list[str]) -> list[int]:
  """Returns the places of the columns that are named."""
  wanted = [column] if column in names else next(csv.reader([column]), [])
  wanted = [name if name in names else name.strip() for name in wanted]
  for name in wanted or [column]:
    if name not in names:
      raise ValueError(
        f'{path} has no column {name!r}; its first row names: '
        f'{", ".join(names)}.'
      )
  return [names.index(name) for name in wanted]


def _array_columns(array, path, column: str) -> Float[np.ndarray, 'T *D']:
  """Returns columns of an array, which are called 0, 1, 2 ..."""
  if array.ndim not in (1, 2) or not np.issubdtype(array.dtype, np.number):
    raise ValueError(
      f'{path} should hold numbers, [time] or [time, columns], but holds '
      f'{array.dtype} of shape {list(array.shape)}.'
    )
  values = np.asarray(array, np.float64)
  if not column:
    return values
  chosen = _chosen(path, column, list(map(str, range(np.size(values[:1])))))
  values = values.reshape(len(values), -1)[:, chosen]
  return values[:, 0] if len(chosen) == 1 else values


def _number(row, at: int, path, line: int, name: str, decimal_comma) -> float:
  """Returns a number, NaN for one that is missing."""
  written = row[at].strip() if at < len(row) else ''
  if written.lower() in MISSING:
    return math.nan
  if not _is_number(written, decimal_comma):
    raise ValueError(
      f'{path}, line {line}: column {name!r} holds {written!r}, which is not '
      'a finite number.'
    )
  return _as_float(written, decimal_comma)


def _is_number(written: str, decimal_comma: bool) -> bool:
  try:
    return math.isfinite(_as_float(written, decimal_comma))
  except ValueError:
    return False


def _as_float(written: str, decimal_comma: bool) -> float:
  if decimal_comma and written.count(',') == 1 and '.' not in written:
    written = written.replace(',', '.')
  return float(written)
