"""Draws training times over those of attention, and the cost of decoding."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.parallelism.ratios import ATTENTION, Cell, cell_of, ratios
from seqjax.results import plotting, table

LOOKS = {
  'lstm (plain)': plotting.look('blue', 'dotted', 'd'),
  'mingru (associative)': plotting.look('green', 'dotted', 'v'),
  'attention (plain)': plotting.look('black', 'sparse', '*'),
}
PANELS = 4
SUSPECT = 'suspect'
NOTE = '\nHollow: suspect times, as the machine may have been shared.'
WIDTHS = "sequence length / attention's width"

Rows = Sequence[dict[str, Any]]


def draw(rows: Rows, path: str):
  """Draws up to three panels of training, and one of decoding.

  Of rows without times, how many iterations Newton's method takes.
  """
  training, decoding = (
    [row for row in rows if row['work'] == work and row.get('seconds')]
    for work in ('training', 'decoding')
  )
  panels = {
    f'Training {cell.sizes}': (ratios_panel, like(training, cell))
    for cell in panels_of_training(training)[: PANELS - 1]
  } | {
    f'Decoding, {cell.sizes}': (_decoding, like(decoding, cell))
    for cell in panels_of_decoding(decoding)
  }
  panels = panels or {"Newton's method": (_iterations, rows)}
  figure, areas = plotting.new(*panels, width=4.9, height=3.4)
  for (draw_panel, part), area in zip(panels.values(), areas, strict=True):
    draw_panel(area, part)
  drawn = [line for area in areas for line in area.get_lines()]
  hollow = any(line.get_gid() == SUSPECT for line in drawn)
  plotting.footer(
    figure,
    rows,
    'At equal numbers of parameters. Above 1: slower than attention.\n'
    f'Geometric means over processes.{NOTE if hollow else ""}',
  )
  plotting.save(figure, path)


def panels_of_training(rows: Rows) -> list[Cell]:
  """Returns a cell per panel: whole blocks by size, then bare mixers by size.

  Each at the batch size with most lengths; one length alone makes no panel
  beside others.
  """
  lengths = {}
  for cell in map(cell_of, rows):
    lengths.setdefault(cell._replace(length=0), set()).add(cell.length)
  found = {}
  for cell in sorted(lengths, key=lambda c: (len(lengths[c]), c.batch_size)):
    found[cell.block, cell.parameters] = cell
  ordered = sorted(found.values(), key=lambda c: (c.block == 'bare', c))
  return [cell for cell in ordered if len(lengths[cell]) > 1] or ordered


def panels_of_decoding(rows: Rows) -> list[Cell]:
  """Returns the cell of the one panel: the largest, at the smallest batch."""
  cells = [cell_of(row) for row in rows]
  best = max(cells, key=lambda c: (c.parameters, -c.batch_size), default=None)
  return [best._replace(length=0)] if best else []


def like(rows: Rows, cell: Cell) -> Rows:
  return [row for row in rows if cell_of(row)._replace(length=0) == cell]


def ratios_panel(area: Any, rows: Rows):
  """Draws time over that of attention, against length over its width."""
  from matplotlib import ticker

  if ATTENTION not in {row['mixer'] for row in rows}:
    _seconds(area, rows, 'positions', 'time per batch')
    return
  area.set_xscale('log', base=2)
  area.set_yscale('log', base=2)
  area.axhline(1, color='#1a1a1a', linewidth=1.4, zorder=1.5)
  area.set_xlabel(WIDTHS, fontsize=9)
  area.set_ylabel("time / attention's time", fontsize=9)
  for axis in (area.xaxis, area.yaxis):
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(lambda value, _: f'{value:.3g}')
  for index, machine, part, name in _lines(rows):
    if name == ATTENTION:
      continue
    widths = {
      cell_of(row): row['features']
      for row in table.select(part, mixer=ATTENTION)
    }
    points = [
      (cell.length / widths[cell], np.exp(np.mean(np.log(each))), cell)
      for cell, each in ratios(part, name).items()
    ]
    suspect = _suspect(part, name) | _suspect(part, ATTENTION)
    _line(area, points, name, machine, index, suspect)
  low, high = area.get_ylim()
  area.set_ylim(min(low, 0.5), max(high, 2))


def _decoding(area: Any, rows: Rows):
  _seconds(area, rows, 'positions already read', 'time per token')


def _seconds(area: Any, rows: Rows, x_title: str, y_title: str):
  """Draws times themselves, against length."""
  plotting.lengths_axis(area, {row['length'] for row in rows}, x_title)
  plotting.seconds_axis(area, y_title)
  for index, machine, part, name in _lines(rows):
    times = {}
    for row in sorted(table.select(part, mixer=name), key=cell_of):
      times.setdefault(cell_of(row), []).append(row['seconds'])
    points = [
      (cell.length, np.exp(np.mean(np.log(each))), cell)
      for cell, each in times.items()
    ]
    _line(area, points, name, machine, index, _suspect(part, name))


def _iterations(area: Any, rows: Rows):
  """Draws iterations of Newton's method against positions."""
  lengths = {row['positions'] for row in rows}
  plotting.lengths_axis(area, lengths, 'positions')
  area.set_ylabel('iterations', fontsize=9)
  for index, machine, part, name in _lines(rows):
    for weights in dict.fromkeys(row['weights'] for row in part):
      mine = table.select(part, mixer=name, weights=weights)
      curve = {row['positions']: row['iterations'] for row in mine}
      label = f'{name}, {weights} {machine}'.strip()
      x, y = list(curve), list(curve.values())
      plotting.line(area, x, y, label, name=label, machine=index)


def _lines(rows: Rows):
  """Yields (number of the machine, its label, its rows, a mixer)."""
  machines = plotting.by_machine(rows)
  for index, (machine, part) in enumerate(machines.items()):
    for name in dict.fromkeys(row['mixer'] for row in part):
      yield index, machine, part, name


def _suspect(rows: Rows, name: str) -> set[Cell]:
  return {cell_of(row) for row in table.select(rows, mixer=name, suspect=True)}


def _line(area, points, name, machine, index, suspect):
  """Draws a line of (x, y, cell), with hollow markers at suspect cells."""
  if not points:
    return
  x, y, cells = zip(*points, strict=True)
  label = f'{name} {machine}'.strip()
  look = LOOKS.get(name, plotting.style(name))
  # Another machine's markers are half filled: hollow ones are suspect.
  plotting.line(area, x, y, label, appearance=look, machine=2 * index)
  hollow = [i for i, cell in enumerate(cells) if cell in suspect]
  if not hollow:
    return
  area.plot(
    [x[i] for i in hollow],
    [y[i] for i in hollow],
    linestyle='none',
    marker=look.marker,
    color=look.color,
    markerfacecolor='white',
    zorder=4,
    gid=SUSPECT,
  )
