"""Writes and reads parameters in the safetensors format, with a header."""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from seqjax.errors import needs
from seqjax.results import json_files

SUFFIX = '.safetensors'
CHECKSUM = 'sha256'  # its name in the header

# The format's names of the types that JAX has; others keep the format's.
_DTYPES = {
  'BOOL': 'bool',
  'BF16': 'bfloat16',
  'C64': 'complex64',
  'F8_E4M3': 'float8_e4m3fn',
  'F8_E5M2': 'float8_e5m2',
} | {
  f'{kind[0].upper()}{bits}': f'{kind}{bits}'
  for kind, sizes in {
    'float': (16, 32, 64),
    'int': (8, 16, 32, 64),
    'uint': (8, 16, 32, 64),
  }.items()
  for bits in sizes
}


def check_path(path: str | os.PathLike) -> pathlib.Path:
  """Returns the path of a file to write.

  Raises:
    ValueError: it has another suffix, or its folder is not there.
  """
  path = pathlib.Path(path)
  if path.suffix != SUFFIX or not path.parent.is_dir():
    raise ValueError(
      f'Parameters are written to a file in a folder that exists, with a name '
      f'that ends in {SUFFIX}, but {str(path)!r} was given.'
    )
  return path


def write(
  params: Mapping[str, Any], header: Mapping[str, str], path: str | os.PathLike
):
  """Writes a tensor per parameter; its name is its path, joined by dots.

  The format has no checksum, so one is written into the header.

  Args:
    params: nested dicts of arrays.
    header: texts by name, to be read back with them.
    path: of the file.
  """
  with needs('export'):
    import safetensors.flax

  named = by_name(params)
  header = dict(header) | {CHECKSUM: checksum(named, header)}
  content = safetensors.flax.save(named, header)
  json_files.write_atomically(
    check_path(path), lambda file: file.write_bytes(content)
  )


def read(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, str]]:
  """Returns the parameters, as nested dicts of arrays, and the header.

  Raises:
    ValueError: there is no such file, or it is damaged. Files of other programs
      may have no checksum; their numbers are not checked.
  """
  with _opened(path) as file:
    tensors = {name: file.get_tensor(name) for name in file.keys()}
    header = file.metadata() or {}
  expected = header.pop(CHECKSUM, None)
  if expected is not None and expected != checksum(tensors, header):
    raise ValueError(
      f'{str(path)!r} is damaged: its content does not have the checksum that '
      'was written with it; export it again.'
    )
  try:
    return nested(tensors), header
  except ValueError as error:
    raise ValueError(f'{str(path)!r} holds no parameters: {error}') from error


def described(path: str | os.PathLike) -> dict[str, str]:
  """Maps the names in a file to dtypes and shapes, as in 'float32 [4, 8]'.

  They are those in the file: `read` gives arrays of JAX, which have 64 bits
  only where these are enabled.

  Raises:
    ValueError: there is no such file, or it is damaged.
  """
  with _opened(path) as file:
    slices = {name: file.get_slice(name) for name in file.keys()}
    return {
      name: f'{_DTYPES.get(part.get_dtype(), part.get_dtype())} '
      f'{list(part.get_shape())}'
      for name, part in sorted(slices.items())
    }


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
  """Opens a file for reading; ValueError if it cannot be read."""
  with needs('export'):
    import safetensors

  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f'There is no file {str(path)!r}.')
  try:
    with safetensors.safe_open(path, framework='flax') as file:
      yield file
  except (safetensors.SafetensorError, OSError, ValueError) as error:
    raise ValueError(
      f'{str(path)!r} is no file of tensors, or it is damaged: {error}.'
    ) from error


def checksum(tensors: Mapping[str, Any], header: Mapping[str, str]) -> str:
  """Returns the SHA-256 of texts and arrays, whatever their order."""
  total = hashlib.sha256(repr(sorted(header.items())).encode())
  for name, tensor in sorted(tensors.items()):
    array = np.asarray(tensor)
    total.update(repr((name, array.shape, array.dtype.name)).encode())
    total.update(array.tobytes())
  return total.hexdigest()


def by_name(params: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Maps paths that are joined by dots to arrays.

  Raises:
    ValueError: a name in the path holds a dot itself, so that it could not be
      read back.
  """
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  names = [[str(part.key) for part in path] for path, _ in leaves]
  for path in names:
    if any('.' in part or not part for part in path):
      raise ValueError(f'Names of parameters hold no dot, but {path} do.')
  return {
    '.'.join(path): jax.numpy.asarray(np.asarray(leaf))
    for path, (_, leaf) in zip(names, leaves, strict=True)
  }


def nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
  """Returns nested dicts, from the names that `by_name` gave."""
  params: dict[str, Any] = {}
  for name, tensor in tensors.items():
    *folders, last = name.split('.')
    inner = params
    for folder in folders:
      inner = inner.setdefault(folder, {})
      if not isinstance(inner, dict):
        raise ValueError(f'The tensor {name!r} lies below another tensor.')
    if last in inner:
      raise ValueError(f'The tensor {name!r} lies above another tensor.')
    inner[last] = tensor
  return params
