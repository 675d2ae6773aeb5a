"""Subwords: byte pairs that were merged, the most frequent ones first.

Sennrich, Haddow & Birch, "Neural Machine Translation of Rare Words with Subword
Units", 2016, on bytes, as Hugging Face's tokenizers merges them.
"""

import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from seqjax.data.arrays import within
from seqjax.errors import needs

FEWEST = 256  # tokens: every byte has one
AT_ONCE = 2**20  # characters that are merged at a time


class Subwords(NamedTuple):
  """The mapping from texts to subwords.

  Attributes:
    definition: the tokenizer, as bytes of the JSON of Hugging Face's
      tokenizer.json.
    sizes: the number of bytes of each token.
  """

  definition: UInt8[np.ndarray, 'N']
  sizes: Integer[np.ndarray, 'C']

  @property
  def text(self) -> str:
    """Returns the tokenizer as JSON."""
    return self.definition.tobytes().decode('utf-8')

  @property
  def size(self) -> int:
    return len(self.sizes)

  def encode(self, text: str) -> Integer[np.ndarray, 'T']:
    """Returns the tokens of a text."""
    return self.encode_parts([text])

  def encode_parts(self, texts: Iterable[str]) -> Integer[np.ndarray, 'T']:
    """Returns the tokens of texts, one after the other."""
    tokenizer = _tokenizer(self.text)
    small = np.min_scalar_type(self.size)
    tokens = [
      np.array(tokenizer.encode(part, add_special_tokens=False).ids, small)
      for part in _parts(texts)
    ]
    return np.concatenate(tokens) if tokens else np.empty(0, small)

  def decode(self, tokens: Integer[np.ndarray, 'T']) -> str:
    tokens = within(tokens, self.size)
    return _tokenizer(self.text).decode(
      tokens.tolist(), skip_special_tokens=False
    )


def train_subwords(texts: Iterable[str], size: int) -> Subwords:
  """Returns the subwords of texts, `size` of them or all that there are.

  Raises:
    ModuleNotFoundError: the extra `tokenizers` is not installed.
  """
  with needs('tokenizers'):
    import tokenizers
  from tokenizers import decoders, models, pre_tokenizers, trainers

  tokenizer = tokenizers.Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=size,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  tokenizer.train_from_iterator(_parts(texts), trainer)
  return subwords_of(tokenizer.to_str())


def subwords_of(definition: str) -> Subwords:
  """Returns the subwords of a tokenizer.json.

  Raises:
    ModuleNotFoundError: the extra `tokenizers` is not installed.
    ValueError: it is no tokenizer that merges bytes.
  """
  found = _tokenizer(definition).get_vocab()
  tokens = sorted(found, key=found.__getitem__)
  letters = {token for token in tokens if len(token) == 1}
  if sorted(found.values()) != list(range(len(found))) or letters != _letters():
    raise ValueError(
      'A tokenizer of bytes has a token for each of the 256 bytes, numbered '
      f'from 0 on, but this one has {len(tokens)} tokens, of which '
      f'{len(letters & _letters())} are bytes.'
    )
  # A byte is written as one letter, so letters count bytes.
  sizes = np.array([len(token) for token in tokens], np.int32)
  return Subwords(np.frombuffer(definition.encode('utf-8'), np.uint8), sizes)


def _letters() -> set[str]:
  """Returns the letters that bytes are written as, inside a tokenizer."""
  from tokenizers import pre_tokenizers

  return set(pre_tokenizers.ByteLevel.alphabet())


@functools.lru_cache(maxsize=8)
def _tokenizer(definition: str) -> Any:
  with needs('tokenizers'):
    import tokenizers
  try:
    kind = json.loads(definition)['model']['type']
    if kind == 'BPE':
      return tokenizers.Tokenizer.from_str(definition)
  except Exception as error:  # whatever the library raises for its formats
    raise ValueError(
      f'This is no tokenizer.json of byte pairs: {definition[:40]!r}.'
    ) from error
  raise ValueError(
    f'This should be a tokenizer of byte pairs (BPE), but is one of {kind}.'
  )


def _parts(texts: Iterable[str]) -> Iterator[str]:
  """Yields texts in parts, since a token takes much memory while it is made."""
  for text in texts:
    for begin in range(0, len(text), AT_ONCE):
      yield text[begin : begin + AT_ONCE]
