"""Looking up what followed: one special token, or one of many keys."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import distinct, integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class InductionHeads(Classification):
  """The token after the special one, the last time it was seen.

  With 8 symbols (0 to 7) and the special token 8, in 12 positions:

      inputs   6 4 1 0 8 1 7 2 6 5 3 8
      target   1

  Symbols, and the place of the first special token, are uniform. Fu et al.,
  "Hungry Hungry Hippos: Towards Language Modeling with State Space Models",
  2023, section 3.1 (there 20 tokens, 30 positions); Gu & Dao, "Mamba:
  Linear-Time Sequence Modeling with Selective State Spaces", 2023, section
  4.1.2 (16 tokens, 256 positions).

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  `Batch.group` is the distance between the two special tokens, in positions.

  Attributes:
    num_symbols: the number of tokens beside the special one.
    length: T, in positions.
  """

  num_symbols: int = 16
  length: int = 64

  reference: ClassVar[str] = 'Fu et al., 2023'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, length=3)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 1)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    others = self.length - 2  # and as many places of the first special token
    return math.log2(others) + others * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    symbol_key, place_key = jax.random.split(key)
    symbols = integers(
      symbol_key, (batch_size, self.length), 0, self.num_symbols
    )
    place = integers(place_key, (batch_size, 1), 0, self.length - 2)
    position = jnp.arange(self.length)[None]
    special = (position == place) | (position == self.length - 1)
    return Batch(
      inputs=jnp.where(special, self.num_symbols, symbols),
      targets=jnp.take_along_axis(symbols, place + 1, axis=1)[:, 0],
      weights=jnp.ones(batch_size, jnp.float32),
      group=self.length - 1 - place[:, 0],
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    first = jnp.argmax(batch.inputs, axis=1, keepdims=True)
    return jnp.take_along_axis(batch.inputs, first + 1, axis=1)[:, 0]


@dataclasses.dataclass(frozen=True)
class Needle(Classification):
  """A needle in a haystack: the word after a key that was seen once.

  With 6 words (0 to 5), 4 keys (6 to 9) and 2 needles, in 13 positions:

      inputs   4 0 8 4 4 5 3 0 2 5 6 4 6
      target   4

  A needle is a key and the word after it, which looks like all other words.
  Needles begin at even positions; their keys differ, and the last position
  asks for one of them. Words, keys and places are uniform. Kamradt, "Needle
  In A Haystack", 2023; with several needles, Hsieh et al., "RULER: What's the
  Real Context Size of Your Long-Context Language Models?", 2024, section 3.1
  (multi-keys).

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  `Batch.group` is the distance from the question back to its needle, in
  positions.

  Attributes:
    num_words: the number of words, and so of answers.
    num_keys: the number of keys.
    num_needles: the number of needles per row.
    length: T, in positions.
  """

  num_words: int = 16
  num_keys: int = 16
  num_needles: int = 4
  length: int = 64

  reference: ClassVar[str] = 'Kamradt, 2023'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_words=2, num_needles=1)
    at_least(self, num_keys=self.num_needles, length=2 * self.num_needles + 1)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_words + self.num_keys)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_words)

  @property
  def chance(self) -> float:
    return 1 / self.num_words

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    places = math.comb((self.length - 1) // 2, self.num_needles)
    keys = math.perm(self.num_keys, self.num_needles)
    words = self.length - 1 - self.num_needles
    hidden = math.log2(self.num_needles * places * keys)
    return hidden + words * math.log2(self.num_words)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    word_key, key_key, place_key = jax.random.split(key, 3)
    words = integers(word_key, (batch_size, self.length), 0, self.num_words)
    keys = distinct(
      key_key, batch_size, self.num_needles, self.num_words, self.input.vocab
    )
    places = 2 * distinct(
      place_key, batch_size, self.num_needles, 0, (self.length - 1) // 2
    )
    inputs = jnp.put_along_axis(words, places, keys, axis=1, inplace=False)
    asked = places[:, :1]
    return Batch(
      inputs=inputs.at[:, -1].set(keys[:, 0]),
      targets=jnp.take_along_axis(words, asked + 1, axis=1)[:, 0],
      weights=jnp.ones(batch_size, jnp.float32),
      group=self.length - 1 - asked[:, 0],
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    same = batch.inputs == batch.inputs[:, -1:]
    first = jnp.argmax(same, axis=1, keepdims=True)
    return jnp.take_along_axis(batch.inputs, first + 1, axis=1)[:, 0]
