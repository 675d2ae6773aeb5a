"""Properties of curves over seeds: does it fade, is it flat, does it cross?

A curve is what one entry (a textbook's or a user's mixer) scores at several
points, as lags, lengths or sizes: an array of scores in [0, 1] with a row per
seed and a column per point. Each rule answers True, False, or None where the
scores do not say, with the number that it decided by.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqjax.analysis import contrasts
from seqjax.analysis.statistics import COVERAGE, LEVEL, Interval, mean_interval
from seqjax.analysis.thresholds import Bracket, bracket, over_seeds, ratio

MARGIN = 0.02  # of accuracy: a smaller drop is none
SLOWER, NOT_SLOWER = 1.1, 1.25  # ratios of times
MIN_SEEDS = 5  # fewer decide nothing


class Curve(NamedTuple):
  """Scores of one entry, trained in one way, at several points.

  Attributes:
    entry: its name.
    points: ascending, one per column.
    scores: a row per seed, a column per point.
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

  def between(self, low: Real, high: Real) -> 'Curve':
    """Returns the curve at the points from low to high, ends included."""
    keep = [i for i, x in enumerate(self.points) if low <= x <= high]
    return self._replace(
      points=tuple(self.points[i] for i in keep), scores=self.scores[:, keep]
    )


class Answer(NamedTuple):
  """An answer with the number that decided it.

  Attributes:
    holds: True, False, or None where it is not known.
    effect: the number, with its interval.
    why: the reason in words where `holds` is None; else ''.
    p: the smallest level at which the answer would be what it is; where it is
      None, that of the side that is nearer.
    votes: (how many seeds say True by themselves, how many were asked).
  """

  holds: bool | None
  effect: Interval | None
  why: str = ''
  p: float | None = None
  votes: tuple[int, int] = (0, 0)


def learnt(curve: Curve) -> Answer:
  """Tells if most seeds solve the distribution that they were trained on.

  A seed has learnt it if it reaches `solved` at every trained point. False
  where most do not within the budget, which says nothing about memory.
  """
  inside = curve.between(0, curve.trained)
  solved = int(np.all(inside.scores >= curve.solved, axis=1).sum())
  share = contrasts.share_interval(solved, curve.num_seeds)
  text = f'{curve.entry} is learnt by {solved} of {curve.num_seeds} seeds'
  if share.low > 0.5 or share.high < 0.5:
    return Answer(share.low > 0.5, share)
  if solved in (0, curve.num_seeds) and curve.num_seeds >= MIN_SEEDS:
    return Answer(solved > 0, share)  # all agree
  return Answer(None, share, text)


def drop(curve: Curve, coverage: Real = COVERAGE) -> Interval:
  """Returns the score at the first point minus that at the last.

  The interval is the wider of that over seeds (Student's) and that over the
  test examples of both points: seeds that agree may all have seen the same
  hundred examples.

  Raises:
    ValueError: there are fewer than two seeds or points.
  """
  if len(curve.points) < 2:
    raise ValueError(
      f'A drop is between two points, but {curve.entry} has {curve.points}.'
    )
  first, last = curve.scores[:, 0], curve.scores[:, -1]
  seeds = mean_interval(first - last, coverage)
  ends = [
    contrasts.share_interval(
      float(np.clip(x.mean(), 0, 1)) * curve.examples, curve.examples, coverage
    )
    for x in (first, last)
  ]
  # Newcombe's interval of a difference, from those of the two shares.
  low = math.hypot(ends[0].value - ends[0].low, ends[1].high - ends[1].value)
  high = math.hypot(ends[0].high - ends[0].value, ends[1].value - ends[1].low)
  value = seeds.value
  return contrasts.wider(seeds, Interval(value, value - low, value + high))


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


def flat(curve: Curve, margin: Real = MARGIN, level: Real = LEVEL) -> Answer:
  """Tells if a learnt curve loses no more than a margin from end to end.

  And at no point in between, so that no dip hides between equal ends. None
  where the curve was not learnt where it is trained, and of too few seeds.
  """
  if why := _undecidable(curve):
    return Answer(None, None, why)
  inside = curve.between(0, curve.trained)
  each = 1 - level / max(1, len(inside.points) - 1)
  drops = [
    drop(inside.between(inside.points[0], x), each) for x in inside.points[1:]
  ]
  if not drops:
    return Answer(None, None, f'{curve.entry} was tested at one point')
  worst = max(range(len(drops)), key=lambda i: drops[i].value)
  lost = inside.scores[:, :1] - inside.scores[:, 1:]
  ends = inside.between(inside.points[0], inside.points[worst + 1])
  said = {
    'effect': drop(ends),
    'p': smallest_level(functools.partial(drop, ends), margin),
    'votes': (int(np.all(lost <= margin, axis=1).sum()), len(lost)),
  }
  if all(found.high <= margin for found in drops):
    return Answer(True, **said)
  if any(found.low > margin for found in drops):
    return Answer(False, **said)
  why = f'{curve.entry} loses {_shown(drops[worst])}'
  return Answer(None, why=why, **said)


def fades(curve: Curve, margin: Real = MARGIN, level: Real = LEVEL) -> Answer:
  """Tells if a curve that is learnt at its first point falls towards its last.

  Of one network over many points: the first is what it can do, the drop what
  it loses. None where it was not learnt even there.
  """
  if curve.num_seeds < MIN_SEEDS:
    return Answer(None, None, _few(curve))
  first = mean_interval(curve.scores[:, 0])
  if first.value < (1 + curve.chance) / 2:
    why = f'{curve.entry} is not learnt even at {curve.points[0]:g}'
    return Answer(None, None, why)
  return _lost(curve, margin, level)


def generalises(
  curve: Curve, times: Real, margin: Real = MARGIN, level: Real = LEVEL
) -> Answer:
  """Tells if a learnt curve stays as high at `times` the trained point.

  None where it was not learnt, or was not tested that far.
  """
  if why := _undecidable(curve):
    return Answer(None, None, why)
  far = times * curve.trained
  if far not in curve.points:
    return Answer(None, None, f'{curve.entry} was not tested at {far:g}')
  columns = [curve.points.index(curve.trained), curve.points.index(far)]
  ends = curve._replace(
    points=(curve.trained, far), scores=curve.scores[:, columns]
  )
  lost = _lost(ends, margin, level)
  yes, of = lost.votes
  holds = None if lost.holds is None else not lost.holds
  return lost._replace(holds=holds, votes=(of - yes, of))


def _lost(curve: Curve, margin: Real, level: Real) -> Answer:
  """Tells if the score falls by more than a margin from end to end."""
  found = drop(curve, 1 - level)
  lost = curve.scores[:, 0] - curve.scores[:, -1] > margin
  said = {
    'effect': drop(curve),
    'p': smallest_level(functools.partial(drop, curve), margin),
    'votes': (int(lost.sum()), len(lost)),
  }
  if found.low > margin or found.high <= margin:
    return Answer(found.low > margin, **said)
  return Answer(None, why=f'{curve.entry} loses {_shown(found)}', **said)


def vanishes(
  curve: Curve, point: Real, margin: Real = MARGIN, level: Real = LEVEL
) -> Answer:
  """Tells if nothing but chance is left at a point.

  None where the interval of the score reaches both sides of chance + margin.
  """
  if curve.num_seeds < MIN_SEEDS:
    return Answer(None, None, _few(curve))
  scores = curve.scores[:, curve.points.index(point)]
  limit = curve.chance + margin
  score = functools.partial(_score, scores, curve.examples)
  said = {
    'effect': score(),
    'p': smallest_level(score, limit),
    'votes': (int((scores <= limit).sum()), len(scores)),
  }
  found = score(1 - level)
  if found.high <= limit or found.low > limit:
    return Answer(found.high <= limit, **said)
  why = f'{curve.entry} scores {_shown(found)} at {point:g}'
  return Answer(None, why=why, **said)


def _score(
  scores: np.ndarray, examples: int, coverage: Real = COVERAGE
) -> Interval:
  """Returns the mean score, the wider of over seeds and over examples."""
  right = float(np.clip(scores.mean(), 0, 1)) * examples
  share = contrasts.share_interval(right, examples, coverage)
  return contrasts.wider(mean_interval(scores, coverage), share)


def reach(curve: Curve) -> list[Bracket]:
  """Returns, for each seed, the bracket of the first point that it fails.

  A point is passed by a score of at least half-way between chance and 1.
  """
  half = (1 + curve.chance) / 2
  return [
    bracket(dict(zip(curve.points, row >= half, strict=True)))
    for row in curve.scores
  ]


def eases(ours: Curve, theirs: Curve, level: Real = LEVEL) -> Answer:
  """Tells if we reach further than they do at some point, by Fisher's test.

  At each point both were tested at, the seeds that pass are counted. True where
  more of ours do at one of them, corrected for their number; False where
  theirs are ahead so; None otherwise, and where neither side fails anywhere, or
  neither passes anywhere: what lies beyond the points was not tested.
  """
  if min(ours.num_seeds, theirs.num_seeds) < MIN_SEEDS:
    return Answer(
      None, None, _few(min(ours, theirs, key=lambda c: c.num_seeds))
    )
  common = [x for x in ours.points if x in theirs.points]
  counts = {x: (_passed(ours, x), _passed(theirs, x)) for x in common}
  decisive = [x for x in common if _share(ours, x) != _share(theirs, x)]
  if not decisive:
    why = f'{ours.entry} and {theirs.entry} pass and fail at the same points'
    return Answer(None, None, why)
  tests = {
    (greater, x): contrasts.shares_differ(*sides, greater=True)
    for x in common
    for greater, sides in (
      (True, (counts[x][0], ours.num_seeds, counts[x][1], theirs.num_seeds)),
      (False, (counts[x][1], theirs.num_seeds, counts[x][0], ours.num_seeds)),
    )
  }
  (greater, _), p = min(tests.items(), key=lambda item: item[1])
  p = min(1.0, p * len(common))
  effect = _ratio_of_reach(ours, theirs)
  ahead = [x for x in decisive if _share(ours, x) > _share(theirs, x)]
  votes = len(ahead), len(decisive)
  if p < level:
    return Answer(greater, effect, p=p, votes=votes)
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
  upper end is below `same`; None in between, and of fewer than five processes.
  Where both hold, the difference is too small to matter: False. `p` is that of
  Student's two-sided test against the margin on the other side.
  """
  if len(ratios) < MIN_SEEDS:
    return Answer(None, None, f'{len(ratios)} processes are too few')
  found = contrasts.ratio_interval(ratios, coverage)
  p_slow, p_same = (contrasts.ratio_differs(ratios, m) for m in (slow, same))
  if found.high < same:
    return Answer(False, found, p=p_same)
  if found.low > slow:
    return Answer(True, found, p=p_slow)
  p = p_slow if found.value > slow else p_same
  return Answer(None, found, f'the ratio is {_shown(found)}', p)


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


def _ratio_of_reach(ours: Curve, theirs: Curve) -> Interval | None:
  """Returns the ratio of the two thresholds; None where it is not bracketed."""
  found = ratio(over_seeds(reach(ours)), over_seeds(reach(theirs)))
  if found.censored:
    return None
  return Interval(math.sqrt(found.low * found.high), found.low, found.high)


def _passed(curve: Curve, point: Real) -> int:
  half = (1 + curve.chance) / 2
  return int((curve.scores[:, curve.points.index(point)] >= half).sum())


def _share(curve: Curve, point: Real) -> float:
  return _passed(curve, point) / curve.num_seeds


def _undecidable(curve: Curve) -> str:
  """Returns why a curve cannot be judged, '' if it can."""
  if curve.num_seeds < MIN_SEEDS:
    return _few(curve)
  answer = learnt(curve)
  if answer.holds:
    return ''
  if answer.why:
    return answer.why
  return f'{curve.entry} is not learnt within the budget'


def _few(curve: Curve) -> str:
  return (
    f'{curve.entry} has {curve.num_seeds} seeds, and {MIN_SEEDS} are needed'
  )


def _shown(found: Interval) -> str:
  return f'{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]'
