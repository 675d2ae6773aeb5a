"""Arithmetic on binary numbers of any size.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.3. As in its code, sums and products have their lowest digit first, square
roots their highest; unlike there, operands may be zero.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic._strings import Rewriting
from seqjax.tasks.synthetic.formal._digits import product_digits, sum_digits
from seqjax.typing import Array

OPERATOR, END = 2, 2


@dataclasses.dataclass(frozen=True)
class _Operation(Rewriting):
  """A number, an operator (2), a number; then the result and its end."""

  min_length: int = 3

  least_length: ClassVar[int] = 3
  num_symbols: ClassVar[int] = 3
  num_answers: ClassVar[int] = 3

  def _positions_for(self, length):
    return 2 * length

  def _bits(self, length: int) -> float:
    return length - 1 + math.log2(length - 2)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    digit_key, operator_key = jax.random.split(key)
    digits = integers(digit_key, (len(lengths), self.length), 0, 2)
    place = integers(operator_key, (len(lengths), 1), 1, lengths[:, None] - 1)
    return jnp.where(jnp.arange(self.length)[None] == place, OPERATOR, digits)

  def _combine(
    self, first: Int[Array, 'B W'], second: Int[Array, 'B W']
  ) -> Int[Array, 'B W']:
    """How many ones of each power of two are in the result."""
    raise NotImplementedError

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    place = jnp.arange(self.length, dtype=jnp.int32)[None]
    operator = jnp.argmax(strings == OPERATOR, axis=1).astype(jnp.int32)
    source = operator[:, None] + 1 + place
    second = jnp.take_along_axis(
      strings, jnp.minimum(source, self.length - 1), axis=1
    )
    digits, _ = carry_over(
      self._combine(
        jnp.where(place < operator[:, None], strings, 0),
        jnp.where(source < lengths[:, None], second, 0),
      )
    )
    count = jnp.max(jnp.where(digits == 1, place + 1, 1), axis=1)
    return jnp.where(place == count[:, None], END, digits), count + 1


@dataclasses.dataclass(frozen=True)
class BinaryAddition(_Operation):
  """The sum of two binary numbers, lowest digit first.

      inputs   0 1 2 1 1 3 3 3 3 3      2 + 3
      targets  - - - - - 1 0 1 2 -      5, then the end symbol (3: blank)

  The sum has no zeros in front (zero is 0); scored are its digits and the end
  symbol. The operator (2) is anywhere but at the ends. There are as many blanks
  as symbols, which always suffice (the paper's code has one more).
  """

  def _combine(
    self, first: Int[Array, 'B W'], second: Int[Array, 'B W']
  ) -> Int[Array, 'B W']:
    return first + second

  def _expected(self, length: int) -> tuple[float, float]:
    return _best_guesses(length, sum_digits)


@dataclasses.dataclass(frozen=True)
class BinaryMultiplication(_Operation):
  """The product of two binary numbers, lowest digit first.

      inputs   0 1 2 1 1 3 3 3 3 3      2 * 3
      targets  - - - - - 0 1 1 2 -      6, then the end symbol (3: blank)

  Laid out as BinaryAddition is. No formula is known for how often a digit of a
  product is one, so chance counts all products; it is None where numbers of
  more than 24 symbols would have to be counted.
  """

  length: int = 22

  most_counted: ClassVar[int] = 24

  def _combine(
    self, first: Int[Array, 'B W'], second: Int[Array, 'B W']
  ) -> Int[Array, 'B W']:
    """Horner's rule in the first number, without carrying over."""

    def step(product, digit):
      doubled = jnp.pad(product, ((0, 0), (1, 0)))[:, :-1]
      return doubled + digit[:, None] * second, None

    product, _ = jax.lax.scan(
      step, jnp.zeros_like(second), first.T, reverse=True
    )
    return product

  def _expected(self, length: int) -> tuple[float, float] | None:
    if length > self.most_counted:
      return None
    return _best_guesses(length, product_digits)


@dataclasses.dataclass(frozen=True)
class SquareRoot(Rewriting):
  """The square root of a binary number, rounded down, highest digit first.

      inputs   1 0 0 1 0 1 2 2 2      37
      targets  - - - - - - 1 1 0      6      (2 is the blank)

  The root of n digits has (n + 1) // 2, all of them scored.
  """

  length: int = 40

  num_symbols: ClassVar[int] = 2
  num_answers: ClassVar[int] = 2

  def _positions_for(self, length):
    return length + (length + 1) // 2

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    most, counts = (self.length + 1) // 2, (lengths + 1) // 2
    from_right = jnp.arange(2 * most)[None] - 2 * most + lengths[:, None]
    digits = jnp.take_along_axis(strings, jnp.maximum(from_right, 0), axis=1)
    root = square_root(jnp.where(from_right < 0, 0, digits))
    source = jnp.arange(most)[None] + most - counts[:, None]
    return jnp.take_along_axis(
      root, jnp.minimum(source, most - 1), axis=1
    ), counts

  def _expected(self, length: int) -> tuple[float, float]:
    digits = (length + 1) // 2
    ones = np.array([roots_with_digit(length, i) for i in range(digits)])
    share = ones / 2**length
    return float(np.maximum(share, 1 - share).sum()), float(digits)


def carry_over(
  ones: Int[Array, 'B W'],
) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
  """(binary digits, lowest first, of sum_i ones_i 2^i; the carry of the last).

  The carry of the last is negative where the sum is.
  """

  def step(carry, ones):
    total = carry + ones
    return total >> 1, total & 1

  zero = jnp.zeros_like(ones[:, 0])
  carry, digits = jax.lax.scan(step, zero, ones.T)
  return digits.T, carry


def square_root(digits: Int[Array, 'B T']) -> Int[Array, 'B W']:
  """The T/2 digits of a number's root, rounded down; highest digit first.

  By hand: two digits come down to the rest; a one is added to the root if the
  rest can spare 4 root + 1.
  """
  batch_size, num_pairs = len(digits), digits.shape[1] // 2

  def step(carry, pair):
    rest, root = carry  # lowest digit first
    rest = jnp.concatenate([pair[:, ::-1], rest[:, :-2]], axis=1)
    spare, sign = carry_over(
      rest - jnp.pad(root, ((0, 0), (2, 1))).at[:, 0].set(1)
    )
    digit = (sign >= 0).astype(jnp.int32)[:, None]
    rest = jnp.where(digit == 1, spare, rest)
    return (rest, jnp.concatenate([digit, root[:, :-1]], axis=1)), None

  rest = jnp.zeros((batch_size, num_pairs + 3), jnp.int32)
  root = jnp.zeros((batch_size, num_pairs), jnp.int32)
  pairs = digits.reshape(batch_size, num_pairs, 2).swapaxes(0, 1)
  (_, root), _ = jax.lax.scan(step, (rest, root), pairs)
  return root[:, ::-1]


def roots_with_digit(length: int, power: int) -> int:
  """How many of 2^length numbers have a root with 2^power in it.

  These are the n with (2q + 1) 2^power <= sqrt(n) < (2q + 2) 2^power; there
  are (4q + 3) 4^power of them for every q, but the last may be cut short.
  """
  limit, square = 2**length, 4**power
  whole = math.isqrt(limit // square) // 2
  cut = max(limit - (2 * whole + 1) ** 2 * square, 0)
  return square * whole * (2 * whole + 1) + cut


def _best_guesses(length: int, digits) -> tuple[float, float]:
  """What `_expected` says, for numbers on both sides of an operator.

  `digits(length)[b, i, k]` is the probability that digit i is b and the last
  digit is k; below the last one the better of two guesses is made.
  """
  joint = digits(length)
  right = joint.max(axis=0).sum() + 1
  places = np.arange(1, joint.shape[2] + 1)
  asked = joint[:, 0].sum(axis=0) @ places + 1
  return float(right), float(asked)
