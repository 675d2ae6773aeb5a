"""Draws errors and movement of rollouts against the horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.forecasting.claims import FLAT
from experiments.forecasting.main import HORIZONS, MOVES_FROM, PERFECT
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.results import plotting, table

TITLES = {
  'relative_error': '{}: error of a forecast that reads its own output',
  'movement': '{}: movement of the forecast, 0 for a flat line',
}
LABELS = {
  'relative_error': 'squared error / variance',
  'movement': 'variance over time / that of the truth',
}
NAMES = {'mackey_glass': 'Mackey-Glass', 'lorenz': 'Lorenz'}
LOOKS = {
  'window_mlp (tau 4)': plotting.look('wine', 'dashed', '<'),
  'window_mlp (tau 24)': plotting.look('wine', 'solid', 'P'),
  PERFECT: plotting.look('green', 'solid', 'v'),
}
SHOWN = {PERFECT: 'equation, off by .001 (typical)'}
CHAOS = plotting.look('grey', 'dotted', '')

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a column for each series: errors above, movement below."""
  series = list(dict.fromkeys(row['series'] for row in rows))
  panels = [(value, name) for value in TITLES for name in series]
  figure, areas = plotting.new(
    *(TITLES[value].format(NAMES[name]) for value, name in panels),
    columns=len(series),
    width=6.2,
    height=4.0,
  )
  for area, (value, name) in zip(areas, panels, strict=True):
    _panel(area, table.select(rows, series=name), value)
  trained = [row for row in rows if row['mixer'] != PERFECT]
  plotting.footer(
    figure,
    rows,
    f'{(trained or rows)[0]["parameters"]:,} parameters each. Lines: medians '
    'over seeds; bands: from the lowest seed to the highest.\nMovement: in the '
    'second half of the steps up to the horizon. Typical: the geometric mean '
    'over forecasts; of the other errors it is the arithmetic mean.',
  )
  plotting.save(figure, path)


def _panel(area, rows: Rows, value: str):
  """Draws a line for each mixer, and the rate of chaos beside the equation."""
  horizons = [k for k in HORIZONS if value != 'movement' or k >= MOVES_FROM]
  ticks = [k for k in horizons if k & (k - 1) == 0]
  plotting.lengths_axis(area, ticks, 'horizon, in steps')
  area.set_ylabel(LABELS[value], fontsize=9)
  if value == 'movement':
    area.set_ylim(-0.03, 1.3)
    plotting.chance_line(area, FLAT, 'flat below')
  else:
    area.set_yscale('log')
    plotting.chance_line(area, 1, 'forecasting the mean:')
  for index, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for mixer in dict.fromkeys(row['mixer'] for row in part):
      own = table.select(part, mixer=mixer)
      typical = mixer == PERFECT and value == 'relative_error'
      shown = 'typical_error' if typical else value
      middle = _line(area, own, shown, mixer, horizons, machine, index)
      if typical:
        rate = 2 * own[0]['lyapunov_per_step']
        grown = middle[0] * np.exp(rate * (np.array(horizons) - 1))
        label = 'exp(2 x Lyapunov exponent x t)'
        plotting.line(area, horizons, grown, label, appearance=CHAOS)


def _line(area, rows: Rows, value: str, mixer, horizons, machine, index):
  """Draws the median over seeds, with a band from five on; returns it."""
  seeds = sorted({row['seed'] for row in rows})
  numbers = np.full((len(seeds), len(horizons)), np.nan)
  for row in rows:
    if row['horizon'] in horizons and row[value] is not None:
      place = seeds.index(row['seed']), horizons.index(row['horizon'])
      numbers[place] = row[value]
  numbers = numbers[~np.isnan(numbers).all(axis=1)]
  band = {}
  if len(numbers) >= MIN_SEEDS:
    band = {'low': numbers.min(axis=0), 'high': numbers.max(axis=0)}
  middle = np.median(numbers, axis=0)
  plotting.line(
    area,
    horizons,
    middle,
    f'{SHOWN.get(mixer, mixer)} {machine}'.strip(),
    name=mixer,
    appearance=LOOKS.get(mixer),
    machine=index,
    seeds=numbers,
    **band,
  )
  return middle
