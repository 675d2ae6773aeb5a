"""Files that data come from, read with errors that say which and where."""

import contextlib
import csv
import gzip
import io
import math
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, UInt8

IDX_BYTES = 0x08  # the type of an IDX file that holds unsigned bytes


def data_folder(data_dir: str) -> pathlib.Path:
  """`data_dir`, or where TFDS keeps its data if that is empty."""
  folder = data_dir or os.environ.get('TFDS_DATA_DIR')
  return pathlib.Path(folder or '~/tensorflow_datasets').expanduser()


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
  """Says how to install what is imported inside and is not there.

  Raises:
    ModuleNotFoundError: with the name of the module, and of the extra.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'The module {error.name} is not installed: '
      f"pip install 'seqjax[{extra}]' installs it.",
      name=error.name,
    ) from error


def read_bytes(path: str | os.PathLike) -> bytes:
  """The content of a file; that of a file named *.gz is unpacked.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is empty, or ends before it should.
  """
  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  content = path.read_bytes()
  if not content:
    raise ValueError(f'{path} is empty: there is nothing at byte 0.')
  if not str(path).endswith('.gz'):
    return content
  try:
    return gzip.decompress(content)
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise ValueError(
      f'{path} is no complete gzip file; its {len(content)} bytes could not be '
      f'unpacked to the end: {error}.'
    ) from error


def checksum(arrays: Iterable[np.ndarray]) -> int:
  """CRC-32 of the values of all of them, one after the other."""
  value = 0
  for array in arrays:
    value = zlib.crc32(np.ascontiguousarray(array), value)
  return value


def read_text(path: str | os.PathLike) -> str:
  """A file as UTF-8 text, line ends as they are.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is empty, or a byte is not UTF-8.
  """
  content = read_bytes(path)
  try:
    return content.decode('utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{path} is not UTF-8 at byte {error.start} '
      f'(0x{content[error.start]:02x}): {error.reason}.'
    ) from error


def files_of(path: str | os.PathLike) -> list[pathlib.Path]:
  """The file itself, or all in a folder and its folders, sorted, none hidden.

  Raises:
    FileNotFoundError: there is no such file or folder, or the folder is empty.
  """
  path = pathlib.Path(path).expanduser()
  if path.is_file():
    return [path]
  files = [
    file
    for file in sorted(path.rglob('*'))
    if file.is_file()
    and not any(part.startswith('.') for part in file.relative_to(path).parts)
  ]
  if not files:
    raise FileNotFoundError(f'There is no file {path}, nor a folder of files.')
  return files


def read_idx(path: str | os.PathLike) -> UInt8[np.ndarray, '...']:
  """An array of unsigned bytes in the IDX format of the MNIST files.

  Two zeros, the type, the number of axes; their sizes as big-endian int32; then
  the values, the last axis fastest.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is something else, or of another length than it says.
  """
  content = read_bytes(path)
  header = 4 + 4 * content[3] if len(content) > 3 else 4
  if content[:3] != bytes([0, 0, IDX_BYTES]) or len(content) < header:
    raise ValueError(
      f'{path} is no IDX file of unsigned bytes: it begins with '
      f'{content[:4].hex(" ")}, not with 00 00 08 and the number of axes.'
    )
  sizes = np.frombuffer(content[4:header], '>i4').tolist()
  if len(content) != header + math.prod(sizes):
    raise ValueError(
      f'{path} should hold {sizes} values from byte {header} to byte '
      f'{header + math.prod(sizes)}, but ends at byte {len(content)}.'
    )
  return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


def read_column(path: str | os.PathLike, column: str) -> Float[np.ndarray, 'T']:
  """A column of a CSV file whose first row names the columns.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: no such column, a row without a finite number in it, or one
      that is no CSV.
  """
  # What some spreadsheets write before the first name.
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
