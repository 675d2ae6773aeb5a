"""Reads off recall's table how many updates a solved task takes."""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments import folders
from experiments.parallelism.ratios import Rows, timed
from experiments.parallelism.sweep import RECALL
from seqjax.results import table

PATH = pathlib.Path(folders.ROOT, 'recall', 'results.csv')


def seconds(rows: Rows, mixers: Sequence[str]) -> str:
  """Returns the time of forward and backward to a solved task, in a sentence.

  Updates that recall with mixed lags takes, in the median seed of the committed
  table, times the seconds of one at its shape here; '' where one of the two is
  not known of every mixer, or fewer than half of a mixer's seeds solve it.
  """
  said = []
  for name in mixers:
    here = table.select(timed(rows, name), **RECALL)
    if not here:
      return ''
    lag, parameters = here[0]['length'] - 1, here[0]['parameters']
    steps = steps_to_solve(name, lag, parameters)
    solved = [each for each in steps if each]
    if 2 * len(solved) <= len(steps):
      return ''
    took = np.median(solved) * np.median([row['seconds'] for row in here])
    seeds = f'{len(solved)} of {len(steps)} seeds'
    said.append(f'{name} {took:.3g} s ({seeds}, to lag {lag})')
  return f'Seconds of training steps to solved recall: {", ".join(said)}. '


def steps_to_solve(mixer: str, lag: int, parameters: int) -> list[int | None]:
  """Returns, for each seed, its updates until all lags up to one are solved.

  Of the settings that validation chose; None for a seed that solves them not.
  Empty without such rows.
  """
  rows = table.read(PATH) if PATH.exists() else []
  task = {'design': 'mixed', 'trained_lag': lag, 'parameters': parameters}
  found = {
    row['seed']: row.get('steps_to_solve')
    for row in table.select(rows, mixer=mixer, **task)
  }
  return list(found.values())
