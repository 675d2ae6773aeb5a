"""Draws how long one waits, from tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.startup.claims import AIMS
from seqjax.results import plotting

TITLE = 'Seconds until the first result'
SHADES = ('#8cc4ea', '#2f9bd8', '#0060a8', '#002b4d')  # the longest, darkest
PROCESS = '#d04a00'
NOTE = (
  'Orange: a process from its start, until the first metrics of seqjax-train '
  '--task=parity --mixer=lstm, or until it has imported; lines are the range.\n'
  'Blue: compiling the outputs and gradients of a layer, for {}. '
  'Grey strokes: what was aimed at.'
)


def draw(rows: Sequence[Mapping[str, Any]], path: str):
  """Draws a row for each wait and layer, the longest on top of its kind."""
  machines = plotting.by_machine(rows)
  found = {}
  for machine, part in machines.items():
    for row in part:
      label = f'{_label(row)} {machine}'.strip()
      found.setdefault(label, []).append(row)
  labels = sorted(found, key=lambda label: _place(found[label]))
  figure, (area,) = plotting.new(
    TITLE, width=7.5, height=1.3 + 0.24 * len(labels)
  )
  plotting.names_axis(area, labels)
  area.set_xlabel('seconds', fontsize=9)
  lengths = sorted(
    {row['length'] for row in rows if row['part'] == 'compilation'}
  )
  for place, label in enumerate(labels):
    for row in found[label]:
      _draw_row(area, place, row, lengths)
  area.set_xlim(left=0)
  compiled = ', '.join(f'{length:,}' for length in lengths) + ' positions'
  plotting.footer(figure, rows, NOTE.format(compiled))
  plotting.save(figure, path)


def _label(row: Mapping[str, Any]) -> str:
  if row['part'] == 'compilation':
    return row['mixer']
  return f'command, {row["what"]}' if row['part'] == 'command' else row['what']


def _place(rows: Sequence[Mapping[str, Any]]) -> tuple:
  longest = max(row['seconds'] for row in rows)
  return rows[0]['part'] == 'compilation', -longest


def _draw_row(area, place, row, lengths):
  color = PROCESS
  if row['part'] == 'compilation':
    color = SHADES[lengths.index(row['length']) % len(SHADES)]
  else:
    area.plot([row['low'], row['high']], [place] * 2, color=color)
  area.plot([row['seconds']], [place], marker='o', markersize=5.5, color=color)
  aim = AIMS.get(row['what'])
  if aim is not None and row.get('ratio') is None:
    area.plot(
      [aim] * 2, [place - 0.3, place + 0.3], color='#777777', zorder=1.5
    )
