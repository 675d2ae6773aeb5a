"""Draws accuracy against lag from tables, of one or several machines."""

from collections.abc import Sequence
from typing import Any

from experiments.recall.curves import curves
from seqjax.analysis.statistics import MIN_SCORES
from seqjax.results import plotting, table

DESIGNS = {
  'fixed': 'every example at the same lag',
  'mixed': 'lags mixed in training',
}
LOOKS = {
  'lstm (forget bias 3)': plotting.look('red', 'dashed', 'v'),
  'lstm (chrono)': plotting.look('pink', 'dotted', 'X'),
  'attention (no positions)': plotting.look('gold', 'dash-dot', '^'),
}
# Drawn below, each beside what it varies.
VARIANTS = {
  'lstm (forget bias 3)': 'lstm',
  'lstm (chrono)': 'lstm',
  'attention (no positions)': 'attention',
}


def draw(rows: Sequence[dict[str, Any]], path: str):
  """Accuracy against lag: a column a design; mixers, and below variants."""
  present = {row['mixer'] for row in rows}
  groups = [present - set(VARIANTS)]
  if present & set(VARIANTS):
    groups.append(present & (set(VARIANTS) | set(VARIANTS.values())))
  designs = [d for d in DESIGNS if any(r['design'] == d for r in rows)]
  figure, axes = plotting.new(
    *(f'Recall, {DESIGNS[d]}' for _ in groups for d in designs),
    columns=len(designs),
  )
  panels = [(group, design) for group in groups for design in designs]
  for (group, design), area in zip(panels, axes, strict=True):
    chosen = table.select(rows, design=design)
    _draw_panel(area, [row for row in chosen if row['mixer'] in group])
  plotting.footer(
    figure,
    rows,
    'Lines: means over seeds; bands: 95 % of the mean; with fewer than'
    f' {MIN_SCORES} seeds every seed is drawn. Dashed: longest lag in'
    ' training.',
  )
  plotting.save(figure, path)


def _draw_panel(area, rows):
  plotting.lengths_axis(
    area, {row['tested_lag'] for row in rows}, 'positions since the fact'
  )
  plotting.fraction_axis(area, 'accuracy')
  for index, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for curve in curves(part):
      band = {}
      if curve.num_seeds >= MIN_SCORES:
        band['low'], band['high'] = curve.band()
      plotting.line(
        area,
        curve.lags,
        curve.mean,
        f'{curve.mixer} {machine}'.strip(),
        name=curve.mixer,
        appearance=LOOKS.get(curve.mixer),
        machine=index,
        seeds=curve.accuracy,
        **band,
      )
  plotting.chance_line(area, rows[0]['chance'])
  trained = max(row['lag'] for row in rows)
  if any(row['tested_lag'] > trained for row in rows):
    plotting.limit_line(area, trained)
