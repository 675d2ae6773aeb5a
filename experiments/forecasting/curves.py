"""From rows to errors against the horizon, a row of numbers per seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.forecasting.main import HORIZONS

Rows = Sequence[Mapping[str, Any]]

HALF = 0.5  # of the variance: growth is fitted up to there
FEWEST = 4  # horizons that a growth is told from


class Rollouts(NamedTuple):
  """The forecasts of one mixer on one series.

  Attributes:
    mixer, series: their names.
    horizons: ascending.
    errors: squared error over the variance, a row per seed; infinite where a
      training or a rollout is not finite.
    movement: of each seed at the longest horizon; 0 is a flat line.
    learnt: whether a seed's error of one step is as small as asked.
  """

  mixer: str
  series: str
  horizons: Int[np.ndarray, ' K']
  errors: Float[np.ndarray, 'S K']
  movement: Float[np.ndarray, ' S']
  learnt: Bool[np.ndarray, ' S']

  @property
  def accumulated(self) -> Float[np.ndarray, ' S']:
    """Returns the error at the longest horizon over that of one step."""
    return self.errors[:, -1] / self.errors[:, 0]

  def of_learnt(self) -> 'Rollouts':
    """Returns the forecasts of the seeds that learnt to predict one step."""
    kept = self.learnt
    return self._replace(
      errors=self.errors[kept],
      movement=self.movement[kept],
      learnt=self.learnt[kept],
    )


class Growth(NamedTuple):
  """Two laws of growth, fitted to the logarithm of one seed's errors.

  Attributes:
    power: a of the error k^a.
    rate: b of the error e^(b k), in nats per step.
    preference: AIC of the exponential minus that of the power law; above 0 the
      power law describes the errors better.
  """

  power: float
  rate: float
  preference: float


def rollouts(rows: Rows) -> dict[tuple[str, str], Rollouts]:
  """Returns {(series, mixer): forecasts}, as rows come.

  Raises:
    ValueError: there are two rows of one seed and horizon, or other horizons.
  """
  found = {}
  for row in rows:
    found.setdefault((row['series'], row['mixer']), []).append(row)
  return {key: _rollouts(*key, part) for key, part in found.items()}


def _rollouts(series: str, mixer: str, rows: Rows) -> Rollouts:
  seeds = sorted({row['seed'] for row in rows})
  errors = np.full((len(seeds), len(HORIZONS)), np.inf)
  movement = np.full(len(seeds), np.nan)
  seen = set()
  for row in rows:
    place, horizon = seeds.index(row['seed']), row['horizon']
    if (place, horizon) in seen or horizon not in (None, *HORIZONS):
      raise ValueError(
        'A table of forecasts has one row for each training and horizon of '
        f'{", ".join(map(str, HORIZONS))}, but {mixer} on {series}, seed '
        f'{row["seed"]}, has horizon {horizon} as well.'
      )
    seen.add((place, horizon))
    error = row.get('relative_error')
    if horizon is not None and error is not None and math.isfinite(error):
      errors[place, HORIZONS.index(horizon)] = error
    if horizon == HORIZONS[-1] and row['movement'] is not None:
      movement[place] = row['movement']
  learnt = errors[:, 0] <= rows[0]['solved']
  return Rollouts(mixer, series, np.array(HORIZONS), errors, movement, learnt)


def growth(
  horizons: Int[np.ndarray, ' K'], errors: Float[np.ndarray, ' K']
) -> Growth | None:
  """Fits both laws up to the first error of half the variance.

  Both have two parameters, so that AIC differs by the squares alone.

  Returns:
    None where fewer than four horizons lie before that.
  """
  large = np.flatnonzero(errors >= HALF)
  count = large[0] if len(large) else len(errors)
  if count < FEWEST:
    return None
  y = np.log(errors[:count])
  (power, power_left), (rate, rate_left) = (
    _line(x[:count], y) for x in (np.log(horizons), horizons)
  )
  tiny = np.finfo(float).tiny  # a perfect fit leaves nothing
  ratio = max(rate_left, tiny) / max(power_left, tiny)
  return Growth(power, rate, float(count * np.log(ratio)))


def _line(
  x: Float[np.ndarray, ' K'], y: Float[np.ndarray, ' K']
) -> tuple[float, float]:
  """Returns the slope of the least squares line and the squares left."""
  slope, offset = np.polyfit(x, y, 1)
  return float(slope), float(np.sum((y - slope * x - offset) ** 2))
