"""Draws the gain of every way over the simpler one, from tables."""

from collections.abc import Sequence
from typing import Any

from seqjax.results import plotting

TITLE = 'Training speed relative to the simpler way'
FASTER, SLOWER, OPEN = '#0060a8', '#d04a00', '#6b6b6b'
NOTE = (
  'Right of 1: faster. Dots: medians of rounds; lines: their 95 % intervals. '
  'Blue: faster; orange: slower; grey: the interval holds 1.\n'
  'The simpler way: of training.train, a loop in Linen; of 8 members that are '
  'trained at once, one by one; of a checkpoint per minute, none.'
)


def draw(rows: Sequence[dict[str, Any]], path: str):
  """Draws a line per row and machine."""
  rows = [row for row in rows if row['gain'] != 1]  # those that others are over
  figure, (area,) = plotting.new(
    TITLE, width=7.5, height=1.2 + 0.28 * len(rows)
  )
  labels = list(dict.fromkeys(map(_label, rows)))
  area.set_yticks(range(len(labels)), labels)
  area.set_ylim(len(labels) - 0.5, -0.5)  # the first on top
  area.set_xlabel('steps per second / those of the simpler way', fontsize=9)
  plotting.limit_line(area, 1)
  for index, part in enumerate(plotting.by_machine(rows).values()):
    for row in part:
      _draw_row(area, row, labels.index(_label(row)) + 0.15 * index)
  plotting.footer(figure, rows, NOTE)
  plotting.save(figure, path)


def _label(row: dict[str, Any]) -> str:
  if row['kind'] != 'population':
    return row['way']
  return f'{row["members"]} members, {row["mixer"]}, {row["way"]}'


def _draw_row(area, row, place):
  color = OPEN
  if row['gain_low'] > 1 or row['gain_high'] < 1:
    color = FASTER if row['gain'] > 1 else SLOWER
  area.plot([row['gain_low'], row['gain_high']], [place] * 2, color=color)
  area.plot([row['gain']], [place], marker='o', markersize=5.5, color=color)
