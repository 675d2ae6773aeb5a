"""A threshold is claimed between two tested points, and nowhere else."""

import math

import pytest

from seqjax.analysis import thresholds
from seqjax.analysis.thresholds import Bracket, bracket


@pytest.mark.parametrize('passed, low, high', [
  ({8: True, 32: False}, 8, 32),
  ({8: True, 32: True}, 32, math.inf),
  ({8: False, 32: False}, 0, 8),
  ({8: True, 32: False, 128: True}, 8, 32),  # the first failure counts
  ({8: True, 16: None, 32: False}, 8, 32),  # unknown: wider, not decided
  ({8: None, 32: None}, 0, math.inf),
  ({}, 0, math.inf),
])  # fmt: skip
def test_a_bracket_has_the_points_before_and_at_the_first_failure(
  passed, low, high
):
  """Whatever the order they were tested in."""
  backwards = dict(reversed(passed.items()))
  assert bracket(passed) == bracket(backwards) == (low, high)


def test_removing_a_point_widens_a_bracket_and_never_moves_it():
  """A rung that is left out may not change what is claimed."""
  for threshold in (5, 20, 100, 300, 900):
    ladder = {x: x < threshold for x in (8, 32, 128, 512)}
    whole = bracket(ladder)
    for rung in ladder:
      fewer = bracket({x: p for x, p in ladder.items() if x != rung})
      assert fewer.low <= whole.low and whole.high <= fewer.high
      assert fewer.low < threshold <= fewer.high


@pytest.mark.parametrize('threshold', [1, 2, 3, 7, 50, 333, 999, 1000])
def test_narrowing_ends_within_the_factor_or_at_a_limit(threshold):
  """In few tests, and with the threshold between the ends."""
  tested = []

  def test(point):
    tested.append(point)
    return point < threshold

  known = thresholds.narrow(test, highest=1000)
  found = bracket(known)
  assert found.low < threshold <= found.high
  assert len(tested) == len(set(tested)) <= 14
  if not found.censored and found.high - found.low > 1:
    assert found.high <= 1.5 * found.low


def test_what_is_known_is_not_tested_again():
  """And what cannot be known ends the search."""
  known = thresholds.narrow(
    lambda point: pytest.fail(str(point)), {8: True, 12: False}, highest=99
  )
  assert known == {8: True, 12: False}
  known = thresholds.narrow(
    lambda point: None, {8: True, 64: False}, highest=99
  )
  assert known == {8: True, 64: False, 23: None}


def test_a_ratio_is_that_of_the_ends():
  """Two thresholds beyond all points say nothing of it."""
  ratio = thresholds.ratio(Bracket(32, 64), Bracket(8, 16))
  assert ratio == (2, 8)
  beyond = Bracket(512, math.inf)
  assert thresholds.ratio(beyond, beyond) == (0, math.inf)
  assert thresholds.ratio(beyond, Bracket(8, 16)) == (32, math.inf)
  assert thresholds.ratio(Bracket(0, 8), Bracket(0, 8)) == (0, math.inf)


def test_seeds_are_counted_in_words():
  """The most frequent bracket first."""
  found = [Bracket(8, 32)] * 4 + [Bracket(32, math.inf), Bracket(0, 8)]
  assert thresholds.describe(found) == (
    'between 8 and 32 (4 of 6 seeds), below 8 (1 of 6 seeds), '
    'above 32 (1 of 6 seeds)'
  )
  assert thresholds.over_seeds(found) == (0, math.inf)
  assert thresholds.over_seeds(found[:4]) == (8, 32)
  assert str(Bracket(0, math.inf)) == 'not tested'
  with pytest.raises(ValueError, match='1 or more'):
    thresholds.over_seeds([])
