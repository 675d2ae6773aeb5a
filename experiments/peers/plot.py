"""Draws how long seqjax takes over its peers, from a table."""

from collections.abc import Sequence
from typing import Any

from seqjax.results import plotting, table

PANELS = {
  ('seconds', 'JAX'): 'Time: seqjax / JAX peer',
  ('seconds', 'torch'): 'Time: seqjax / torch',
  ('resident_bytes', 'JAX'): 'Resident memory: seqjax / JAX peer',
  ('resident_bytes', 'torch'): 'Resident memory: seqjax / torch',
}
NOTE = (
  'Left of 1 seqjax needs less. b: batch, h and n: features, t: length (256 in'
  ' recurrent layers). Dots: medians of processes (filled: default'
  ' process environment, hollow: tuned), lines: their range.\n'
  'Upright strokes: what is aimed at; blue where that is met, red where it is'
  ' missed, grey where nothing is said.\n'
  'A JAX peer, named at the right, is the best of several, or the one that the'
  ' aim speaks of.'
)
_COLORS = {True: '#0060a8', False: '#d04a00', None: '#6b6b6b'}
_FILLS = {'default': 'full', 'tuned': 'none'}
_LIFT = {'default': 0.17, 'tuned': -0.17}
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


def draw(rows: Sequence[dict[str, Any]], path: str):
  """A panel for every quantity and opponent, a line in it for every work."""
  cores = 'one' if table.select(rows, cores='one') else 'all'
  rows = [row for row in table.select(rows, cores=cores) if row['opponent']]
  panels = {
    panel: table.select(rows, quantity=panel[0], opponent=panel[1])
    for panel in PANELS
  }
  panels = {panel: part for panel, part in panels.items() if part}
  labels = {
    quantity: _labels(table.select(rows, quantity=quantity))
    for quantity, _ in panels
  }
  figure, axes = plotting.new(
    *(PANELS[panel] for panel in panels),
    height=1.2 + 0.27 * max(map(len, labels.values())),
  )
  for (panel, part), area in zip(panels.items(), axes, strict=True):
    _draw_panel(area, part, labels[panel[0]], panel[1] == 'JAX')
  plotting.footer(figure, rows, NOTE)
  plotting.save(figure, path)


def _draw_panel(area, rows, labels, labelled):
  """The labels' places are the same in the panels of one quantity."""
  area.set_yticks(
    range(len(labels)), labels if labelled else [''] * len(labels)
  )
  area.set_ylim(len(labels) - 0.5, -0.5)  # the first on top
  area.set_xscale('log')
  area.set_xticks(_TICKS, [f'{tick:g}' for tick in _TICKS])
  area.set_xticks([], minor=True)
  plotting.limit_line(area, 1)
  for row in rows:
    _draw_row(area, row, labels.index(_label(row)))
  drawn = [row[c] for row in rows for c in ('ratio_low', 'ratio_high', 'bar')]
  drawn = [0.5, 2, *(number for number in drawn if number is not None)]
  area.set_xlim(min(drawn) / 1.3, max(drawn) * 1.3)


def _draw_row(area, row, place):
  color = _COLORS[row['met']]
  place -= _LIFT[row['environment']]
  if row['bar'] is not None:
    area.plot([row['bar']], [place], marker='|', markersize=9, color='#1a1a1a')
  area.plot([row['ratio_low'], row['ratio_high']], [place] * 2, color=color)
  area.plot(
    [row['ratio']],
    [place],
    marker='o',
    markersize=5.5,
    fillstyle=_FILLS[row['environment']],
    color=color,
  )
  if row['opponent'] == 'JAX':
    _name_peer(area, row['contestant'], place, color)


def _name_peer(area, name, place, color):
  area.annotate(
    name,
    (1, place),
    xycoords=('axes fraction', 'data'),
    xytext=(4, 0),
    textcoords='offset points',
    va='center',
    fontsize=6,
    color=color,
  )


def _labels(rows) -> list[str]:
  return list(dict.fromkeys(map(_label, rows)))


def _label(row) -> str:
  return f'{row["case"]}  {row["work"]}'
