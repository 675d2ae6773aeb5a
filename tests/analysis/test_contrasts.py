"""Intervals reach their coverage with few seeds; tests are exact."""

import math

import numpy as np
import pytest
from scipy import stats

from seqjax.analysis import contrasts
from seqjax.analysis.statistics import LEVEL, mean_interval

DRAWS = 2000
# Three standard errors of a coverage of 95 % that is measured on DRAWS draws.
NOISE = 3 * math.sqrt(0.95 * 0.05 / DRAWS)


@pytest.mark.parametrize('seeds', [3, 5, 8, 14])
def test_intervals_of_few_seeds_cover_what_they_say(seeds):
  """Simulated: of means, differences, ratios."""
  draw = np.random.default_rng(seeds)
  ours = draw.normal(1.0, 0.3, (DRAWS, seeds))
  theirs = draw.normal(0.4, 1.1, (DRAWS, seeds + 2))
  covered = {
    'mean': [mean_interval(row).contains(1.0) for row in ours],
    'difference': [
      contrasts.difference_interval(a, b).contains(0.6)
      for a, b in zip(ours, theirs, strict=True)
    ],
    'ratio': [
      contrasts.ratio_interval(np.exp(row)).contains(math.e) for row in ours
    ],
  }
  for name, hits in covered.items():
    assert np.mean(hits) >= 0.95 - NOISE, name


@pytest.mark.parametrize('count', [5, 8, 14, 1024])
def test_the_interval_of_a_share_covers_nearly_every_share(count):
  """Computed from the binomial distribution, not simulated."""
  intervals = [contrasts.share_interval(k, count) for k in range(count + 1)]
  shares = np.linspace(0.01, 0.99, 99).tolist()
  coverage = [
    sum(
      stats.binom.pmf(k, count, share)
      for k, found in enumerate(intervals)
      if found.contains(share)
    )
    for share in shares
  ]
  assert np.mean(np.array(coverage) >= 0.95) > 0.9 and min(coverage) > 0.92


def test_the_interval_of_a_share_is_scipys():
  """It has the same formula, of whole numbers."""
  for successes, count in ((0, 5), (3, 5), (5, 5), (1000, 1024)):
    low, high = stats.binomtest(successes, count).proportion_ci(
      0.95, 'wilsoncc'
    )
    found = contrasts.share_interval(successes, count)
    np.testing.assert_allclose(
      found, (successes / count, low, high), atol=1e-12
    )
  with pytest.raises(ValueError, match='6 of 5 were given'):
    contrasts.share_interval(6, 5)


def test_all_or_none_is_decided_by_eight_seeds_and_not_by_five():
  """Counted by hand: one of the ways to deal the successes."""
  p = contrasts.shares_differ(5, 5, 0, 5, greater=True)
  assert p == pytest.approx(1 / math.comb(10, 5)) and p > LEVEL
  p = contrasts.shares_differ(8, 8, 0, 8, greater=True)
  assert p == pytest.approx(1 / math.comb(16, 8)) and p < LEVEL
  assert contrasts.shares_differ(3, 8, 3, 8) == pytest.approx(1)


def test_a_permutation_test_counts_the_ways_to_deal_numbers():
  """All 20 of three and three: one is as extreme, two on both sides."""
  assert contrasts.means_differ([7, 8, 9], [1, 2, 3], True) == pytest.approx(
    0.05
  )
  assert contrasts.means_differ([7, 8, 9], [1, 2, 3]) == pytest.approx(0.1)
  assert contrasts.means_differ([1, 1], [1, 1]) == pytest.approx(1)


def test_what_has_no_interval_is_a_sentence():
  """Too few, or not positive."""
  with pytest.raises(ValueError, match='there are 1 and 3'):
    contrasts.difference_interval([1], [1, 2, 3])
  with pytest.raises(ValueError, match='Ratios are positive'):
    contrasts.ratio_interval([1.0, 0.0])


def test_a_ratio_differs_where_its_interval_leaves_the_margin_out():
  """Test and interval answer alike, at any level; and without any spread."""
  draw = np.random.default_rng(0)
  answers = set()
  for spread in (0.01, 0.05, 0.2):
    ratios = np.exp(draw.normal(0.2, spread, 5))
    for margin in (0.9, 1.1, 1.25):
      for coverage in (0.95, 1 - LEVEL):
        inside = contrasts.ratio_interval(ratios, coverage).contains(margin)
        p = contrasts.ratio_differs(ratios, margin)
        assert (p < 1 - coverage) == (not inside)
        answers.add(inside)
  assert answers == {True, False}
  assert contrasts.ratio_differs([2.0] * 5, 1.1) == 0
  assert contrasts.ratio_differs([1.1] * 5, 1.1) == 1
