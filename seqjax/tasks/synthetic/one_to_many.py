"""One input, many answers: a sequence made from a vector."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, Regression, at_least, at_most
from seqjax.typing import Array, Batch, Spec, TaskShape

AMPLITUDE = (0.5, 1.0)
FREQUENCY = (0.1, 0.5)  # radians per position


@dataclasses.dataclass(frozen=True)
class Unpacking(Classification):
  """A message that comes as one vector, spelt out.

  Symbols of 2 bits, 4 in all; the vector stands at position 0, here downwards,
  with the first bit of the first symbol on top:

      inputs   1 0 0 0
               0 0 0 0
               0 0 0 0
               0 0 0 0
               0 0 0 0
               1 0 0 0
               0 0 0 0
               1 0 0 0
      targets  2 0 1 1

  Symbols are uniform and independent. Validation and test need messages of 24
  bits or more, or training would have theirs.

  Attributes:
    num_bits: of a symbol; there are 2^num_bits of them.
    length: the number of symbols of a message; T.
  """

  num_bits: int = 2
  length: int = 20

  shape: ClassVar[TaskShape] = TaskShape.ONE_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_bits=1, length=1)
    at_most(self, num_bits=16)

  @property
  def input(self) -> Spec:
    return Spec((self.num_bits * self.length,))

  @property
  def output(self) -> Spec:
    return Spec((), vocab=2**self.num_bits)

  @property
  def chance(self) -> float:
    return 1 / self.output.vocab

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples are the same message)."""
    return float(self.num_bits * self.length)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    shape = (batch_size, self.length, self.num_bits)
    bits = integers(key, shape, 0, 2)
    packed = bits.reshape(batch_size, -1).astype(jnp.float32)
    return Batch(
      inputs=_at_first_position(packed, self.length),
      targets=self._unpack(packed),
      weights=jnp.ones((batch_size, self.length), jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    return self._unpack(batch.inputs[:, 0])

  def _unpack(self, packed):
    bits = packed.reshape(len(packed), self.length, self.num_bits)
    place = 2 ** jnp.arange(self.num_bits - 1, -1, -1, dtype=jnp.int32)
    values = bits.astype(jnp.int32) * place[None, None]
    return jnp.sum(values, axis=-1, dtype=jnp.int32)


@dataclasses.dataclass(frozen=True)
class Oscillator(Regression):
  """A wave, from its phase and its frequency.

  The vector at position 0 holds a cos(phase), a sin(phase) and the frequency,
  here downwards; the target at position t is a cos(frequency t + phase):

      inputs   -.66    0    0    0    0    0
               -.71    0    0    0    0    0
                .17    0    0    0    0    0
      targets  -.66 -.53 -.38 -.22 -.05  .12

  The amplitude a is uniform in [0.5, 1), the frequency in [0.1, 0.5) radians
  per position, the phase over the circle. Chance is the variance of the wave,
  half the mean square of a.

  Attributes:
    length: T, in positions.
  """

  length: int = 32

  shape: ClassVar[TaskShape] = TaskShape.ONE_TO_MANY
  input: ClassVar[Spec] = Spec((3,))
  output: ClassVar[Spec] = Spec(())
  ceiling: ClassVar[float] = 0.0

  def __post_init__(self):
    at_least(self, length=1)

  @property
  def chance(self) -> float:
    low, high = AMPLITUDE
    return (high**3 - low**3) / (6 * (high - low))

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    amplitude_key, frequency_key, phase_key = jax.random.split(key, 3)
    shape = (batch_size,)
    amplitude, frequency, turn = (
      jax.random.uniform(of, shape, jnp.float32, *bounds)
      for of, bounds in (
        (amplitude_key, AMPLITUDE),
        (frequency_key, FREQUENCY),
        (phase_key, (0, 1)),
      )
    )
    phase = 2 * jnp.pi * turn
    begin = jnp.stack(
      [amplitude * jnp.cos(phase), amplitude * jnp.sin(phase), frequency],
      axis=-1,
    )
    return Batch(
      inputs=_at_first_position(begin, self.length),
      targets=self._wave(begin),
      weights=jnp.ones((batch_size, self.length), jnp.float32),
    )

  def solve(self, batch: Batch) -> Float[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    return self._wave(batch.inputs[:, 0])

  def _wave(self, begin: Float[Array, 'B 3']) -> Float[Array, 'B T']:
    """Computes a cos(w t + p) = a cos(p) cos(w t) - a sin(p) sin(w t)."""
    cosine, sine, frequency = jnp.split(begin, 3, axis=1)
    time = jnp.arange(self.length, dtype=jnp.float32)[None]
    return cosine * jnp.cos(frequency * time) - sine * jnp.sin(frequency * time)


def _at_first_position(
  vectors: Float[Array, 'B L'], length: int
) -> Float[Array, 'B T L']:
  return jnp.pad(vectors[:, None], ((0, 0), (0, length - 1), (0, 0)))
