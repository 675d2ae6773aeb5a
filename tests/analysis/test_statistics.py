"""Intervals cover what they promise, and verdicts are one of four."""

import math

import numpy as np
import pytest

from seqjax.analysis import statistics


@pytest.mark.parametrize(
  'count, rank', [(6, 1), (8, 1), (9, 2), (11, 2), (25, 8)]
)
def test_the_interval_of_a_median_ends_at_the_tabulated_order_statistics(
  count, rank
):
  """Ranks as in David and Nagaraja's table for 95 % and p = 1/2."""
  interval = statistics.median_interval(np.arange(1, count + 1)[::-1])
  assert interval == ((count + 1) / 2, rank, count + 1 - rank)


def test_the_interval_of_a_median_covers_it_as_often_as_promised():
  """95 % or more of 2000 skewed samples of eleven, and not nearly all."""
  samples = np.random.default_rng(0).exponential(size=(2000, 11))
  covered = np.mean(
    [
      statistics.median_interval(sample).contains(math.log(2))
      for sample in samples
    ]
  )
  assert 0.95 <= covered + 0.01 and covered < 0.998


def test_a_median_of_too_few_numbers_has_no_interval():
  """Five numbers cover a median with 94 % at most."""
  with pytest.raises(ValueError, match='at least 6 samples.* 5'):
    statistics.median_interval([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize('samples', [[1.0] * 6 + [math.nan], [[1.0] * 6] * 2])
def test_samples_are_finite_numbers_in_a_row(samples):
  """A nan would sort to the end, a table would mix its rows."""
  with pytest.raises(ValueError, match='finite numbers'):
    statistics.median_interval(samples)


def test_a_bootstrap_covers_the_mean_and_repeats_itself():
  """The interval is close to the normal one, and a function of its seed."""
  samples = np.random.default_rng(0).normal(3.0, 1.0, size=400)
  interval = statistics.bootstrap_interval(samples)
  half = 1.96 * samples.std() / 20
  np.testing.assert_allclose(
    interval,
    [samples.mean(), samples.mean() - half, samples.mean() + half],
    atol=0.02,
  )
  assert interval == statistics.bootstrap_interval(samples)
  assert interval != statistics.bootstrap_interval(samples, seed=1)


def test_a_bootstrap_takes_any_statistic():
  """The value is the statistic of the samples themselves."""
  interval = statistics.bootstrap_interval([1.0, 2.0, 9.0], np.max)
  assert interval.value == interval.high == 9.0


def test_a_bootstrap_of_one_number_is_an_error():
  """All its resamples would be the same."""
  with pytest.raises(ValueError, match='at least 2 samples.* 1 and 2000'):
    statistics.bootstrap_interval([1.0])


def test_an_interval_contains_its_ends_and_an_unknown_one_nothing():
  """Membership is low <= number <= high."""
  interval = statistics.Interval(2.0, 1.0, 3.0)
  assert interval.contains(1.0) and interval.contains(3.0)
  assert not interval.contains(0.9) and not interval.contains(3.1)
  assert not statistics.Interval(2.0, math.nan, math.nan).contains(2.0)


def test_a_verdict_is_one_of_four():
  """A misspelt verdict is an error that lists them."""
  rest = ('LSTM scans cost more.', 2.0, 1.5, 2.5, 5)
  verdict = statistics.Verdict('2.1', statistics.SUPPORTED, *rest)
  assert verdict.verdict == 'SUPPORTED' and verdict.seeds == 5
  with pytest.raises(ValueError, match="UNDECIDED.* claim 2.1 .*'supported'"):
    statistics.Verdict('2.1', 'supported', *rest)


def test_the_interval_of_a_mean_is_students():
  """Five numbers, checked by hand: 2.776 s / sqrt(5)."""
  interval = statistics.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
  assert interval.value == 3
  assert interval.high - 3 == pytest.approx(2.776 * 2.5**0.5 / 5**0.5)
  assert 3 - interval.low == pytest.approx(interval.high - 3)
  with pytest.raises(ValueError, match='2 samples or more'):
    statistics.mean_interval([1.0])
