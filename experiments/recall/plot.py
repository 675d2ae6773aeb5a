"""Draws accuracy by lag, which lags are learnt, and how soon."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import looks
from experiments.recall.curves import curves, trainings
from experiments.recall.main import COUNTS, LAG_OF_COUNTS
from seqjax.analysis import rules
from seqjax.results import plotting, table

TITLES = {
  'accuracy': 'One network for all lags: accuracy by lag',
  'learnt': 'One network for each lag: share of seeds that learn it',
  'steps': 'One network for all lags: updates until it solves them',
}
LOOKS = looks.SHARED
LINES = (
  'Lines: medians over seeds; bands: from the first quartile of the seeds to '
  'the third.'
)
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
    f'{parameters:,} parameters each. {LINES} Dashed: longest lag in training.'
    + _remarks(has['accuracy']),
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


def _remarks(rows: Rows) -> str:
  """Says which lines lie on each other, and which seeds no band shows.

  A score of exactly 0 is no guess: only an output of NaN is never right.
  """
  on_top, said = [], ''
  for label, *_, own in _labelled(rows):
    (curve,) = curves(own, 'mixed').values()
    lag, chance, seeds = curve.trained, own[0]['chance'], curve.num_seeds
    inside = curve.between(1, lag).scores
    if (np.median(inside, axis=0) == 1).all():
      on_top.append(label)
    failed = int((inside.max(axis=1) < (1 + chance) / 2).sum())
    if 0 < failed < seeds / 2:
      said += (
        f'\n{label} is at chance in {failed} of {seeds} seeds, outside its '
        'band.'
      )
    zeros = (curve.scores == 0).sum(axis=0)
    if zeros.any():
      worst = int(np.argmax(zeros))
      said += (
        f'\n{label} scores exactly 0, below chance, in {zeros[worst]} of '
        f'{seeds} seeds at lag {curve.points[worst]}: a state that grows with '
        'every step overflows, and an output of NaN counts as wrong.'
      )
  if len(on_top) > 1:
    said = f'\nOn 1 up to lag {lag}: {", ".join(on_top)}.{said}'
  return said


def accuracy_panel(area, rows: Rows):
  """Draws a line for each entry, which is one network at many lags.

  The lag that was added for n-grams lies so near to another one that the two
  would be drawn as one.
  """
  lags = {row['tested_lag'] for row in rows} - {None, LAG_OF_COUNTS}
  powers = [lag for lag in lags if lag & (lag - 1) == 0]
  plotting.lengths_axis(area, powers, 'positions since the fact')
  plotting.fraction_axis(area, 'accuracy')
  for label, name, index, own in _labelled(rows):
    (curve,) = curves(own, 'mixed').values()
    curve = curve.at([lag for lag in curve.points if lag in lags])
    band = {}
    if curve.num_seeds >= rules.MIN_SEEDS:
      band['low'], band['high'] = np.quantile(
        curve.scores, (0.25, 0.75), axis=0
      )
    plotting.line(
      area,
      curve.points,
      np.median(curve.scores, axis=0),
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
      steps = row.get('steps_to_solve')
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
