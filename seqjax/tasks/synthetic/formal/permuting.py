"""Strings whose symbols come out in another order, or twice.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendices
A.2 and A.3.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic._strings import Question, Rewriting
from seqjax.tasks.task import at_least
from seqjax.typing import Array


@dataclasses.dataclass(frozen=True)
class Rearrangement(Rewriting):
  """A string rearranged: the place of a symbol alone decides its source.

  Attributes:
    num_symbols: the number of different symbols in strings.
  """

  num_symbols: int = 2

  def __post_init__(self):
    super().__post_init__()
    at_least(self, num_symbols=2)

  @property
  def num_answers(self) -> int:
    return self.num_symbols

  def _positions_for(self, length):
    return 2 * length

  def _source(
    self, place: Int[Array, '1 W'], lengths: Int[Array, 'B 1']
  ) -> Int[Array, 'B W']:
    """Returns the places in the string of the symbols of the answer."""
    raise NotImplementedError

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    counts = self._positions_for(lengths) - lengths
    most = self._positions_for(self.length) - self.length
    source = self._source(jnp.arange(most)[None], lengths[:, None])
    source = jnp.clip(source, 0, self.length - 1)
    return jnp.take_along_axis(strings, source, axis=1), counts

  def _expected(self, length: int) -> tuple[float, float]:
    asked = float(self._positions_for(length) - length)
    return asked / self.num_symbols, asked


@dataclasses.dataclass(frozen=True)
class ReverseString(Rearrangement):
  """A string, backwards.

  inputs   0 0 1 2 2 2
  targets  - - - 1 0 0      (2 is the blank; - has weight 0)
  """

  def _source(
    self, place: Int[Array, '1 W'], lengths: Int[Array, 'B 1']
  ) -> Int[Array, 'B W']:
    return lengths - 1 - place


@dataclasses.dataclass(frozen=True)
class OddsFirst(Rearrangement):
  """The first, third, fifth ... symbol, then the second, fourth ...

      inputs   0 0 1 1 0 1 2 2 2 2 2 2
      targets  - - - - - - 0 1 0 0 1 1      (2 is the blank)

  As in the paper; its code puts the second, fourth ... first.
  """

  def _source(
    self, place: Int[Array, '1 W'], lengths: Int[Array, 'B 1']
  ) -> Int[Array, 'B W']:
    odds = (lengths + 1) // 2
    return jnp.where(place < odds, 2 * place, 2 * (place - odds) + 1)


@dataclasses.dataclass(frozen=True)
class DuplicateString(Rearrangement):
  """A string, twice.

  inputs   0 1 1 2 2 2 2 2 2
  targets  - - - 0 1 1 0 1 1      (2 is the blank)
  """

  length: int = 28

  def _positions_for(self, length):
    return 3 * length

  def _source(
    self, place: Int[Array, '1 W'], lengths: Int[Array, 'B 1']
  ) -> Int[Array, 'B W']:
    return place % lengths


@dataclasses.dataclass(frozen=True)
class BucketSort(Rewriting):
  """A string, sorted.

      inputs   4 0 2 0 5 5 5 5
      targets  - - - - 0 0 2 4      (5 is the blank)

  Attributes:
    num_symbols: the number of different symbols in strings.
  """

  num_symbols: int = 5

  most_counted: ClassVar[int] = 512

  def __post_init__(self):
    super().__post_init__()
    at_least(self, num_symbols=2)

  @property
  def num_answers(self) -> int:
    return self.num_symbols

  def _positions_for(self, length):
    return 2 * length

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    after = jnp.arange(strings.shape[1])[None] >= lengths[:, None]
    ordered = jnp.sort(jnp.where(after, self.num_symbols, strings), axis=1)
    return jnp.where(after, 0, ordered), lengths

  def _expected(self, length: int) -> tuple[float, float]:
    chosen = order_statistics(length, self.num_symbols)
    return float(chosen.max(axis=1).sum()), float(length)


def order_statistics(count: int, num_symbols: int) -> np.ndarray:
  """Returns P(the j-th smallest of `count` uniform symbols is s) as [j, s].

  The j-th (from 0) is at most s where more than j of them are.
  """
  chosen = np.arange(count + 1)
  ways = np.array([math.comb(count, k) / 2**count for k in chosen])
  below = np.arange(1, num_symbols)[:, None] / num_symbols
  # 2^count goes to the powers, which alone would underflow.
  share = ways * (2 * below) ** chosen * (2 - 2 * below) ** (count - chosen)
  more = 1 - np.cumsum(share, axis=1)[:, :-1]
  at_most = np.concatenate([np.zeros((1, count)), more, np.ones((1, count))])
  return np.diff(at_most, axis=0).T


@dataclasses.dataclass(frozen=True)
class MissingDuplicate(Question):
  """The one symbol that is missing from the repetition of a string.

  The missing symbol shows as 2. Strings of odd length end with the token 3.

      inputs   1 0 1 1 2 1 3      101 twice
      target   0
  """

  min_length: int = 2

  least_length: ClassVar[int] = 2
  num_symbols: ClassVar[int] = 4
  num_answers: ClassVar[int] = 2

  def _bits(self, length: int) -> float:
    return length // 2 + math.log2(length // 2 * 2)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    symbol_key, missing_key = jax.random.split(key)
    half = lengths[:, None] // 2
    symbols = integers(symbol_key, (len(lengths), self.length), 0, 2)
    place = jnp.arange(self.length)[None]
    strings = jnp.take_along_axis(symbols, place % half, axis=1)
    missing = integers(missing_key, half.shape, 0, 2 * half)
    strings = jnp.where(place == missing, 2, strings)
    return jnp.where(place == 2 * half, 3, strings)

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    half = lengths // 2
    missing = jnp.argmax(strings == 2, axis=1).astype(jnp.int32)
    twin = jnp.where(missing < half, missing + half, missing - half)
    return jnp.take_along_axis(strings, twin[:, None], axis=1)[:, 0]
