"""Arrays in files of NumPy: tokens, and labelled sequences."""

import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer

NAMES = {'labels': 'targets'}  # what arrays are called, and what they are


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the arrays of an .npz file that a task is made of.

  They are called inputs, labels or targets, lengths, weights.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read, or lacks one that is needed.
  """
  found = _load(path)
  if not isinstance(found, Mapping):
    raise ValueError(
      f'{path} holds one array, but inputs and labels are needed.'
    )
  arrays = {NAMES.get(name, name): found[name] for name in found}
  for name in ('inputs', 'targets'):
    if name not in arrays:
      called = name if name == 'inputs' else 'labels or targets'
      raise ValueError(
        f'{path} has no array called {called}; it has: {", ".join(found)}.'
      )
  known = ('inputs', 'targets', 'lengths', 'weights')
  return {name: arrays[name] for name in known if name in arrays}


def read_named(
  path: str | os.PathLike, names: Sequence[str]
) -> list[np.ndarray]:
  """Reads arrays of an .npz file by their names.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read, or lacks one of them.
  """
  found = _load(path)
  if not isinstance(found, Mapping) or not set(names) <= set(found):
    raise ValueError(f'{path} should hold the arrays {", ".join(names)}.')
  return [found[name] for name in names]


def read_array(path: str | os.PathLike) -> np.ndarray:
  """Opens the array of a .npy file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read.
  """
  return _load(path)


def read_tokens(
  path: str | os.PathLike, dtype: str = 'uint16'
) -> Integer[np.ndarray, 'T']:
  """Opens tokens [T] in a .npy file, or in a .bin file of bare numbers.

  They stay on disk until they are read.

  Args:
    path: of the file.
    dtype: of the numbers in a .bin file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it cannot be read, or holds no row of tokens.
  """
  path = pathlib.Path(path).expanduser()
  tokens = _load(path) if path.suffix == '.npy' else _bare(path, dtype)
  if isinstance(tokens, Mapping) or tokens.ndim != 1 or not tokens.size:
    raise ValueError(f'{path} should hold one row of tokens, and does not.')
  if not np.issubdtype(tokens.dtype, np.integer):
    raise ValueError(
      f'{path} should hold tokens, which are integers, but holds '
      f'{tokens.dtype}.'
    )
  return tokens


def _bare(path: pathlib.Path, dtype: str) -> np.ndarray:
  """Opens numbers without a header, in the byte order of most machines."""
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  try:
    kind = np.dtype(dtype)
  except TypeError as error:
    raise ValueError(
      f'{dtype!r} is no type of numbers, as uint16 is.'
    ) from error
  size = path.stat().st_size
  if kind.kind not in 'iu' or size % kind.itemsize or not size:
    raise ValueError(
      f'{path} has {size} bytes, which are no row of tokens of type {dtype}.'
    )
  return np.memmap(path, kind.newbyteorder('<'), 'r')


def _load(path: str | os.PathLike) -> Any:
  """Opens a file of NumPy; no Python object in it is loaded."""
  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  try:
    if path.suffix == '.npy':
      return np.load(path, mmap_mode='r', allow_pickle=False)
    with path.open('rb') as file:
      found = np.load(file, allow_pickle=False)
      return dict(found) if isinstance(found, Mapping) else found
  except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is no file of NumPy arrays: {error}.') from error


def within(tokens: Integer[np.ndarray, 'T'], size: int) -> np.ndarray:
  """Returns tokens of a corpus; ValueError where one is not below the size."""
  tokens = np.asarray(tokens)
  outside = tokens[(tokens < 0) | (tokens >= size)]
  if outside.size:
    raise ValueError(
      f'Tokens of this corpus lie in 0..{size - 1}, but {outside[0]} was given.'
    )
  return tokens
