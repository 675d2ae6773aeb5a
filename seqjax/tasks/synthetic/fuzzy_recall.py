"""Recall of pairs whose keys and values are words of several tokens."""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.errors import LARGEST
from seqjax.tasks.synthetic._random import distinct, integers
from seqjax.tasks.synthetic._repeats import first_equal, latest_equal
from seqjax.tasks.task import Classification, at_least, at_most, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape


class _Pairs(NamedTuple):
  """Keys and values, the tokens that each has, and where they came before."""

  keys: Int[Array, 'B L K']
  key_sizes: Int[Array, 'B L']
  values: Int[Array, 'B L V']
  value_sizes: Int[Array, 'B L']
  before: Int[Array, 'B L']


@dataclasses.dataclass(frozen=True)
class FuzzyRecall(Classification):
  """The value of a key that came before; both are words of several tokens.

  With 3 tokens of keys (0 to 2) and 3 of values (3 to 5, as answers 0 to 2),
  words of one or two of them, and padding (6) in front, in 15 positions:

      inputs   6 0 1 3 5 2 4 0 3 2 4 0 1 3 5
      targets  - - - - - - - - - 1 - - 0 2 -      (- has weight 0)

  A word consists of different tokens: its size is uniform, and so are the words
  of that size. In validation and test all keys are of the largest size. Which
  value belongs to which key is sampled anew for every row. Every token of a
  value is asked for, after those before it, but where its key comes for the
  first time. Pairs are added as long as they leave room for one of the largest
  size; then one of them, uniformly sampled, comes again. What is left of a row
  is padding, at its beginning.

  Poli et al., "Mechanistic Design and Scaling of Hybrid Architectures", 2024:
  fuzzy in-context recall of MAD. It departs from their code in three details.
  Training, too, scores the questions alone. Answers are numbered among the
  values. And the last pair is one of those of the row, where theirs is added to
  the row at a random place.

  `Batch.group` is the distance from a pair back to the one before with the same
  key, in positions.

  Attributes:
    num_keys: the number of tokens that keys are made of.
    num_values: the number of tokens that values are made of.
    key_size: the largest number of tokens of a key.
    value_size: the largest number of tokens of a value.
    length: T, in positions.
  """

  num_keys: int = 7
  num_values: int = 8
  key_size: int = 3
  value_size: int = 3
  length: int = 128

  reference: ClassVar[str] = 'Poli et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_keys=2, num_values=2, key_size=1, value_size=1)
    at_most(self, key_size=self.num_keys, value_size=self.num_values)
    at_least(self, length=2 * self._largest)
    if (self.num_keys + 1) ** self.key_size > LARGEST:
      raise ValueError(
        f'FuzzyRecall numbers its keys below 2^31, but num_keys={self.num_keys}'
        f' and key_size={self.key_size} make more.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_keys + self.num_values + 1)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_values)

  @property
  def chance(self) -> float:
    return 1 / self.num_values

  @property
  def bits(self) -> float:
    """Returns a lower bound of -log2 P(two rows of a split are the same).

    It counts the keys that every row has, in validation and test.
    """
    pairs = self.length // self._largest - 1
    return pairs * math.log2(math.perm(self.num_keys, self.key_size))

  @property
  def _largest(self) -> int:
    """Returns the largest number of tokens of a pair."""
    return self.key_size + self.value_size

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    shortest = 1 if split == 'train' else self.key_size
    pair_key, last_key = jax.random.split(split_key(key, split, step))
    pairs = self._pairs(pair_key, batch_size, shortest)
    ends = jnp.cumsum(pairs.key_sizes + pairs.value_sizes, axis=1)
    room = self.length - self._largest
    ends = jnp.where(ends <= room, ends, self.length + 1)  # sorted as before
    count = jnp.sum(ends <= room, axis=1, dtype=jnp.int32)
    last = integers(last_key, (batch_size,), 0, count)
    return self._laid_out(self._asked_again(pairs, last, count), ends)

  def _pairs(self, key, batch_size: int, shortest: int) -> _Pairs:
    """Samples more pairs than a row can have; a key keeps its first value."""
    key_key, value_key, *size_keys = jax.random.split(key, 4)
    shape = batch_size, (self.length - self._largest) // (shortest + 1)
    count = math.prod(shape)
    keys = distinct(key_key, count, self.key_size, 0, self.num_keys)
    values = distinct(value_key, count, self.value_size, 0, self.num_values)
    key_sizes, value_sizes = (
      integers(size_key, shape, least, most + 1)
      for size_key, least, most in zip(
        size_keys, (shortest, 1), (self.key_size, self.value_size), strict=True
      )
    )
    keys, values = keys.reshape(*shape, -1), values.reshape(*shape, -1)
    codes = self._codes(keys, key_sizes)
    first = first_equal(codes)
    return _Pairs(
      keys,
      key_sizes,
      jnp.take_along_axis(values, first[..., None], axis=1),
      jnp.take_along_axis(value_sizes, first, axis=1),
      latest_equal(codes),
    )

  def _codes(self, keys, sizes) -> Int[Array, 'B L']:
    """Returns a number for each key, which no other one has."""
    place = jnp.arange(self.key_size, dtype=jnp.int32)
    base = jnp.array([(self.num_keys + 1) ** i for i in range(self.key_size)])
    kept = place[None, None] < sizes[..., None]
    digits = jnp.where(kept, keys + 1, 0) * base.astype(jnp.int32)[None, None]
    return jnp.sum(digits, axis=-1, dtype=jnp.int32)

  def _asked_again(self, pairs: _Pairs, last, count) -> _Pairs:
    """Puts pair `last` at index `count`, after the pairs of the row."""
    codes = self._codes(pairs.keys, pairs.key_sizes)
    index = jnp.arange(codes.shape[1], dtype=jnp.int32)[None]
    asked = jnp.take_along_axis(codes, last[:, None], axis=1)
    same = (codes == asked) & (index < count[:, None])
    before = jnp.max(jnp.where(same, index, -1), axis=1)
    here = jnp.arange(codes.shape[1] + 1)[None] == count[:, None]

    def add(leaf, again):
      longer = jnp.concatenate([leaf, leaf[:, -1:]], axis=1)
      mask = here.reshape(here.shape + (1,) * (leaf.ndim - 2))
      return jnp.where(mask, again, longer)

    def asked_of(leaf):
      place = last.reshape((-1,) + (1,) * (leaf.ndim - 1))
      return add(leaf, jnp.take_along_axis(leaf, place, axis=1))

    *leaves, earlier = pairs
    return _Pairs(*map(asked_of, leaves), add(earlier, before[:, None]))

  def _laid_out(self, pairs: _Pairs, ends) -> Batch:
    """Returns the tokens of pairs that end there, the last one at the end."""
    starts = jnp.pad(ends, ((0, 0), (1, 0)))
    count = jnp.sum(ends <= self.length, axis=1, keepdims=True)

    def of_pair(leaf, index):
      return jnp.take_along_axis(leaf, index, axis=1)

    last = of_pair(pairs.key_sizes + pairs.value_sizes, count)
    padding = self.length - of_pair(starts, count) - last
    place = jnp.arange(self.length, dtype=jnp.int32)[None] - padding
    pair = jax.vmap(lambda ends, x: jnp.searchsorted(ends, x, side='right'))(
      ends, place
    ).astype(jnp.int32)
    offset = place - of_pair(starts, pair)
    within = offset - of_pair(pairs.key_sizes, pair)
    key, value = (
      of_pair(
        words.reshape(len(words), -1),
        pair * words.shape[2] + jnp.clip(inside, 0, words.shape[2] - 1),
      )
      for words, inside in ((pairs.keys, offset), (pairs.values, within))
    )
    before = of_pair(pairs.before, pair)
    asked = (within >= 0) & (before >= 0) & (place >= 0)
    distance = of_pair(starts, pair) - of_pair(starts, jnp.maximum(before, 0))
    token = jnp.where(within < 0, key, self.num_keys + value)
    padded = self.num_keys + self.num_values
    return Batch(
      inputs=jnp.where(place < 0, padded, token),
      targets=_next(jnp.where(asked, value, 0)),
      weights=_next(asked).astype(jnp.float32),
      group=_next(jnp.where(asked, distance, 0)),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the token of a value that came before, after the same key."""
    tokens = batch.inputs
    place = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    is_key = tokens < self.num_keys
    begins = is_key & ~jnp.pad(is_key, ((0, 0), (1, 0)))[:, :-1]
    begun, ended = (
      jax.lax.cummax(jnp.where(mask, place, -1), axis=1)
      for mask in (begins, is_key)
    )
    digit = jnp.arange(self.key_size, dtype=jnp.int32)
    within = begun[..., None] + digit[None, None]
    flat = jnp.clip(within, 0, tokens.shape[1] - 1).reshape(len(tokens), -1)
    words = jnp.take_along_axis(tokens, flat, axis=1).reshape(within.shape)
    code = self._codes(words, ended - begun + 1)
    num_read = place - ended  # tokens of the value, this one included
    same = code[:, :, None] == code[:, None, :]
    wanted = num_read[:, :, None] + 1 == num_read[:, None, :]
    earlier = (place[0, None] <= place[0, :, None])[None]
    found = jnp.where(same & wanted & earlier, place[:, None, :], -1)
    answer = jnp.take_along_axis(tokens, jnp.max(found, axis=2), axis=1)
    return jnp.clip(answer - self.num_keys, 0, self.num_values - 1)


def _next(values):
  """Returns what stands one position later; 0 at the end."""
  return jnp.pad(values, ((0, 0), (0, 1)))[:, 1:]
