"""Writes and reads JSON: whole files, numbers out of arrays, NaN as text."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from seqjax.results import disk

_NOT_FINITE = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}


def write_atomically(
  path: str | os.PathLike, write: Callable[[pathlib.Path], Any]
):
  """Calls `write` on a temporary file that then takes the place of `path`.

  All of it is on the disk itself when this returns. OSError names `path`, and
  leaves what was there as it was.
  """
  path = pathlib.Path(path)
  # The suffix stays last: matplotlib reads the format from it.
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  try:
    write(temporary)
    disk.sync(temporary)
    os.replace(temporary, path)
    disk.sync(path.parent)
  except OSError as error:
    raise OSError(
      f'{str(path)!r} cannot be written: {error.strerror or error}. What was '
      'there before stays as it was.'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


def reason(error: OSError) -> str:
  """Returns the system's words, without those that `write_atomically` added."""
  return error.strerror or getattr(error.__cause__, 'strerror', str(error))


def dumps(content: Any, indent: int | None = None) -> str:
  return json.dumps(content, indent=indent, allow_nan=False)


def write_json(path: pathlib.Path, content: Any):
  text = dumps(content, indent=2) + '\n'
  write_atomically(path, lambda temporary: temporary.write_text(text))


def read_json(path: pathlib.Path, what: str, kind: type = dict) -> Any:
  """Reads a JSON file whose content is a dict or a list.

  Args:
    path: of the file.
    what: the file should be, as in 'config of a run'.
    kind: of the content.

  Raises:
    ValueError: the file holds anything else; the sentence names it.
  """
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
    raise ValueError(
      f'{str(path)!r} is not JSON ({error}): repair it, or choose another '
      'folder.'
    ) from error
  if not isinstance(content, kind):
    raise ValueError(
      f'{str(path)!r} is not a {what}, for it holds '
      f'{json.dumps(content)[:40]}: repair it, or choose another folder.'
    )
  return content


def scalar(value: Any, what: str) -> bool | int | float | str | None:
  """Returns the number in an array of one; text and None as they are."""
  if isinstance(value, (jax.Array, np.ndarray, np.generic)):
    if value.size != 1:
      raise ValueError(
        f'{what} is one number, but an array of shape {value.shape} was given;'
        f' reduce it, or make it a list.'
      )
    value = np.asarray(value).item()
  if not isinstance(value, (bool, int, float, str, type(None))):
    raise ValueError(
      f'{what} is a number, text, None or a flat list of them, but'
      f' {type(value).__name__} was given.'
    )
  return value


def record(
  what: str, values: Mapping[str, Any], reserved: tuple[str, ...] = ('time',)
) -> dict[str, Any]:
  """Returns the values as JSON holds them."""
  for name in reserved:
    if name in values:
      raise ValueError(
        f"{name!r} is the run's own clock; call the {what} by another name."
      )
  return {name: _encode(v, f'{what} {name!r}') for name, v in values.items()}


def _encode(value: Any, what: str) -> Any:
  if isinstance(value, (list, tuple)):
    return [_encode_scalar(item, what) for item in value]
  return _encode_scalar(value, what)


def _encode_scalar(value: Any, what: str) -> Any:
  value = scalar(value, what)
  if isinstance(value, float) and not math.isfinite(value):
    return str(value).replace('nan', 'NaN').replace('inf', 'Infinity')
  return value


def decode(value: Any) -> Any:
  if isinstance(value, list):
    return tuple(decode(item) for item in value)
  return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def decode_summary(content: Mapping[str, Any]) -> dict[str, Any]:
  """Decodes what `finish` was given: tuples, and floats that are not finite."""
  summary = {k: decode(v) for k, v in content.items() if k != 'rows'}
  if 'rows' in content:
    summary['rows'] = [
      {name: decode(value) for name, value in row.items()}
      for row in content['rows']
    ]
  return summary
