"""Intervals cover what they promise."""

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


def test_the_interval_of_a_mean_is_students():
  """Five numbers, checked by hand: 2.776 s / sqrt(5)."""
  interval = statistics.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
  assert interval.value == 3
  half = 2.7764451052 * 2.5**0.5 / 5**0.5  # the quantile of four degrees
  assert interval.high - 3 == pytest.approx(half)
  assert 3 - interval.low == pytest.approx(interval.high - 3)
  with pytest.raises(ValueError, match='2 samples or more'):
    statistics.mean_interval([1.0])


def test_the_interquartile_mean_is_that_of_the_middle_half():
  """1 to 8 leave 3 to 6; in general floor(N / 4) are cut at each end."""
  assert statistics.interquartile_mean(range(1, 9)) == 4.5
  generator = np.random.default_rng(0)
  for count in range(1, 14):
    scores = generator.exponential(size=count)
    cut = count // 4
    expected = sum(sorted(scores)[cut : count - cut]) / (count - 2 * cut)
    given = statistics.interquartile_mean(scores)
    np.testing.assert_allclose(given, expected, rtol=1e-12)


def test_a_summary_says_what_ten_seeds_reached():
  """Nine that learn it and one that does not, worked out by hand."""
  scores = [0.1, *np.linspace(0.91, 0.99, 9)]
  summary = statistics.summarize(scores, solved=0.95)
  assert summary.count == 10
  assert summary.mean.value == pytest.approx((0.1 + 9 * 0.95) / 10)
  assert summary.median.value == pytest.approx(0.945)
  assert summary.interquartile_mean.value == pytest.approx(0.945)
  assert (summary.solved, summary.best) == (0.5, 0.99)
  for value, low, high in summary[1:4]:
    assert low < value < high
  width = [high - low for _, low, high in summary[1:4]]
  assert width[2] < width[0]  # one outlier widens the mean's interval


def test_a_summary_knows_which_direction_is_better():
  """Of bits a character the smallest is best, and fewer are solved."""
  scores = [2.5, 2.0, 3.0, 2.25]
  summary = statistics.summarize(scores, solved=2.25, higher_is_better=False)
  assert (summary.solved, summary.best) == (0.5, 2.0)


def test_a_few_scores_have_a_mean_and_no_interval():
  """Four say too little; of none there is not even a mean."""
  summary = statistics.summarize([1.0, 2.0, 3.0, 4.0], solved=5.0)
  assert summary.mean.value == summary.median.value == 2.5
  assert np.all(np.isnan([interval[1:] for interval in summary[1:4]]))
  assert not np.any(np.isnan(statistics.summarize(range(5), solved=0.0).mean))
  with pytest.raises(ValueError, match='at least 1 score'):
    statistics.summarize([], solved=1.0)


def test_contestants_far_apart_have_certain_ranks():
  """Best first, or last where lower is better; numbers of seeds may differ."""
  scores = {
    'worst': [0.1, 0.2, 0.15, 0.12, 0.17],
    'best': [0.9, 0.95, 0.97],
    'middle': [0.5, 0.6, 0.55, 0.52],
  }
  for higher, order in ((True, (3, 1, 2)), (False, (1, 3, 2))):
    found = statistics.ranks(scores, higher_is_better=higher)
    assert list(found) == list(scores)
    for place, (rank, probabilities) in zip(order, found.values(), strict=True):
      assert rank == (place, place, place)
      assert probabilities == tuple(float(k == place) for k in (1, 2, 3))


def test_contestants_that_are_the_same_share_their_ranks():
  """Evenly where all scores are equal, nearly so where seeds differ."""
  same = statistics.ranks(dict.fromkeys('abc', [1.0] * 5) | {'d': [0.0] * 5})
  for name in 'abc':
    assert same[name].rank == (2, 2, 2)
    np.testing.assert_allclose(same[name].probabilities, [1 / 3] * 3 + [0])
  scores = np.random.default_rng(0).normal(size=20)
  unsure = statistics.ranks({'a': scores, 'b': scores[::-1]})
  for rank, probabilities in unsure.values():
    assert (rank.low, rank.high) == (1, 2)
    np.testing.assert_allclose(probabilities, [0.5, 0.5], atol=0.05)


def test_the_probability_of_a_rank_is_what_counting_gives():
  """Two scores against one that never changes, by any statistic.

  A mean of two drawn from {0, 2} is 0, 1, 1 or 2: it loses to 1.5 three times
  in four; their maximum is 2 three times in four, and wins.
  """
  scores = {'varied': [0.0, 2.0], 'constant': [1.5, 1.5]}
  for statistic, wins in ((np.mean, 1 / 4), (np.max, 3 / 4)):
    found = statistics.ranks(scores, statistic, resamples=4000)
    chances = [found[name].probabilities[0] for name in scores]
    np.testing.assert_allclose(chances, [wins, 1 - wins], atol=0.03)
    assert found == statistics.ranks(scores, statistic, resamples=4000)


def test_ranks_need_contestants_with_scores():
  """Of one seed nothing can be drawn again."""
  with pytest.raises(ValueError, match='at least 1 contestant'):
    statistics.ranks({})
  with pytest.raises(ValueError, match='at least 2 samples.* 1 and 2000'):
    statistics.ranks({'lstm': [0.5, 0.6], 'gru': [0.7]})
