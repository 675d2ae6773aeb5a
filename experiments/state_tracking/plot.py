"""Draws accuracy by multiple of the trained length, a panel for each task."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments import looks
from experiments.state_tracking import claims
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.results import plotting

LOOKS = looks.SHARED

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a line for each mixer: what it keeps beyond the trained length."""
  tasks = list(dict.fromkeys(row['task'] for row in rows))
  figure, areas = plotting.new(
    *(f'{claims.NAMES[t].capitalize()} ({t.upper()})' for t in tasks),
    columns=1,
    width=7.0,
    height=3.8,
  )
  for task, area in zip(tasks, areas, strict=True):
    _panel(area, [row for row in rows if row['task'] == task])
  parameters = ' and '.join(
    f'{n:,}' for n in sorted({row['parameters'] for row in rows})
  )
  plotting.footer(
    figure,
    rows,
    f'{parameters} parameters in mixers. Lines: means over seeds; '
    'bands: from the lowest seed to the highest.\nBeside a name: seeds that '
    f'score {claims.SOLVED:g} or more up to {claims.FAR} times the trained '
    'length, of all. Dashed: the longest that training saw.',
  )
  plotting.save(figure, path)


def _panel(area, rows: Rows):
  times = sorted({row['times'] for row in rows} - {None})
  plotting.lengths_axis(area, times, 'length / trained length')
  plotting.fraction_axis(area, 'accuracy')
  for index, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for name, curve in claims.curves(part, rows[0]['task']).items():
      band = {}
      if curve.num_seeds >= MIN_SEEDS:
        band['low'] = curve.scores.min(axis=0)
        band['high'] = curve.scores.max(axis=0)
      far = f'{claims.generalises(curve).sum()}/{curve.num_seeds}'
      plotting.line(
        area,
        curve.points,
        curve.scores.mean(axis=0),
        f'{name} {far} {machine}'.strip(),
        name=name,
        appearance=LOOKS.get(name),
        machine=index,
        seeds=curve.scores,
        **band,
      )
  plotting.chance_line(area, rows[0]['chance'])
  plotting.limit_line(area, 1)
