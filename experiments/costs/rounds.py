"""Times several loops in turns, round by round."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from seqjax.analysis.statistics import median_interval


def compare(
  loops: Mapping[str, Iterator[Any]], steps: int, rounds: int, over: str
) -> list[dict[str, Any]]:
  """Returns a row per loop, with its gain over one of them.

  Every round takes the next item of each loop, in rotating order: what slows a
  round slows all of them. The first round compiles and does not count.

  Args:
    loops: {name: iterator whose every item takes `steps` steps}.
    steps: how many steps an item stands for.
    rounds: at least 6, so that the median of gains has an interval.
    over: the name that gains are relative to.

  Returns:
    Rows of `way`, `steps_per_second`, and `gain` with its 95 % interval.
  """
  taken = {name: [] for name in loops}
  for number in range(rounds + 1):
    for name in np.roll(list(loops), number).tolist():
      start = time.perf_counter()
      jax.block_until_ready(next(loops[name]))
      taken[name].append(time.perf_counter() - start)
  taken = {name: seconds[1:] for name, seconds in taken.items()}
  return [
    {
      'way': name,
      'steps_per_second': float(steps / np.median(seconds)),
      **gain_columns(median_interval(np.divide(taken[over], seconds))),
    }
    for name, seconds in taken.items()
  ]


def gain_columns(interval) -> dict[str, float]:
  return dict(zip(('gain', 'gain_low', 'gain_high'), interval, strict=True))
