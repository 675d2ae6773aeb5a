"""Text, a character, byte or subword at a time: the next one is predicted."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Integer

from seqjax.data.corpus import (
  LEVELS,
  Corpus,
  Part,
  Vocabulary,
  read_corpus,
  vocabulary_of,
)
from seqjax.data.files import checksum
from seqjax.data.subwords import FEWEST, Subwords, subwords_of
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.task import Language, at_least
from seqjax.typing import SPLITS, Array, Batch, Segments, Spec, TaskShape

SAMPLINGS = ('random', 'sequential')


@dataclasses.dataclass(frozen=True)
class Text(Language):
  """The next character at every position.

  In a corpus that begins "the time machine", with length 5:

      inputs   t h e _ t
      targets  h e _ t i      each is the input one position later

  A corpus is one file, the files of a folder in the order of their names (each
  a document; empty ones, hidden ones and what is no text left out, links
  followed), or a name:

      python            the top-level modules of the standard library of this
                        Python: several MB of real text on every machine
      tiny_shakespeare  from TFDS, see `seqjax.data.prepared`

  It is cut in three where 90 % and 95 % of its characters lie before: train,
  validation, test. It is read once per process.

  The vocabulary is that of the training part; token 0 stands for all other
  characters. Those are not predicted (weight 0), for a model has no way to
  learn what they are. Nor is the first character of a document from the one
  before. Bytes are their own tokens, and all are known.

  Random sampling: an epoch cuts the text into windows from an offset that is
  sampled anew, and shuffles them. Sequential sampling: every row reads on where
  it stood in the batch before, from an offset sampled anew with every epoch, so
  that a carry can be handed on; every `batches_per_epoch` batches it wraps, and
  `segments.start` marks the first position. In both, `segments.start` marks
  where a document begins inside a row.

  `Batch.group` is the position in the window: how much context there was.
  Chance is the unigram entropy of the training part.

  Attributes:
    corpus: a path, or one of the names above.
    level: 'character', 'byte', 'subword', or 'token' for a file of numbers: a
      .npy file, or a .bin file without a header.
    sampling: 'random' or 'sequential'.
    length: T, in tokens of that level.
    data_dir: where prepared TFDS data lie; empty for TFDS's own folder.
    include: a pattern of the files of a folder, such as *.py; empty for all
      that are text.
    token_dtype: of the numbers in a .bin file.
    vocabulary_size: the number of subwords; fewer if the training part has
      none left to be merged.
    vocabulary: the characters that have tokens, as those of the text that a
      model was trained on, or the tokenizer of subwords, as JSON; empty for
      those of the training part.
  """

  corpus: str = 'python'
  level: str = 'character'
  sampling: str = 'random'
  length: int = 64
  data_dir: str = ''
  include: str = ''
  token_dtype: str = 'uint16'
  vocabulary_size: int = 1024
  vocabulary: str = dataclasses.field(default='', repr=False)

  reference: ClassVar[str] = 'any file or folder'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  on_device: ClassVar[bool] = False
  chance_name: ClassVar[str] = 'unigram entropy'
  ceiling: ClassVar[None] = None

  def __post_init__(self):
    for what, known in {'level': LEVELS, 'sampling': SAMPLINGS}.items():
      if getattr(self, what) not in known:
        raise ValueError(unknown(what, getattr(self, what), known))
    at_least(self, length=1, vocabulary_size=FEWEST)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self._tokens().size)

  @property
  def output(self) -> Spec:
    return self.input

  @property
  def sequential(self) -> bool:
    """Tells if a row continues where it ended in the batch before."""
    return self.sampling == 'sequential'

  @property
  def chance(self) -> float:
    """Returns the unigram entropy, in bits per character, byte or token.

    That of subwords is in bits per byte.
    """
    corpus = self._read()
    if self.level != 'subword':
      return corpus.entropy
    sizes = corpus.vocabulary.sizes[corpus.parts['train'].tokens]
    return corpus.entropy / float(np.mean(sizes))

  @property
  def fingerprint(self) -> int:
    """Returns a checksum of the text."""
    corpus = self._read()
    return checksum(jax.tree.leaves((corpus.parts, corpus.vocabulary)))

  @property
  def fitted(self) -> dict[str, Any]:
    vocabulary = self._tokens().text
    return {'vocabulary': vocabulary} if vocabulary else {}

  def with_fitted(self, values: Mapping[str, Any]) -> 'Text':
    vocabulary = values.get('vocabulary')
    if set(values) != {'vocabulary'} or not isinstance(vocabulary, str):
      raise ValueError(
        f'It fits a vocabulary, which is a string, but {dict(values)} was '
        'given.'
      )
    if self.level == 'subword':
      subwords_of(vocabulary)
    return dataclasses.replace(self, vocabulary=vocabulary)

  def score(
    self, outputs: Float[Array, 'B T C'], batch: Batch
  ) -> tuple[Float[Array, 'B T'], Float[Array, 'B T']]:
    """Returns -log2 of the probability given to each target.

    A subword's is shared out among its bytes, which are its weight.
    """
    bits, weights = super().score(outputs, batch)
    if self.level != 'subword':
      return bits, weights
    known = jnp.where(weights != 0, batch.targets, 0)
    sizes = jnp.asarray(self._tokens().sizes, jnp.float32)[known]
    return bits / sizes, weights * sizes

  def batches_per_epoch(self, batch_size: int, split: str = 'train') -> int:
    """Returns the number of batches after which sequential sampling wraps.

    Raises:
      ValueError: the split is too short for a window in every row.
    """
    size = len(self._part(split).tokens)
    batches = (size - self.length) // batch_size // self.length
    if batches < 1:
      raise ValueError(
        f'The {split} part of {self.corpus} holds {size} {self.level}s, too '
        f'few for {batch_size} rows that are read one after the other in '
        f'windows of {self.length}.'
      )
    return batches

  def share_known(self, split: str) -> float:
    """Returns the share of a part's targets that count: not unknown."""
    return _share_known(self._read_arguments(), split)

  def encode(self, text: str) -> Int[np.ndarray, 'T']:
    """Returns the tokens of a text."""
    return self._tokens().encode(text).astype(np.int32)

  def decode(self, tokens: Integer[Array, 'T']) -> str:
    """Returns the text of tokens; unknown ones become U+FFFD."""
    return self._tokens().decode(np.asarray(tokens))

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    part, step = self._part(split), int(step)
    sample = self._random if self.sampling == 'random' else self._sequential
    begin = sample(key, step, batch_size, split)
    index = begin[:, None] + np.arange(self.length + 1)[None]
    tokens, starts = part.tokens[index].astype(np.int32), part.starts[index]
    known = (tokens > 0) | (self.level != 'character')
    position = np.arange(self.length, dtype=np.int32)[None]
    return Batch(
      inputs=tokens[:, :-1],
      targets=tokens[:, 1:],
      weights=(known & ~starts)[:, 1:].astype(np.float32),
      segments=self._segments(starts[:, :-1], step, split),
      group=np.repeat(position, batch_size, axis=0),
    )

  def _segments(self, starts, step, split) -> Segments | None:
    """Returns None for shuffled windows of one document."""
    sequential = self.sampling == 'sequential'
    if not sequential and not self._part(split).starts.any():
      return None
    segments = Segments(starts.copy(), np.ones_like(starts))
    if sequential and step % self.batches_per_epoch(len(starts), split) == 0:
      segments.start[:, 0] = True
    return segments

  def _random(self, key, step, batch_size, split):
    """Returns the begins of an epoch's windows, shuffled."""
    size = len(self._part(split).tokens)
    if size <= self.length:
      raise ValueError(
        f'The {split} part of {self.corpus} ends at {self.level} {size}, too '
        f'early for a window of {self.length} and the one that follows it.'
      )
    return epochs.windows(key, step, batch_size, split, size, self.length)

  def _sequential(self, key, step, batch_size, split):
    """Returns the begins of windows; row i reads the i-th long stretch."""
    batches = self.batches_per_epoch(batch_size, split)
    stretch = (len(self._part(split).tokens) - self.length) // batch_size
    epoch, place = divmod(step, batches)
    offset = epochs.seed(key, split, epoch)[0] % self.length
    return offset + stretch * np.arange(batch_size) + place * self.length

  def _read(self) -> Corpus:
    return read_corpus(*self._read_arguments())

  def _read_arguments(self) -> tuple[str | int, ...]:
    return (
      self.corpus,
      self.level,
      self.data_dir,
      self.include,
      self.token_dtype,
      self.vocabulary,
      self.vocabulary_size,
    )

  def _tokens(self) -> Vocabulary | Subwords:
    """Returns what tokens mean; one that is given takes no corpus to know."""
    if self.level == 'byte':
      return Vocabulary(None)
    if self.level == 'character' and self.vocabulary:
      return vocabulary_of(self.vocabulary)
    if self.level == 'subword' and self.vocabulary:
      return subwords_of(self.vocabulary)
    return self._read().vocabulary

  def _part(self, split: str) -> Part:
    if split not in SPLITS:
      raise ValueError(unknown('split', split, SPLITS))
    return self._read().parts[split]


@functools.lru_cache(maxsize=16)
def _share_known(arguments: tuple[str | int, ...], split: str) -> float:
  """Returns the share of tokens that have one before them and are known."""
  _, level, *_ = arguments
  tokens, starts = read_corpus(*arguments).parts[split]
  known = (tokens > 0) | (level != 'character')
  return float(np.mean((known & ~starts)[1:])) if len(tokens) > 1 else 1.0
