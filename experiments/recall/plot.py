"""Draws accuracy by lag, which lags are learnt, and how soon."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments import looks
from experiments.recall.curves import curves, trainings
from experiments.recall.main import COUNTS
from seqjax.analysis import rules
from seqjax.results import plotting, table

TITLES = {
  'accuracy': 'One network for all lags: accuracy by lag',
  'learnt': 'One network for each lag: share of seeds that learn it',
  'steps': 'One network for all lags: updates until it solves them',
}
LOOKS = looks.SHARED | {
  '5-gram': plotting.look('green', 'dotted', 'd'),
}
HIDDEN = tuple(name for name in COUNTS if name != '5-gram')

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a panel each, of entries with the smallest number of parameters."""
  parameters = min(row['parameters'] for row in rows)
  rows = table.select(rows, parameters=parameters)
  shown = [row for row in rows if row['mixer'] not in HIDDEN] or rows
  has = {
    'accuracy': table.select(shown, design='mixed'),
    'learnt': table.select(shown, design='fixed'),
    'steps': [
      row for row in table.select(shown, design='mixed') if 'variant' in row
      and row['mixer'] not in COUNTS
    ],
  }  # fmt: skip
  panels = [name for name, part in has.items() if part]
  figure, areas = plotting.new(
    *(TITLES[name] for name in panels), columns=1, width=7.0, height=4.0
  )
  draw_panel = {'accuracy': accuracy_panel, 'learnt': _learnt, 'steps': _steps}
  for name, area in zip(panels, areas, strict=True):
    draw_panel[name](area, has[name])
  plotting.footer(
    figure,
    shown,
    f'{parameters:,} parameters each. Lines: means over seeds; bands: from the '
    'lowest seed to the highest.\nDashed: longest lag in training.',
  )
  plotting.save(figure, path)


def _labelled(rows: Rows) -> list[tuple[str, str, int, Rows]]:
  """Returns (label, mixer, number of its machine, rows) of every entry."""
  found = []
  for index, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for name in dict.fromkeys(row['mixer'] for row in part):
      own = table.select(part, mixer=name)
      found.append((f'{name} {machine}'.strip(), name, index, own))
  return found


def accuracy_panel(area, rows: Rows):
  """Draws a line for each entry, which is one network at many lags."""
  lags = {row['tested_lag'] for row in rows} - {None}
  powers = [lag for lag in lags if lag & (lag - 1) == 0]
  plotting.lengths_axis(area, powers, 'positions since the fact')
  plotting.fraction_axis(area, 'accuracy')
  for label, name, index, own in _labelled(rows):
    (curve,) = curves(own, 'mixed').values()
    band = {}
    if curve.num_seeds >= rules.MIN_SEEDS:
      band['low'] = curve.scores.min(axis=0)
      band['high'] = curve.scores.max(axis=0)
    plotting.line(
      area,
      curve.points,
      curve.scores.mean(axis=0),
      label,
      name=name,
      appearance=LOOKS.get(name),
      machine=index,
      seeds=curve.scores,
      **band,
    )
  plotting.chance_line(area, rows[0]['chance'])
  plotting.limit_line(area, max(row['trained_lag'] for row in rows))


def _learnt(area, rows: Rows):
  """Draws, for each entry and lag, a disc that says how many seeds learn it.

  Each is another training, so that nothing joins them.
  """
  entries = _labelled(rows)
  plotting.names_axis(area, [label for label, *_ in entries])
  lags = sorted({row['trained_lag'] for row in rows})
  plotting.lengths_axis(area, lags, 'lag in training and test, in positions')
  for place, (_, name, _, own) in enumerate(entries):
    (curve,) = curves(own, 'fixed').values()
    color = LOOKS.get(name, plotting.style(name)).color
    for lag, scores in zip(curve.points, curve.scores.T, strict=True):
      share = float((scores >= curve.solved).mean())
      plotting.share_disc(area, lag, place, share, color)


def _steps(area, rows: Rows):
  """Draws a dot for each seed; to the right of all, those that never solve."""
  entries = _labelled(rows)
  limit = max(row['steps'] for row in rows)
  plotting.names_axis(area, [label for label, *_ in entries])
  area.set_xlabel('updates (hollow: not solved within the budget)', fontsize=9)
  area.set_xlim(0, limit * 1.1)
  for place, (_, name, _, own) in enumerate(entries):
    color = LOOKS.get(name, plotting.style(name)).color
    each = trainings(own)
    for number, row in enumerate(each):
      steps = row['steps_to_solve']
      offset = (number + 0.5) / len(each) - 0.5
      area.plot(
        limit * 1.05 if steps is None else steps,
        place + 0.6 * offset,
        marker='o',
        markersize=5,
        color=color,
        fillstyle='none' if steps is None else 'full',
        linestyle='none',
      )
