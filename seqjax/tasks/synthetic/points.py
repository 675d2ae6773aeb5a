"""One input, one answer: no sequence at all."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least, at_most, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape

WIDTH = 0.8  # of an arm of the spirals; where they touch it is 1
ADDRESS_BITS = (2, 3, 4)


@dataclasses.dataclass(frozen=True)
class Multiplexer(Classification):
  """The bit at an address that other bits give.

  With 2 address bits, 1 1 being address 3, and 4 data bits after them:

      input    1 1   0 1 1 1        1 0   0 0 0 1
      target   1                    0

  The 6-, 11- and 20-multiplexers. Wilson, "Classifier Systems and the Animat
  Problem", 1987. Inputs are few enough to be held out: a fixed permutation of
  all numbers gives three quarters of the inputs to training and one eighth
  each to validation and test. An input whose data bits are all turned goes
  with the one they were turned from, so both answers are equally frequent.

  Attributes:
    address_bits: the number of bits that address the others; 2, 3 or 4.
  """

  address_bits: int = 4

  reference: ClassVar[str] = 'Wilson, 1987'
  shape: ClassVar[TaskShape] = TaskShape.ONE_TO_ONE
  output: ClassVar[Spec] = Spec((), vocab=2)
  chance: ClassVar[float] = 0.5
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    if self.address_bits not in ADDRESS_BITS:
      raise ValueError(
        'Multiplexer has 2, 3 or 4 address bits, but '
        f'address_bits={self.address_bits} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((self.address_bits + 2**self.address_bits,))

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    number_key, turn_key = jax.random.split(split_key(key, split, step))
    num_bits = self.input.shape[0] - 1  # one more says whether data are turned
    numbers = _held_out(number_key, batch_size, num_bits, split)
    shifts = jnp.arange(num_bits, dtype=jnp.int32)[None]
    bits = (numbers[:, None] >> shifts) & 1
    address, data = jnp.split(bits, [self.address_bits], axis=1)
    turned = integers(turn_key, (batch_size, 1), 0, 2)
    data = jnp.pad(data, ((0, 0), (1, 0))) ^ turned
    bits = jnp.concatenate([address, data], axis=1)
    return Batch(
      inputs=bits.astype(jnp.float32)[:, None],
      targets=self._select(bits),
      weights=jnp.ones(batch_size, jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    return self._select(batch.inputs[:, 0].astype(jnp.int32))

  def _select(self, bits: Int[Array, 'B L']) -> Int[Array, 'B']:
    place = 2 ** jnp.arange(self.address_bits - 1, -1, -1, dtype=jnp.int32)
    address = jnp.sum(bits[:, : self.address_bits] * place[None], axis=1)
    data = bits[:, self.address_bits :]
    return jnp.take_along_axis(data, address[:, None], axis=1)[:, 0]


@dataclasses.dataclass(frozen=True)
class TwoSpirals(Classification):
  """The one of two spirals that a point is on.

  With 1.5 turns; a point has an x and a y, one above the other:

      input     .32        .21
               -.53        .17
      target   0          1

  At distance r from the origin, uniform in [0.1, 1), the arm of spiral 0 lies
  in direction 2 pi turns r and that of spiral 1 opposite to it; points are
  uniform over four fifths of the width of an arm. After Lang & Witbrock,
  "Learning to Tell Two Spirals Apart", 1988, where arms are lines of 97 points
  and 3 turns.

  Attributes:
    turns: the number of turns of a spiral.
  """

  turns: float = 1.5

  reference: ClassVar[str] = 'Lang & Witbrock, 1988'
  shape: ClassVar[TaskShape] = TaskShape.ONE_TO_ONE
  input: ClassVar[Spec] = Spec((2,))
  output: ClassVar[Spec] = Spec((), vocab=2)
  chance: ClassVar[float] = 0.5
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, turns=0)
    at_most(self, turns=1000)  # beyond, angles in float32 miss the arms

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    arm_key, radius_key, side_key = jax.random.split(key, 3)
    arms = integers(arm_key, (batch_size,), 0, 2)
    radius = jax.random.uniform(
      radius_key, (batch_size,), jnp.float32, 0.1, 1.0
    )
    side = jax.random.uniform(
      side_key, (batch_size,), jnp.float32, -WIDTH / 2, WIDTH / 2
    )
    angle = math.pi * (2 * self.turns * radius + arms + side)
    point = radius[None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return Batch(
      inputs=point.T[:, None],
      targets=arms,
      weights=jnp.ones(batch_size, jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    x, y = batch.inputs[:, 0].T
    arm = 2 * math.pi * self.turns * jnp.hypot(x, y)
    return (jnp.cos(jnp.arctan2(y, x) - arm) < 0).astype(jnp.int32)


def _held_out(
  key: jax.Array, batch_size: int, num_bits: int, split: str
) -> Int[Array, 'B']:
  """Samples numbers below 2^num_bits, uniform among those of the split."""
  eighth = 2 ** (num_bits - 3)
  low, high = {'train': (0, 6), 'validation': (6, 7), 'test': (7, 8)}[split]
  numbers = integers(key, (batch_size,), low * eighth, high * eighth)
  return _scramble(numbers, num_bits)


def _scramble(numbers: Int[Array, 'B'], num_bits: int) -> Int[Array, 'B']:
  """Permutes the numbers below 2^num_bits in a fixed way, num_bits <= 32.

  Multiplying by an odd number, and adding high bits to low ones, can be
  undone.
  """
  numbers = numbers.astype(jnp.uint32)
  for odd in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35):
    numbers = (numbers * jnp.uint32(odd)) & jnp.uint32(2**num_bits - 1)
    numbers ^= numbers >> (num_bits // 2)
  return numbers.astype(jnp.int32)
