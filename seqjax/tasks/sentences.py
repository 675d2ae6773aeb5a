"""Sentences of a corpus that does not fit into memory, a byte at a time."""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Int, Integer

from seqjax.data.lm1b import byte_counts, shuffled_sentences
from seqjax.tasks import epochs
from seqjax.tasks.task import Language, at_least
from seqjax.typing import Array, Batch, Segments, Spec, TaskShape


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
  `seqjax-prepare-data --prepare=lm1b` writes beside the data. Without them it
  is not known.

  Attributes:
    length: T, in bytes.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  length: int = 128
  data_dir: str = ''

  reference: ClassVar[str] = 'Chelba et al., 2013'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  on_device: ClassVar[bool] = False
  chance_name: ClassVar[str] = 'unigram entropy'
  input: ClassVar[Spec] = Spec((), vocab=256)
  output: ClassVar[Spec] = Spec((), vocab=256)
  ceiling: ClassVar[None] = None

  def __post_init__(self):
    at_least(self, length=1)

  @property
  def chance(self) -> float | None:
    """Returns the unigram entropy, in bits per byte."""
    counts = byte_counts(self.data_dir)
    if counts is None:
      return None
    counts = counts[: self.length].sum(axis=0)
    shares = counts[counts > 0] / counts.sum()
    return float(-shares @ np.log2(shares))

  def encode(self, text: str) -> Int[np.ndarray, 'T']:
    """Returns the bytes of a text."""
    return np.frombuffer(text.encode('utf-8'), np.uint8).astype(np.int32)

  def decode(self, tokens: Integer[Array, 'T']) -> str:
    """Returns the text of bytes; invalid ones become U+FFFD."""
    return bytes(np.asarray(tokens).tolist()).decode('utf-8', errors='replace')

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    seed = epochs.seed(key, split, 0)[0]
    source = shuffled_sentences(split, self.data_dir, seed)
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
