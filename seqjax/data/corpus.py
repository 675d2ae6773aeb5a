"""Text as tokens: a corpus by path or name, cut in three, with a vocabulary."""

import functools
import pathlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

from seqjax.data.arrays import read_tokens, within
from seqjax.data.files import (
  MARK,
  PART,
  check_utf8,
  decoded,
  files_of,
  read_bytes,
)
from seqjax.data.prepared import data_source
from seqjax.data.subwords import Subwords, subwords_of, train_subwords
from seqjax.errors import LARGEST, Note, unknown
from seqjax.typing import SPLITS

CORPORA = ('python', 'tiny_shakespeare')
LEVELS = ('character', 'byte', 'subword', 'token')
DECODED = ('character', 'subword')  # levels that need UTF-8
CUTS = (0.0, 0.9, 0.95, 1.0)  # where train, validation and test lie


class Part(NamedTuple):
  """Contiguous tokens, and which of them begin another document."""

  tokens: Integer[np.ndarray, 'T']
  starts: Bool[np.ndarray, 'T']


class Vocabulary(NamedTuple):
  """The mapping from characters to tokens; bytes need none.

  Attributes:
    characters: entry i is the code point of token i + 1. None for bytes, and
      for files of token ids.
    count: the number of tokens in a file of token ids; None for texts.
  """

  characters: Integer[np.ndarray, 'C'] | None
  count: int | None = None

  @property
  def text(self) -> str:
    """Returns the characters that have tokens."""
    return '' if self.characters is None else ''.join(map(chr, self.characters))

  @property
  def size(self) -> int:
    if self.count is not None:
      return self.count
    return 256 if self.characters is None else 1 + len(self.characters)

  def encode(self, text: str) -> Integer[np.ndarray, 'T']:
    """Returns the tokens of a text; of numbers with spaces between them."""
    if self.count is not None:
      return np.array(text.split(), np.int64)
    if self.characters is None:
      return np.frombuffer(text.encode('utf-8'), np.uint8)
    return _tokens(_code_points(text), self.characters)

  def decode(self, tokens: Integer[np.ndarray, 'T']) -> str:
    tokens = within(tokens, self.size)
    if self.count is not None:
      return ' '.join(map(str, tokens.tolist()))
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
  vocabulary: Vocabulary | Subwords
  entropy: float


def vocabulary_of(text: str) -> Vocabulary:
  """Returns the vocabulary whose characters are those of a text."""
  return Vocabulary(np.unique(_code_points(text)).astype(np.int64))


class Skipped(Note):
  """A note that files of a folder were skipped because they are not text."""


@functools.lru_cache(maxsize=4)
def read_corpus(
  name: str,
  level: str,
  data_dir: str,
  include: str = '',
  dtype: str = 'uint16',
  vocabulary: str = '',
  vocabulary_size: int = 1024,
) -> Corpus:
  """Reads a corpus, once per process.

  The files are held as bytes and decoded in parts, three times. This uses at
  most six bytes of memory per byte of text.

  Args:
    name: of one of CORPORA, or a path.
    level: 'character', 'byte', 'subword' or 'token'.
    data_dir: where prepared data lie.
    include: a pattern of the files of a folder; if empty, all.
    dtype: of the numbers in a .bin file.
    vocabulary: the characters that have tokens, or the tokenizer of subwords;
      if empty, those of the training part.
    vocabulary_size: the number of subwords that are fitted to that part.

  Raises:
    FileNotFoundError: it is not there.
    ModuleNotFoundError: subwords take a package that is not installed.
    ValueError: a file is empty or not UTF-8, or all of them are too short.

  Warns:
    Skipped: a folder has files that are not text.
  """
  if level == 'token':
    return _of_numbers(name, dtype)
  documents = _documents(name, level, data_dir, include)
  if level == 'subword':
    return _of_subwords(documents, name, vocabulary, vocabulary_size)
  sizes = [sum(map(len, _values(text, level))) for text in documents]
  cuts = [int(cut * sum(sizes)) for cut in CUTS]
  if cuts[1] == 0:
    raise ValueError(
      f'{name} has {sum(sizes)} {level}s, too few to be split into train, '
      'validation and test.'
    )
  counts = _counts(documents, level, cuts[1])
  characters = None
  if level == 'character':
    characters = (
      vocabulary_of(vocabulary).characters
      if vocabulary
      else np.flatnonzero(counts)
    )
  tokens = _all_tokens(documents, level, characters, sum(sizes))
  starts = np.zeros(len(tokens), bool)
  starts[np.cumsum(sizes)[:-1]] = True
  parts = {
    split: Part(tokens[begin:end], starts[begin:end])
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  known = counts if characters is None else counts[characters]
  if not known.any():
    raise ValueError(
      f'{name} has no character in its training part that is in the vocabulary.'
    )
  shares = known[known > 0] / known.sum()
  return Corpus(parts, Vocabulary(characters), float(-shares @ np.log2(shares)))


def _of_numbers(path: str, dtype: str) -> Corpus:
  """Opens a file of tokens as a corpus of one document; they stay on disk."""
  tokens = read_tokens(path, dtype)
  least, most = int(tokens.min()), int(tokens.max())
  if least < 0 or most > LARGEST:
    raise ValueError(
      f'{path} should hold tokens from 0 on, but holds {least}..{most}.'
    )
  cuts = [int(cut * len(tokens)) for cut in CUTS]
  if cuts[1] == 0:
    raise ValueError(
      f'{path} has {len(tokens)} tokens, too few to be split into train, '
      'validation and test.'
    )
  parts = {
    split: Part(tokens[begin:end], np.zeros(end - begin, bool))
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  shares = np.zeros(most + 1)
  for begin in range(0, cuts[1], PART):
    part = tokens[begin : min(begin + PART, cuts[1])].astype(np.int64)
    shares += np.bincount(part, minlength=most + 1) / cuts[1]
  shares = shares[shares > 0]
  entropy = float(-shares @ np.log2(shares))
  return Corpus(parts, Vocabulary(None, most + 1), entropy)


def _of_subwords(
  documents: list[bytes], name: str, vocabulary: str, vocabulary_size: int
) -> Corpus:
  """Cuts documents by their characters, and each part into subwords.

  A subword never reaches from one part, or document, into another.
  """
  texts = [content.decode('utf-8') for content in documents]
  ends = np.cumsum([len(text) for text in texts])
  cuts = [int(cut * int(ends[-1])) for cut in CUTS]
  if cuts[1] == 0:
    raise ValueError(
      f'{name} has {ends[-1]} characters, too few to be split into train, '
      'validation and test.'
    )
  pieces = {
    split: _between(texts, begin, end)
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }
  if vocabulary:
    subwords = subwords_of(vocabulary)
  else:
    training = [text for _, text in pieces['train']]
    subwords = train_subwords(training, vocabulary_size)
  parts = {split: _part(subwords, found) for split, found in pieces.items()}
  shares = np.bincount(parts['train'].tokens) / len(parts['train'].tokens)
  shares = shares[shares > 0]
  return Corpus(parts, subwords, float(-shares @ np.log2(shares)))


def _between(texts: list[str], begin: int, end: int) -> list[tuple[bool, str]]:
  """Returns what lies between two places of texts that follow one another.

  Each piece comes with whether another text begins with it.
  """
  found, place = [], 0
  for text in texts:
    piece = text[max(begin - place, 0) : max(end - place, 0)]
    if piece:
      found.append((0 < place and begin <= place, piece))
    place += len(text)
  return found


def _part(subwords: Subwords, pieces: list[tuple[bool, str]]) -> Part:
  """Returns the subwords of pieces, and where another document begins."""
  tokens = [subwords.encode(text) for _, text in pieces]
  starts = [np.zeros(len(encoded), bool) for encoded in tokens]
  for (another, _), start in zip(pieces, starts, strict=True):
    start[0] = another
  if not pieces:
    return Part(subwords.encode(''), np.zeros(0, bool))
  return Part(np.concatenate(tokens), np.concatenate(starts))


def _documents(
  name: str, level: str, data_dir: str, include: str
) -> list[bytes]:
  """Returns the texts of a corpus, none of them empty."""
  if name == 'python':
    library = pathlib.Path(sysconfig.get_path('stdlib'))
    modules = sorted(path for path in library.glob('*.py'))
    return [read_bytes(path) for path in modules if path.stat().st_size]
  if name == 'tiny_shakespeare':
    parts = [data_source(name, split, data_dir)[0]['text'] for split in SPLITS]
    return [b''.join(parts)]
  if name == 'lm1b':
    raise ValueError(
      'The corpus lm1b does not fit into memory: it is read a sentence at a '
      "time, by the task TASKS['lm1b']."
    )
  try:
    files = files_of(name, include)
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'{error} {unknown("corpus", name, CORPORA)}'
    ) from error
  alone = pathlib.Path(name).expanduser().is_file()
  return _read_one(files[0], level) if alone else _read_all(files, name, level)


def _read_one(file: pathlib.Path, level: str) -> list[bytes]:
  """Reads a file that was named, and must be right."""
  content = read_bytes(file).removeprefix(MARK)
  if not content:
    raise ValueError(f'{file} is empty but for its byte order mark.')
  if level in DECODED:
    check_utf8(content, file)
  return [content]


def _read_all(files: list[pathlib.Path], name: str, level: str) -> list[bytes]:
  """Reads the files of a folder that are text and not empty."""
  found, skipped = [], []
  for file in files:
    content = read_bytes(file) if file.stat().st_size else b''
    content = content.removeprefix(MARK)
    if content and not _is_text(content, level):
      skipped.append(file)
    elif content:
      found.append(content)
  if not found:
    raise ValueError(
      f'Each of the {len(files)} files of {name} is empty or not text.'
    )
  if skipped:
    warnings.warn(
      f'{len(skipped)} of the {len(files)} files of {name} are not text and '
      f'were skipped, for example {skipped[0]}.',
      Skipped,
      stacklevel=2,
    )
  return found


def _is_text(content: bytes, level: str) -> bool:
  """Tells text from what is not: no zero byte, and UTF-8 for characters."""
  if b'\0' in content:
    return False
  try:
    if level in DECODED:
      check_utf8(content, '')
  except ValueError:
    return False
  return True


def _values(content: bytes, level: str) -> Iterator[Integer[np.ndarray, 'T']]:
  """Yields the bytes of a document, or its code points in parts."""
  if level == 'byte':
    for begin in range(0, len(content), PART):
      yield np.frombuffer(content[begin : begin + PART], np.uint8)
  else:
    yield from map(_code_points, decoded(content))


def _counts(
  documents: list[bytes], level: str, size: int
) -> Integer[np.ndarray, 'V']:
  """Counts each value among the first `size`."""
  counts = np.zeros(256 if level == 'byte' else sys.maxunicode + 1, np.int64)
  for part in _parts(documents, level):
    part, size = part[:size], size - len(part[:size])
    found = np.bincount(part)
    counts[: len(found)] += found
  return counts


def _all_tokens(documents, level: str, characters, size: int):
  """Returns the tokens of all documents in one array."""
  if characters is None:
    return np.concatenate([np.frombuffer(text, np.uint8) for text in documents])
  tokens, place = np.empty(size, np.min_scalar_type(len(characters))), 0
  for part in _parts(documents, level):
    tokens[place : place + len(part)] = _tokens(part, characters)
    place += len(part)
  return tokens


def _parts(documents, level: str) -> Iterator[Integer[np.ndarray, 'T']]:
  for text in documents:
    yield from _values(text, level)


def _code_points(text: str) -> Integer[np.ndarray, 'T']:
  return np.frombuffer(text.encode('utf-32-le'), np.uint32)


def _tokens(code_points, characters) -> Integer[np.ndarray, 'T']:
  """Returns 1 + the index among the sorted characters; 0 for others."""
  index = np.searchsorted(characters, code_points)
  index = np.minimum(index, len(characters) - 1)
  found = characters[index] == code_points
  small = np.min_scalar_type(len(characters))
  return np.where(found, index + 1, 0).astype(small)
