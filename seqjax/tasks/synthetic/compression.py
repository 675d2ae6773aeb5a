"""A whole sequence in one vector, from which every symbol is read."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.ops import losses
from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Compression(Classification):
  """All symbols of a row, from what a model has at its last position.

  With 8 symbols (0 to 7) and the token 8 at the end, in 7 positions:

      inputs   5 0 2 0 4 7 8
      target   5 0 2 0 4 7          six answers, all at the last position

  Symbols are uniform and independent. Attention cannot look back when it
  answers: all answers are read from the one vector of the last position, so the
  model has to put the row into it.

  Poli et al., "Mechanistic Design and Scaling of Hybrid Architectures", 2024:
  compression of MAD. There the vector of the last position goes through a
  decoder of its own, an MLP that is given the vector plus the encoding of a
  position and returns the symbol of that position. Here the model's readout
  takes that place: one linear map from the vector to the logits of all
  positions, so that any model for many-to-one tasks can be asked. The token at
  the end, which is always the same, is not scored.

  `Batch.group` is the distance from the end back to the symbol, in positions.

  Attributes:
    num_symbols: the number of different symbols.
    length: T, in positions, with the token at the end.
  """

  num_symbols: int = 15
  length: int = 32

  reference: ClassVar[str] = 'Poli et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, length=2)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 1)

  @property
  def output(self) -> Spec:
    return Spec((self.length - 1,), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return (self.length - 1) * math.log2(self.num_symbols)

  def loss(
    self, outputs: Float[Array, 'B L C'], batch: Batch
  ) -> Float[Array, '']:
    weights = _for_all(batch.weights, batch.targets)
    return losses.cross_entropy(outputs, batch.targets, weights)

  def score(
    self, outputs: Float[Array, 'B L C'], batch: Batch
  ) -> tuple[Float[Array, 'B L'], Float[Array, 'B L']]:
    """Returns 1 for each right answer, else 0."""
    weights = _for_all(batch.weights, batch.targets)
    return losses.accuracy(outputs, batch.targets, weights)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    symbols = integers(key, (batch_size, self.length - 1), 0, self.num_symbols)
    end = jnp.full((batch_size, 1), self.num_symbols, jnp.int32)
    distance = jnp.arange(self.length - 1, 0, -1, dtype=jnp.int32)[None]
    return Batch(
      inputs=jnp.concatenate([symbols, end], axis=1),
      targets=symbols,
      weights=jnp.ones(batch_size, jnp.float32),
      group=jnp.broadcast_to(distance, symbols.shape),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B L']:
    """Returns the targets, from the inputs alone."""
    return batch.inputs[:, :-1]


def _for_all(weights, targets):
  """Returns the weight of each row for all of its answers."""
  return jnp.broadcast_to(weights[:, None], targets.shape)
