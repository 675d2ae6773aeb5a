"""Chooses a learning rate by the scores of several seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

WIDEST = 10.0  # a grid is extended to so many times its ends, no further


class Choice(NamedTuple):
  """A learning rate that validation chose.

  Attributes:
    rate: the learning rate.
    tied: others whose mean score is equal; the validation loss decided.
    at_edge: whether it is the smallest or the largest of several, and none of
      those further in is tied with it: a better one may lie beyond.
  """

  rate: float
  tied: tuple[float, ...]
  at_edge: bool


def best_learning_rate(
  scores: Mapping[float, Sequence[float]],
  *,
  losses: Mapping[float, Sequence[float]] | None = None,
  higher_is_better: bool = True,
) -> float:
  """Returns the rate of `choose_learning_rate`."""
  chosen = choose_learning_rate(
    scores, losses=losses, higher_is_better=higher_is_better
  )
  return chosen.rate


def choose_learning_rate(
  scores: Mapping[float, Sequence[float]],
  *,
  losses: Mapping[float, Sequence[float]] | None = None,
  higher_is_better: bool = True,
) -> Choice:
  """Chooses the learning rate with the best mean score over seeds.

  Of equally good ones the one with the smallest mean loss, then the smallest.
  One with a score that is not finite is out, however good its other seeds are,
  and so is one with fewer seeds than another.

  Args:
    scores: {learning rate: a score for each seed}, of the validation split: on
      the test split the choice would make the score that is reported too good.
    losses: {learning rate: a loss for each seed}, of the validation split.
    higher_is_better: as `task.metric` says.

  Raises:
    ValueError: no learning rate has scores that are all finite.
  """
  sign = 1 if higher_is_better else -1
  most = max(map(len, scores.values()), default=0)
  means = {
    rate: sign * float(np.mean(of_seeds))
    for rate, of_seeds in scores.items()
    if 0 < len(of_seeds) == most and np.all(np.isfinite(of_seeds))
  }
  if not means:
    raise ValueError(
      'A learning rate is chosen among those whose scores are all finite, but '
      f'none is: {dict(scores)}.'
    )
  best = max(means.values())
  tied = sorted(rate for rate, mean in means.items() if mean == best)
  rate = min(tied, key=lambda rate: (_mean_loss(losses, rate), rate))
  ends = {min(scores), max(scores)}
  at_edge = len(scores) > 1 and set(tied) <= ends
  return Choice(rate, tuple(x for x in tied if x != rate), at_edge)


def next_learning_rate(
  rates: Sequence[float], choice: Choice, grid: Sequence[float] | None = None
) -> float | None:
  """Returns the rate to try beyond an edge; None where there is no need.

  It continues the rates by the ratio of the outermost two, up to WIDEST times
  the largest and down to 1 / WIDEST of the smallest of the grid.

  Args:
    rates: those that were tried.
    choice: the best of them.
    grid: those that were tried at first; None: these are they.
  """
  rates, grid = sorted(rates), sorted(rates if grid is None else grid)
  if not choice.at_edge or len(rates) < 2:
    return None
  upwards = choice.rate == rates[-1]
  outer = rates[-1] / rates[-2] if upwards else rates[0] / rates[1]
  beyond = choice.rate * outer
  inside = grid[0] / WIDEST * 0.999 <= beyond <= grid[-1] * WIDEST * 1.001
  return float(f'{beyond:.6g}') if inside else None


def _mean_loss(losses, rate: float) -> float:
  """Returns the mean loss of a rate; infinite where one is not finite."""
  if losses is None:
    return 0.0
  mean = float(np.mean(losses[rate]))
  return mean if math.isfinite(mean) else math.inf
