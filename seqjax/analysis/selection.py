"""Chooses a learning rate by the scores of several seeds."""

from collections.abc import Mapping, Sequence

import numpy as np


def best_learning_rate(
  scores: Mapping[float, Sequence[float]], *, higher_is_better: bool = True
) -> float:
  """Returns the learning rate with the best mean score over seeds.

  Of equally good ones the smallest. One with a score that is not finite is out,
  however good its other seeds are, and so is one with fewer seeds than another.

  Args:
    scores: {learning rate: a score for each seed}, of the validation split: on
      the test split the choice would make the score that is reported too good.
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
  return max(sorted(means), key=means.get)  # the first of equals
