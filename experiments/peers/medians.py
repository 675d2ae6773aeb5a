"""Medians over processes, the peers that count, and what the bars say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.peers import contestant
from experiments.peers.cases import BARS, EVERY

# What is measured, and where a row of a process has ours over theirs.
RATIOS = {'seconds': 'ratio', 'resident_bytes': 'resident_ratio'}

_VALUE = ('value', 'low', 'high')
_RATIO = ('ratio', 'ratio_low', 'ratio_high')
_CELL = ('case', 'work', 'environment', 'cores', 'instruction_set')
_SIZES = (
  *('batch_size', 'features', 'heads', 'head_size', 'length'),
  *('past', 'prompt', 'tokens'),
)
_WHERE = (
  *('version', 'device', 'cpus', 'jax', 'precision', 'commit'),
  *('glibc_tunables', 'xla_flags'),
)

Row = dict[str, Any]


def summarize(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
  """A row for every quantity, cell and contestant.

  `value` is the median over processes, with their range `low` to `high`;
  `ratio` is ours over theirs likewise. `opponent` is 'JAX' for the JAX peer
  that counts (the best, or the one that the bars name) and 'torch' for torch.
  Where the bars speak of it, `bar`, `met`, and `missed_by`: 0.1 if the ratio
  is 1.1 times the bar.
  """
  rows = list(rows)
  summary = []
  for quantity in RATIOS:
    measured = [row for row in rows if row.get(quantity) is not None]
    for cell in sorted(_grouped(measured, _CELL), key=_place):
      parts = _grouped(cell, ('contestant',))
      summary += _judged([_medians(part, quantity) for part in parts])
  return summary


def jax_opponent(rows: Sequence[Row]) -> str | None:
  """Returns the JAX peer that counts among one cell's contestants."""
  peers = [row for row in rows if _is_jax_peer(row['contestant'])]
  named = EVERY[rows[0]['case']].against
  if named is not None or not peers:
    return named
  return max(peers, key=lambda row: row['ratio'])['contestant']


def _is_jax_peer(name: str) -> bool:
  return contestant.library(name) not in (contestant.OURS, 'torch')


def _grouped(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]):
  groups = {}
  for row in rows:
    groups.setdefault(tuple(row.get(c) for c in columns), []).append(row)
  return list(groups.values())


def _place(cell: Sequence[Mapping[str, Any]]) -> tuple:
  """Cases in the order of their table."""
  case, *others = (cell[0].get(column) or '' for column in _CELL)
  return list(EVERY).index(case), *others


def _medians(rows: Sequence[Mapping[str, Any]], quantity: str) -> Row:
  """One contestant's processes as one row."""
  first = rows[0]
  row = {
    'quantity': quantity,
    **{column: first.get(column) for column in (*_CELL, 'contestant', *_SIZES)},
    'processes': len(rows),
    **_spread(_VALUE, [row[quantity] for row in rows]),
  }
  if first['contestant'] != contestant.OURS:
    row |= _spread(_RATIO, [row[RATIOS[quantity]] for row in rows])
  if quantity == 'seconds':
    for column in ('compile_seconds', 'share_of_peak'):
      row[column] = float(np.median([row[column] for row in rows]))
  return row | {column: first[column] for column in _WHERE}


def _spread(columns: Sequence[str], numbers: Sequence[float]) -> Row:
  """The median and the range."""
  spread = np.median(numbers), min(numbers), max(numbers)
  return dict(zip(columns, map(float, spread), strict=True))


def _judged(rows: Sequence[Row]) -> list[Row]:
  """The rows of a cell, with opponents and bars."""
  peer = jax_opponent(rows)
  judged = []
  for row in rows:
    opponent = {peer: 'JAX', 'torch': 'torch'}.get(row['contestant'])
    bar = _bar(row, opponent)
    excess = None if bar is None else row['ratio'] / bar - 1
    judgement = {
      'opponent': opponent,
      'bar': bar,
      'met': None if bar is None else excess <= 0,
      'missed_by': None if bar is None else max(0.0, excess),
    }
    judged.append(row | judgement)
  return judged


def _bar(row: Row, opponent: str | None) -> float | None:
  """Returns the bar of a ratio, on one core of a CPU."""
  if row['cores'] != 'one' or not row['device'].startswith('cpu'):
    return None
  for bar in BARS:
    if (
      row['case'] in bar.cases
      and row['work'] == bar.work
      and row['quantity'] == bar.quantity
      and bar.environment in (None, row['environment'])
      and bar.instruction_set in (None, row['instruction_set'])
    ):
      return {'JAX': bar.jax, 'torch': bar.torch}.get(opponent)
  return None
