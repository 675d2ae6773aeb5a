"""A label that one token of a row decides, and nothing else."""

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
class LabelAtPosition(Classification):
  """The token at one fixed position.

  With 8 symbols and position 2, in 8 positions:

      inputs   5 0 2 0 4 7 2 7
      target   2

  Tokens are uniform and independent, so whoever cuts the row before the
  position is at chance. Validation and test need rows of 24 bits or more, or
  training would have theirs.

  Attributes:
    num_symbols: the number of different tokens.
    position: of the token that is the label, from 0.
    length: T, in positions.
  """

  num_symbols: int = 8
  position: int = 16
  length: int = 32

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  traced: ClassVar[tuple[str, ...]] = ('position',)
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, position=0)
    at_least(self, length=self.position + 1)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return self.length * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    inputs = integers(key, (batch_size, self.length), 0, self.num_symbols)
    return Batch(
      inputs,
      targets=inputs[:, self.position],
      weights=jnp.ones(batch_size, jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    return batch.inputs[:, self.position]
