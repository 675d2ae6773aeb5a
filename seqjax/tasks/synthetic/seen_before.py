"""Repetition of tokens, which only a state can notice."""

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
class SeenBefore(Classification):
  """Repetition: 1 where the row had this token before, 0 where it had not.

  With 6 symbols, in 10 positions:

      inputs   5 2 0 2 4 1 0 5 1 4
      targets  0 0 0 1 0 0 1 1 1 1

  Tokens are uniform and independent, so a network that sees one at a time
  without a state can do no better than one that sees nothing. Chance knows the
  position: at t (from 0) the answer is yes with probability
  p = 1 - (1 - 1/num_symbols)^t, and chance is the mean of max(p, 1 - p).

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  `Batch.group` is the distance to the last time the token was seen, in
  positions, and 0 where it was not.

  Attributes:
    num_symbols: the number of different tokens.
    length: T, in positions.
  """

  num_symbols: int = 32
  length: int = 64

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  output: ClassVar[Spec] = Spec((), vocab=2)
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, length=2)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    new = [(1 - 1 / self.num_symbols) ** t for t in range(self.length)]
    return sum(max(p, 1 - p) for p in new) / self.length

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return self.length * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    inputs = integers(key, (batch_size, self.length), 0, self.num_symbols)
    distances = self._distances(inputs)
    return Batch(
      inputs,
      targets=(distances > 0).astype(jnp.int32),
      weights=jnp.ones(inputs.shape, jnp.float32),
      group=distances,
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    return (self._distances(batch.inputs) > 0).astype(jnp.int32)

  def _distances(self, inputs):
    """Measures from every token back to its last occurrence; 0 without one."""
    symbol = jnp.arange(self.num_symbols, dtype=jnp.int32)[None]

    def look_back(ages, token):
      age = jnp.take_along_axis(ages, token[:, None], axis=1)[:, 0]
      ages = jnp.where(ages > 0, ages + 1, 0)
      return jnp.where(symbol == token[:, None], 1, ages), age

    ages = jnp.zeros((len(inputs), self.num_symbols), jnp.int32)
    _, distances = jax.lax.scan(look_back, ages, inputs.T)
    return distances.T
