"""Brackets thresholds: where something stops to hold, as far as was tested.

A threshold lies between the largest point that passed and the smallest that did
not. Nothing between the two was tested, so nothing between the two is claimed.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np

FACTOR = 1.5  # between the ends of a bracket that is narrow enough


class Bracket(NamedTuple):
  """Two ends that a threshold lies between.

  Attributes:
    low: the largest point that passed before one failed; 0 if none did.
    high: the first point that failed; infinite if none did.
  """

  low: Real
  high: Real

  @property
  def censored(self) -> bool:
    """Tells if the threshold lies outside of what was tested."""
    return self.low == 0 or math.isinf(self.high)

  def __str__(self) -> str:
    if self == (0, math.inf):
      return 'not tested'
    if self.low == 0:
      return f'below {self.high:g}'
    if math.isinf(self.high):
      return f'above {self.low:g}'
    return f'between {self.low:g} and {self.high:g}'


def bracket(passed: Mapping[Real, bool | np.bool_ | None]) -> Bracket:
  """Returns the bracket of the first point that does not pass.

  Args:
    passed: {point > 0: whether it passed}; None where that is not known, which
      widens the bracket and decides nothing.
  """
  points = sorted(passed)
  failed = [point for point in points if passed[point] is not None]
  failed = [point for point in failed if not passed[point]]
  high = failed[0] if failed else math.inf
  below = [point for point in points if point < high and passed[point]]
  return Bracket(below[-1] if below else 0.0, high)


def next_point(
  found: Bracket, *, lowest: int = 1, highest: int, factor: Real = FACTOR
) -> int | None:
  """Returns the integer to test next, or None where the bracket is narrow.

  The geometric middle of the two ends; where one is open, twice or half the
  other, up to `highest` and down to `lowest`.
  """
  if found == (0, math.inf):
    return highest
  if math.isinf(found.high):
    point = min(highest, math.ceil(2 * found.low))
    return point if point > found.low else None
  if found.low == 0:
    point = max(lowest, math.floor(found.high / 2))
    return point if point < found.high else None
  if found.high <= factor * found.low:
    return None
  middle = round(math.sqrt(found.low * found.high))
  return middle if found.low < middle < found.high else None


def narrow(
  test: Callable[[int], bool | None],
  tested: Mapping[int, bool | None] = {},  # noqa: B006, it is only read
  *,
  lowest: int = 1,
  highest: int,
  factor: Real = FACTOR,
) -> dict[int, bool | None]:
  """Tests points until the bracket's ends are within a factor of each other.

  Args:
    test: whether a point passes; None where that cannot be known, which ends
      the search.
    tested: what is known before.
    lowest: the smallest point to test.
    highest: the largest.
    factor: of a bracket that is narrow enough.

  Returns:
    {point: whether it passed}, those in `tested` included.
  """
  known = dict(tested)
  while True:
    limits = {'lowest': lowest, 'highest': highest, 'factor': factor}
    point = next_point(bracket(known), **limits)
    if point is None or point in known:
      return known
    known[point] = test(point)
    if known[point] is None:
      return known


def ratio(ours: Bracket, theirs: Bracket) -> Bracket:
  """Returns the bracket of one threshold over another.

  Where both lie beyond what was tested, nothing is known of it: (0, inf).
  """
  low = ours.low / theirs.high if theirs.high else 0.0
  high = ours.high / theirs.low if theirs.low else math.inf
  return Bracket(low, high)


def over_seeds(brackets: Sequence[Bracket]) -> Bracket:
  """Returns a bracket of the median over N seeds, from those of each.

  Its ends are the smallest low and the largest high. They cover the median of
  the seeds' thresholds with probability 1 - 2^(1 - N) or more: .94 for five
  seeds, .99 for eight (David and Nagaraja, Order Statistics, 2003, section
  7.1); a bracket within which a threshold is not known only widens them.

  Raises:
    ValueError: there are none.
  """
  if not brackets:
    raise ValueError(
      'A bracket over seeds needs 1 or more, but there are none.'
    )
  return Bracket(min(b.low for b in brackets), max(b.high for b in brackets))


def describe(brackets: Iterable[Bracket]) -> str:
  """Counts equal brackets, as in 'between 8 and 32 (4 of 5 seeds), above 32'.

  The most frequent first; of equally frequent ones the smaller.
  """
  brackets = list(brackets)
  counts = {found: brackets.count(found) for found in sorted(brackets)}
  ranked = sorted(counts, key=lambda found: (-counts[found], found))
  return ', '.join(
    f'{found} ({counts[found]} of {len(brackets)} seeds)' for found in ranked
  )
