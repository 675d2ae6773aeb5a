"""Compares two groups of seeds: shares, means and ratios, on `scipy.stats`."""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
import scipy

from seqjax.analysis.statistics import COVERAGE, Interval, mean_interval
from seqjax.typing import Array


def share_interval(
  successes: Real, count: int, coverage: Real = COVERAGE
) -> Interval:
  """Returns a share and its interval: Wilson's, with a continuity correction.

  With the correction it reaches its coverage for all but a few true shares,
  also of five seeds (Newcombe, "Two-sided confidence intervals for the single
  proportion", 1998, method 4).

  Args:
    successes: how many of them succeeded; a mean score times the count, too.
    count: how many there are.
    coverage: of the interval.

  Raises:
    ValueError: there are none, or more successes than trials.
  """
  if not 0 <= successes <= count or count < 1:
    raise ValueError(
      'A share is of 1 trial or more and has at most as many successes, but '
      f'{successes} of {count} were given.'
    )
  share, z = successes / count, float(scipy.stats.norm.ppf((1 + coverage) / 2))
  middle, square = 2 * count * share + z**2, 2 * (count + z**2)
  low, high = (
    (middle + sign * (1 + z * math.sqrt(max(inner, 0.0)))) / square
    for sign, inner in (
      (-1, z**2 - 2 - 1 / count + 4 * share * (count * (1 - share) + 1)),
      (1, z**2 + 2 - 1 / count + 4 * share * (count * (1 - share) - 1)),
    )
  )
  return Interval(
    share, 0.0 if share == 0 else low, 1.0 if share == 1 else high
  )


def shares_differ(
  ours: int, of_ours: int, theirs: int, of_theirs: int, greater: bool = False
) -> float:
  """Returns Fisher's exact p that two shares of successes are equal.

  `greater` asks whether ours is the greater one, else whether they differ.
  """
  table = [[ours, of_ours - ours], [theirs, of_theirs - theirs]]
  alternative = 'greater' if greater else 'two-sided'
  return float(scipy.stats.fisher_exact(table, alternative).pvalue)


def means_differ(
  ours: Sequence | Array, theirs: Sequence | Array, greater: bool = False
) -> float:
  """Returns the exact p of a permutation test that two means are equal.

  All ways to deal the numbers to the two groups are tried, up to 10,000; then
  as many at random. `greater` asks whether our mean is the greater one.
  """
  test = scipy.stats.permutation_test(
    (np.asarray(ours, float), np.asarray(theirs, float)),
    lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
    permutation_type='independent',
    vectorized=True,
    n_resamples=9999,
    alternative='greater' if greater else 'two-sided',
    rng=np.random.default_rng(0),
  )
  return float(test.pvalue)


def difference_interval(
  ours: Sequence | Array, theirs: Sequence | Array, coverage: Real = COVERAGE
) -> Interval:
  """Returns our mean minus theirs with Welch's interval, for few seeds.

  Raises:
    ValueError: one of the groups has fewer than two numbers.
  """
  ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
  if min(len(ours), len(theirs)) < 2:
    raise ValueError(
      'An interval of a difference needs 2 numbers or more on either side, but '
      f'there are {len(ours)} and {len(theirs)}.'
    )
  difference = float(ours.mean() - theirs.mean())
  if np.ptp(ours) == np.ptp(theirs) == 0:
    return Interval(difference, difference, difference)
  # Not by scipy.stats.ttest_ind, which warns where one side is constant.
  errors = [np.var(side, ddof=1) / len(side) for side in (ours, theirs)]
  parts = [
    e**2 / (len(s) - 1) for e, s in zip(errors, (ours, theirs), strict=True)
  ]
  freedom = sum(errors) ** 2 / sum(parts)
  quantile = float(scipy.stats.t.ppf((1 + coverage) / 2, freedom))
  half = quantile * math.sqrt(sum(errors))
  return Interval(difference, difference - half, difference + half)


def ratio_interval(
  ratios: Sequence | Array, coverage: Real = COVERAGE
) -> Interval:
  """Returns the geometric mean of ratios of one pair each, with its interval.

  Student's, of the logarithms: of times that were measured side by side in
  several processes, a ratio from each.

  Raises:
    ValueError: there are fewer than two, or one is not positive.
  """
  ratios = np.asarray(ratios, float)
  if not np.all(ratios > 0):
    raise ValueError(f'Ratios are positive, but {ratios.tolist()} were given.')
  return Interval(*map(math.exp, mean_interval(np.log(ratios), coverage)))


def ratio_differs(ratios: Sequence | Array, margin: Real = 1) -> float:
  """Returns Student's two-sided p that the geometric mean is a margin.

  It is below 1 - coverage exactly where `ratio_interval` leaves the margin out.
  """
  gaps = np.log(np.asarray(ratios, float)) - math.log(margin)
  if np.ptp(gaps) == 0:
    return float(gaps[0] == 0)
  return float(scipy.stats.ttest_1samp(gaps, 0).pvalue)


def smallest_level(
  interval: Callable[[float], Interval], margin: Real
) -> float:
  """Returns the p with which an estimate is told from a margin.

  Its interval at coverage 1 - p just reaches the margin; .5 where it holds the
  margin at any.

  Args:
    interval: from a coverage to the interval.
    margin: the number on one side of which the estimate lies.
  """
  low, high = math.log(1e-12), math.log(0.5)
  for _ in range(40):
    middle = (low + high) / 2
    found = interval(1 - math.exp(middle))
    told = not found.low <= margin < found.high
    low, high = (low, middle) if told else (middle, high)
  return math.exp(high)


def wider(first: Interval, second: Interval) -> Interval:
  """Returns the first estimate with an interval that holds both."""
  low, high = min(first.low, second.low), max(first.high, second.high)
  return Interval(first.value, low, high)
