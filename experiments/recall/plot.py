"""Draws accuracy by lag, which lags are learnt, and how soon."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.recall.curves import Key, curves, trainings
from experiments.recall.main import COUNTS
from seqjax.analysis import rules
from seqjax.analysis.rules import Curve
from seqjax.analysis.statistics import mean_interval
from seqjax.results import plotting, table

TITLES = {
  'accuracy': 'One network for all lags: accuracy by lag',
  'learnt': 'One network for each lag: share of seeds that learn it',
  'steps': 'One network for all lags: updates until it solves them',
}
LOOKS = {
  'attention (no positions)': plotting.look('gold', 'dash-dot', '^'),
  'attention (ALiBi)': plotting.look('pink', 'dotted', 'v'),
  '5-gram': plotting.look('green', 'dotted', 'd'),
}
HIDDEN = tuple(name for name in COUNTS if name != '5-gram')

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a panel each, of entries with the smallest number of parameters."""
  parameters = min(row['parameters'] for row in rows)
  rows = table.select(rows, parameters=parameters)
  rows = [row for row in rows if row['mixer'] not in HIDDEN]
  mixed, fixed = curves(rows, 'mixed'), curves(rows, 'fixed')
  panels = {'accuracy': mixed, 'learnt': fixed, 'steps': mixed}
  panels = {name: found for name, found in panels.items() if found}
  figure, areas = plotting.new(
    *(TITLES[name] for name in panels), columns=1, width=7.0, height=4.0
  )
  for (name, found), area in zip(panels.items(), areas, strict=True):
    {'accuracy': _accuracy, 'learnt': _learnt, 'steps': _steps}[name](
      area, found, rows
    )
  plotting.footer(
    figure,
    rows,
    f'{parameters:,} parameters each. Lines: means over seeds; bands: 95 % of '
    'the mean. Dashed: longest lag in training.',
  )
  plotting.save(figure, path)


def _accuracy(area, found: Mapping[Key, Curve], rows: Rows):
  """Draws a line for each entry, which is one network at many lags."""
  lags = {lag for curve in found.values() for lag in curve.points}
  powers = [lag for lag in lags if lag & (lag - 1) == 0]
  plotting.lengths_axis(area, powers, 'positions since the fact')
  plotting.fraction_axis(area, 'accuracy')
  for key, curve in found.items():
    band = {}
    if curve.num_seeds >= rules.MIN_SEEDS:
      each = [mean_interval(column) for column in curve.scores.T]
      band['low'] = [min(1.0, max(0.0, i.low)) for i in each]
      band['high'] = [min(1.0, max(0.0, i.high)) for i in each]
    plotting.line(
      area,
      curve.points,
      curve.scores.mean(axis=0),
      key.mixer,
      name=key.mixer,
      appearance=LOOKS.get(key.mixer),
      seeds=curve.scores,
      **band,
    )
  plotting.chance_line(area, rows[0]['chance'])
  plotting.limit_line(area, max(curve.trained for curve in found.values()))


def _learnt(area, found: Mapping[Key, Curve], rows: Rows):
  """Draws, for each entry and lag, a disc as full as the share that learn it.

  Each is another training, so that nothing joins them.
  """
  names = [key.mixer for key in found]
  lags = sorted({lag for curve in found.values() for lag in curve.points})
  plotting.names_axis(area, names)
  plotting.lengths_axis(area, lags, 'lag in training and test, in positions')
  for row, (key, curve) in enumerate(found.items()):
    half = (1 + curve.chance) / 2
    look = LOOKS.get(key.mixer, plotting.style(key.mixer))
    for column, lag in enumerate(curve.points):
      share = float((curve.scores[:, column] >= half).mean())
      plotting.share_disc(area, lag, row, share, look.color)


def _steps(area, found: Mapping[Key, Curve], rows: Rows):
  """Draws a dot for each seed; to the right of all, those that never solve."""
  names = [key.mixer for key in found if key.mixer not in COUNTS]
  own = [row for row in trainings(rows) if row['design'] == 'mixed']
  limit = max(row['steps'] for row in own)
  plotting.names_axis(area, names)
  area.set_xlabel('updates (hollow: not solved within the budget)', fontsize=9)
  area.set_xlim(0, limit * 1.1)
  for index, name in enumerate(names):
    look = LOOKS.get(name, plotting.style(name))
    each = table.select(own, mixer=name)
    for place, row in enumerate(each):
      steps = row['steps_to_solve']
      offset = (place + 0.5) / len(each) - 0.5
      area.plot(
        limit * 1.05 if steps is None else steps,
        index + 0.6 * offset,
        marker='o',
        markersize=5,
        color=look.color,
        fillstyle='none' if steps is None else 'full',
        linestyle='none',
      )
