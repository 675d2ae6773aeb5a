"""Folders that TFDS writes: made whole, opened, read and checked."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from seqjax.data.files import read_text
from seqjax.errors import needs

METADATA = ('dataset_info.json', 'features.json')
AT_ONCE = 1024  # records


@contextlib.contextmanager
def scratch(root: pathlib.Path, name: str) -> Iterator[str]:
  """Makes a folder to write data of this name in, and removes it afterwards.

  Folders that a killed run has left are removed first.
  """
  prefix = f'incomplete-{name}-'
  for left in root.glob(f'{prefix}*'):
    shutil.rmtree(left)
  with tempfile.TemporaryDirectory(dir=root, prefix=prefix) as folder:
    yield folder


def open_folder(folder: pathlib.Path) -> Any:
  """Returns the TFDS builder that reads a folder.

  Raises:
    FileNotFoundError: one of the files that describe the data is missing.
    ValueError: one of them is not what TFDS writes; says which, and where.
  """
  with needs('data'):
    import array_record.python  # noqa: F401  (which TFDS imports late)
    import tensorflow_datasets as tfds
  for name in METADATA:
    read_json(folder / name)
  try:
    return tfds.builder_from_directory(folder)
  except Exception as error:  # whatever a file makes TFDS stumble over
    raise ValueError(
      f'{folder} holds a {" or ".join(METADATA)} that TFDS cannot use: {error}'
    ) from error


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Reads a JSON object that is not empty.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it holds something else; says where it ends to be JSON.
  """
  try:
    content = json.loads(read_text(path))
  except json.JSONDecodeError as error:
    raise ValueError(
      f'{path} is no JSON at character {error.pos}: {error.msg}.'
    ) from error
  if not content or not isinstance(content, dict):
    raise ValueError(
      f'{path} should describe the data by a JSON object, but holds {content}.'
    )
  return content


def check_records(split: Any):
  """Reads every record of a split, each against the hash beside it.

  Args:
    split: of the info of a TFDS builder.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file cannot be read to its end, or holds more or fewer
      records than it should; says which, and where.
  """
  for part in split.file_instructions:
    _check_file(part.filename, part.examples_in_shard)


def _check_file(path: str, count: int):
  from array_record.python.array_record_module import ArrayRecordReader

  if not os.path.isfile(path):
    raise FileNotFoundError(f'There is no file {path}.')
  begin = 0
  try:
    reader = ArrayRecordReader(path)
    found = reader.num_records()
    for begin in range(0, min(found, count), AT_ONCE):
      reader.read(begin, min(begin + AT_ONCE, found))
    reader.close()
  except RuntimeError as error:
    raise ValueError(
      f'{path} cannot be read from example {begin} on: {error}'
    ) from error
  if found != count:
    raise ValueError(
      f'{path} holds {found} examples, but {count} were written.'
    )
