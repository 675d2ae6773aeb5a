"""Associative recall: many keys, their values, and many questions."""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import distinct, integers
from seqjax.tasks.task import Classification, at_least, at_most
from seqjax.typing import Array, Batch, Spec, TaskShape


class Bindings(NamedTuple):
  """The beginning of a row, and P questions about it."""

  tokens: Int[Array, 'B S']
  asked: Int[Array, 'B P']
  answers: Int[Array, 'B P']
  positions: Int[Array, 'B P']


@dataclasses.dataclass(frozen=True)
class _AssociativeRecall(Classification):
  """Bindings, then questions among noise."""

  vocab: int = 512
  length: int = 64
  num_pairs: int = 4
  power: float = 0.01

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_pairs=1, vocab=4 * self.num_bindings)
    at_least(self, power=-16)
    at_most(self, power=16)  # beyond, float32 cannot tell the rates apart
    least = 2 * (self.num_bindings + self.num_pairs)
    if self.length < least or self.length % 2:
      raise ValueError(
        f'{type(self).__name__} with {self.num_bindings} bindings and '
        f'{self.num_pairs} questions needs an even length of at least {least}, '
        f'but length={self.length} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.vocab)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.vocab - self.num_keys)

  @property
  def chance(self) -> float:
    return 1 / self.output.vocab

  @property
  def num_keys(self) -> int:
    """Tokens below this are keys, the others values."""
    return self.vocab // 2

  @property
  def num_bindings(self) -> int:
    """Counts the bindings of keys to values in a row."""
    raise NotImplementedError

  @property
  def bits(self) -> float:
    """Returns a lower bound of -log2 P(two samples are the same row).

    It counts bindings and noise; the places of questions can but add to them.
    """
    begun = 2 * self.num_bindings + self.num_pairs
    noise = (self.length - begun) * math.log2(self.vocab)
    return math.log2(self._num_bound()) + noise

  def _num_bound(self) -> int:
    """Counts the different bindings, all equally likely."""
    raise NotImplementedError

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    binding_key, place_key, noise_key = jax.random.split(key, 3)
    bound = self._bindings(binding_key, batch_size)
    turn = self._turns(place_key, batch_size)
    begin = 2 * self.num_bindings
    places = (slice(None), slice(begin, None, 2))
    noise = integers(noise_key, (batch_size, self.length), 0, self.vocab)
    question, answer, position = (
      jnp.take_along_axis(of_pair, turn, axis=1, mode='fill', fill_value=-1)
      for of_pair in (bound.asked, bound.answers, bound.positions)
    )
    asked = turn < self.num_pairs
    inputs = noise.at[:, :begin].set(bound.tokens)
    inputs = inputs.at[places].set(jnp.where(asked, question, noise[places]))
    blank = jnp.zeros_like(inputs)
    here = jnp.arange(begin, self.length, 2, dtype=jnp.int32)[None]
    return Batch(
      inputs,
      targets=blank.at[places].set(jnp.where(asked, answer, 0)),
      weights=blank.at[places].set(asked).astype(jnp.float32),
      group=blank.at[places].set(jnp.where(asked, here - position, 0)),
    )

  def _bindings(self, key, batch_size: int) -> Bindings:
    """Samples the first 2 * num_bindings positions."""
    raise NotImplementedError

  def _turns(self, key, batch_size: int) -> Int[Array, 'B L']:
    """Samples the turn in which each of L places is chosen.

    Arrivals at rates w come in the order of sampling without replacement, with
    probabilities proportional to w. They are ranked by comparison, which is
    faster than sorting.
    """
    gap = 1 + jnp.arange(self.length // 2 - self.num_bindings)
    rate = gap.astype(jnp.float32) ** (self.power - 1)
    unit = jax.random.exponential(key, (batch_size, len(gap)), jnp.float32)
    arrival = unit / rate[None]
    mine, other = arrival[:, :, None], arrival[:, None, :]
    nearer = (gap[None] < gap[:, None])[None]  # breaks ties
    before = (other < mine) | ((other == mine) & nearer)
    return jnp.sum(before, axis=-1, dtype=jnp.int32)

  def _look_up(self, inputs, tokens):
    """Returns the value that each token was bound to last; 0 without one."""
    values = jnp.zeros_like(tokens)
    for at in range(0, 2 * self.num_bindings, 2):
      same = tokens == inputs[:, at : at + 1]
      values = jnp.where(same, inputs[:, at + 1 : at + 2], values)
    return values


@dataclasses.dataclass(frozen=True)
class MQAR(_AssociativeRecall):
  """The value of a key: keys are bound, then queried one by one among noise.

  With 8 keys (0 to 7), 8 values (8 to 15, as answers 0 to 7), 2 pairs, of
  which one is bound anew (num_overwrites=1), in 14 positions:

      inputs   4 12  2 15  4  8  4  1 13  3  2  6  7  3
      targets  -  -  -  -  -  -  0  -  -  -  7  -  -  -   (- has weight 0)

  Keys, and values, differ within a row. The last binding of a key counts.
  Every key is queried once, an even number of positions after the bindings;
  the first in the row chooses its place first, with P(place i) proportional
  to i^(power - 1), i = 1, 2 ..., among those that are left. Noise is sampled
  from the whole vocabulary, and a key in it is not scored.

  Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language
  Models", 2023. Two details depart from it: answers are numbered among the
  values, where the paper has logits over the whole vocabulary, and token 0 is
  a key like the others.

  Validation and test need 24 bits of bindings and noise or more, or training
  would have their rows.

  `Batch.group` is the distance from a question back to the key whose value is
  queried, in positions.

  Attributes:
    vocab: the number of tokens; the first half are keys.
    length: T, in positions; even.
    num_pairs: the number of keys that are bound.
    power: of the law of gaps; 1 places questions uniformly.
    num_overwrites: the number of keys that are bound a second time.
  """

  num_overwrites: int = 0

  reference: ClassVar[str] = 'Arora et al., 2023'

  def __post_init__(self):
    at_least(self, num_overwrites=0)
    super().__post_init__()
    if self.num_overwrites > self.num_pairs:
      raise ValueError(
        'MQAR overwrites a key at most once, but '
        f'num_overwrites={self.num_overwrites} of num_pairs={self.num_pairs} '
        'keys were requested.'
      )

  @property
  def num_bindings(self) -> int:
    return self.num_pairs + self.num_overwrites

  def _num_bound(self) -> int:
    keys = math.perm(self.num_keys, self.num_pairs)
    values = math.perm(self.vocab - self.num_keys, self.num_bindings)
    return keys * values * math.perm(self.num_pairs, self.num_overwrites)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets wherever a bound key stands, from the inputs."""
    value = self._look_up(batch.inputs, batch.inputs)
    return jnp.maximum(value - self.num_keys, 0)

  def _bindings(self, key, batch_size: int) -> Bindings:
    key_key, value_key, again_key = jax.random.split(key, 3)
    keys = distinct(key_key, batch_size, self.num_pairs, 0, self.num_keys)
    values = distinct(
      value_key, batch_size, self.num_bindings, self.num_keys, self.vocab
    )
    again = distinct(
      again_key, batch_size, self.num_overwrites, 0, self.num_pairs
    )
    pair = jnp.arange(self.num_pairs, dtype=jnp.int32)[None, :, None]
    later = self.num_pairs + jnp.arange(self.num_overwrites, dtype=jnp.int32)
    later = jnp.where(again[:, None, :] == pair, later[None, None], pair)
    last = jnp.max(later, axis=-1, initial=0)
    last = jnp.maximum(last, pair[..., 0])
    bound = jnp.concatenate(
      [keys, jnp.take_along_axis(keys, again, axis=1)], axis=1
    )
    return Bindings(
      tokens=_alternate(bound, values),
      asked=keys,
      answers=jnp.take_along_axis(values, last, axis=1) - self.num_keys,
      positions=2 * last,
    )


@dataclasses.dataclass(frozen=True)
class CompositionalMQAR(_AssociativeRecall):
  """Two hops: the value of a key is a key, and its value is the answer.

  With 8 keys (0 to 7), 8 values (8 to 15, as answers 0 to 7) and 2 pairs of
  bindings, in 14 positions:

      inputs   4  3  5 15  3 12  2  5  4  3  7  6  2  3
      targets  -  -  -  -  -  -  -  -  4  -  -  -  7  -

  The bindings stand in random order, and only keys whose value is a key are
  queried. Keys, values, places and noise are sampled as in `MQAR`.

  `Batch.group` is the distance from a question back to its key, in positions.

  Attributes:
    vocab: the number of tokens; the first half are keys.
    length: T, in positions; even.
    num_pairs: the number of questions; there are twice as many bindings.
    power: of the law of gaps; 1 places questions uniformly.
  """

  @property
  def num_bindings(self) -> int:
    return 2 * self.num_pairs

  def _num_bound(self) -> int:
    keys = math.perm(self.num_keys, self.num_bindings)
    values = math.perm(self.vocab - self.num_keys, self.num_pairs)
    return keys * values * math.perm(self.num_bindings, self.num_pairs)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets wherever a key with two hops stands."""
    link = self._look_up(batch.inputs, batch.inputs)
    value = self._look_up(batch.inputs, link)
    return jnp.maximum(value - self.num_keys, 0)

  def _bindings(self, key, batch_size: int) -> Bindings:
    key_key, value_key, order_key = jax.random.split(key, 3)
    size = self.num_bindings
    keys = distinct(key_key, batch_size, size, 0, self.num_keys)
    asked, links = jnp.split(keys, 2, axis=1)
    values = distinct(
      value_key, batch_size, self.num_pairs, self.num_keys, self.vocab
    )
    order = distinct(order_key, batch_size, size, 0, size)
    bound_to = jnp.concatenate([links, values], axis=1)
    slots = jnp.argsort(order, axis=1).astype(jnp.int32)
    return Bindings(
      tokens=_alternate(
        jnp.take_along_axis(keys, order, axis=1),
        jnp.take_along_axis(bound_to, order, axis=1),
      ),
      asked=asked,
      answers=values - self.num_keys,
      positions=2 * slots[:, : self.num_pairs],
    )


def _alternate(first, second):
  """Returns first[0], second[0], first[1], second[1], ... of every row."""
  pairs = jnp.stack([first, second], axis=-1)
  return pairs.reshape(len(first), -1)
