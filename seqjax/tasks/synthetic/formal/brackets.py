"""Arithmetic with brackets, and equations made of it.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.2.
"""

import dataclasses
import functools
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
class BracketedModularArithmetic(Question):
  """The value of an expression in brackets, modulo a number.

  Numbers are their own tokens; then come + - * ( ) (5 to 9 modulo 5).

      inputs   8 8 2 6 3 9 7 6 4 9      ((2-3)*-4)
      target   4                        4 modulo 5

  An expression of n > 4 symbols is (L o R), with the length of L uniform on
  1 to n - 4 and one of three operators; shorter ones are d, -d, (d) and (-d).

  Attributes:
    modulus: the modulus, and so the number of numbers.
  """

  modulus: int = 5

  most_counted: ClassVar[int] = 512
  num_operators: ClassVar[int] = 3

  def __post_init__(self):
    super().__post_init__()
    at_least(self, modulus=2)
    at_most(self, modulus=MOST_MODULUS)

  @property
  def num_symbols(self) -> int:
    return self.modulus + 5

  @property
  def num_answers(self) -> int:
    return self.modulus

  def _bits(self, length: int) -> float:
    return bits(length, self)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    return sample_expressions(
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
    modulus: the modulus, and so the number of numbers.
  """

  min_length: int = 3
  modulus: int = 5

  least_length: ClassVar[int] = 3
  most_counted: ClassVar[int] = 512
  num_operators: ClassVar[int] = 2

  def __post_init__(self):
    super().__post_init__()
    at_least(self, modulus=2)
    at_most(self, modulus=MOST_MODULUS)

  @property
  def num_symbols(self) -> int:
    return self.modulus + 7

  @property
  def num_answers(self) -> int:
    return self.modulus

  @property
  def unknown(self) -> int:
    """Returns the token that stands for the unknown number."""
    return self.modulus + 5

  def _bits(self, length: int) -> float:
    """Counts those of the expression; an unknown can but add to them."""
    return bits(length - 2, self)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    expression_key, unknown_key = jax.random.split(key)
    place = jnp.arange(self.length, dtype=jnp.int32)[None]
    ends = lengths[:, None] - 2
    strings = sample_expressions(
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
    """Solves for the unknown: values are linear in it, of slope 1 or -1."""
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


# Random expressions in brackets, their values, and the laws of both. Numbers 0
# to m - 1 are their own tokens; m to m + 4 are + - * ( ). Fewer operators are
# the first ones. An expression of n > 4 symbols is (L o R), with the length of
# L uniform on 1 to n - 4; the shorter ones are d, -d, (d), (-d).


def sample_expressions(
  key: jax.Array,
  lengths: Int[Array, 'B'],
  num_positions: int,
  modulus: int,
  num_operators: int,
) -> Int[Array, 'B T']:
  """Samples expressions of exactly these lengths, zero after them.

  Expands the grammar from the left: what is due next lies on top of a stack,
  a token or an expression of n symbols (as `opening + 1 + n`), and every step
  writes one token.
  """
  number_key, operator_key, split_key = jax.random.split(key, 3)
  shape = (num_positions, len(lengths))
  minus, opening = modulus + 1, modulus + 3
  numbers = integers(number_key, shape, 0, modulus)
  operators = integers(operator_key, shape, modulus, modulus + num_operators)
  # Modulo a small number, uniform up to 2^-32 of it.
  words = jax.random.bits(split_key, shape, jnp.uint32)
  place = jnp.arange(num_positions + 3, dtype=jnp.int32)[None]

  def step(carry, drawn):
    stack, height = carry
    number, operator, word = drawn
    due = jnp.max(jnp.where(place == height[:, None] - 1, stack, 0), axis=1)
    size = due - opening - 1
    token = jnp.select(
      [size <= 0, size == 1, size == 2], [due, number, minus], opening
    )
    splits = jnp.maximum(size - 4, 1).astype(jnp.uint32)
    left = 1 + (word % splits).astype(jnp.int32)
    height = jnp.maximum(height - 1, 0)
    for coming in _expand(size, left, operator, opening + 1):
      here = (place == height[:, None]) & (coming > 0)[:, None]
      stack = jnp.where(here, coming[:, None], stack)
      height = height + (coming > 0)
    return (stack, height), token

  stack = jnp.where(place == 0, opening + 1 + lengths[:, None], 0)
  carry = (stack, jnp.ones_like(lengths))
  _, tokens = jax.lax.scan(step, carry, (numbers, operators, words))
  return tokens.T


def _expand(size, left, operator, closing: int):
  """Returns the parts of an expression after its first token, last first."""
  zero = jnp.zeros_like(size)
  split, wrapped, negated = size > 4, size > 2, size == 2
  right = size - 3 - left
  return (
    jnp.where(wrapped, closing, jnp.where(negated, closing + 1, zero)),
    jnp.select([split, wrapped], [closing + right, closing + size - 2], zero),
    jnp.where(split, operator, zero),
    jnp.where(split, closing + left, zero),
  )


def evaluate(
  strings: Int[Array, 'B T'], lengths: Int[Array, 'B'], modulus: int
) -> Int[Array, 'B']:
  """Computes expressions modulo a number; other tokens are ignored.

  Inside a bracket, `value` is that of what has been read and `pending` what
  the next operand does to it: twice the operator, plus one if it is negated.
  Brackets that are still open lie on a stack, both in one number.
  """
  opening = modulus + 3
  place = jnp.arange(strings.shape[1] // 2 + 1, dtype=jnp.int32)[None]

  def apply(value, pending, operand):
    operand = jnp.where(pending % 2 == 1, -operand, operand)
    results = [value + operand, value - operand]
    select = [pending // 2 == i for i in range(2)]
    return jnp.select(select, results, value * operand) % modulus

  def step(carry, position):
    stack, height, value, pending, expects = carry
    token, index = position
    token = jnp.where(index < lengths, token, -1)
    opens, closes = token == opening, token == opening + 1
    is_number = (token >= 0) & (token < modulus)
    is_operator = (token >= modulus) & (token < opening)
    on_top = (place == height[:, None] - 1) & closes[:, None]
    outer = jnp.max(jnp.where(on_top, stack, 0), axis=1)
    below = jnp.where(closes, outer // 6, value)
    applied = apply(
      below,
      jnp.where(closes, outer % 6, pending),
      jnp.where(closes, value, token),
    )
    pushed = (place == height[:, None]) & opens[:, None]
    stack = jnp.where(pushed, (6 * value + pending)[:, None], stack)
    operator = jnp.where(expects, pending + 1, 2 * (token - modulus))
    pending = jnp.where(is_operator, operator, jnp.where(opens, 0, pending))
    value = jnp.where(opens, 0, jnp.where(is_number | closes, applied, value))
    expects = (expects | is_operator | opens) & ~is_number & ~closes
    height = height + opens.astype(jnp.int32) - closes.astype(jnp.int32)
    return (stack, height, value, pending, expects), None

  zero = jnp.zeros_like(lengths)
  stack = jnp.zeros((len(lengths), place.shape[1]), jnp.int32)
  carry = (stack, zero, zero, zero, zero == 0)
  index = jnp.arange(strings.shape[1], dtype=jnp.int32)
  (_, _, value, _, _), _ = jax.lax.scan(step, carry, (strings.T, index))
  return value


def bits(
  length: int, task: BracketedModularArithmetic | SolveEquation
) -> float:
  """Returns -log2 P(two expressions of a length are the same).

  Those of very long expressions, which have more, are those of the longest
  that chance is counted for, and at most the logarithm of the smallest float.
  """
  same = collision(task.most_counted, task.modulus, task.num_operators)
  chosen = same[min(length, task.most_counted)]
  return -math.log2(max(chosen, np.finfo(float).tiny))


@functools.cache
def values(length: int, modulus: int, num_operators: int) -> np.ndarray:
  """Returns P(value) of expressions of 0 to `length` symbols, [length + 1, m].

  Both operands of an operator are independent, given their lengths.
  """
  numbers = np.arange(modulus)
  pairs = [np.add.outer, np.subtract.outer, np.multiply.outer][:num_operators]
  results = [pair(numbers, numbers) % modulus for pair in pairs]
  law = np.full((length + 1, modulus), 1 / modulus)
  for size in range(5, length + 1):
    joint = law[1 : size - 3].T @ law[size - 4 : 0 : -1] / (size - 4)
    law[size] = np.mean(
      [np.bincount(r.ravel(), joint.ravel(), modulus) for r in results], axis=0
    )
  return law


@functools.cache
def collision(length: int, modulus: int, num_operators: int) -> np.ndarray:
  """Returns P(two samples are the same) for 0 to `length` symbols."""
  same = np.full(length + 1, 1 / modulus)
  for size in range(5, length + 1):
    both = same[1 : size - 3] @ same[size - 4 : 0 : -1]
    same[size] = both / (size - 4) ** 2 / num_operators
  return same
