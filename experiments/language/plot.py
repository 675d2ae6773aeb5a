"""Draws bits against bytes, bits by position, and the gain of the carry."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.language import claims
from experiments.language.main import COUNTS
from experiments.looks import SHARED
from seqjax.results import plotting, table

TITLES = {
  'bytes': f'Bits per character against bytes (after {claims.LATE} characters)',
  'position': 'Bits per character by position in a window',
  'carry': 'Bits that training with the carry saves',
}
ORDER = 5  # of the n-gram whose bits are drawn by position

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a panel for each part that has rows."""
  has = {
    'bytes': table.select(rows, part='text'),
    'position': table.select(rows, part='text'),
    'carry': claims.gains(rows),
  }
  panels = [name for name, part in has.items() if part]
  figure, areas = plotting.new(
    *(TITLES[name] for name in panels or ['bytes']),
    columns=1,
    width=7.4,
    height=4.2,
  )
  draw_panel = {'bytes': _bytes, 'position': _position, 'carry': _carry}
  for name, area in zip(panels, areas, strict=False):
    draw_panel[name](area, rows)
  plotting.footer(
    figure,
    rows,
    'Dots and lines of networks: means over seeds; bars and bands: from the '
    'lowest seed to the highest.\nN-grams: Kneser-Ney, orders 1 to 7 from left '
    'to right, one line for each number of characters counted.',
  )
  plotting.save(figure, path)


def _bytes(area, rows: Rows):
  """Draws n-grams as lines over n, and a dot for each network."""
  line = claims.counted(rows)
  looks = (('gold', 'dotted', '.'), ('gold', 'dash-dot', '.'),
           ('gold', 'dashed', '.'), ('grey', 'dashed', '.'),
           ('grey', 'solid', '.'))  # fmt: skip
  counts = sorted({size for size, _ in line})
  for size, chosen in zip(counts, looks[-len(counts) :], strict=False):
    own = sorted((o, m) for (s, o), m in line.items() if s == size)
    plotting.line(
      area,
      [model.bytes for _, model in own],
      [model.late[0] for _, model in own],
      f'n-grams of {_short(size)}',
      appearance=plotting.look(*chosen),
    )
  for model in claims.read(rows):
    look = plotting.style(model.mixer)
    bits = model.late[np.isfinite(model.late)]
    if len(bits):
      area.plot([model.bytes] * 2, [bits.min(), bits.max()], color=look.color)
      area.plot(
        model.bytes,
        bits.mean(),
        color=look.color,
        marker=look.marker,
        markersize=8,
        linestyle='none',
        label=f'{model.label}',
        zorder=5,
      )
  _chance(area, rows)
  area.set_xscale('log')
  ticks = [10**n for n in range(3, 9)]
  area.set_xticks(ticks, [plotting.bytes_text(tick) for tick in ticks])
  area.set_xticks([], minor=True)
  area.set_xlabel('bytes stored', fontsize=9)
  area.set_ylabel('bits per character', fontsize=9)


def _short(size: int) -> str:
  """Returns a number of characters as 10k or 4.2M."""
  return f'{size / 1e6:.2g}M' if size >= 10**6 else f'{size / 1e3:.0f}k'


def _chance(area, rows: Rows):
  chances = {row['chance'] for row in table.select(rows, part='text')}
  plotting.chance_line(area, max(chances), 'unigram entropy')


def _position(area, rows: Rows):
  """Draws a line for each network, and one for an n-gram of the whole text."""
  rows = table.select(rows, part='text')
  most = max(row['parameters'] for row in rows)
  by_mixer = {}
  for row in rows:
    usual = row['mixer'] != COUNTS and row['parameters'] == most
    if usual and row['position'] is not None:
      by_mixer.setdefault(row['mixer'], []).append(row)
  counted = table.select(rows, mixer=COUNTS, order=ORDER)
  if counted:
    size = max(row['characters_counted'] for row in counted)
    own = table.select(counted, characters_counted=size)
    by_mixer[f'{ORDER}-gram'] = own
  for name, own in by_mixer.items():
    positions = sorted({row['position'] for row in own})
    bits = _by_seed(own, positions)
    band = {}
    if len(bits) >= 5:
      band = {'low': bits.min(axis=0), 'high': bits.max(axis=0)}
    look = SHARED.get(name, plotting.style(name))
    plotting.line(
      area, np.array(positions) + 1, bits.mean(axis=0), name,
      appearance=look, seeds=bits, **band,
    )  # fmt: skip
  _chance(area, rows)
  plotting.lengths_axis(
    area,
    [1, 2, 4, 8, 16, 32, 64],
    'characters of context, at least (averaged up to the next marker)',
  )
  area.set_ylabel('bits per character', fontsize=9)


def _by_seed(rows: Rows, positions: Sequence[int]) -> np.ndarray:
  """Returns bits with a row per seed and a column per position."""
  seeds = sorted({row['seed'] for row in rows})
  bits = np.full((len(seeds), len(positions)), np.nan)
  for row in rows:
    place = seeds.index(row['seed']), positions.index(row['position'])
    bits[place] = row['bits']
  return bits


def _carry(area, rows: Rows):
  """Draws a dot for each seed; lengths are trainings of their own."""
  found = claims.gains(rows)
  look = plotting.style(claims.NETWORK)
  for length, setting in found.items():
    spread = np.linspace(0.95, 1.05, len(setting.margins))
    area.plot(
      length * spread, setting.margins, color=look.color, marker='o',
      markersize=3.5, alpha=0.5, linestyle='none',
    )  # fmt: skip
    area.plot(
      length, np.median(setting.margins), color=look.color, marker='_',
      markersize=22, markeredgewidth=2, linestyle='none',
    )  # fmt: skip
  area.axhline(0, color='#777777', linewidth=1)
  plotting.lengths_axis(
    area, found, 'characters of a window in training (num_steps)'
  )
  area.set_ylabel('bits per character: without minus with', fontsize=9)
  area.annotate(
    f'a dot for each seed of the {claims.NETWORK.upper()}; bars: medians; '
    'above 0 the carry helps',
    (0.99, 0.97), xycoords='axes fraction', ha='right', va='top', fontsize=8,
  )  # fmt: skip
