"""Arithmetic on binary numbers of any size.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.3. As in its code, sums and products have their lowest digit first, square
roots their highest; unlike there, operands may be zero.
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
from seqjax.tasks.synthetic._strings import Rewriting
from seqjax.typing import Array

OPERATOR, END = 2, 2


@dataclasses.dataclass(frozen=True)
class _Operation(Rewriting):
  """A number, an operator (2), a number; then the result and its end."""

  min_length: int = 3

  least_length: ClassVar[int] = 3
  most_counted: ClassVar[int] = 128
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
    """Counts the ones of each power of two in the result."""
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

  def _expected(self, length: int) -> tuple[float, float]:
    return _best_guesses(length, product_digits)


@dataclasses.dataclass(frozen=True)
class SquareRoot(Rewriting):
  """The square root of a binary number, rounded down, highest digit first.

      inputs   1 0 0 1 0 1 2 2 2      37
      targets  - - - - - - 1 1 0      6      (2 is the blank)

  The root of n digits has (n + 1) // 2, all of them scored.
  """

  length: int = 40

  most_counted: ClassVar[int] = 1024
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
  """Returns (binary digits of sum_i ones_i 2^i, lowest first; the last carry).

  The last carry is negative where the sum is.
  """

  def step(carry, ones):
    total = carry + ones
    return total >> 1, total & 1

  zero = jnp.zeros_like(ones[:, 0])
  carry, digits = jax.lax.scan(step, zero, ones.T)
  return digits.T, carry


def square_root(digits: Int[Array, 'B T']) -> Int[Array, 'B W']:
  """Returns the T/2 digits of a number's root, rounded down, highest first.

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
  """Counts the numbers below 2^length that have a root with 2^power in it.

  These are the n with (2q + 1) 2^power <= sqrt(n) < (2q + 2) 2^power; there
  are (4q + 3) 4^power of them for every q, but the last may be cut short.
  """
  limit, square = 2**length, 4**power
  whole = math.isqrt(limit // square) // 2
  cut = max(limit - (2 * whole + 1) ** 2 * square, 0)
  return square * whole * (2 * whole + 1) + cut


def _best_guesses(length: int, digits) -> tuple[float, float]:
  """Returns `_expected` for numbers on both sides of an operator.

  `digits(length)[b, i, k]` is the probability that digit i is b and the last
  digit is k; below the last one the better of two guesses is made.
  """
  joint = digits(length)
  right = joint.max(axis=0).sum() + 1
  places = np.arange(1, joint.shape[2] + 1)
  asked = joint[:, 0].sum(axis=0) @ places + 1
  return float(right), float(asked)


# The digits of sums and products, for chance. Every pair of numbers on the two
# sides of an operator is counted, digits uniform and the operator anywhere but
# at the ends. Results are P(digit i is b, the highest digit is k) as [b, i, k],
# lowest digit first; the highest digit of zero is digit 0.


@functools.cache
def sum_digits(length: int) -> np.ndarray:
  """Counts the digits of sums; both numbers have `length - 1` together."""
  total = np.zeros((2, length - 1, length - 1))
  for first in range(1, length - 1):
    joint = _sum_digits(*sorted((first, length - 1 - first)))
    total[:, : joint.shape[1], : joint.shape[2]] += joint
  return total / (length - 2)


@functools.cache
def product_digits(length: int) -> np.ndarray:
  """Counts the digits of products, numbers as in `sum_digits`.

  Factors are sorted by the places of their highest digits.
  """
  total = np.zeros((2, length - 1, length - 1))
  for first in range(1, length - 1):
    second = length - 1 - first
    for a in range(first + 1):
      for b in range(second + 1):
        pairs = _product_digits(*sorted((a, b)))
        total[:, : pairs.shape[1], : pairs.shape[2]] += pairs
  return total / 2 ** (length - 1) / (length - 2)


@functools.cache
def _sum_digits(fewer: int, more: int) -> np.ndarray:
  """Counts the digits of the sum of two uniform numbers with so many digits.

  Meets in the middle: the carry from below, and the highest digit above.
  """
  width = more + 1
  sums = [np.array([1.0])] * width  # P(both digits add up to 0, 1, 2)
  for i in range(more):
    sums[i] = np.array([1, 2, 1]) / 4 if i < fewer else np.array([1, 1]) / 2
  above = _highest_above(sums)
  joint = np.zeros((2, width, width + 1))
  carries = np.array([1.0, 0.0])
  for i, ones in enumerate(sums):
    after = np.zeros(2)
    for carry, total, share in _cases(carries, ones):
      carried, digit = divmod(carry + total, 2)
      joint[digit, i] += share * _highest(above[i + 1, carried], digit, i)
      after[carried] += share
    carries = after
  return _below_highest(joint)


def _highest_above(sums) -> np.ndarray:
  """Returns P(the highest digit is k - 1 | i, its carry) as [i, carry, k].

  Only digits from i on count; k = 0 says that all of them are zero.
  """
  width = len(sums)
  above = np.zeros((width + 1, 2, width + 1))
  above[width, 0, 0] = 1
  for i in reversed(range(width)):
    for carry, total, share in _cases(np.ones(2), sums[i]):
      carried, digit = divmod(carry + total, 2)
      above[i, carry] += share * _highest(above[i + 1, carried], digit, i)
  return above


def _highest(above, digit: int, i: int) -> np.ndarray:
  """Returns P(the highest digit is k - 1) from i on, digit i last."""
  highest = above.copy()
  if digit:
    highest[i + 1] += highest[0]
    highest[0] = 0
  return highest


def _cases(carries, ones):
  """Yields (carry, sum of two digits, probability) of all cases."""
  for carry, weight in enumerate(carries):
    for total, share in enumerate(ones):
      yield carry, total, weight * share


@functools.cache
def _product_digits(a: int, b: int) -> np.ndarray:
  """Counts pairs of numbers with exactly a and b digits; 0 has none."""
  width = a + b if a else 1
  first, second = (np.arange(2**n // 2, 2**n) for n in (a, b))
  products = np.outer(first, second).ravel()
  full = products >> (width - 1) == 1  # else the highest place stays zero
  joint = np.zeros((2, width, width + 1))
  for i in range(width):
    digit = products >> i & 1 == 1
    ones = np.array([np.sum(digit & ~full), np.sum(digit & full)])
    pairs = np.array([np.sum(~full), np.sum(full)])
    joint[1, i, width - 1 :] = ones
    joint[0, i, width - 1 :] = pairs - ones
  return _below_highest(joint)


def _below_highest(joint: np.ndarray) -> np.ndarray:
  """Maps [b, i, number of digits] to [b, i, highest digit], i up to it.

  A number of no digits is written as one zero.
  """
  joint[:, :, 1] += joint[:, :, 0]
  return joint[:, :, 1:] * np.triu(np.ones(joint[0, :, 1:].shape))
