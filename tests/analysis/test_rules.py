"""Rules hold against a referee: each comes out each way, for its reason."""

import math

import numpy as np
import pytest

from seqjax.analysis import rules
from seqjax.analysis.rules import Curve
from seqjax.analysis.statistics import LEVEL

POINTS = (8, 16, 32, 64, 128)


def curve(*means, seeds=8, spread=0.0, entry='ours', points=POINTS, **changes):
  """A curve whose seeds lie evenly around means."""
  offsets = np.linspace(-1, 1, seeds)[:, None] * spread
  scores = np.clip(np.array(means, float)[None] + offsets, 0, 1)
  made = Curve(entry, points[: len(means)], scores, 1024, 0.125, 128, 0.99)
  return made._replace(**changes)


ONE = curve(1, 1, 1, 1, 1)
FADING = curve(1, 0.95, 0.8, 0.5, 0.2, solved=0.0)


def failing(seeds, bad, good=1.0, worst=0.3):
  """Returns a curve of which so many seeds fail at the longest point."""
  made = curve(1, 1, 1, 1, good, seeds=seeds)
  made.scores[:bad, -1] = worst
  return made


def test_flat_comes_out_each_way():
  """True at the ceiling; a fall by more than the margin is none."""
  assert rules.flat(ONE).holds is True
  assert rules.flat(FADING).holds is False
  noisy = curve(0.97, 0.97, 0.97, 0.97, 0.96, spread=0.03, solved=0.0)
  assert rules.flat(noisy).holds is None


def test_a_cliff_at_the_longest_point_is_not_flat():
  """Accuracy .88 there in all seeds counted as flat by a slope."""
  cliff = curve(1, 1, 1, 1, 0.88, solved=0.0)
  assert rules.flat(cliff).holds is False
  assert rules.flat(cliff).effect.value == pytest.approx(0.12)
  dip = curve(1, 1, 0.8, 1, 1, solved=0.0)
  assert rules.flat(dip).holds is False


def test_few_examples_decide_nothing():
  """Seeds that agree may have seen the same hundred examples."""
  assert rules.flat(ONE._replace(examples=100)).holds is None
  low, high = rules.drop(ONE._replace(examples=100))[1:]
  assert low < -0.02 and high > 0.02


@pytest.mark.parametrize('seeds', [2, 3, 4])
def test_few_seeds_decide_nothing(seeds):
  """Whatever they say."""
  few = curve(1, 1, 1, 1, 1, seeds=seeds)
  for answer in (
    rules.flat(few),
    rules.fades(few),
    rules.eases(few, ONE),
    rules.generalises(few, 1),
    rules.vanishes(few, 8),
  ):
    assert answer.holds is None and f'{seeds} seeds' in answer.why


def test_one_seed_of_five_that_fails_leaves_it_open():
  """Neither learnt nor not; and not flat."""
  one = failing(5, 1)
  assert rules.learnt(one).holds is None
  assert '4 of 5 seeds' in rules.learnt(one).why
  assert rules.flat(one).holds is None


def test_learnt_counts_seeds_that_solve_every_trained_point():
  """At points beyond training nobody asks."""
  assert rules.learnt(failing(8, 0)).holds is True
  assert rules.learnt(failing(8, 8)).holds is False
  assert rules.learnt(failing(5, 5)).holds is False
  assert rules.learnt(failing(8, 8)._replace(trained=64)).holds is True
  assert rules.learnt(failing(8, 4)).holds is None


def test_what_was_not_learnt_says_nothing_about_memory():
  """It counted as fading before."""
  never = curve(0.13, 0.13, 0.12, 0.12, 0.13)
  for answer in (rules.flat(never), rules.generalises(never, 1)):
    assert answer.holds is None and 'not learnt' in answer.why
  assert rules.fades(never).holds is None
  assert 'not learnt even at 8' in rules.fades(never).why


def test_fades_comes_out_each_way():
  """Compares the shortest point of one network with its longest."""
  assert rules.fades(FADING).holds is True
  assert rules.fades(FADING).effect.value == pytest.approx(0.8)
  assert rules.fades(ONE).holds is False
  assert rules.fades(curve(1, 1, 1, 1, 0.97, spread=0.02)).holds is None


def test_generalises_comes_out_each_way():
  """At twice the trained point; where it was not tested nothing is known."""
  far = lambda score, **more: curve(1, 1, 1, 1, score, trained=64, **more)  # noqa: E731
  assert rules.generalises(far(1.0), 2).holds is True
  assert rules.generalises(far(0.5), 2).holds is False
  assert rules.generalises(far(0.98, spread=0.02), 2).holds is None
  assert 'not tested at 256' in rules.generalises(far(1.0), 4).why


def test_vanishes_comes_out_each_way():
  """Chance, with its noise, against anything above it."""
  at = lambda score, **more: curve(1, 1, 1, 1, score, **more)  # noqa: E731
  big = {'examples': 100_000}
  assert rules.vanishes(at(0.125, **big), 128).holds is True
  assert rules.vanishes(at(0.2, **big), 128).holds is False
  assert rules.vanishes(at(0.14, examples=200), 128).holds is None


def test_eases_comes_out_each_way():
  """Counts the seeds that pass half-way at some point."""
  low = curve(1, 0.9, 0.2, 0.13, 0.13, entry='theirs')
  ours = curve(1, 1, 1, 0.9, 0.2)
  answer = rules.eases(ours, low)
  assert answer.holds is True and answer.p < 0.05 / 43
  assert answer.effect == (pytest.approx(4), 2, 8)
  assert rules.eases(low, ours).holds is False
  some = curve(1, 0.9, 0.6, 0.13, 0.13)
  some.scores[:4, 2] = 0.2
  assert rules.eases(some, low).holds is None


def test_a_ceiling_on_both_sides_is_undecided():
  """It counted as a refutation before; so is a floor."""
  for both in (ONE, curve(0.1, 0.1, 0.1, 0.1, 0.1)):
    answer = rules.eases(both, both._replace(entry='theirs'))
    assert answer.holds is None and answer.effect is None
    assert 'pass and fail at the same points' in answer.why


def test_a_rung_that_is_left_out_widens_the_ratio():
  """3.5 [2.0, 4.0] became 1.0 [0.98, 1.03] before."""
  low = curve(1, 0.9, 0.2, 0.13, 0.13, entry='theirs')
  ours = curve(1, 1, 1, 0.9, 0.2)
  whole, compared = rules.eases(ours, low).effect, 0
  for left in range(len(POINTS)):
    keep = [i for i in range(len(POINTS)) if i != left]
    fewer = [
      c._replace(
        points=tuple(POINTS[i] for i in keep), scores=c.scores[:, keep]
      )
      for c in (ours, low)
    ]
    effect = rules.eases(*fewer).effect
    if effect is not None:
      assert effect.low <= whole.low and whole.high <= effect.high
      compared += 1
  assert compared >= 3


def test_slower_comes_out_each_way():
  """A ratio of 1.05 is neither slower nor a tie that keeps a claim open."""
  around = lambda ratio: ratio * np.array([0.98, 0.99, 1.0, 1.01, 1.02])  # noqa: E731
  assert rules.slower(around(2.0)).holds is True
  assert rules.slower(around(0.5)).holds is False
  assert rules.slower(around(1.05)).holds is False
  assert rules.slower([0.8, 1.0, 1.3, 1.6, 2.0]).holds is None
  assert rules.slower(around(2.0)[:4]).holds is None
  assert max(rules.slower(around(ratio)).p for ratio in (2.0, 1.05)) < LEVEL
  assert rules.slower([0.8, 1.0, 1.3, 1.6, 2.0]).p > 0.05


def test_a_crossover_is_a_bracket():
  """The ratio reaches 1 in it; an interval that holds 1 decides nothing."""
  around = lambda ratio: ratio * np.array([0.98, 0.99, 1.0, 1.01, 1.02])  # noqa: E731
  ratios = {64: around(0.5), 128: around(0.8), 256: around(1.0), 512: around(2)}
  assert rules.crosses(ratios) == (128, 512)
  assert rules.crosses({64: around(2.0)}) == (0, 64)
  assert rules.crosses({64: around(0.5)}) == (64, math.inf)


def test_a_users_mixer_is_judged_like_any_other():
  """The curve alone decides: a name is a name."""
  named = ONE._replace(entry='my mixer')
  assert rules.flat(named) == rules.flat(ONE)


def test_p_is_the_level_at_which_the_answer_turns():
  """A stricter level leaves it open, a looser one decides it."""
  falling = curve(1, 1, 1, 1, 0.9, spread=0.05, solved=0.0)
  p = rules.fades(falling).p
  assert 1e-6 < p < 0.05
  assert rules.fades(falling, level=1.1 * p).holds is True
  assert rules.fades(falling, level=0.9 * p).holds is None
  assert rules.fades(falling).effect == rules.drop(falling)


def test_votes_count_the_seeds_that_answer_by_themselves():
  """For what they lean to where nothing is decided."""
  some = failing(5, 2)
  assert rules.fades(some).votes == (2, 5)
  assert rules.generalises(some._replace(trained=64), 2).votes == (3, 5)
  assert rules.vanishes(failing(5, 2, worst=0.1), 128).votes == (2, 5)
  assert rules.eases(ONE, FADING).votes == (2, 2)  # at 64 and at 128
