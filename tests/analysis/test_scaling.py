"""Exponents and crossovers of curves whose answer is known."""

import math

import numpy as np
import pytest

from seqjax.analysis import scaling

LENGTHS = [64, 256, 1024, 4096]


def curve(power, at_one=1.0, noise=0.0, rounds=11, seed=0):
  """A power law, with lognormal noise of its own in every round."""
  spread = np.random.default_rng(seed).normal(size=(len(LENGTHS), rounds))
  exact = at_one * np.asarray(LENGTHS, float)[:, None] ** power
  return exact * np.exp(noise * spread)


@pytest.mark.parametrize('power', [0.0, 1.0, 1.7, 2.0])
def test_an_exact_power_law_gives_its_exponent(power):
  """Without noise the interval is a point, for rounds and for one curve."""
  for seconds in (curve(power), curve(power)[:, 0]):
    interval = scaling.exponent(LENGTHS, seconds)
    np.testing.assert_allclose(interval, [power] * 3, atol=1e-9)


def test_the_interval_of_an_exponent_covers_it_as_often_as_promised():
  """Of 200 noisy measurements about 95 in 100 cover the true exponent."""
  for pick in (lambda s: s, lambda s: s[:, 0]):
    covered = [
      scaling.exponent(
        LENGTHS, pick(curve(1.5, noise=0.2, seed=seed))
      ).contains(1.5)
      for seed in range(200)
    ]
    assert 0.9 <= np.mean(covered) < 1.0


def test_two_lengths_without_rounds_give_an_exponent_of_unknown_spread():
  """A line through two points has no residual."""
  value, low, high = scaling.exponent([10, 100], [1.0, 100.0])
  assert value == pytest.approx(2.0) and math.isnan(low) and math.isnan(high)


def test_the_order_of_lengths_does_not_matter():
  """Curves are sorted before they are fitted or crossed."""
  a, b = curve(2.0, noise=0.1), curve(1.0, 500.0, noise=0.1, seed=1)
  backwards = LENGTHS[::-1], a[::-1], b[::-1]
  assert scaling.exponent(*backwards[:2]) == scaling.exponent(LENGTHS, a)
  assert scaling.crossover(*backwards) == scaling.crossover(LENGTHS, a, b)


@pytest.mark.parametrize('where', [100.0, 256.0, 700.0, 4000.0])
def test_power_laws_cross_at_the_known_length(where):
  """L^2 meets where * L at L = where, whichever is named first."""
  a, b = curve(2.0), curve(1.0, where)
  for one, other in ((a, b), (b, a)):
    interval = scaling.crossover(LENGTHS, one, other)
    np.testing.assert_allclose(interval, [where] * 3, rtol=1e-9)
    single = scaling.crossover(LENGTHS, one[:, 0], other[:, 0])
    assert single.value == pytest.approx(where) and math.isnan(single.low)


def test_a_noisy_crossing_lies_in_its_interval():
  """The interval is wider than a point and covers the true length."""
  interval = scaling.crossover(
    LENGTHS, curve(2.0, noise=0.1), curve(1.0, 500.0, noise=0.1, seed=1)
  )
  assert interval.low < interval.value < interval.high
  assert interval.contains(500.0)


@pytest.mark.parametrize('where', [1.0, 1e6])
def test_curves_that_cross_outside_the_lengths_have_no_crossover(where):
  """None in range is an answer, for rounds and for one curve."""
  a, b = curve(2.0), curve(1.0, where)
  assert scaling.crossover(LENGTHS, a, b) is None
  assert scaling.crossover(LENGTHS, a[:, 0], b[:, 0]) is None


def test_a_crossing_at_length_one_is_found():
  """Its logarithm is zero, which is not the same as none."""
  found = scaling.crossover([0.5, 2.0], [0.5, 2.0], [1.0, 1.0])
  assert found.value == pytest.approx(1.0)


def test_equal_curves_do_not_cross():
  """Neither is ever the cheaper one."""
  assert scaling.crossover(LENGTHS, curve(1.0), curve(1.0)) is None


def test_rounds_that_cross_beyond_the_lengths_stretch_the_interval():
  """Three of eleven cross later, or earlier: it reaches the end there."""
  where = np.asarray([500.0] * 8 + [1e6] * 3)
  late = scaling.crossover(LENGTHS, curve(2.0), curve(1.0) * where)
  np.testing.assert_allclose(late, [500.0, 500.0, 4096.0])
  where = np.asarray([500.0] * 8 + [1.0] * 3)
  early = scaling.crossover(LENGTHS, curve(2.0), curve(1.0) * where)
  np.testing.assert_allclose(early, [500.0, 64.0, 500.0])


def test_a_crossing_in_fewer_than_half_of_the_rounds_is_none():
  """Here even the median curves cross, but five of eleven rounds do."""
  where = np.asarray([500.0] * 5 + [1e6] * 3 + [1.0] * 3)
  assert scaling.crossover(LENGTHS, curve(2.0), curve(1.0) * where) is None


@pytest.mark.parametrize(
  'lengths, seconds, message',
  [
    ([64], [1.0], 'two or more lengths'),
    ([64, 64, 128], [1.0] * 3, 'each stands once'),
    ([0, 64], [1.0] * 2, 'positive'),
    ([-1, 64], [1.0] * 2, 'positive'),
    ([64, 128], [1.0] * 3, '2 lengths need seconds'),
    ([64, 128], [1.0, 0.0], 'positive and finite.* 0.0'),
    ([64, 128], [1.0, math.nan], 'positive and finite'),
    ([64, 128], [[1.0] * 5] * 2, 'at least 6 samples'),
  ],
)
def test_a_curve_that_is_none_is_an_error(lengths, seconds, message):
  """One sentence says what was expected and what came."""
  with pytest.raises(ValueError, match=message):
    scaling.exponent(lengths, seconds)


def test_a_crossover_needs_equally_many_rounds():
  """Rounds are compared one by one."""
  with pytest.raises(ValueError, match=r'\(4, 11\) and the other \(4, 12\)'):
    scaling.crossover(LENGTHS, curve(1.0), curve(2.0, rounds=12))
