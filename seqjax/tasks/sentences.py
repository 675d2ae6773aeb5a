"""Sentences of a corpus that does not fit into memory, a byte at a time."""

import dataclasses
import functools
import os
import pathlib
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Int, Integer

from seqjax.data.files import data_folder, needs
from seqjax.data.prepared import REAL, data_source
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.options import at_least
from seqjax.tasks.task import Language
from seqjax.typing import SPLITS, Array, Batch, Segments, Spec, TaskShape

COUNTS = 'byte_counts.npy'
PARTS = {'train': 'train[:99%]', 'validation': 'train[99%:]', 'test': 'test'}


@dataclasses.dataclass(frozen=True)
class Sentences(Language):
  """The next byte of news sentences, each by itself in a padded row.

      inputs   / I _ s e e . 0
      targets  I _ s e e . / -      (/ is a newline, byte 10; - has weight 0)

  The 1 billion word benchmark (Chelba et al., 2013) as TFDS's `lm1b`, prepared
  in `data_dir`: its training part but for the last 1 % of it, that 1 %, and its
  test part. Read by random access through Grain, which shuffles every epoch
  without a list of its indices.

  A sentence is preceded and followed by a newline and cut after `length` bytes.
  Chance is the unigram entropy of the training split's targets, by counts that
  `count_bytes` writes beside the data: `seqjax-prepare-data --prepare=lm1b`
  calls it. Without them it is not known.

  Attributes:
    length: T, in bytes.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  length: int = 128
  data_dir: str = ''

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  on_device: ClassVar[bool] = False
  input: ClassVar[Spec] = Spec((), vocab=256)
  output: ClassVar[Spec] = Spec((), vocab=256)
  ceiling: ClassVar[None] = None

  def __post_init__(self):
    at_least(self, length=1)

  @property
  def chance(self) -> float | None:
    """In bits a byte."""
    path = _counts_path(self.data_dir)
    if not path.is_file():
      return None
    counts = _read_counts(path)[: self.length].sum(axis=0)
    shares = counts[counts > 0] / counts.sum()
    return float(-shares @ np.log2(shares))

  def encode(self, text: str) -> Int[np.ndarray, 'T']:
    """The bytes of a text."""
    return np.frombuffer(text.encode('utf-8'), np.uint8).astype(np.int32)

  def decode(self, tokens: Integer[Array, 'T']) -> str:
    """The text of bytes; what is none becomes U+FFFD."""
    return bytes(np.asarray(tokens).tolist()).decode('utf-8', errors='replace')

  def batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Sentences as NumPy arrays, padded at the end.

    Raises:
      FileNotFoundError: the data are not here; says how they get here.
    """
    if split not in SPLITS:
      raise ValueError(unknown('split', split, SPLITS))
    source = _shuffled(split, self.data_dir, epochs.seed(key, split, 0)[0])
    begin = int(step) * batch_size
    sentences = [source[begin + i]['text'] for i in range(batch_size)]
    tokens = np.zeros((batch_size, self.length + 1), np.int32)
    lengths = np.empty(batch_size, int)
    for row, sentence in enumerate(sentences):
      line = (b'\n' + sentence + b'\n')[: self.length + 1]
      tokens[row, : len(line)] = np.frombuffer(line, np.uint8)
      lengths[row] = len(line) - 1
    valid = np.arange(self.length)[None] < lengths[:, None]
    return Batch(
      inputs=np.where(valid, tokens[:, :-1], 0),
      targets=np.where(valid, tokens[:, 1:], 0),
      weights=valid.astype(np.float32),
      segments=Segments(np.zeros_like(valid), valid),
    )


def count_bytes(data_dir: str = '') -> pathlib.Path:
  """Counts how often each byte is a target at each position, whatever T.

  Reads the training split once, at some 10,000 sentences a second: of 30
  million, for about an hour. What is there is kept.

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
def _shuffled(split: str, data_dir: str, seed: int) -> Any:
  """The sentences of a split in the order of its epochs, without end."""
  with needs('data'):
    import grain

  source = data_source('lm1b', PARTS[split], data_dir)
  return grain.MapDataset.source(source).shuffle(seed=seed).repeat()
