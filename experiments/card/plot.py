"""Draws the card as a heat map: a row for each mixer, a column a property."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.card import claims
from seqjax.results import plotting

TITLE = 'What each mixer shows, from the best (blue) to the worst (orange)'
BEST, MIDDLE, WORST = '#9ecae1', '#f7f7f7', '#fdbe85'
# In names of properties of which less is better.
LOWER = ('lost', 'updates', 'carried', 'time ')
Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a cell for each mixer and property, with its number and share.

  A mixer that was measured on two machines has a row for each.
  """
  from matplotlib.colors import LinearSegmentedColormap

  found = {
    f'{mixer} {machine}'.strip(): each
    for machine, part in plotting.by_machine(rows).items()
    for mixer, each in claims.entries(part).items()
  }
  names, mixers = claims.properties(found), list(found)
  figure, (panel,) = plotting.new(
    TITLE,
    columns=1,
    width=3.0 + 0.95 * len(names),
    height=2.2 + 0.36 * len(mixers),
  )
  goodness = np.array([[_good(found, m, n) for n in names] for m in mixers])
  scale = [WORST, MIDDLE, BEST]
  colors = LinearSegmentedColormap.from_list('card', scale, bad='white')
  panel.imshow(goodness, cmap=colors, vmin=0, vmax=1, aspect='auto')
  for i, mixer in enumerate(mixers):
    for j, name in enumerate(names):
      said, bounds = _texts(found[mixer].get(name))
      place = {'ha': 'center', 'va': 'center'}
      panel.text(j, i - (0.18 if bounds else 0), said, fontsize=7.5, **place)
      panel.text(j, i + 0.22, bounds, fontsize=6, **place)
  panel.grid(False)
  panel.set_yticks(range(len(mixers)), mixers)
  labels = [textwrap.fill(name.replace(':', ':\n', 1), 16) for name in names]
  panel.set_xticks(range(len(names)), labels, fontsize=7.5)
  panel.tick_params(length=0)
  plotting.footer(
    figure,
    rows,
    'Means over seeds, with 95 % intervals where there are five seeds or more '
    'that differ; k/n: seeds that count as learnt.',
  )
  plotting.save(figure, path)


def _texts(entry: claims.Entry | None) -> tuple[str, str]:
  """Returns '0.98  5/5' ('-' where there is no number) and '[0.95, 1]'."""
  if entry is None:
    return '', ''
  said = claims.number(entry.mean) if len(entry.values) else '-'
  return f'{said}  {entry.share}'.strip(), entry.bounds


def _good(found: Mapping, mixer: str, name: str) -> float:
  """Returns how good a mixer is among all, from 0 to 1; NaN without a number.

  By rank, so that one mixer that is far off does not hide what others differ
  by; mixers of which no seed learnt are the worst, whatever their number.
  """
  ranked = sorted({_key(each[name], name) for each in found.values()
                   if name in each} - {None})  # fmt: skip
  key = _key(found[mixer][name], name) if name in found[mixer] else None
  if key is None:
    return np.nan
  if len(ranked) == 1:
    return 0.5
  return ranked.index(key) / (len(ranked) - 1)


def _key(entry: claims.Entry, name: str) -> tuple[float, float] | None:
  """Orders entries: by the share that learnt, then by the mean, to 2 digits."""
  share = 0.0 if entry.solved is None else entry.solved[0] / entry.solved[1]
  if not len(entry.values):
    return None if entry.solved is None else (share, -np.inf)
  mean = float(f'{entry.mean:.2g}')
  if 'gradient' in name:
    return share, -abs(mean)  # neither vanishes nor explodes
  if 'difference' in name:
    return share, 0.0  # below what counts as exact, all is rounding
  return share, -mean if any(word in name for word in LOWER) else mean
