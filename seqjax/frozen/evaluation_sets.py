"""Evaluation sets of tasks, frozen as array_record and checked by content."""

import contextlib
import io
import json
import os
import pathlib
from typing import Any

import numpy as np

from seqjax.data.files import data_folder
from seqjax.data.folders import (
  check_records,
  open_folder,
  read_json,
  scratch,
)
from seqjax.errors import needs, unknown
from seqjax.frozen.expected import (
  SIDES,
  VERSION,
  check_expected,
  checksum,
)
from seqjax.typing import SPLITS, Batch, Segments

CHECKSUMS = 'checksums.json'


def freeze(name: str, data_dir: str = '') -> pathlib.Path:
  """Writes validation and test of a task of the catalogue.

  Args:
    name: of the task in `TASKS`, made with its defaults.
    data_dir: where; empty for TFDS's own folder.

  Returns:
    The folder, which appears when it is complete; one that is there is kept.

  Raises:
    ValueError: there is no such task, what is there is damaged, or the task
      samples other examples than at this version.
  """
  with needs('data'):
    import array_record.python  # noqa: F401  (which TFDS imports late)

    from seqjax.frozen.builder import FrozenTasks

  if name not in FrozenTasks.builder_configs:
    raise ValueError(
      unknown('task to freeze', name, FrozenTasks.builder_configs)
    )
  root = data_folder(data_dir)
  folder = root / 'frozen_tasks' / name / VERSION
  if folder.exists():
    verify_frozen(name, data_dir)
    return folder
  root.mkdir(parents=True, exist_ok=True)
  with scratch(root, name) as unfinished:
    builder = FrozenTasks(
      config=name, data_dir=unfinished, file_format='array_record'
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it names that folder
      builder.download_and_prepare()
    _write_checksums(name, pathlib.Path(builder.data_path))
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.rename(builder.data_path, folder)
  return folder


def read_frozen(name: str, split: str, data_dir: str = '') -> Batch:
  """Returns all examples of a frozen split as one batch of NumPy arrays.

  Raises:
    FileNotFoundError: there is no such set.
    ValueError: it is of another version, truncated, or not what was written;
      says which file, and where.
  """
  if split not in SPLITS[1:]:
    raise ValueError(unknown('frozen split', split, SPLITS[1:]))
  folder = _find(name, data_dir)
  written = _read_checksums(folder)
  for file, size in written['bytes'].items():
    _check_size(folder / file, size)
  columns = _columns(folder, split)
  if checksum(columns) != written['sha256'][split]:
    raise ValueError(
      f'The {split} examples in {folder} are not those that were written: '
      f'their checksum is not the one in {CHECKSUMS}. Delete the folder and '
      'prepare it again.'
    )
  check_expected(name, split, columns)
  return _batch(columns)


def verify_frozen(name: str, data_dir: str = ''):
  """Reads a frozen set whole; raises what `read_frozen` raises."""
  for split in SPLITS[1:]:
    read_frozen(name, split, data_dir)


def _find(name: str, data_dir: str) -> pathlib.Path:
  """Returns the folder of the version that is read."""
  sets = data_folder(data_dir) / 'frozen_tasks' / name
  folder = sets / VERSION
  if (folder / CHECKSUMS).is_file():
    return folder
  if folder.exists():
    raise ValueError(
      f'{folder} is not complete, for it has no {CHECKSUMS}. Delete the folder '
      f'and write it again by seqjax-prepare-data --prepare={name}.'
    )
  others = sorted(path.name for path in sets.glob('*.*.*'))
  if others:
    raise ValueError(
      f'{sets} holds version {", ".join(others)}, but version {VERSION} is '
      f'read; write it by seqjax-prepare-data --prepare={name}.'
    )
  raise FileNotFoundError(
    f'There is no frozen set {folder}; write it by seqjax-prepare-data '
    f'--prepare={name}.'
  )


def _read_checksums(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  written = read_json(folder / CHECKSUMS)
  known = {'sha256': SPLITS[1:], 'bytes': ()}
  for what, of_which in known.items():
    found = written.get(what)
    if not isinstance(found, dict) or not found.keys() >= set(of_which):
      raise ValueError(
        f'{folder / CHECKSUMS} lacks {" and ".join((what, *of_which))}. Delete '
        'the folder and prepare it again.'
      )
  return written


def _check_size(path: pathlib.Path, size: int):
  found = path.stat().st_size if path.is_file() else 0
  if found != size:
    raise ValueError(
      f'{path} ends at byte {found}, but {size} bytes were written. Delete '
      f'{path.parent} and prepare it again.'
    )


def _columns(folder: pathlib.Path, split: str) -> dict[str, np.ndarray]:
  """Returns the examples of a split by the names of their parts."""
  builder = open_folder(folder)
  check_records(builder.info.splits[split])
  source = builder.as_data_source(split)
  examples = [source[i] for i in range(len(source))]
  return {
    name: np.stack([example[name] for example in examples]).astype(
      feature.np_dtype  # which a scalar loses
    )
    for name, feature in builder.info.features.items()
  }


def _write_checksums(name: str, folder: pathlib.Path):
  sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
  sums = {}
  for split in SPLITS[1:]:
    columns = _columns(folder, split)
    check_expected(name, split, columns)
    sums[split] = checksum(columns)
  (folder / CHECKSUMS).write_text(
    json.dumps({'sha256': sums, 'bytes': sizes}, indent=2), encoding='utf-8'
  )


def _batch(columns: dict[str, np.ndarray]) -> Batch:
  """Undoes `builder.rows`."""
  return Batch(**{field: _part(columns, field) for field in Batch._fields})


def _part(columns, name: str) -> Any:
  """Returns an array, a pair (source, target), Segments, or None."""
  if name in columns:
    return columns[name]
  if f'{name}.start' in columns:
    return Segments(*(columns[f'{name}.{field}'] for field in Segments._fields))
  if any(key.startswith(f'{name}.') for key in columns):
    return tuple(_part(columns, f'{name}.{side}') for side in SIDES)
  return None
