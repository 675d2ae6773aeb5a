"""Rules hold against a referee: each comes out each way, for its reason."""

import math

import numpy as np
import pytest

from seqjax.analysis import rules
from seqjax.analysis.rules import Answer, Curve
from seqjax.analysis.statistics import LEVEL
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)

POINTS = (8, 16, 32, 64, 128)


def curve(*means, seeds=11, entry='ours', points=POINTS, **changes):
  """A curve whose seeds have equal scores."""
  scores = np.tile(np.array(means, float), (seeds, 1))
  made = Curve(entry, points[: len(means)], scores, 1024, 0.125, 128, 0.95)
  return made._replace(**changes)


ONE = curve(1, 1, 1, 1, 1)
FADING = curve(1, 0.98, 0.8, 0.5, 0.2)
YES, NO, OPEN = Answer(True), Answer(False), Answer(None)


def failing(seeds, bad, worst=0.3, column=-1):
  """Returns a curve of which so many seeds fail at one point."""
  made = curve(1, 1, 1, 1, 1, seeds=seeds)
  made.scores[:bad, column] = worst
  return made


def test_fading_and_flat_are_opposites():
  """Holds for every curve; where one is open, so is the other."""
  for made in (ONE, FADING, failing(11, 3), curve(0.1, 0.1), failing(4, 4)):
    fades, flat = rules.fades(made), rules.flat(made)
    assert flat.holds is (None if fades.holds is None else not fades.holds)
    assert sum((fades.votes[0], flat.votes[0])) == fades.votes[1]
  assert rules.fades(FADING).holds is True
  assert rules.fades(ONE).holds is False


def test_a_cliff_at_the_longest_point_fades():
  """Accuracy .88 there in all seeds counted as flat by a slope."""
  cliff = curve(1, 1, 1, 1, 0.88)
  assert rules.fades(cliff).holds is True
  assert rules.fades(cliff).effect.value == pytest.approx(0.12)


def test_a_hole_in_the_middle_fades():
  """Ends that are equal hide nothing."""
  assert rules.fades(failing(11, 11, column=2)).holds is True
  assert (
    rules.generalises(failing(11, 11, column=3)._replace(trained=32), 4).holds
    is False
  )


@pytest.mark.parametrize('seeds', [1, 2, 3, 4])
def test_few_seeds_decide_nothing(seeds):
  """Whatever they say."""
  few = curve(1, 1, 1, 1, 1, seeds=seeds)
  for answer in (
    rules.learnt(few),
    rules.flat(few),
    rules.fades(few),
    rules.eases(few, ONE),
    rules.generalises(few._replace(trained=64), 2),
    rules.vanishes(few, 8),
  ):
    assert answer.holds is None and f'{seeds} seed' in answer.why


def test_eleven_seeds_that_agree_decide_and_ten_do_not():
  """Counts throws of a coin: 2 in 2^11 are all equal, below .05 / 43."""
  for seeds, decided in ((10, False), (11, True)):
    made = failing(seeds, seeds)
    assert (rules.fades(made).holds is not None) == decided
    assert rules.fades(made).p == pytest.approx(2 / 2**seeds)
  one_of_many = failing(12, 1)
  assert rules.fades(one_of_many).holds is None
  assert '1 of 12 seeds' in rules.fades(one_of_many).why


@pytest.mark.parametrize('share', [0.5, 0.4])
def test_chance_decides_as_seldom_as_is_said(share):
  """Networks that collapse now and then: at most LEVEL of tables are wrong.

  Half or fewer of all networks fade, and a table says that most do.
  """
  rng = np.random.default_rng(0)
  counts = (rng.uniform(size=(20000, 11)) < share).sum(axis=1)
  said = [rules.most(np.arange(11) < count).holds for count in range(12)]
  assert said[11] is True and said[0] is False
  assert np.mean([said[count] is True for count in counts]) <= LEVEL


def test_learnt_counts_seeds_that_solve_every_trained_point():
  """At points beyond training nobody asks."""
  assert rules.learnt(failing(11, 0)).holds is True
  assert rules.learnt(failing(11, 11)).holds is False
  assert rules.learnt(failing(11, 11)._replace(trained=64)).holds is True
  assert rules.learnt(failing(11, 4)).holds is None
  assert '7 of 11 seeds' in rules.learnt(failing(11, 4)).why


def test_what_was_not_learnt_says_nothing_about_memory():
  """It counted as fading before; nor does what is half learnt."""
  never = curve(0.13, 0.13, 0.12, 0.12, 0.13)
  half = curve(0.6, 0.13, 0.12, 0.12, 0.13)
  for made in (never, half):
    for answer in (rules.flat(made), rules.fades(made)):
      assert answer.holds is None and 'not learnt even 8' in answer.why
  beyond = rules.generalises(never._replace(trained=64), 2)
  assert beyond.holds is None and 'learnt by 0 of 11 seeds' in beyond.why


def test_generalises_comes_out_each_way():
  """Up to twice the trained point; where it was not tested nothing is known."""
  far = lambda score: curve(1, 1, 1, 1, score, trained=64)  # noqa: E731
  assert rules.generalises(far(1.0), 2).holds is True
  assert rules.generalises(far(0.5), 2).holds is False
  some = failing(11, 3)._replace(trained=64)
  assert rules.generalises(some, 2).holds is None
  assert 'not tested at 256' in rules.generalises(far(1.0), 4).why
  assert (
    'not tested at 100'
    in rules.generalises(far(1.0)._replace(trained=100), 2).why
  )


def test_vanishes_comes_out_each_way():
  """At chance, or above it by more than the margin."""
  at = lambda score: curve(1, 1, 1, 1, score)  # noqa: E731
  assert rules.vanishes(at(0.13), 128).holds is True
  assert rules.vanishes(at(0.2), 128).holds is False
  assert rules.vanishes(failing(11, 5, worst=0.1), 128).holds is None
  assert 'not tested at 30' in rules.vanishes(ONE, 30).why


def test_a_missing_row_decides_nothing():
  """It counted as a guess before."""
  holes = curve(1, 1, 1, 1, 1)
  holes.scores[3, 2] = math.nan
  for answer in (
    rules.fades(holes),
    rules.learnt(holes),
    rules.eases(holes, FADING),
    rules.vanishes(holes, 32),
  ):
    assert answer.holds is None and 'lacks rows' in answer.why
  assert rules.reach(holes)[3] == (128, math.inf)


LOW = curve(1, 0.99, 0.2, 0.13, 0.13, entry='theirs')
HIGH = curve(1, 1, 1, 0.99, 0.2)


def test_eases_comes_out_each_way():
  """Counts how many of the points each seed learns."""
  answer = rules.eases(HIGH, LOW)
  assert answer.holds is True and answer.p < LEVEL
  assert answer.effect == (2, 8)  # 64 to 128 over 16 to 32
  assert rules.eases(LOW, HIGH).holds is False
  some = curve(1, 0.99, 0.99, 0.13, 0.13)
  some.scores[:8, 2] = 0.2
  assert rules.eases(some, LOW).holds is None
  assert rules.eases(some, LOW).votes == (1, 1)


def test_curves_that_cross_ease_nothing():
  """Each learns a point that the other does not: nobody is ahead."""
  first, second = failing(11, 11, column=3), failing(11, 11, column=4)
  for answer in (rules.eases(first, second), rules.eases(second, first)):
    assert answer.holds is None and 'as many of the points' in answer.why


def test_points_that_tell_nothing_change_no_answer():
  """Both learn them, or neither does: the test is of what they differ in."""
  p = rules.eases(HIGH, LOW).p
  assert rules.eases(HIGH.at([32, 64]), LOW.at([32, 64])).p == pytest.approx(p)


def test_a_ceiling_on_both_sides_is_undecided():
  """It counted as a refutation before; so is a floor."""
  for both in (ONE, curve(0.1, 0.1, 0.1, 0.1, 0.1)):
    answer = rules.eases(both, both._replace(entry='theirs'))
    assert answer.holds is None and answer.p == 1


def test_half_learnt_is_not_learnt():
  """A score just above half-way counted before."""
  ours = curve(0.57, 0.57, 0.57, 0.57, 0.57)
  theirs = curve(0.55, 0.55, 0.55, 0.55, 0.55, entry='theirs')
  assert rules.eases(ours, theirs).holds is None


@pytest.mark.parametrize('left', POINTS)
def test_a_rung_that_is_left_out_widens_the_ratio(left):
  """3.5 [2.0, 4.0] became 1.0 [0.98, 1.03] before; only ends are said now."""
  keep = [x for x in POINTS if x != left]
  whole = rules.eases(HIGH, LOW).effect
  fewer = rules.eases(HIGH.at(keep), LOW.at(keep)).effect
  assert fewer.low <= whole.low and whole.high <= fewer.high


def test_slower_comes_out_each_way():
  """Above both margins, below both, or neither."""
  around = lambda ratio: ratio * np.array([0.98, 0.99, 1.0, 1.01, 1.02])  # noqa: E731
  assert rules.slower(around(2.0)).holds is True
  assert rules.slower(around(0.5)).holds is False
  assert rules.slower(around(1.05)).holds is False
  assert rules.slower([0.8, 1.0, 1.3, 1.6, 2.0]).holds is None
  assert rules.slower(around(2.0)[:4]).holds is None
  assert max(rules.slower(around(ratio)).p for ratio in (2.0, 1.05)) < LEVEL
  assert rules.slower([0.8, 1.0, 1.3, 1.6, 2.0]).p > 0.05


def test_more_precise_times_never_turn_slower_into_not_slower():
  """A ratio that is known to lie between the margins is neither."""
  spread = np.array([-1, -0.5, 0, 0.5, 1])
  found = [
    rules.slower(1.2 * np.exp(scale * spread), 1 - LEVEL).holds
    for scale in (0.05, 0.03, 0.02, 0.01, 0.001)
  ]
  assert found[-1] is None and len(set(found) - {None}) <= 1


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


def test_votes_count_the_seeds_that_answer_by_themselves():
  """For what they lean to where nothing is decided."""
  some = failing(5, 2)
  assert rules.fades(some).votes == (2, 5)
  assert rules.generalises(some._replace(trained=64), 2).votes == (3, 5)
  assert rules.vanishes(failing(5, 2, worst=0.1), 128).votes == (2, 5)
  assert rules.eases(ONE, FADING).votes == (3, 3)


@pytest.mark.parametrize(
  'tested, others, word',
  [
    (YES, [YES, YES], SUPPORTED),
    (NO, [NO, OPEN], REFUTED),
    (OPEN, [YES, NO], UNDECIDED),
    (YES, [YES, NO], CONDITIONAL),
    (NO, [NO, YES], CONDITIONAL),
    (YES, [YES, OPEN], SUPPORTED),
    (YES, [OPEN._replace(votes=(3, 11))], CONDITIONAL),
    (NO, [OPEN._replace(votes=(3, 11))], REFUTED),
    (YES, [], SUPPORTED),
  ],
)
def test_others_make_a_tested_answer_depend_and_never_decide_it(
  tested, others, word
):
  """One that is not known counts by the side that most of its seeds are on."""
  assert rules.led_by(tested, others) == word
