"""Prints the times as tables: a line per mixer, and ratios by length."""

from typing import Any

import numpy as np

from experiments.parallelism.ratios import (
  ATTENTION,
  PRIMARY,
  Cell,
  Rows,
  cell_of,
  crossing,
  ratios,
  show,
  timed,
)
from seqjax.analysis import rules
from seqjax.results import table
from seqjax.results.plotting import bytes_text

SLOWER = {True: 'yes', False: 'no', None: 'undecided'}
EXACT = (
  *('mixer', 'weights', 'training_loss', 'positions', 'iterations'),
  *('converged', 'deviation'),
)


def summary(rows: Rows) -> str:
  """Returns the tables of every machine."""
  machines = table.machines(rows)
  return '\n\n'.join(
    '\n\n'.join([machine] * (len(machines) > 1) + _tables(part))
    for machine, part in machines.items()
  )


def _tables(rows: Rows) -> list[str]:
  at = reference(rows)
  tables = {
    f'Mixers in training at {at}': cards(rows, at),
    'Training time over that of attention': by_length(rows, at),
    'Recurrences solved in parallel, against a scan': [
      {column: row[column] for column in EXACT}
      for row in table.select(rows, work='exact')
    ],
  }
  parts = [
    f'{title}\n\n{table.text(lines, list(lines[0]))}'
    for title, lines in tables.items()
    if lines
  ]
  return parts + [
    f'{row["mixer"]}, {row["work"]} at {cell_of(row)}: does not fit '
    f'({bytes_text(row["needed_bytes"])})'
    for row in rows
    if row['work'] != 'exact' and row.get('seconds') is None
  ]


def reference(rows: Rows) -> Cell:
  """Returns the cell that the claims are tested at, else the largest."""
  cells = {cell_of(row) for row in table.select(rows, work='training')}
  return PRIMARY if PRIMARY in cells or not cells else max(cells)


def cards(rows: Rows, at: Cell) -> list[dict[str, Any]]:
  """Returns a line per mixer, whoever named it."""
  names = (row['mixer'] for row in rows if row.get('seconds') is not None)
  return [{'mixer': n} | card(rows, n, at) for n in dict.fromkeys(names)]


def card(rows: Rows, name: str, at: Cell) -> dict[str, Any]:
  """Returns the properties that claims are about, of one mixer."""
  training = ratios(rows, name).get(at)
  decoding = ratios(rows, name, work='decoding')
  longest = max(decoding, key=lambda c: (c.length, c), default=None)
  here = [row for row in timed(rows, name) if cell_of(row) == at]
  compared = training if name != ATTENTION else None
  found = {
    'width': here[0]['features'] if here else None,
    'carry, floats': here[0]['state_floats'] if here else None,
    'share of peak': share(rows, name, at) or None,
    'time / attention': show(training) if compared else None,
    'slower': SLOWER[rules.slower(training).holds] if compared else None,
    'attention is not faster from length': None,
    'decoding / attention': None,
  }
  if compared:
    inverse = ratios(rows, ATTENTION, name)
    found['attention is not faster from length'] = str(crossing(inverse, at))
  if longest and name != ATTENTION:
    after = f'after {longest.length}'
    found['decoding / attention'] = f'{show(decoding[longest])} {after}'
  return found


def share(rows: Rows, name: str, at: Cell) -> str:
  """Returns the share of the matmul peak in a cell, '' where not measured."""
  here = [row for row in timed(rows, name) if cell_of(row) == at]
  shares = [row['share_of_peak'] for row in here if row['share_of_peak'] > 0]
  return f'{np.median(shares):.0%}' if shares else ''


def by_length(rows: Rows, at: Cell) -> list[dict[str, Any]]:
  """Returns ratios with a column per length.

  Those of the LSTM at all sizes, and of the others at the sizes of one cell.
  """
  lines, lengths = {}, set()
  for name in dict.fromkeys(row['mixer'] for row in rows):
    for cell, each in ratios(rows, name).items():
      if name == 'lstm' or (name != ATTENTION and cell.sizes == at.sizes):
        line = lines.setdefault((name, cell.sizes), {})
        line[cell.length] = f'{np.exp(np.mean(np.log(each))):.3g}'
        lengths.add(cell.length)
  return [
    {'mixer': name, 'sizes': sizes}
    | {f'T = {length}': line.get(length, '-') for length in sorted(lengths)}
    for (name, sizes), line in lines.items()
  ]
