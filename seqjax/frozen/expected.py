"""What tasks are known to draw, by checksum, so that a change is noticed."""

import hashlib
import json
import pathlib

import jax
import numpy as np

from seqjax.tasks.catalog import TASKS
from seqjax.typing import SPLITS, Batch

VERSION = '1.1.0'  # of the frozen sets; to be raised when a task draws anew
EXPECTED = pathlib.Path(__file__).with_name('checksums.json')
SIDES = ('source', 'target')  # of unaligned inputs and segments
BATCH_SIZE = 64


def columns_of(batch: Batch) -> dict[str, np.ndarray]:
  """The arrays of a batch by name: 'inputs', 'segments.valid', ..."""
  return {
    '.'.join(map(_name, path)): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
  }


def checksum(columns: dict[str, np.ndarray]) -> str:
  """SHA-256 over names, types, shapes and values."""
  digest = hashlib.sha256()
  for name, column in sorted(columns.items()):
    digest.update(f'{name} {column.dtype} {column.shape} '.encode())
    digest.update(np.ascontiguousarray(column).tobytes())
  return digest.hexdigest()


def token_tasks() -> list[str]:
  """Names of tasks that draw tokens, which no machine rounds differently."""
  tasks = {name: make() for name, make in TASKS.items()}
  return [
    name
    for name, task in tasks.items()
    if task.on_device and None not in (task.input.vocab, task.output.vocab)
  ]


def drawn_checksums(name: str) -> dict[str, str]:
  """By split, over the first examples that a task draws."""
  task, key = TASKS[name](), jax.random.key(0)
  return {
    split: checksum(columns_of(task.batch(key, 0, BATCH_SIZE, split)))
    for split in SPLITS[1:]
  }


def write_expected(path: pathlib.Path = EXPECTED):
  """Writes down what every task of tokens draws, with the version."""
  sums = {name: drawn_checksums(name) for name in token_tasks()}
  content = json.dumps({'version': VERSION, 'sha256': sums}, indent=2)
  unfinished = path.with_suffix('.incomplete')
  unfinished.write_text(content + '\n', encoding='utf-8')
  unfinished.replace(path)


def check_expected(name: str, split: str, columns: dict[str, np.ndarray]):
  """Refuses a split of a task that does not begin as it is known to.

  Raises:
    ValueError: the examples, or the version, are others than were written down.
  """
  written = json.loads(EXPECTED.read_text('utf-8'))
  if written['version'] != VERSION:
    raise ValueError(
      f'{EXPECTED} is of version {written["version"]}, but sets of version '
      f'{VERSION} are frozen; write it by seqjax-prepare-data --checksums.'
    )
  first = {key: column[:BATCH_SIZE] for key, column in columns.items()}
  if name in written['sha256']:
    known = written['sha256'][name][split]
    if checksum(first) != known:
      raise ValueError(
        f'The first {BATCH_SIZE} {split} examples of {name} are not those of '
        f'version {VERSION}: what draws them has changed. Raise the version in '
        'seqjax/frozen/expected.py, and write the checksums by '
        'seqjax-prepare-data --checksums.'
      )


def _name(entry) -> str:
  """A field's name, or the place in a pair (source, target)."""
  if isinstance(entry, jax.tree_util.GetAttrKey):
    return entry.name
  return SIDES[entry.idx]
