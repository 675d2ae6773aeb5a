"""Files of data, read with errors that name the file and the place."""

import gzip
import os
import pathlib
import zlib
from collections.abc import Iterable

import numpy as np


def data_folder(data_dir: str) -> pathlib.Path:
  """Returns `data_dir`, or the folder of TFDS if that is empty."""
  folder = data_dir or os.environ.get('TFDS_DATA_DIR')
  return pathlib.Path(folder or '~/tensorflow_datasets').expanduser()


def read_bytes(path: str | os.PathLike) -> bytes:
  """Returns the content of a file, unpacked if its name ends in .gz.

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
  """Returns the CRC-32 of the values of all arrays in turn."""
  value = 0
  for array in arrays:
    value = zlib.crc32(np.ascontiguousarray(array), value)
  return value


def read_text(path: str | os.PathLike) -> str:
  """Reads a file as UTF-8 text, line ends as they are.

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
  """Lists the file itself, or all files below a folder but hidden ones, sorted.

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
