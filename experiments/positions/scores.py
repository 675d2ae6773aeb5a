"""From rows to a score for each seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.positions.main import ENOUGH
from seqjax.analysis.thresholds import Bracket, bracket
from seqjax.results import table

SOLVED = 0.95  # test accuracy from which on a network has learnt its task
MARGIN = 0.02  # of accuracy: a smaller difference is none

Rows = Sequence[Mapping[str, Any]]
Scores = Float[np.ndarray, ' S']


def accuracies(rows: Rows) -> dict[int, float]:
  """Returns {seed: accuracy}, by the examples of its rows.

  A training that met what is not finite scores as guessing does.

  Raises:
    ValueError: there are two rows of one training and position.
  """
  parts = {}
  for row in rows:
    part = parts.setdefault(row['seed'], {})
    position = row.get('position')  # a table of one question may lack it
    if position in part:
      raise ValueError(
        'A table of positions has one row for each training and position, but '
        f'two of {row["mixer"]} ({row["question"]}), seed {row["seed"]}.'
      )
    part[position] = row
  return {seed: _mean([*parts[seed].values()]) for seed in sorted(parts)}


def _mean(rows: Rows) -> float:
  known = [row for row in rows if _finite(row['accuracy'])]
  if not known:
    return rows[0]['chance']
  weights = [row['examples'] for row in known]
  return float(np.average([row['accuracy'] for row in known], weights=weights))


def _finite(number: float | None) -> bool:
  return number is not None and math.isfinite(number)


def paired(*sides: Rows) -> list[Scores]:
  """Returns the accuracies of the seeds that all sides have."""
  found = [accuracies(side) for side in sides]
  seeds = sorted(set.intersection(*map(set, found)))
  return [np.array([each[seed] for seed in seeds]) for each in found]


def near_and_far(rows: Rows) -> list[Scores]:
  """Returns the accuracy of each seed at trained places, and at far ones.

  Far ones hold no position of any motif in training, and as many again lie
  between. A training without scores is at chance in both.
  """
  near, far = [], []
  for row in rows:
    place, last = row['position'], row['trained_to']
    if place is None or place <= last:
      near.append(row)
    if place is None or place > 2 * last:
      far.append(row)
  return paired(near, far)


def by_place(rows: Rows) -> tuple[list[int], Float[np.ndarray, 'S P']]:
  """Returns places of motifs, and accuracies with a row for each seed."""
  places = sorted({row.get('position') for row in rows} - {None})
  seeds = sorted({row['seed'] for row in rows})
  found = np.full((len(seeds), len(places)), rows[0]['chance'])
  for row in rows:
    if row.get('position') is not None:
      place = places.index(row['position'])
      found[seeds.index(row['seed']), place] = row['accuracy']
  return places, found


def fewest(rows: Rows) -> dict[int, Bracket]:
  """Returns, for each seed, the bracket of how many examples it needs."""
  lacks = {}
  for number in {row['num_examples'] for row in rows}:
    part = accuracies(table.select(rows, num_examples=number))
    for seed, accuracy in part.items():
      lacks.setdefault(seed, {})[number] = accuracy < ENOUGH
  return {seed: bracket(lacks[seed]) for seed in sorted(lacks)}


def enough_to_equal(mlp: Rows, other: Rows) -> list[Bracket]:
  """Returns, for each seed, from how many examples on the MLP is as good.

  It is accurate, and not more than the margin below the other network with the
  same examples.
  """
  behind = {}
  shared = [{row['num_examples'] for row in side} for side in (mlp, other)]
  for number in set.intersection(*shared):
    ours, theirs = (
      accuracies(table.select(side, num_examples=number))
      for side in (mlp, other)
    )
    for seed in ours.keys() & theirs.keys():
      bar = max(ENOUGH, theirs[seed] - MARGIN)
      behind.setdefault(seed, {})[number] = ours[seed] < bar
  return [bracket(behind[seed]) for seed in sorted(behind)]
