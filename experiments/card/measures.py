"""Measures one mixer by another experiment, and reads properties off its rows.

A measure is a cell of another experiment at one small budget, which is that of
every mixer, and a function from the rows of this cell to properties. Those are
read by the functions that the verdicts of that experiment come from.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from experiments.capacity import claims as capacity_claims
from experiments.capacity import main as capacity
from experiments.card import clipping, timings
from experiments.gradients import claims as gradients_claims
from experiments.gradients import main as gradients
from experiments.recall import curves
from experiments.recall import main as recall
from experiments.state_tracking import claims as state_claims
from experiments.state_tracking import main as state_tracking
from seqjax.analysis import rules

TIMES = (1, 2, 4, 8)  # of the trained lag
SOLVES_FAR = 8  # times the trained length
EXACT = 1e-4  # the most that rounding changes, over the largest output
CARRIED = 'recall of 8 pairs: numbers carried'
RATE = 'gradient: nats per position'
Rows = Sequence[Mapping[str, Any]]


class Property(NamedTuple):
  """One property of a mixer, seed by seed.

  Attributes:
    name: as it heads a column.
    values: a number for each seed; NaN where there is none.
    solved: for each seed, whether it counts as learnt; None where nothing is
      learnt.
  """

  name: str
  values: np.ndarray
  solved: np.ndarray | None = None


class Measure(NamedTuple):
  """A cell of another experiment.

  Attributes:
    main: the module with its Config and its run.
    options: the fields of Config, but for the mixer and the seeds.
    read: from the rows of the cell to properties.
  """

  main: ModuleType
  options: Mapping[str, Any]
  read: Callable[[Rows], list[Property]]


def of_recall(rows: Rows) -> list[Property]:
  """Reads how much accuracy is lost with the lag, and updates to solve."""
  (curve,) = curves.curves(rows, 'mixed').values()
  curve = curve.at([x for x in curve.points if x != recall.LAG_OF_COUNTS])
  inside = curve.between(1, curve.trained)
  able = np.all(inside.scores >= curve.solved, axis=1)
  found = []
  for times in TIMES:
    until = curve.between(1, times * curve.trained)
    lost = until.scores[:, 0] - until.scores.min(axis=1)
    name = f'recall: lost by {times}x the trained lag'
    found.append(Property(name, lost, able & (lost <= rules.MARGIN)))
  return [*found, _updates(rows, 'recall: updates to solve')]


def of_unclipped(rows: Rows) -> list[Property]:
  """Reads the updates to solve the same without clipping."""
  return [_updates(rows, 'recall: updates to solve, gradients not clipped')]


def _updates(rows: Rows, name: str) -> Property:
  steps = {row['seed']: row['steps_to_solve'] for row in rows}
  taken = np.array([steps[seed] or np.nan for seed in sorted(steps)], float)
  return Property(name, taken, ~np.isnan(taken))


def of_pairs(rows: Rows) -> list[Property]:
  """Reads the accuracy of recall by content, and the size of the carry."""
  (group,) = capacity_claims.groups(rows)
  able = group.main >= capacity_claims.LEARNT
  floats = np.nan if group.floats is None else float(group.floats)
  return [
    Property('recall of 8 pairs: accuracy', group.main, able),
    Property(CARRIED, np.full(group.num_seeds, floats)),
  ]


def of_states(rows: Rows) -> list[Property]:
  """Reads the accuracy at the trained length and at 8 times that."""
  task = rows[0]['task']
  (curve,) = state_claims.curves(rows, task).values()
  label = {'z2': 'parity', 's3': 'S3'}[task]
  near, far = (curve.at([n]).scores[:, 0] for n in (1, SOLVES_FAR))
  return [
    Property(f'{label}: at 1x', near, state_claims.learns(curve)),
    Property(f'{label}: at 8x', far, state_claims.generalises(curve)),
  ]


def of_timings(rows: Rows) -> list[Property]:
  """Reads what is exact, how far a mixer reaches, and ratios of times."""
  found = {}
  for row in rows:
    found.setdefault(row['measure'], []).append(row['value'])
  return [
    Property(
      name,
      np.array(values),
      np.array(values) <= EXACT if name == timings.DIFFERENCE else None,
    )
    for name, values in found.items()
  ]


def of_gradients(rows: Rows) -> list[Property]:
  """Reads the rate of gradients: nats per position; -infinity of a window."""
  return [Property(RATE, gradients_claims.rates(rows))]


_RECALL = {'lag': 32, 'steps': 300, 'parameters': 25000}
_STATES = {
  'parameters': 8000,
  'learning_rates': (3e-3, 1e-2, 3e-2),
  'steps': 500,
  'batch_size': 64,
}
MEASURES = {
  'alone': Measure(timings, {'features': 32}, of_timings),
  'recall': Measure(recall, _RECALL, of_recall),
  'unclipped': Measure(clipping, _RECALL, of_unclipped),
  'pairs': Measure(
    capacity,
    {
      'part': 'recall',
      'features': 32,
      'steps': 600,
      'learning_rates': (3e-3, 1e-2, 3e-2),
    },
    of_pairs,
  ),
  'parity': Measure(
    state_tracking, _STATES | {'task': 'z2', 'length': 24}, of_states
  ),
  's3': Measure(
    state_tracking, _STATES | {'task': 's3', 'length': 10}, of_states
  ),
  'gradient': Measure(gradients, {'features': 32, 'length': 257}, of_gradients),
}
# Properties that a mixer has and a whole model has not, by measure.
OF_MIXERS = {
  'alone': (
    timings.DIFFERENCE,
    timings.REACH,
    timings.EXPONENT,
    timings.TOKEN,
  ),
  'gradient': (RATE,),
}
