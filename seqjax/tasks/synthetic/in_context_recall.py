"""Recall of pairs that come again within a row, with noise between them."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from seqjax.tasks.synthetic._random import coins, integers
from seqjax.tasks.synthetic._repeats import latest_equal
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class InContextRecall(Classification):
  """The value of a key that came before in the row, with the same value.

  With 4 keys (0 to 3), 4 values (4 to 7, as answers 0 to 3) and 2 tokens of
  noise (8 and 9), in 14 positions:

      inputs   1 6 3 4 8 9 1 6 0 7 3 4 1 6
      targets  - - - - - - 2 - - - 0 - 2 -      (- has weight 0)

  A row consists of pairs, a key and its value. Keys are uniform, with
  replacement; which value belongs to which key is sampled anew for every row,
  uniform and independent. Every key is a question but for its first time. The
  last one is uniform among those that came before, so that every row has a
  question. With noise, a pair is replaced by two tokens of noise with that
  probability; of those before the last, one is always kept.

  Poli et al., "Mechanistic Design and Scaling of Hybrid Architectures", 2024:
  in-context recall and, with noise, noisy in-context recall of MAD. It departs
  from their code in that training, too, scores the questions alone, and
  answers are numbered among the values.

  `Batch.group` is the distance from a question back to its key, in positions.

  Attributes:
    num_keys: the number of different keys.
    num_values: the number of different values.
    length: T, in positions; even.
    noise: the probability that a pair is noise.
    num_noise: the number of different tokens of noise, if there is noise.
  """

  num_keys: int = 8
  num_values: int = 8
  length: int = 128
  noise: float = 0.0
  num_noise: int = 16

  reference: ClassVar[str] = 'Poli et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_keys=2, num_values=2, length=4, noise=0, num_noise=1)
    if self.length % 2:
      raise ValueError(
        'InContextRecall is made of pairs and needs an even length, but '
        f'length={self.length} was given.'
      )
    if self.noise >= 1:
      raise ValueError(
        'InContextRecall needs a probability of noise below 1, but '
        f'noise={self.noise} was given.'
      )

  @property
  def input(self) -> Spec:
    noise = self.num_noise if self.noise else 0
    return Spec((), vocab=self.num_keys + self.num_values + noise)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_values)

  @property
  def chance(self) -> float:
    return 1 / self.num_values

  @property
  def bits(self) -> float:
    """Returns a lower bound of -log2 P(two samples are the same row).

    It leaves out values, the last pair, and one that is kept in each of the
    two; all others are the same key, or the same noise, independently.
    """
    kept, noise = 1 - self.noise, self.noise
    same = kept**2 / self.num_keys + (noise / self.num_noise) ** 2
    return -max(self.length // 2 - 3, 0) * math.log2(same)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    pair_key, value_key, last_key, noise_key = jax.random.split(key, 4)
    size = self.length // 2
    keys = integers(pair_key, (batch_size, size), 0, self.num_keys)
    value_of = integers(
      value_key, (batch_size, self.num_keys), 0, self.num_values
    )
    noisy, noise = self._noise(noise_key, batch_size)
    keys = keys.at[:, -1].set(self._last(last_key, keys, noisy))
    values = jnp.take_along_axis(value_of, keys, axis=1)
    index = jnp.arange(size, dtype=jnp.int32)[None]
    # No two tokens of noise are equal here: none of them is a question.
    before = latest_equal(jnp.where(noisy, self.num_keys + index, keys))
    asked = before >= 0
    pairs = jnp.stack([keys, self.num_keys + values], axis=-1)
    blank = jnp.zeros((batch_size, self.length), jnp.int32)
    return Batch(
      inputs=jnp.where(noisy[..., None], noise, pairs).reshape(blank.shape),
      targets=blank.at[:, ::2].set(jnp.where(asked, values, 0)),
      weights=blank.at[:, ::2].set(asked).astype(jnp.float32),
      group=blank.at[:, ::2].set(jnp.where(asked, 2 * (index - before), 0)),
    )

  def _noise(
    self, key, batch_size: int
  ) -> tuple[Bool[Array, 'B L'], Int[Array, 'B L 2']]:
    """Samples which pairs are noise, and what stands in their place."""
    coin_key, kept_key, token_key = jax.random.split(key, 3)
    size = self.length // 2
    kept = integers(kept_key, (batch_size, 1), 0, size - 1)
    index = jnp.arange(size)[None]
    noisy = coins(coin_key, self.noise, (batch_size, size))
    noisy &= (index != kept) & (index != size - 1)
    first = self.num_keys + self.num_values
    tokens = integers(
      token_key, (batch_size, size, 2), first, first + self.num_noise
    )
    return noisy, tokens

  def _last(self, key, keys, noisy) -> Int[Array, 'B']:
    """Samples one of the different keys before the last pair."""
    rows = jnp.arange(len(keys))[:, None]
    known = jnp.zeros((len(keys), self.num_keys), bool)
    known = known.at[rows, keys[:, :-1]].max(~noisy[:, :-1])
    up_to = jnp.cumsum(known, axis=1)
    rank = integers(key, (len(keys),), 0, up_to[:, -1])
    return jnp.argmax(up_to > rank[:, None], axis=1).astype(jnp.int32)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns what followed the same token the last time, as an answer."""
    before = latest_equal(batch.inputs)
    after = jnp.take_along_axis(batch.inputs, before + 1, axis=1)
    return jnp.clip(after - self.num_keys, 0, self.num_values - 1)
