"""A fixed map from keys to values, which no row shows."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Memorization(Classification):
  """The value of the key before, by a map that is the same for all rows.

  With 8 keys (0 to 7), each of which has one of 8 values, and the token 8,
  which asks for it, in 10 positions:

      inputs   7 8 6 8 1 8 6 8 3 8
      targets  - 7 - 2 - 1 - 2 - 6      (- has weight 0)

  Keys are uniform, with replacement. The map from keys to values is one to one,
  and a function of `seed`. Values never stand in the inputs, so the map can
  only be learned from the targets of training; validation and test have the
  same map and other rows.

  Poli et al., "Mechanistic Design and Scaling of Hybrid Architectures", 2024:
  memorization of MAD, where there are 127 keys and a training set of 256 rows.

  Attributes:
    num_keys: the number of different keys, and of their values.
    length: T, in positions; even.
    seed: fixes the map.
  """

  num_keys: int = 128
  length: int = 32
  seed: int = 0

  reference: ClassVar[str] = 'Poli et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_keys=2, length=2)
    if self.length % 2:
      raise ValueError(
        'Memorization is made of keys and questions and needs an even length, '
        f'but length={self.length} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_keys + 1)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_keys)

  @property
  def chance(self) -> float:
    return 1 / self.num_keys

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return self.length // 2 * math.log2(self.num_keys)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    keys = integers(key, (batch_size, self.length // 2), 0, self.num_keys)
    asked = jnp.full_like(keys, self.num_keys)
    blank = jnp.zeros((batch_size, self.length), jnp.int32)
    return Batch(
      inputs=jnp.stack([keys, asked], axis=-1).reshape(blank.shape),
      targets=blank.at[:, 1::2].set(self._values()[keys]),
      weights=blank.at[:, 1::2].set(1).astype(jnp.float32),
    )

  def _values(self) -> Int[Array, 'C']:
    """Returns the value of every key."""
    key = jax.random.key(self.seed, impl='threefry2x32')
    return jax.random.permutation(key, self.num_keys).astype(jnp.int32)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, by the inputs and the map."""
    blank = jnp.zeros_like(batch.inputs)
    return blank.at[:, 1::2].set(self._values()[batch.inputs[:, ::2]])
