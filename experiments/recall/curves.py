"""From rows to curves: accuracy by lag, the best learning rate, L50."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.analysis.selection import best_learning_rate
from seqjax.analysis.statistics import (
  MIN_SCORES,
  Interval,
  mean_interval,
  resampled_interval,
)
from seqjax.results import table


class Curve(NamedTuple):
  """Accuracy of one mixer in one design: a row a seed, a column a lag."""

  mixer: str
  design: str
  lags: tuple[int, ...]
  accuracy: np.ndarray
  examples: int  # tested at each lag, the same ones for every seed
  chance: float
  trained_lag: int  # the longest lag in training

  @property
  def mean(self) -> np.ndarray:
    return self.accuracy.mean(axis=0)

  @property
  def num_seeds(self) -> int:
    return len(self.accuracy)

  @property
  def learnt(self) -> bool:
    """True if any lag is above chance by three standard errors of guessing."""
    error = math.sqrt(self.chance * (1 - self.chance) / self.examples)
    return bool(np.any(self.mean > self.chance + 3 * error))

  def band(self) -> tuple[list[float], list[float]]:
    """Interval of the mean over seeds at every lag, within 0 and 1."""
    intervals = [mean_interval(column) for column in self.accuracy.T]
    low, high = (
      [getattr(i, end) for i in intervals] for end in Interval._fields[1:]
    )
    return list(np.clip(low, 0, 1)), list(np.clip(high, 0, 1))

  def until(self, lag: int) -> 'Curve':
    """The curve up to a lag."""
    keep = [i for i, n in enumerate(self.lags) if n <= lag]
    return self._replace(
      lags=tuple(self.lags[i] for i in keep), accuracy=self.accuracy[:, keep]
    )


def curves(rows: Sequence[dict[str, Any]]) -> list[Curve]:
  """Returns a curve per (mixer, design), at learning rates of validation.

  One that has no learning rate to choose, since each gave a score that is not
  finite, is left out.
  """
  found = []
  for mixer, design in dict.fromkeys((r['mixer'], r['design']) for r in rows):
    with contextlib.suppress(ValueError):
      found.append(_curve(rows, mixer, design))
  return found


def _curve(rows, mixer, design) -> Curve:
  """In the fixed design each trained lag has a learning rate of its own."""
  chosen = []
  own = table.select(rows, mixer=mixer, design=design)
  for lag in sorted({row['lag'] for row in own}):
    chosen += _at_best_rate(table.select(own, lag=lag))
  lags = sorted({row['tested_lag'] for row in chosen})
  seeds = sorted({row['seed'] for row in chosen})
  cell = {(row['seed'], row['tested_lag']): row for row in chosen}
  accuracy = [[cell[s, lag]['accuracy'] for lag in lags] for s in seeds]
  examples = min(row['examples'] for row in chosen)
  trained = max(row['lag'] for row in chosen)
  return Curve(
    mixer,
    design,
    tuple(lags),
    np.array(accuracy, float),
    examples,
    chosen[0]['chance'],
    trained,
  )


def _at_best_rate(rows):
  """Returns the rows of the learning rate that validation chooses.

  Raises:
    ValueError: every learning rate has a score that is not finite.
  """
  scores = {}
  for row in rows:
    scores.setdefault(row['learning_rate'], []).append(float(row['validation']))
  return table.select(rows, learning_rate=best_learning_rate(scores))


def half_lag(curve: Curve, accuracy: np.ndarray | None = None) -> float:
  """L50: where accuracy, linear in log lag, first falls half-way to chance.

  0 stands for 'below the smallest lag' and infinity for 'above the largest'.
  """
  accuracy = curve.mean if accuracy is None else accuracy
  half = (curve.chance + 1) / 2
  below = np.flatnonzero(accuracy < half)
  if not below.size:
    return math.inf
  i = int(below[0])
  if i == 0:
    return 0.0
  x = np.log(curve.lags)
  share = (accuracy[i - 1] - half) / (accuracy[i - 1] - accuracy[i])
  return float(np.exp(x[i - 1] + share * (x[i] - x[i - 1])))


def half_lag_interval(curve: Curve) -> Interval | None:
  """L50 with its percentile bootstrap over seeds; None with fewer than five.

  Of five seeds it is on the narrow side; L50 has no better-behaved mean, since
  it may lie beyond the lags.
  """
  if curve.num_seeds < MIN_SCORES:
    return None
  return resampled_interval(
    curve.accuracy, lambda rows: half_lag(curve, rows.mean(axis=0))
  )


def slope_interval(curve: Curve) -> Interval | None:
  """Accuracy gained a doubling of the lag, with its interval over seeds."""
  if curve.num_seeds < MIN_SCORES:
    return None
  return mean_interval([slope(curve, row) for row in curve.accuracy])


def slope(curve: Curve, accuracy: np.ndarray) -> float:
  """Least squares of accuracy on log2 lag."""
  x = np.log2(curve.lags)
  x = x - x.mean()
  return float(x @ accuracy / (x @ x))


def show_half_lag(curve: Curve) -> str:
  """'unlearnt', '< 8', '57', '> 128', with an interval where there is one."""
  if not curve.learnt:
    return 'unlearnt'
  interval = half_lag_interval(curve)
  text = _show(curve, half_lag(curve))
  if interval is None:
    return text
  low, high = _show(curve, interval.low), _show(curve, interval.high)
  return text if low == high == text else f'{text} [{low}, {high}]'


def _show(curve, lag) -> str:
  if lag == 0:
    return f'< {curve.lags[0]}'
  return f'> {curve.lags[-1]}' if math.isinf(lag) else f'{lag:.0f}'
