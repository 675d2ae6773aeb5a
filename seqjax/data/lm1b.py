"""The 1 billion word benchmark as TFDS prepares it: sentences, byte counts."""

import functools
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Int

from seqjax.data.files import data_folder
from seqjax.data.prepared import REAL, data_source
from seqjax.errors import needs

COUNTS = 'byte_counts.npy'
PARTS = {'train': 'train[:99%]', 'validation': 'train[99%:]', 'test': 'test'}


def count_bytes(data_dir: str = '') -> pathlib.Path:
  """Counts how often each byte is a target at each position, for every T.

  Reads the training split once, at some 10,000 sentences per second: 30
  million take about an hour. Counts that exist are kept.

  Returns:
    The file, beside the data: counts [longest, 256].

  Raises:
    FileNotFoundError: the data are not here.
  """
  path = _counts_path(data_dir)
  if path.is_file():
    return path
  counts = np.zeros((0, 256), np.int64)
  for example in data_source('lm1b', PARTS['train'], data_dir):
    targets = np.frombuffer(example['text'] + b'\n', np.uint8)
    missing = len(targets) - len(counts)
    if missing > 0:
      counts = np.pad(counts, [(0, missing), (0, 0)])
    counts[np.arange(len(targets)), targets] += 1
  unfinished = path.with_suffix('.incomplete')
  try:
    with unfinished.open('wb') as file:
      np.save(file, counts)
    os.replace(unfinished, path)
  finally:
    unfinished.unlink(missing_ok=True)
  return path


def _counts_path(data_dir: str) -> pathlib.Path:
  return data_folder(data_dir) / 'lm1b' / REAL['lm1b'] / COUNTS


def byte_counts(data_dir: str) -> Int[np.ndarray, 'T 256'] | None:
  """Returns what `count_bytes` wrote, or None where it has written nothing.

  Raises:
    ValueError: the file holds something else.
  """
  path = _counts_path(data_dir)
  return _read_counts(path) if path.is_file() else None


@functools.lru_cache(maxsize=2)
def _read_counts(path: pathlib.Path) -> Int[np.ndarray, 'T 256']:
  try:
    return np.load(path)
  except (ValueError, EOFError) as error:
    raise ValueError(
      f'{path} is not what was counted ({error}). Delete it and prepare lm1b '
      'again.'
    ) from error


@functools.lru_cache(maxsize=8)
def shuffled_sentences(split: str, data_dir: str, seed: int) -> Any:
  """Returns the sentences of a split in epoch after epoch, without end."""
  with needs('data'):
    import grain

  source = data_source('lm1b', PARTS[split], data_dir)
  return grain.MapDataset.source(source).shuffle(seed=seed).repeat()
