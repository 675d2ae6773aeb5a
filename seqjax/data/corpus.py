"""Text as tokens: a corpus by path or name, cut in three, with a vocabulary."""

import functools
import pathlib
import sysconfig
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

from seqjax.data.files import files_of, read_text
from seqjax.data.prepared import data_source
from seqjax.errors import unknown
from seqjax.typing import SPLITS

CORPORA = ('python', 'tiny_shakespeare')
LEVELS = ('character', 'byte')
CUTS = (0.0, 0.9, 0.95, 1.0)  # where train, validation and test lie


class Part(NamedTuple):
  """Contiguous tokens, and which of them begin another document."""

  tokens: Integer[np.ndarray, 'T']
  starts: Bool[np.ndarray, 'T']


class Vocabulary(NamedTuple):
  """Characters and their tokens; of bytes, which are tokens, it has none.

  Attributes:
    characters: the code point of token i + 1; None where tokens are bytes.
  """

  characters: Integer[np.ndarray, 'C'] | None

  @property
  def text(self) -> str:
    """Returns the characters that have tokens."""
    return '' if self.characters is None else ''.join(map(chr, self.characters))

  @property
  def size(self) -> int:
    return 256 if self.characters is None else 1 + len(self.characters)

  def encode(self, text: str) -> Integer[np.ndarray, 'T']:
    if self.characters is None:
      return np.frombuffer(text.encode('utf-8'), np.uint8)
    return _tokens(_code_points(text), self.characters)

  def decode(self, tokens: Integer[np.ndarray, 'T']) -> str:
    tokens = np.asarray(tokens)
    outside = tokens[(tokens < 0) | (tokens >= self.size)]
    if outside.size:
      raise ValueError(
        f'Tokens of this corpus lie in 0..{self.size - 1}, but {outside[0]} '
        'was given.'
      )
    if self.characters is None:
      return bytes(tokens.tolist()).decode('utf-8', errors='replace')
    meant = np.concatenate([[0xFFFD], self.characters])
    return ''.join(map(chr, meant[tokens].tolist()))


class Corpus(NamedTuple):
  """A tokenised corpus: its parts by split, its vocabulary, its entropy.

  Attributes:
    parts: a Part for each split.
    vocabulary: what its tokens mean.
    entropy: of the unigrams of the training part, in bits per token.
  """

  parts: dict[str, Part]
  vocabulary: Vocabulary
  entropy: float


def vocabulary_of(text: str) -> Vocabulary:
  """Returns the vocabulary whose characters are those of a text."""
  return Vocabulary(np.unique(_code_points(text)).astype(np.int64))


@functools.lru_cache(maxsize=4)
def read_corpus(
  name: str, level: str, data_dir: str, vocabulary: str = ''
) -> Corpus:
  """Reads a corpus, once per process.

  Args:
    name: of one of CORPORA, or a path.
    level: 'character' or 'byte'.
    data_dir: where prepared data lie.
    vocabulary: the characters that have tokens; if empty, those of the training
      part.

  Raises:
    FileNotFoundError: it is not there.
    ValueError: a file is empty or not UTF-8, or all of them are too short.
  """
  documents = _documents(name, data_dir)
  if level == 'byte':
    encoded = [
      np.frombuffer(text.encode('utf-8'), np.uint8) for text in documents
    ]
  else:
    encoded = [_code_points(text) for text in documents]
  values = np.concatenate(encoded)
  starts = np.zeros(len(values), bool)
  starts[np.cumsum([len(text) for text in encoded])[:-1]] = True
  cuts = [int(cut * len(values)) for cut in CUTS]
  if cuts[1] == 0:
    raise ValueError(
      f'{name} ends at {level} {len(values)}, too early to be cut in three.'
    )
  counts = np.bincount(values[: cuts[1]])
  characters = None
  if level == 'character':
    characters = (
      vocabulary_of(vocabulary).characters
      if vocabulary
      else np.flatnonzero(counts)
    )
  tokens = values if characters is None else _tokens(values, characters)
  parts = {
    split: Part(tokens[begin:end], starts[begin:end])
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  known = counts if characters is None else np.bincount(tokens[: cuts[1]])[1:]
  if not known.any():
    raise ValueError(
      f'{name} has no character in its training part that is in the vocabulary.'
    )
  shares = known[known > 0] / known.sum()
  return Corpus(parts, Vocabulary(characters), float(-shares @ np.log2(shares)))


def _documents(name: str, data_dir: str) -> list[str]:
  """Returns the texts of a corpus, none of them empty."""
  if name == 'python':
    library = pathlib.Path(sysconfig.get_path('stdlib'))
    modules = sorted(path for path in library.glob('*.py'))
    return [read_text(path) for path in modules if path.stat().st_size]
  if name == 'tiny_shakespeare':
    parts = [data_source(name, split, data_dir)[0]['text'] for split in SPLITS]
    return [b''.join(parts).decode('utf-8')]
  if name == 'lm1b':
    raise ValueError(
      'The corpus lm1b does not fit into memory: it is read a sentence at a '
      "time, by the task TASKS['lm1b']."
    )
  try:
    return [read_text(path) for path in files_of(name)]
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'{error} {unknown("corpus", name, CORPORA)}'
    ) from error


def _code_points(text: str) -> Integer[np.ndarray, 'T']:
  return np.frombuffer(text.encode('utf-32-le'), np.uint32)


def _tokens(code_points, characters) -> Integer[np.ndarray, 'T']:
  """Returns 1 + the index among the sorted characters; 0 for others."""
  index = np.searchsorted(characters, code_points)
  index = np.minimum(index, len(characters) - 1)
  found = characters[index] == code_points
  small = np.min_scalar_type(len(characters))
  return np.where(found, index + 1, 0).astype(small)
