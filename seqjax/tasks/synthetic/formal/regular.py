"""Four tasks that a finite automaton solves, and one that needs a counter.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.1, which has no majority.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic._strings import Question
from seqjax.tasks.task import MOST_MODULUS, at_least, at_most
from seqjax.typing import Array


@dataclasses.dataclass(frozen=True)
class EvenPairs(Question):
  """The parity of the number of 01 and 10 in a binary string.

  inputs   0 1 0 1 0 0 1      five such pairs
  target   1                  since first and last symbol differ
  """

  num_symbols: ClassVar[int] = 2
  num_answers: ClassVar[int] = 2

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    last = jnp.take_along_axis(strings, lengths[:, None] - 1, axis=1)
    return strings[:, 0] ^ last[:, 0]

  def _distribution(self, length: int) -> np.ndarray:
    return np.array([1.0, 0.0] if length == 1 else [0.5, 0.5])


@dataclasses.dataclass(frozen=True)
class Parity(Question):
  """The parity of the number of ones in a binary string.

  inputs   0 1 1 0 1 0        three ones
  target   1
  """

  num_symbols: ClassVar[int] = 2
  num_answers: ClassVar[int] = 2

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    return jnp.sum(strings, axis=1, dtype=jnp.int32) % 2


@dataclasses.dataclass(frozen=True)
class CycleNavigation(Question):
  """The place on a circle where a walk from place 0 ends.

  Tokens are one step back (0), no step (1) and one step on (2).

      inputs   2 0 1 0 0          +1 -1 0 -1 -1
      target   3                  -2 modulo 5

  Attributes:
    cycle_length: the number of places of the circle.
  """

  cycle_length: int = 5

  most_counted: ClassVar[int] = 2**17
  num_symbols: ClassVar[int] = 3

  def __post_init__(self):
    super().__post_init__()
    at_least(self, cycle_length=2)

  @property
  def num_answers(self) -> int:
    return self.cycle_length

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    steps = jnp.sum(strings, axis=1, dtype=jnp.int32) - lengths
    return steps % self.cycle_length

  def _distribution(self, length: int) -> np.ndarray:
    """Multiplies by a step's Fourier transform as often as there are steps."""
    frequency = np.arange(self.cycle_length) / self.cycle_length
    step = (1 + 2 * np.cos(2 * np.pi * frequency)) / 3
    return np.fft.ifft(step**length).real


@dataclasses.dataclass(frozen=True)
class ModularArithmetic(Question):
  """The value of a sum of products, modulo a number.

  Numbers are their own tokens; then come + - * (5, 6, 7 modulo 5).

      inputs   1 5 2 7 3          1 + 2 * 3
      target   2                  7 modulo 5

  All lengths are odd.

  Attributes:
    modulus: the modulus, and so the number of numbers.
  """

  modulus: int = 5

  most_counted: ClassVar[int] = 1024

  def __post_init__(self):
    super().__post_init__()
    at_least(self, modulus=2)
    at_most(self, modulus=MOST_MODULUS)
    if not self.lengths:
      raise ValueError(
        f'ModularArithmetic needs an odd length between min_length='
        f'{self.min_length} and length={self.length}, but there is none.'
      )

  @property
  def num_symbols(self) -> int:
    return self.modulus + 3

  @property
  def num_answers(self) -> int:
    return self.modulus

  @property
  def lengths(self) -> tuple[int, ...]:
    return tuple(n for n in super().lengths if n % 2)

  def _bits(self, length: int) -> float:
    numbers, operators = length // 2 + 1, length // 2
    return numbers * math.log2(self.modulus) + operators * math.log2(3)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    number_key, operator_key = jax.random.split(key)
    shape = (len(lengths), self.length)
    numbers = integers(number_key, shape, 0, self.modulus)
    operators = integers(operator_key, shape, self.modulus, self.num_symbols)
    is_number = jnp.arange(self.length)[None] % 2 == 0
    return jnp.where(is_number, numbers, operators)

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    """Reads operator and number together; finished products are added."""
    numbers, operators = strings[:, ::2], strings[:, 1::2] - self.modulus
    operators = jnp.pad(operators, ((0, 0), (1, 0)))[:, : numbers.shape[1]]
    read = 2 * jnp.arange(numbers.shape[1])[None] < lengths[:, None]

    def step(carry, position):
      total, product = carry
      number, operator, read = position
      multiplied = (product * number) % self.modulus
      begun = jnp.where(operator == 1, -number, number)
      times = operator == 2
      total_next = jnp.where(times, total, total + product) % self.modulus
      product_next = jnp.where(times, multiplied, begun)
      total = jnp.where(read, total_next, total)
      return (total, jnp.where(read, product_next, product)), None

    zero = jnp.zeros_like(lengths)
    positions = (numbers.T, operators.T, read.T)
    (total, product), _ = jax.lax.scan(step, (zero, zero), positions)
    return (total + product) % self.modulus

  def _distribution(self, length: int) -> np.ndarray:
    """Follows the joint distribution of the sum so far and the product."""
    m = self.modulus
    numbers = np.arange(m)
    added = (numbers[:, None] + numbers[None]) % m
    times = np.zeros((m, m))
    np.add.at(times, (numbers[:, None], numbers[:, None] * numbers % m), 1 / m)
    joint = np.zeros((m, m))
    joint[0] = 1 / m
    for _ in range(length // 2):
      total = np.bincount(added.ravel(), joint.ravel(), m)
      joint = joint @ times / 3 + 2 / 3 * total[:, None] / m
    return np.bincount(added.ravel(), joint.ravel(), m)


@dataclasses.dataclass(frozen=True)
class Majority(Question):
  """The majority of a binary string: 1 if it has more ones than zeros.

      inputs   0 1 1 0 1 0        three of each
      target   0

  Merrill, Sabharwal and Smith, "Saturated Transformers are Constant-Depth
  Threshold Circuits", 2022.
  """

  reference: ClassVar[str] = 'Merrill et al., 2022'
  num_symbols: ClassVar[int] = 2
  num_answers: ClassVar[int] = 2

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    ones = jnp.sum(strings, axis=1, dtype=jnp.int32)
    return (2 * ones > lengths).astype(jnp.int32)

  def _distribution(self, length: int) -> np.ndarray:
    tied = 0.0 if length % 2 else halves(length)
    return np.array([1 + tied, 1 - tied]) / 2


def halves(length: int) -> float:
  """Returns P(half of so many fair coins are heads), by gamma functions."""
  log_ways = math.lgamma(length + 1) - 2 * math.lgamma(length // 2 + 1)
  return math.exp(log_ways - length * math.log(2))
