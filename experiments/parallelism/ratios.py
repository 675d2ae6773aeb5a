"""Reads ratios of times off the rows of one machine, one per process."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.analysis import contrasts, rules
from seqjax.analysis.thresholds import Bracket, bracket
from seqjax.results import table

ATTENTION = 'attention'

Rows = Sequence[dict[str, Any]]


class Cell(NamedTuple):
  """A setting in which mixers are timed side by side."""

  parameters: int
  block: str
  batch_size: int
  length: int

  @property
  def sizes(self) -> str:
    """Names all but the length, as 'a block of 1M parameters, batch 16'."""
    kind = {'block': 'a block', 'bare': 'a bare mixer'}[self.block]
    size = count(self.parameters)
    return f'{kind} of {size} parameters, batch {self.batch_size}'

  @property
  def title(self) -> str:
    """Names it in a few words, as 'a block of 1M, batch 16'."""
    return self.sizes.replace(' parameters', '')

  def __str__(self) -> str:
    return f'{self.length} positions, {self.sizes}'


# Where the claims about hardware are tested.
PRIMARY = Cell(1_000_000, 'block', 16, 256)


def count(parameters: int) -> str:
  """Returns '25k' for 25,000 and '1M' for a million."""
  millions = parameters / 1e6
  return f'{millions:g}M' if millions >= 1 else f'{parameters / 1e3:g}k'


def cell_of(row: dict[str, Any]) -> Cell:
  return Cell(*(row[field] for field in Cell._fields))


def timed(rows: Rows, name: str, work: str = 'training') -> Rows:
  """Returns the rows of a mixer that fitted into the memory."""
  chosen = table.select(rows, mixer=name, work=work)
  return [row for row in chosen if row.get('seconds') is not None]


def ratios(
  rows: Rows,
  name: str,
  other: str = ATTENTION,
  work: str = 'training',
  column: str = 'seconds',
) -> dict[Cell, list[float]]:
  """Returns {cell: a column of one mixer over that of another, per process}.

  Of cells that one process measured more than once, the geometric mean. What
  is missing or not a positive number on either side has no ratio.
  """
  theirs = {
    (cell_of(row), row['process'], row['pid']): row[column]
    for row in timed(rows, other, work)
  }
  found = {}
  for row in timed(rows, name, work):
    key = cell_of(row), row['process'], row['pid']
    if key in theirs and _positive(row[column], theirs[key]):
      logs = found.setdefault(key[0], {}).setdefault(row['pid'], [])
      logs.append(np.log(row[column] / theirs[key]))
  return {
    cell: [float(np.exp(np.mean(logs))) for logs in of_process.values()]
    for cell, of_process in sorted(found.items())
  }


def _positive(*numbers: float | None) -> bool:
  """Tells if all are numbers above 0."""
  return all(n is not None and 0 < n < math.inf for n in numbers)


def crossing(found: dict[Cell, list[float]], like: Cell) -> Bracket:
  """Returns the bracket of the length from which on attention is not faster.

  Args:
    found: times of attention over those of a mixer.
    like: a cell that says all but the length.
  """
  curve = {
    cell.length: each
    for cell, each in found.items()
    if cell.sizes == like.sizes
  }
  if all(len(each) > 1 for each in curve.values()):
    return rules.crosses(curve)
  return bracket({length: np.mean(each) < 1 for length, each in curve.items()})


def show(each: Sequence[float]) -> str:
  """Returns '0.43 [0.41, 0.45]', or '0.43 (1 process)' without an interval."""
  if len(each) < rules.MIN_SEEDS:
    many = f'{len(each)} process{"es" * (len(each) > 1)}'
    return f'{np.exp(np.mean(np.log(each))):.3g} ({many})'
  value, low, high = contrasts.ratio_interval(each)
  return f'{value:.3g} [{low:.3g}, {high:.3g}]'
