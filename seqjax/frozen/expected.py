"""Checksums of the examples that tasks sample, so that a change shows."""

import hashlib
import json
import pathlib

import jax
import numpy as np

from seqjax.tasks.catalog import TASKS
from seqjax.typing import SPLITS, Batch

VERSION = '1.2.0'  # of the frozen sets; raise it when a task samples anew
EXPECTED = pathlib.Path(__file__).with_name('checksums.json')
SIDES = ('source', 'target')  # of unaligned inputs and segments
BATCH_SIZE = 64


def columns_of(batch: Batch) -> dict[str, np.ndarray]:
  """Returns the arrays of a batch: 'inputs', 'segments.valid', ..."""
  return {
    '.'.join(map(_name, path)): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
  }


def checksum(columns: dict[str, np.ndarray]) -> str:
  """Returns the SHA-256 of names, types, shapes and values."""
  digest = hashlib.sha256()
  for name, column in sorted(columns.items()):
    digest.update(f'{name} {column.dtype} {column.shape} '.encode())
    digest.update(np.ascontiguousarray(column).tobytes())
  return digest.hexdigest()


def token_tasks() -> list[str]:
  """Names the tasks of tokens, which no machine rounds differently."""
  tasks = {name: make() for name, make in TASKS.items()}
  return [
    name
    for name, task in tasks.items()
    if task.on_device and None not in (task.input.vocab, task.output.vocab)
  ]


def sampled_checksums(name: str) -> dict[str, str]:
  """Returns the checksum of a task's first examples of each split."""
  task, key = TASKS[name](), jax.random.key(0)
  return {
    split: checksum(columns_of(task.batch(key, 0, BATCH_SIZE, split)))
    for split in SPLITS[1:]
  }


def write_expected(path: pathlib.Path = EXPECTED):
  """Writes the checksums of every task of tokens, with the version."""
  sums = {name: sampled_checksums(name) for name in token_tasks()}
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
        f'version {VERSION}: what samples them has changed. Raise the version '
        'in seqjax/frozen/expected.py, and write the checksums by '
        'seqjax-prepare-data --checksums.'
      )


def _name(entry) -> str:
  """Returns a field's name, or the place in a pair (source, target)."""
  if isinstance(entry, jax.tree_util.GetAttrKey):
    return entry.name
  return SIDES[entry.idx]
