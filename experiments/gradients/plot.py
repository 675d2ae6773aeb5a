"""Draws norms of gradients by lag, and the rate of each mixer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import looks
from experiments.gradients import claims
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.analysis.statistics import mean_interval
from seqjax.results import plotting

TITLES = (
  'Norm of the gradient by lag',
  'Rate in nats per step: left of 0 gradients vanish',
)
LOOKS = looks.SHARED | {
  'elman (radius 0.9)': plotting.look('red', 'long', 'v'),
  'elman (radius 1.1)': plotting.look('red', 'dashed', '^'),
  'elman (radius 1.2)': plotting.look('red', 'dash-dot', '<'),
  'elman (radius 1.5)': plotting.look('red', 'sparse', '>'),
  'lstm (forget bias 0)': plotting.look('blue', 'dotted', 'v'),
  'lstm (forget bias 3)': plotting.look('blue', 'dashed', '^'),
  'lstm (forget bias 5)': plotting.look('blue', 'dash-dot', '>'),
}

LONG = 32  # characters of a name that there is room for on both sides
FLAT_RATE = 0.05  # nats per position
FLAT = f'within {FLAT_RATE:g} nats per step of 0:'

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a line for each mixer that reads inputs, and a dot for each."""
  found = claims.grouped(rows)
  longer = max(0, max(map(len, found)) - LONG)  # as of a module's mixer
  figure, (lines, dots) = plotting.new(
    *TITLES, columns=1, width=7.0 + 0.2 * longer, height=4.6
  )
  lines.set_xlabel('T - t, positions', fontsize=9)
  lines.set_ylabel('log norm of dh_T/dh_t, nats', fontsize=9)
  for name, part in found.items():
    if part[0]['drive']:
      _line(lines, name, part)
  low, _ = lines.get_ylim()
  lines.set_ylim(low, -0.22 * low)  # room for the names of the flat lines
  _dots(dots, found)
  plotting.footer(
    figure,
    rows,
    'Lines and dots: means over seeds; bands and bars: 95 % intervals of the '
    'mean. Beside a name: its rate, the slope from a quarter of the longest '
    f'lag on, in {claims.UNIT}. Networks at initialisation read unit-normal '
    'inputs; at rest: zeros.',
  )
  plotting.save(figure, path)


def _look(name: str) -> plotting.Style:
  name = name.removesuffix(', at rest')
  return LOOKS.get(name, plotting.style(name))


def _line(area, name: str, rows: Rows):
  """Draws the mean over seeds; a line ends where a gradient is exactly zero."""
  lags, norms = claims.curve(rows)
  norms = np.where(np.isfinite(norms), norms, np.nan)
  slopes, band, mean = claims.rates(rows), {}, norms.mean(axis=0)
  if len(norms) >= MIN_SEEDS:
    whole = np.isfinite(norms).all(axis=0)
    each = [
      mean_interval(column) if there else (np.nan,) * 3
      for column, there in zip(norms.T, whole, strict=True)
    ]
    band = {'low': [i[1] for i in each], 'high': [i[2] for i in each]}
  plotting.line(
    area,
    lags,
    mean,
    f'{name}{_rate(slopes)}',
    together=FLAT if _is_flat(lags, mean) else None,
    appearance=_look(name),
    seeds=norms,
    **band,
  )


def _is_flat(lags, norms) -> bool:
  """Tells if the end of a line is too near to 0 to be told from others'."""
  there = np.isfinite(norms)
  return bool(np.all(abs(norms[there][-1:]) < FLAT_RATE * lags[there][-1:]))


def _rate(slopes: np.ndarray) -> str:
  """Returns ' -0.400', or in how many seeds a gradient is zero."""
  if np.isfinite(slopes).all():
    return f' {claims.short(slopes)}'
  return f': {claims.interval_text(slopes)}'


def _dots(area, found: Mapping[str, Rows]):
  """Draws the rate of each mixer, with its interval from five seeds on."""
  plotting.names_axis(area, list(found))
  area.tick_params(axis='y', labelsize=8)
  area.axvline(0, color='#777777', linewidth=1)
  area.set_xlabel(f'rate, {claims.UNIT}', fontsize=9)
  for place, (name, part) in enumerate(found.items()):
    slopes, look = claims.rates(part), _look(name)
    if not np.isfinite(slopes).all():
      area.annotate(
        claims.interval_text(slopes),
        (0.02, place),
        xycoords=area.get_yaxis_transform(),
        va='center',
        fontsize=8,
      )
      continue
    if len(slopes) >= MIN_SEEDS:
      each = mean_interval(slopes)
      area.plot([each.low, each.high], [place] * 2, color=look.color)
    area.plot(slopes.mean(), place, color=look.color, marker='o', markersize=4)
