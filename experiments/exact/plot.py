"""Draws what grows with length, and which model takes which task."""

import numpy as np

from experiments import looks
from experiments.exact import lengths, shapes, sharing
from seqjax.results import plotting, table

PANELS = {
  lengths.COUNT: 'Parameters by the longest input',
  sharing.BYTES: 'Carry of one row by positions read',
  shapes.TAKES: 'Which model trains (full), which refuses (empty)',
}
SHOWN = ('gru', 'lstm', 'tcn', 'attention')  # the others' lines are as flat
LOOKS = looks.SHARED | {
  'MLP': plotting.look('wine', 'solid', 'o'),
  sharing.CACHE: plotting.look('black', 'long', 's'),
}


def draw(rows, path: str):
  """Draws a panel for each of the claims 0.3, 1.5 and 0.18 that has rows."""
  drawn = {name: table.select(rows, check=name) for name in PANELS}
  drawn = {name: own for name, own in drawn.items() if own}
  titles = [PANELS[name] for name in drawn] or ['No check that is drawn']
  figure, areas = plotting.new(*titles, columns=1, width=7.0, height=3.6)
  draws = dict(zip(PANELS, (_parameters, _bytes, _matrix), strict=True))
  for area, (name, own) in zip(areas, drawn.items(), strict=False):
    draws[name](area, own)
  note = 'Layers of 16 features, attention of 64 positions.'
  plotting.footer(figure, rows, note)
  plotting.save(figure, path)


def _lines(area, rows):
  """Draws what came out against size, for a few of the mixers."""
  for name in dict.fromkeys(row['subject'] for row in rows):
    if name in SHOWN or name in LOOKS:
      own = table.select(rows, subject=name)
      sizes, values = ([row[k] for row in own] for k in ('size', 'got'))
      plotting.line(area, sizes, values, name, appearance=LOOKS.get(name))


def _parameters(area, rows):
  plotting.lengths_axis(area, lengths.SIZES, 'T_max, in positions')
  ticks = [1000 * 2**i for i in range(6)]
  area.set_yscale('log', base=2)
  area.set_yticks(ticks, [f'{tick:,}' for tick in ticks])
  area.set_ylabel('parameters', fontsize=9)
  _lines(area, rows)


def _bytes(area, rows):
  area.set_xscale('log', base=10)
  area.set_xlabel('positions read', fontsize=9)
  plotting.bytes_axis(area, 'carry')
  _lines(area, rows)


def _matrix(area, rows):
  """Draws a disc for each model and shape: full where it takes its tasks."""
  models = [*shapes.SUPPORTED]
  plotting.names_axis(area, models)
  names = [
    '\n'.join(shape.value.replace('-to-', ' to-').split())
    for shape in shapes.EXAMPLES
  ]
  area.set_xticks(range(len(names)), names, fontsize=9)
  area.set_xlim(-0.5, len(names) - 0.5)
  color = plotting.style('lstm').color
  for column, tasks in enumerate(shapes.EXAMPLES.values()):
    for line, model in enumerate(models):
      subjects = [f'{model}, {task}' for task in tasks]
      taken = [row['got'] for row in rows if row['subject'] in subjects]
      if taken:
        plotting.share_disc(area, column, line, np.mean(taken), color)
