"""From rows to curves of accuracy against lag, a row of scores per seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.analysis.rules import Curve

SOLVED = 0.95  # test accuracy from which on a lag counts as learnt

Rows = Sequence[Mapping[str, Any]]


class Key(NamedTuple):
  """Names a curve: a mixer, its design and its number of parameters."""

  mixer: str
  design: str
  parameters: int

  def entry(self, smallest: int) -> str:
    """Returns the mixer's name, with its size if it is not the smallest."""
    if self.parameters == smallest:
      return self.mixer
    return f'{self.mixer} ({self.parameters / 1000:g}k parameters)'


def curves(rows: Rows, design: str) -> dict[Key, Curve]:
  """Returns the curves of a design.

  Mixed: one network a seed, tested at many lags. Fixed: another network at each
  lag. A training that met what is not finite scores as guessing does.
  """
  found = {}
  for row in rows:
    key = Key(row['mixer'], row['design'], row['parameters'])
    if key.design == design:
      found.setdefault(key, []).append(row)
  smallest = min((row['parameters'] for row in rows), default=0)
  return {key: _curve(key.entry(smallest), part) for key, part in found.items()}


def _curve(entry: str, rows: Rows) -> Curve:
  """Makes a curve of one entry's rows."""
  tested = [row for row in rows if row['tested_lag'] is not None]
  lags = sorted({row['tested_lag'] for row in tested})
  seeds = sorted({row['seed'] for row in rows})
  chance = rows[0]['chance']
  scores = np.full((len(seeds), len(lags)), chance)
  for row in tested:
    if math.isfinite(row['accuracy']):
      place = seeds.index(row['seed']), lags.index(row['tested_lag'])
      scores[place] = row['accuracy']
  counted = [row['examples'] for row in tested if row['examples']]
  return Curve(
    entry,
    tuple(lags),
    scores,
    min(counted, default=0),
    chance,
    max(row['trained_lag'] for row in rows),
    SOLVED,
  )


def trainings(rows: Rows) -> list[Mapping[str, Any]]:
  """Returns one row for each training: of a network, not of each test."""
  seen = {}
  for row in rows:
    key = row['mixer'], row['design'], row['parameters'], row['trained_lag']
    seen.setdefault((*key, row['seed']), row)
  return list(seen.values())


def missing(
  found: Iterable[Key], wanted: Iterable[tuple[str, str]]
) -> list[str]:
  """Lists the (mixer, design) that have no curve, as text."""
  there = {(key.mixer, key.design) for key in found}
  return [f'{m} ({d} lags)' for m, d in wanted if (m, d) not in there]
