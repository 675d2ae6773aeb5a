"""From rows to curves of accuracy against lag, a row of scores per seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.analysis.rules import Curve
from seqjax.results import table

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
  lag. A training that met what is not finite scores as guessing does, and a row
  that is missing is NaN.

  Raises:
    ValueError: rows are of several budgets, there are two of one training, or a
      network of mixed lags has an initialisation that its name does not say.
  """
  rows = table.select(rows, design=design)
  check_budget(rows, design)
  if design == 'mixed':
    _check_untuned(rows)
  found = {}
  for row in rows:
    key = Key(row['mixer'], design, row['parameters'])
    found.setdefault(key, []).append(row)
  smallest = min((row['parameters'] for row in rows), default=0)
  return {key: _curve(key.entry(smallest), part) for key, part in found.items()}


def _check_untuned(rows: Rows):
  for row in rows:
    if row.get('variant') not in (None, 'default'):
      raise ValueError(
        'In mixed lags each initialisation has a name of its own, but '
        f'{row["mixer"]} has variant={row["variant"]!r}: the table is of '
        'another version, and python -m experiments.recall makes a new one.'
      )


def check_budget(rows: Rows, design: str):
  """Refuses to compare networks that were trained for longer than others.

  Raises:
    ValueError: names the column, and its values.
  """
  shared = ['steps', 'batch_size', *(['lag'] if design == 'mixed' else [])]
  for name in shared:
    values = sorted({row[name] for row in rows if name in row})
    if len(values) > 1:
      raise ValueError(
        f'Rows of recall with {design} lags are compared at one budget, but '
        f'{name} is {" and ".join(map(str, values))} in them: judge their '
        'tables apart.'
      )


def _curve(entry: str, rows: Rows) -> Curve:
  """Makes a curve of one entry's rows."""
  lags = sorted({r['tested_lag'] for r in rows if r['tested_lag'] is not None})
  seeds = sorted({row['seed'] for row in rows})
  scores = np.full((len(seeds), len(lags)), np.nan)
  for row in rows:
    place = seeds.index(row['seed'])
    if row['tested_lag'] is None:  # it met what is not finite
      column = _columns(lags, row)
    else:
      column = [lags.index(row['tested_lag'])]
    if column and not np.isnan(scores[place, column]).all():
      raise ValueError(
        f'A table of recall has one row for each training and tested lag, but '
        f'two of {entry}, seed {row["seed"]}, lag {row["tested_lag"]}.'
      )
    scores[place, column] = _accuracy(row)
  counted = [row['examples'] for row in rows if row['examples']]
  return Curve(
    entry,
    tuple(lags),
    scores,
    min(counted, default=0),
    rows[0]['chance'],
    max(row['trained_lag'] for row in rows),
    SOLVED,
  )


def _columns(lags: Sequence[int], row: Mapping[str, Any]) -> list[int]:
  """Returns the columns of a network that has no score: all, or its own lag."""
  if row['design'] == 'mixed':
    return list(range(len(lags)))
  return [i for i, lag in enumerate(lags) if lag == row['trained_lag']]


def _accuracy(row: Mapping[str, Any]) -> float:
  """Returns a row's accuracy; chance of a network that is not finite."""
  accuracy = row['accuracy']
  if accuracy is None or not math.isfinite(accuracy):
    return row['chance']
  return accuracy


def trainings(rows: Rows) -> list[Mapping[str, Any]]:
  """Returns one row for each training: of a network, not of each test."""
  seen = {}
  for row in rows:
    key = row['mixer'], row['design'], row['parameters'], row['trained_lag']
    seen.setdefault((*key, row['seed']), row)
  return list(seen.values())
