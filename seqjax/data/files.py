"""Files of data, read with errors that name the file and the place."""

import codecs
import fnmatch
import gzip
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

PART = 2**20  # bytes of text that are decoded at a time
MARK = codecs.BOM_UTF8


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
  """Reads a file as UTF-8 text without its byte order mark, line ends kept.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is empty, or a byte is not UTF-8.
  """
  content = read_bytes(path)
  check_utf8(content, path)
  return content.decode('utf-8-sig')


def check_utf8(content: bytes, path: str | os.PathLike):
  """Raises ValueError for bytes that are not UTF-8; says where the first is."""
  try:
    for text in decoded(content):
      del text
  except UnicodeDecodeError:
    _refuse_bytes(content, path)


def _refuse_bytes(content: bytes, path: str | os.PathLike):
  try:
    content.decode('utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{path} is not UTF-8 at byte {error.start} '
      f'(0x{content[error.start]:02x}): {error.reason}.'
    ) from error


def decoded(content: bytes) -> Iterator[str]:
  """Yields UTF-8 text in parts, so that it is never held as a whole."""
  decoder = codecs.getincrementaldecoder('utf-8')()
  view = memoryview(content)
  for begin in range(0, len(content), PART):
    part = view[begin : begin + PART]
    yield decoder.decode(part, final=begin + PART >= len(content))


def files_of(path: str | os.PathLike, include: str = '') -> list[pathlib.Path]:
  """Lists the file itself, or all files below a folder but hidden ones, sorted.

  Links are followed, and no folder is entered twice.

  Args:
    path: of a file or a folder.
    include: a pattern, such as *.py, of the names or paths below the folder.

  Raises:
    FileNotFoundError: there is no such file or folder, or the folder has none.
  """
  path = pathlib.Path(path).expanduser()
  if path.is_file():
    return [path]
  files = [file for file in _below(path) if _included(file, path, include)]
  if not files:
    of = f' of the pattern {include!r}' if include else ''
    raise FileNotFoundError(
      f'There is no file {path}, nor a folder of files{of}.'
    )
  return sorted(files)


def _below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the files below a folder, hidden ones left out."""
  entered = set()
  for parent, folders, names in os.walk(folder, followlinks=True):
    real = os.path.realpath(parent)
    if real in entered:
      folders.clear()
      continue
    entered.add(real)
    folders[:] = sorted(f for f in folders if not f.startswith('.'))
    for name in names:
      file = pathlib.Path(parent, name)
      if not name.startswith('.') and file.is_file():
        yield file


def _included(file: pathlib.Path, folder: pathlib.Path, include: str) -> bool:
  """Tells if the name of a file, or its path below the folder, fits."""
  below = file.relative_to(folder).as_posix()
  return (
    not include
    or fnmatch.fnmatchcase(file.name, include)
    or fnmatch.fnmatchcase(below, include)
  )
