"""Properties of curves over seeds: does it fade, is it flat, does it cross?

A curve is what one entry (a textbook's or a user's mixer) scores at several
points, as lags, lengths or sizes: an array of scores in [0, 1] with a row per
seed and a column per point. Each rule answers True, False, or None where the
scores do not say, with the number that it decided by.

Rules about one entry test what most networks do, by a sign test over seeds. It
assumes nothing about the distribution of scores; a test of means would. If one
network in ten collapses, often none of eight does, and Student's interval is
then far too narrow. At LEVEL, eleven seeds must agree.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from seqjax.analysis import contrasts, verdicts
from seqjax.analysis.statistics import (
  COVERAGE,
  LEVEL,
  Interval,
  median_interval,
)
from seqjax.analysis.thresholds import Bracket, bracket, over_seeds, ratio

MARGIN = 0.02  # of accuracy: a smaller drop is none
SLOWER, NOT_SLOWER = 1.1, 1.25  # ratios of times
MIN_SEEDS = 5  # fewer decide nothing


class Curve(NamedTuple):
  """Scores of one entry, trained in one way, at several points.

  Attributes:
    entry: its name.
    points: ascending, one per column.
    scores: a row per seed, a column per point; NaN where a row is missing.
    examples: the number of test examples behind each score.
    chance: the score of guessing.
    trained: the largest point that training saw.
    solved: the score from which on a point counts as learnt.
  """

  entry: str
  points: tuple[Real, ...]
  scores: Float[np.ndarray, 'S P']
  examples: int
  chance: Real
  trained: Real
  solved: Real

  @property
  def num_seeds(self) -> int:
    return len(self.scores)

  def at(self, points: Sequence[Real]) -> 'Curve':
    """Returns the curve at those of some points that it has."""
    keep = [i for i, x in enumerate(self.points) if x in points]
    return self._replace(
      points=tuple(self.points[i] for i in keep), scores=self.scores[:, keep]
    )

  def between(self, low: Real, high: Real) -> 'Curve':
    """Returns the curve at the points from low to high, ends included."""
    return self.at([x for x in self.points if low <= x <= high])


class Answer(NamedTuple):
  """An answer with the number that decided it.

  Attributes:
    holds: True, False, or None where it is not known.
    effect: the number, with its 95 % interval, or its bracket.
    why: the reason in words where `holds` is None; else ''.
    p: of the test, two-sided.
    votes: (how many seeds say True by themselves, how many were asked).
  """

  holds: bool | None
  effect: Interval | Bracket | None = None
  why: str = ''
  p: float | None = None
  votes: tuple[int, int] = (0, 0)

  def negated(self) -> 'Answer':
    """Returns the answer to the opposite question."""
    yes, of = self.votes
    holds = None if self.holds is None else not self.holds
    return self._replace(holds=holds, votes=(of - yes, of))


def most(
  votes: Bool[np.ndarray, ' S'],
  effect: Interval | None = None,
  why: str = '',
  level: Real = LEVEL,
) -> Answer:
  """Tells if most networks do something, from whether each of S seeds does.

  By a two-sided sign test of whether a seed does so with probability 1/2.
  """
  yes, of = int(np.sum(votes)), len(votes)
  p = float(scipy.stats.binomtest(yes, of).pvalue)
  told = {'effect': effect, 'p': p, 'votes': (yes, of)}
  if p < level:
    return Answer(2 * yes > of, **told)
  return Answer(None, why=f'{why}{yes} of {of} seeds', **told)


def led_by(tested: Answer, answers: Iterable[Answer]) -> str:
  """Returns the verdict of one answer, which others can only make depend.

  Args:
    tested: the answer of the claim's one primary contrast.
    answers: those of the other entries that the claim is about.

  Returns:
    CONDITIONAL where another answer, or the side that most of its seeds are on
    if it is not known, is the opposite; else the verdict of `tested`.
  """
  if tested.holds is None:
    return verdicts.UNDECIDED
  if (not tested.holds) in map(_side, answers):
    return verdicts.CONDITIONAL
  return verdicts.SUPPORTED if tested.holds else verdicts.REFUTED


def _side(answer: Answer) -> bool | None:
  """Returns an answer, or the side that most seeds are on; None of neither."""
  yes, of = answer.votes
  if answer.holds is not None or 2 * yes == of:
    return answer.holds
  return 2 * yes > of


def learnt(curve: Curve, level: Real = LEVEL) -> Answer:
  """Tells if most seeds solve the distribution that they were trained on.

  A seed has learnt it if it reaches `solved` at every trained point. False
  where most do not within the budget, which says nothing about memory.
  """
  inside = curve.between(-math.inf, curve.trained)
  if why := _unusable(inside):
    return Answer(None, why=why)
  solved = np.all(inside.scores >= curve.solved, axis=1)
  return most(solved, why=f'{curve.entry} is learnt by ', level=level)


def fades(curve: Curve, margin: Real = MARGIN, level: Real = LEVEL) -> Answer:
  """Tells if most networks score less at some later point than at the first.

  The score at the first point is the baseline. A network fades if its largest
  drop from there is above the margin. None where most seeds have not learnt
  even the first.
  """
  if why := _unusable(curve):
    return Answer(None, why=why)
  first = curve.scores[:, 0] >= curve.solved
  if 2 * first.sum() <= len(first):
    why = f'{curve.entry} has not learnt even {curve.points[0]:g}'
    return Answer(None, why=why)
  return _falls(curve, margin, level)


def flat(curve: Curve, margin: Real = MARGIN, level: Real = LEVEL) -> Answer:
  """Tells the opposite of `fades`: no fall at any point above the margin."""
  return fades(curve, margin, level).negated()


def generalises(
  curve: Curve, times: Real, margin: Real = MARGIN, level: Real = LEVEL
) -> Answer:
  """Tells if most networks score as high up to `times` the trained point.

  At every point tested on the way. None where most seeds have not learnt what
  they were trained on, or it was not tested that far.
  """
  far = times * curve.trained
  for point in (curve.trained, far):
    if point not in curve.points:
      why = f'{curve.entry} was not tested at {point:g}'
      return Answer(None, why=why)
  if why := _unusable(curve):
    return Answer(None, why=why)
  yes, of = learnt(curve).votes
  if 2 * yes <= of:
    why = f'{curve.entry} is learnt by {yes} of {of} seeds within the budget'
    return Answer(None, why=why)
  return _falls(curve.between(curve.trained, far), margin, level).negated()


def _falls(curve: Curve, margin: Real, level: Real) -> Answer:
  """Tells if most seeds fall from the first point to the lowest later one."""
  if len(curve.points) < 2:
    return Answer(None, why=f'{curve.entry} was tested at one point')
  lost = curve.scores[:, 0] - curve.scores[:, 1:].min(axis=1)
  why = f'{curve.entry} loses more than {margin:g} in '
  return most(lost > margin, _median(lost), why, level)


def vanishes(
  curve: Curve, point: Real, margin: Real = MARGIN, level: Real = LEVEL
) -> Answer:
  """Tells if nothing but chance is left at a point, in most networks.

  A seed's score is at most the margin above chance.
  """
  if point not in curve.points:
    return Answer(None, why=f'{curve.entry} was not tested at {point:g}')
  if why := _unusable(curve.at([point])):
    return Answer(None, why=why)
  scores = curve.scores[:, curve.points.index(point)]
  why = f'{curve.entry} is at chance in '
  gone = scores <= curve.chance + margin
  return most(gone, _median(scores), why, level)


def _median(numbers: Float[np.ndarray, ' S']) -> Interval | None:
  """Returns the median with its interval; None of too few to have one."""
  return median_interval(numbers) if len(numbers) >= 6 else None


def reach(curve: Curve) -> list[Bracket]:
  """Returns, for each seed, the bracket of the first point that it fails.

  A point is passed by a score of `solved`; one that is missing is not known.
  """
  return [
    bracket(
      {
        x: None if math.isnan(score) else bool(score >= curve.solved)
        for x, score in zip(curve.points, row, strict=True)
      }
    )
    for row in curve.scores
  ]


def eases(ours: Curve, theirs: Curve, level: Real = LEVEL) -> Answer:
  """Tells if we learn more of the points that both were tried at.

  By a two-sided permutation test of the number of points that each seed
  learns. None where that is equal, as where neither side fails anywhere: what
  lies beyond the points was not tried. The effect is the bracket of our
  threshold over theirs.
  """
  common = [x for x in ours.points if x in theirs.points]
  ours, theirs = ours.at(common), theirs.at(common)
  for side in (ours, theirs):
    if why := _unusable(side):
      return Answer(None, why=why)
  counts = [(side.scores >= side.solved).sum(axis=1) for side in (ours, theirs)]
  effect = ratio(over_seeds(reach(ours)), over_seeds(reach(theirs)))
  shares = [
    (side.scores >= side.solved).mean(axis=0) for side in (ours, theirs)
  ]
  ahead = int((shares[0] > shares[1]).sum())
  votes = ahead, ahead + int((shares[0] < shares[1]).sum())
  means = [float(count.mean()) for count in counts]
  if means[0] == means[1]:
    why = f'{ours.entry} and {theirs.entry} learn as many of the points'
    return Answer(None, effect, why, 1.0, votes)
  p = contrasts.means_differ(*counts)
  if p < level:
    return Answer(means[0] > means[1], effect, p=p, votes=votes)
  why = f'{ours.entry} and {theirs.entry} differ with p = {p:.2g}'
  return Answer(None, effect, why, p, votes)


def slower(
  ratios: Sequence[Real] | np.ndarray,
  coverage: Real = COVERAGE,
  slow: Real = SLOWER,
  same: Real = NOT_SLOWER,
) -> Answer:
  """Tells if something takes longer, from ratios of times, one per process.

  True where the lower end of the interval is above `slow`, False where the
  upper end is below `same`; None of fewer than five processes, and where
  neither or both hold: a ratio that is known to lie between the margins is
  neither. `p` is that of Student's two-sided test against the margin on the
  other side.
  """
  if len(ratios) < MIN_SEEDS:
    return Answer(None, why=f'{len(ratios)} processes are too few')
  found = contrasts.ratio_interval(ratios, coverage)
  p_slow, p_same = (contrasts.ratio_differs(ratios, m) for m in (slow, same))
  is_slow, is_same = found.low > slow, found.high < same
  if is_slow != is_same:
    return Answer(is_slow, found, p=p_slow if is_slow else p_same)
  p = p_slow if found.value > slow else p_same
  return Answer(None, found, f'the ratio is {shown(found)}', p)


def crosses(ratios: Mapping[Real, Sequence[Real] | np.ndarray]) -> Bracket:
  """Returns the bracket of the point from which on we are not faster.

  Args:
    ratios: {point: our time over theirs, one per process}.
  """
  ahead = {point: _below_one(each) for point, each in ratios.items()}
  return bracket(ahead)


def _below_one(ratios: Sequence[Real] | np.ndarray) -> bool | None:
  found = contrasts.ratio_interval(ratios)
  return None if found.contains(1.0) else found.high < 1


def _unusable(curve: Curve) -> str:
  """Returns why a curve cannot be judged, '' if it can."""
  if curve.num_seeds < MIN_SEEDS:
    seeds = f'{curve.num_seeds} seed{"s" * (curve.num_seeds != 1)}'
    return f'{curve.entry} has {seeds}, and {MIN_SEEDS} are needed'
  if not curve.points:
    return f'{curve.entry} was not tested there'
  if np.isnan(curve.scores).any():
    return f'{curve.entry} lacks rows of some seeds'
  return ''


def shown(found: Interval) -> str:
  """Returns '1.23 [1.1, 1.3]'."""
  return f'{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]'
