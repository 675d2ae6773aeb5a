"""The adding problem: two numbers of many, and their sum."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Regression, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Adding(Regression):
  """The sum of the two marked numbers.

  In 8 positions (each has a number and a mark, here one above the other):

      inputs   .95 .92 .62 .77 .80 .11 .89 .77
                 1   0   0   0   0   0   1   0
      target   1.84

  Numbers are uniform in [0, 1). One mark stands in each half of the row, at a
  uniform place. Hochreiter & Schmidhuber, "Long Short-Term Memory", 1997,
  experiment 4, in the form of Arjovsky, Shah & Bengio, "Unitary Evolution
  Recurrent Neural Networks", 2016, section 5.2.

  Chance is the variance of a sum of two such numbers, 1/6. `Batch.group` is
  the distance from the first mark to the end, in positions.

  Attributes:
    length: T, in positions; even.
  """

  length: int = 64

  reference: ClassVar[str] = 'Hochreiter & Schmidhuber, 1997'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  input: ClassVar[Spec] = Spec((2,))
  output: ClassVar[Spec] = Spec(())
  chance: ClassVar[float] = 1 / 6
  ceiling: ClassVar[float] = 0.0

  def __post_init__(self):
    at_least(self, length=2)
    if self.length % 2:
      raise ValueError(
        f'Adding marks a number in each half of an even length, but '
        f'length={self.length} was given.'
      )

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    number_key, place_key = jax.random.split(key)
    numbers = jax.random.uniform(
      number_key, (batch_size, self.length), jnp.float32
    )
    half = self.length // 2
    places = integers(place_key, (batch_size, 2), 0, half)
    places += jnp.array([0, half], jnp.int32)[None]
    marks = jnp.put_along_axis(
      jnp.zeros_like(numbers), places, jnp.float32(1), axis=1, inplace=False
    )
    inputs = jnp.stack([numbers, marks], axis=-1)
    return Batch(
      inputs,
      targets=_marked_sum(inputs),
      weights=jnp.ones(batch_size, jnp.float32),
      group=self.length - 1 - places[:, 0],
    )

  def solve(self, batch: Batch) -> Float[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    return _marked_sum(batch.inputs)


def _marked_sum(inputs: Float[Array, 'B T 2']) -> Float[Array, 'B']:
  return jnp.sum(inputs[..., 0] * inputs[..., 1], axis=1)
