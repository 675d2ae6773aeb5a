"""Draws time and memory against length, of one or several machines."""

from collections.abc import Sequence
from typing import Any

from seqjax.results import plotting, table

TITLES = {
  'forward': 'Forward pass',
  'training': 'Forward and backward pass',
  'decoding': 'Decoding one token',
}
LOOKS = {
  'lstm (plain)': plotting.look('blue', 'dotted', 'd'),
  'mingru (associative)': plotting.look('green', 'dotted', 'v'),
  'attention (plain)': plotting.look('black', 'dotted', '*'),
}
X_TITLES = {'decoding': 'positions already read'}


def draw(rows: Sequence[dict[str, Any]], path: str):
  """A panel for every work and batch size, and one row of panels for memory."""
  batch_sizes = sorted({row['batch_size'] for row in rows})
  works = [work for work in TITLES if any(r['work'] == work for r in rows)]
  panels = [
    (quantity, work, size)
    for quantity in ('seconds', 'bytes')
    for size in batch_sizes
    for work in works
  ]
  figure, axes = plotting.new(
    *(_title(*panel) for panel in panels), columns=len(works), height=3.2
  )
  for panel, area in zip(panels, axes, strict=True):
    _draw_panel(area, rows, *panel)
  plotting.footer(
    figure,
    rows,
    'Lines: medians of rounds; bands: quartiles. Equal parameters. Memory:'
    ' arguments, outputs and temporaries of the compiled program.',
  )
  plotting.save(figure, path)


def _title(quantity, work, batch_size) -> str:
  what = 'time' if quantity == 'seconds' else 'memory'
  return f'{TITLES[work]}: {what}, batch {batch_size}'


def _draw_panel(area, rows, quantity, work, batch_size):
  cell = table.select(rows, work=work, batch_size=batch_size)
  lengths = sorted({row['length'] for row in cell})
  plotting.lengths_axis(area, lengths, X_TITLES.get(work, 'positions'))
  if quantity == 'seconds':
    plotting.seconds_axis(
      area, f'time per {"token" if work == "decoding" else "batch"}'
    )
  else:
    plotting.bytes_axis(area, 'peak memory')
  machines = plotting.by_machine(cell)
  for index, (machine, part) in enumerate(machines.items()):
    for name in dict.fromkeys(row['mixer'] for row in part):
      curve = sorted(table.select(part, mixer=name), key=_length)
      _draw_curve(area, curve, name, machine, index, quantity)


def _draw_curve(area, curve, name, machine, index, quantity):
  label = f'{name} {machine}'.strip()
  column = 'seconds' if quantity == 'seconds' else 'peak_bytes'
  measured = [row for row in curve if row.get(column) is not None]
  edges = {}
  if quantity == 'seconds':
    edges = {
      'low': [row['lower_quartile'] for row in measured],
      'high': [row['upper_quartile'] for row in measured],
    }
  if measured:
    plotting.line(
      area,
      [row['length'] for row in measured],
      [row[column] for row in measured],
      label,
      name=name,
      appearance=LOOKS.get(name),
      machine=index,
      **edges,
    )
  for row in curve:
    if row.get('seconds') is None:
      plotting.does_not_fit(
        area, row['length'], label, row['needed_bytes'], name, LOOKS.get(name)
      )


def _length(row) -> int:
  return row['length']
