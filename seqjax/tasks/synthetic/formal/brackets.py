"""Arithmetic with brackets, and equations made of it.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.2.
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
from seqjax.tasks.synthetic.formal._expressions import (
  collision,
  draw_expressions,
  evaluate,
  values,
)
from seqjax.tasks.task import at_least
from seqjax.typing import Array


@dataclasses.dataclass(frozen=True)
class BracketedModularArithmetic(Question):
  """The value of an expression in brackets, modulo a number.

  Numbers are their own tokens; then come + - * ( ) (5 to 9 modulo 5).

      inputs   8 8 2 6 3 9 7 6 4 9      ((2-3)*-4)
      target   4                        4 modulo 5

  An expression of n > 4 symbols is (L o R), with the length of L uniform on
  1 to n - 4 and one of three operators; shorter ones are d, -d, (d) and (-d).

  Attributes:
    modulus: how many numbers there are.
  """

  modulus: int = 5

  num_operators: ClassVar[int] = 3

  def __post_init__(self):
    super().__post_init__()
    at_least(self, modulus=2)

  @property
  def num_symbols(self) -> int:
    return self.modulus + 5

  @property
  def num_answers(self) -> int:
    return self.modulus

  def _bits(self, length: int) -> float:
    same = collision(length, self.modulus, self.num_operators)
    return -math.log2(same[length])

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    return draw_expressions(
      key, lengths, self.length, self.modulus, self.num_operators
    )

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    return evaluate(strings, lengths, self.modulus)

  def _distribution(self, length: int) -> np.ndarray:
    return values(length, self.modulus, self.num_operators)[length]


@dataclasses.dataclass(frozen=True)
class SolveEquation(Question):
  """The unknown number in an equation, modulo a number.

  Tokens are those of BracketedModularArithmetic, x and = (10, 11 modulo 5).

      inputs   8 8 2 6 10 9 5 4 9 11 3      ((2-x)+4)=3
      target   3

  Expressions have no products, so that there is exactly one solution; x is any
  of their numbers, equally likely (in the paper's code more likely after many
  other symbols).

  Attributes:
    modulus: how many numbers there are.
  """

  min_length: int = 3
  modulus: int = 5

  least_length: ClassVar[int] = 3
  num_operators: ClassVar[int] = 2

  def __post_init__(self):
    super().__post_init__()
    at_least(self, modulus=2)

  @property
  def num_symbols(self) -> int:
    return self.modulus + 7

  @property
  def num_answers(self) -> int:
    return self.modulus

  @property
  def unknown(self) -> int:
    """The token that stands for the unknown number."""
    return self.modulus + 5

  def _bits(self, length: int) -> float:
    """Of the expression; an unknown in it can but add to them."""
    same = collision(length, self.modulus, self.num_operators)
    return -math.log2(same[length - 2])

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    expression_key, unknown_key = jax.random.split(key)
    place = jnp.arange(self.length, dtype=jnp.int32)[None]
    ends = lengths[:, None] - 2
    strings = draw_expressions(
      expression_key, ends[:, 0], self.length, self.modulus, self.num_operators
    )
    value = evaluate(strings, ends[:, 0], self.modulus)
    is_number = (strings < self.modulus) & (place < ends)
    rank = jnp.cumsum(is_number, axis=1, dtype=jnp.int32)
    chosen = integers(unknown_key, ends.shape, 1, rank[:, -1:] + 1)
    strings = jnp.where(is_number & (rank == chosen), self.unknown, strings)
    strings = jnp.where(place == ends, self.unknown + 1, strings)
    return jnp.where(place == ends + 1, value[:, None], strings)

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    """The value is linear in the unknown, with a slope of 1 or -1."""
    right = jnp.take_along_axis(strings, lengths[:, None] - 1, axis=1)[:, 0]
    at_zero, at_one = (
      evaluate(
        jnp.where(strings == self.unknown, guess, strings),
        lengths - 2,
        self.modulus,
      )
      for guess in (0, 1)
    )
    return (right - at_zero) * (at_one - at_zero) % self.modulus
