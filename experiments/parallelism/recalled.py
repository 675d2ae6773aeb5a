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

  Steps of recall with mixed lags times the seconds of a step of its shape; ''
  where one of the two is not known of every mixer.
  """
  said = []
  for name in mixers:
    for row in table.select(timed(rows, name), **RECALL):
      lag = row['length'] - 1
      steps = steps_to_solve(name, lag, row['parameters'])
      if steps:
        took = np.median(steps) * row['seconds']
        said.append(f'{name} {took:.3g} s ({len(steps)} seeds, to lag {lag})')
  if len(said) < len(mixers):
    return ''
  return f'Seconds of training steps to solved recall: {", ".join(said)}. '


def steps_to_solve(mixer: str, lag: int, parameters: int) -> list[int]:
  """Returns the updates of every seed that solves all lags up to a longest.

  Of the settings that validation chose. Empty without such rows.
  """
  rows = table.read(PATH) if PATH.exists() else []
  task = {'design': 'mixed', 'trained_lag': lag, 'parameters': parameters}
  found = {
    row['seed']: row.get('steps_to_solve')
    for row in table.select(rows, mixer=mixer, **task)
  }
  return [steps for steps in found.values() if steps]
