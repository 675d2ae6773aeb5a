"""ListOps: nested operations on short lists of digits."""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._strings import Question
from seqjax.tasks.task import at_least, at_most
from seqjax.typing import Array

MIN, MAX, MED, SUM_MOD, CLOSE = range(10, 15)


@dataclasses.dataclass(frozen=True)
class ListOps(Question):
  """The value of an operation whose arguments are digits or operations.

  Digits are their own tokens; then come [MIN [MAX [MED [SUM_MOD and ].

      inputs   11 2 9 10 4 7 14 0 14      [MAX 2 9 [MIN 4 7 ] 0 ]
      target   9

  MED is the median rounded down, as in Long Range Arena (Tay et al., 2021),
  SUM_MOD the sum modulo 10.

  Nangia and Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning",
  2018. There trees grow by chance and have the size they get. Here the number
  of tokens is sampled first, then split up: an operation has 2 to `max_args`
  arguments (all numbers of them that fit, equally likely); each but the last
  is a digit with probability 1/2, else it has any of the sizes that leave
  enough to the others; the last one gets the rest. At `max_depth` arguments
  are digits, as many as it takes. There is no separate opening bracket.

  Attributes:
    max_args: the most arguments of an operation above `max_depth`.
    max_depth: how deep operations are nested.
  """

  length: int = 64
  min_length: int = 4
  max_args: int = 5
  max_depth: int = 5

  reference: ClassVar[str] = 'Nangia & Bowman, 2018'
  least_length: ClassVar[int] = 4
  most_counted: ClassVar[int] = 256
  num_symbols: ClassVar[int] = 15
  num_answers: ClassVar[int] = 10

  def __post_init__(self):
    super().__post_init__()
    at_least(self, max_args=4, max_depth=1)
    at_most(self, max_args=128, max_depth=64)

  def _bits(self, length: int) -> float:
    """Counts digits alone: more of them than operations, of two tokens."""
    return (length + 2) // 3 * math.log2(10)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    """Expands lists from the left; every step writes one token.

    For every list that is open, the stack holds the number of arguments left
    and their tokens beyond one each.
    """
    # Modulo a small number, uniform up to 2^-31 of it.
    words = jax.random.bits(key, (self.length, 5, len(lengths)), jnp.uint32)
    fitting = jnp.array(num_arguments(self.length, self.max_args))
    level = jnp.arange(self.max_depth + 1, dtype=jnp.int32)[None]

    def step(carry, words):
      spares, counts, depth = carry
      words = [word.astype(jnp.int32) for word in words >> 1]
      here = level == depth[:, None]
      spare, count = (
        jnp.max(jnp.where(here, stack, 0), axis=1) for stack in (spares, counts)
      )
      extra = _split(spare, count, words[0], words[1])
      budget = extra - 1  # without the operator and its closing bracket
      arity = _arity(fitting[jnp.maximum(budget, 0)], words[2])
      arity = jnp.where(depth + 1 == self.max_depth, budget, arity)
      closes, opens = count == 0, (count > 0) & (extra > 0)
      token = jnp.where(opens, MIN + words[3] % 4, words[4] % 10)
      token = jnp.where(closes, CLOSE, token)
      used = here & ~closes[:, None]
      spares = jnp.where(used, (spare - extra)[:, None], spares)
      counts = jnp.where(used, (count - 1)[:, None], counts)
      inside = (level == depth[:, None] + 1) & opens[:, None]
      spares = jnp.where(inside, (budget - arity)[:, None], spares)
      counts = jnp.where(inside, arity[:, None], counts)
      depth = depth + opens.astype(jnp.int32) - closes.astype(jnp.int32)
      return (spares, counts, depth), token

    spares = jnp.where(level == 0, lengths[:, None] - 1, 0)
    counts = jnp.where(level == 0, jnp.ones_like(spares), 0)
    carry = (spares, counts, jnp.zeros_like(lengths))
    return jax.lax.scan(step, carry, words)[1].T

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    """Counts the digits of every list that is open."""
    level = jnp.arange(self.max_depth, dtype=jnp.int32)[None]

    def step(carry, position):
      tallies, operators, depth, result = carry
      token, index = position
      read = index < lengths
      closes = read & (token == CLOSE)
      opens = read & (token >= MIN) & (token < CLOSE)
      here = level == depth[:, None] - 1
      tally = jnp.max(jnp.where(here[:, :, None], tallies, 0), axis=1)
      operator = jnp.max(jnp.where(here, operators, 0), axis=1)
      value = jnp.where(closes, _apply(operator, tally), token)
      depth = depth - closes.astype(jnp.int32)
      counted = (level == depth[:, None] - 1) & (read & ~opens)[:, None]
      one = value[:, None, None] == jnp.arange(10)[None, None]
      tallies = tallies + (counted[:, :, None] & one)
      inside = (level == depth[:, None]) & opens[:, None]
      tallies = jnp.where(inside[:, :, None], 0, tallies)
      operators = jnp.where(inside, token[:, None], operators)
      depth = depth + opens.astype(jnp.int32)
      result = jnp.where(closes, value, result)
      return (tallies, operators, depth, result), None

    batch_size, num_positions = strings.shape
    zero = jnp.zeros(batch_size, jnp.int32)
    operators = jnp.zeros((batch_size, self.max_depth), jnp.int32)
    tallies = jnp.zeros((*operators.shape, 10), jnp.int32)
    index = jnp.arange(num_positions, dtype=jnp.int32)
    (_, _, _, result), _ = jax.lax.scan(
      step, (tallies, operators, zero, zero), (strings.T, index)
    )
    return result

  def _distribution(self, length: int) -> np.ndarray:
    return values(length, self.max_args, self.max_depth)


def _split(spare, count, coin, word):
  """Returns the tokens of the next argument beyond one, of those to spare.

  Nothing, 3 or more; and no 1 or 2 may be left to the others.
  """
  middle = jnp.maximum(spare - 5, 0)  # 3 to spare - 3
  chosen = 3 + word % (middle + 1)
  chosen = jnp.where(chosen == 3 + middle, spare, chosen)
  extra = jnp.where(coin % 2 == 1, chosen, 0)
  return jnp.where(count == 1, spare, extra)


def _arity(fits, word):
  """Samples one of the numbers from 2 on that fit, all equally likely."""
  options = jnp.maximum(jnp.sum(fits, axis=1), 1)
  passed = jnp.cumsum(fits, axis=1) <= (word % options)[:, None]
  return 2 + jnp.sum(passed, axis=1, dtype=jnp.int32)


def _apply(operator, tally):
  """Returns the value of an operation on so many arguments of each value."""
  up_to = jnp.cumsum(tally, axis=1)
  total = up_to[:, -1:]
  digits = jnp.arange(10, dtype=jnp.int32)[None]
  total_value = jnp.sum(tally * digits, axis=1, dtype=jnp.int32)
  ranks = (jnp.ones_like(total), total, (total + 1) // 2, total // 2 + 1)
  smallest, largest, lower, upper = (
    jnp.argmax(up_to >= rank, axis=1).astype(jnp.int32) for rank in ranks
  )
  median = (lower + upper) // 2
  return jnp.select(
    [operator == MIN, operator == MAX, operator == MED],
    [smallest, largest, median],
    total_value % 10,
  )


# The distribution of values, for chance. Arguments are independent, given their
# sizes; an operation depends on its arguments' order statistics, and their sum.
# The former follow from P(k arguments are at most u, all others above w), or
# gaps [k, u, w], u <= w: where half of the arguments are on each side, of the
# two in the middle one is at most u and the other above w.


def num_arguments(length: int, max_args: int) -> np.ndarray:
  """Tells if 2, 3 ... max_args arguments may share 0, 1 ... tokens.

  The tokens beyond one each must be 0, or 3 and more: an operation has
  at least four tokens.
  """
  budget = np.arange(length)[:, None]
  spare = budget - np.arange(2, max_args + 1)
  return (spare == 0) | (spare >= 3)


@functools.cache
def values(size: int, max_args: int, max_depth: int) -> np.ndarray:
  """Returns P(value) of expressions of `size` tokens, nested so deeply."""
  if size == 1:
    return np.full(10, 1 / 10)
  budget = size - 2
  if max_depth == 1:
    return _operation(budget, budget, max_args, max_depth)
  fits = num_arguments(size, max_args)[budget]
  counts = (2 + np.flatnonzero(fits)).tolist()
  return np.mean(
    [_operation(budget, n, max_args, max_depth) for n in counts], axis=0
  )


def _operation(budget: int, count: int, max_args: int, max_depth: int):
  """Returns P(value) of operations on `count` arguments of `budget` tokens."""
  gaps, sums = _arguments(budget - count, count, max_args, max_depth - 1)
  exactly = np.diagonal(gaps, axis1=1, axis2=2)  # [k, v]: k are at most v
  at_least = np.cumsum(exactly[::-1], axis=0)[::-1]
  orders = [at_least[rank] for rank in (1, count, (count + 1) // 2)]
  smallest, largest, lower = np.diff(orders, axis=1, prepend=0)
  median = lower if count % 2 else _median(lower, gaps[count // 2])
  return (smallest + largest + median + sums) / 4


def _median(lower: np.ndarray, gap: np.ndarray) -> np.ndarray:
  """Returns P(median, rounded down) of an even number of arguments.

  Args:
    lower: P(the lower one of the two in the middle).
    gap: P(the lower one is at most u, the upper one above w).
  """
  law = lower.copy()
  exactly = np.diff(gap, axis=0, prepend=0)  # the lower one is u
  for u, w in zip(*np.triu_indices(10, 1), strict=True):
    both = exactly[u, w - 1] - exactly[u, w]
    law[u] -= both
    law[(u + w) // 2] += both
  return law


@functools.cache
def _arguments(spare: int, count: int, max_args: int, max_depth: int):
  """Returns (gaps [k, u, w]; P(the sum modulo 10))."""
  if spare == 0:
    gaps, sums = np.ones((1, 10, 10)), np.eye(10)[0]
    for _ in range(count):
      gaps, sums = _join([1.0], [np.full(10, 1 / 10)], [gaps], [sums])
    return gaps, sums
  extras = splits(spare, count)
  laws = [values(1 + extra, max_args, max_depth) for extra in extras]
  others = [
    _arguments(spare - extra, count - 1, max_args, max_depth)
    for extra in extras
  ]
  gaps, sums = zip(*others, strict=True)
  return _join(list(extras.values()), laws, gaps, sums)


def splits(spare: int, count: int) -> dict[int, float]:
  """Returns P(the first of `count` arguments has so much to spare)."""
  if count == 1 or spare == 0:
    return {spare: 1.0}
  extras = [*range(3, spare - 2), spare]
  return {0: 1 / 2} | {extra: 1 / 2 / len(extras) for extra in extras}


def _join(weights, laws, gaps, sums):
  """Adds one argument, in a mixture of cases."""
  weights, laws = np.array(weights), np.array(laws)
  gaps = weights[:, None, None, None] * np.array(gaps)
  at_most = np.cumsum(laws, axis=1)
  below, above = at_most[:, None, :, None], 1 - at_most[:, None, None]
  counted = np.pad((gaps * below).sum(axis=0), ((1, 0), (0, 0), (0, 0)))
  counted[:-1] += (gaps * above).sum(axis=0)
  shift = (np.arange(10)[:, None] - np.arange(10)) % 10
  return counted, np.einsum('x,xvu,xu->v', weights, laws[:, shift], sums)
