"""Growth of cost with length, and crossings of two costs, with intervals.

`seconds` (or bytes) is Float[L R], R rounds at each of L lengths, as
`timing.compare` gives them; every round makes one curve, and the interval says
how the curves of 6 or more rounds differ. Float[L] is a single curve.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from seqjax.analysis.statistics import (
  Interval,
  median_interval,
  student_quantile,
)
from seqjax.typing import Array


def exponent(lengths: Sequence | Array, seconds: Sequence | Array) -> Interval:
  """Fits p in seconds ~ length^p: the slope of log seconds on log length.

  Float[L R]: least squares a round, the median of the slopes with its
  order-statistic interval. Float[L]: Student's interval of the one regression,
  which says how far the curve is from a power law; two lengths leave it unknown
  (nan). A slope is an average over the lengths given, and cost is rarely one
  power throughout.
  """
  lengths, seconds = _curves(lengths, seconds)
  x, y = np.log(lengths), np.log(seconds)
  if y.ndim == 2:
    return median_interval(_slopes(x, y))
  return _regression_interval(x, y)


def crossover(
  lengths: Sequence | Array, a: Sequence | Array, b: Sequence | Array
) -> Interval | None:
  """Finds the length at which the cheaper of two curves stops being so.

  Between lengths the curves are power laws. Each round has its own crossing:
  between its first and last length the other curve is cheaper (the middle one
  of several crossings); the value is the median over the rounds with its
  order-statistic interval. None means none in range: the median curves do not
  cross, or half the rounds or more do not. Of the rounds that do not cross,
  those in which the curve that ends cheaper is cheaper at once count as
  crossings at the shortest length, the others as crossings at the longest, so
  that an interval which ends there may go on beyond. Float[L]: the crossing of
  the one round, its interval unknown (nan).
  """
  sizes, a = _curves(lengths, a)
  sizes, b = _curves(lengths, b)
  if a.shape != b.shape:
    raise ValueError(
      'A crossover compares curves round by round, but one has shape '
      f'{a.shape} and the other {b.shape}.'
    )
  x, gap = np.log(sizes), np.log(a) - np.log(b)
  if gap.ndim == 2:
    return _crossing_interval(x, gap)
  position = _crossing(x, gap)
  if position is None:
    return None
  return Interval(math.exp(position), math.nan, math.nan)


def _curves(
  lengths, seconds
) -> tuple[Float[np.ndarray, ' L'], Float[np.ndarray, 'L *R']]:
  """Checks the curve and sorts it by length."""
  lengths = np.asarray(lengths, np.float64)
  seconds = np.asarray(seconds, np.float64)
  if lengths.ndim != 1 or len(set(lengths.tolist())) < 2:
    raise ValueError(
      f'A curve needs a list of two or more lengths, but got {lengths}.'
    )
  if len(set(lengths.tolist())) < len(lengths) or not _positive(lengths):
    raise ValueError(
      f'Lengths are positive and each stands once, but got {lengths}.'
    )
  if seconds.ndim not in (1, 2) or len(seconds) != len(lengths):
    raise ValueError(
      f'{len(lengths)} lengths need seconds of shape [{len(lengths)}] or '
      f'[{len(lengths)}, rounds], but got shape {seconds.shape}.'
    )
  if not _positive(seconds):
    raise ValueError(
      'Seconds are positive and finite, but the smallest is '
      f'{np.min(seconds, initial=math.inf)}; leave out cells without one.'
    )
  order = np.argsort(lengths)
  return lengths[order], seconds[order]


def _positive(numbers) -> bool:
  return bool(np.all(np.isfinite(numbers) & (numbers > 0)))


def _slopes(
  x: Float[np.ndarray, ' L'], y: Float[np.ndarray, 'L *R']
) -> Float[np.ndarray, '*R']:
  """Least squares: sum (x - mean) y / sum (x - mean)^2."""
  centred = x - x.mean()
  return np.asarray(centred @ y / (centred @ centred))


def _regression_interval(
  x: Float[np.ndarray, ' L'], y: Float[np.ndarray, ' L']
) -> Interval:
  slope = float(_slopes(x, y))
  freedom = len(x) - 2
  if freedom == 0:
    return Interval(slope, math.nan, math.nan)
  residuals = (y - y.mean()) - slope * (x - x.mean())
  variance = residuals @ residuals / freedom / np.sum((x - x.mean()) ** 2)
  half = student_quantile(freedom) * math.sqrt(variance)
  return Interval(slope, slope - half, slope + half)


def _crossing(
  x: Float[np.ndarray, ' L'], gap: Float[np.ndarray, ' L']
) -> float | None:
  """Finds where a gap that changes sign from end to end is zero."""
  side = np.sign(gap)
  if side[0] == side[-1]:
    return None
  before = np.flatnonzero(side[:-1] != side[1:])
  share = gap[before] / (gap[before] - gap[before + 1])
  return float(np.median(x[before] + share * (x[before + 1] - x[before])))


def _crossing_interval(
  x: Float[np.ndarray, ' L'], gap: Float[np.ndarray, 'L R']
) -> Interval | None:
  middle = np.median(gap, axis=1)
  if _crossing(x, middle) is None:
    return None
  positions, crossed = [], 0
  for curve in gap.T:
    position = _crossing(x, curve)
    same_way = (curve[-1] - curve[0]) * (middle[-1] - middle[0]) > 0
    if position is not None and same_way:
      crossed += 1
      positions.append(position)
    else:  # a round that starts on the far side has crossed before
      far = np.sign(curve[0]) == np.sign(middle[-1])
      positions.append(float(x[0] if far else x[-1]))
  if 2 * crossed <= len(positions):
    return None
  return Interval(*map(math.exp, median_interval(positions)))
