"""Draws the card as heat maps: a row for each mixer, a column a property."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.card import claims, measures, timings
from seqjax.results import plotting

BEST, MIDDLE, WORST = '#9ecae1', '#f7f7f7', '#fdbe85'
RECALL = 'Recall of one fact: accuracy lost with the lag, updates'
# A panel for each, with the properties whose names begin so.
THEMES = {
  'What a mixer sees, and what it costs': (
    'read at once', 'reach', 'training step', 'decoded token', 'gradient',
  ),
  RECALL: ('recall:',),
  'Recall of 8 pairs, and tracking of states': ('',),
}  # fmt: skip
# In names of properties of which less is better.
LOWER = ('updates', 'carried', 'time ')
NOTE = (
  'Means over seeds, with 95 % intervals where there are five seeds or more '
  'that differ; those of accuracies end at 0 and 1. (k/n): seeds that count as '
  'learnt.\nColour, from worst (orange) to best (blue): where a heading names '
  'chance and the best, by the value between the two; elsewhere between the '
  'worst and the best mixer, by ratios, and by the distance from 0 for '
  'gradients. "-" on orange: no seed learnt. Chance in recall of 8 pairs: '
  'guessing a value of the row.'
)
Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a cell for each mixer and property, with its number and share.

  A mixer that was measured on two machines has a row for each.
  """
  found = {
    f'{mixer} {machine}'.strip(): each
    for machine, part in _by_machine(rows).items()
    for mixer, each in claims.entries(part).items()
  }
  parts = themes(claims.properties(found))
  most = max(map(len, parts.values()))
  figure, panels = plotting.new(
    *parts,
    columns=1,
    width=max(1.6 + 1.0 * most, 7.6),  # which the titles need
    height=1.5 + 0.28 * len(found),
  )
  for panel, names in zip(panels, parts.values(), strict=True):
    _panel(panel, found, names)
  plotting.footer(figure, rows, NOTE)
  plotting.save(figure, path)


def _by_machine(rows: Rows) -> dict[str, Rows]:
  """Groups rows by machine, unless each measured cells that others did not.

  Times are compared within one machine alone, so that all are from the same.
  """
  cells = {(row['mixer'], row['property'], row['seed']) for row in rows}
  timed = {
    row['device']
    for row in rows
    if row['property'] in (timings.EXPONENT, timings.TOKEN)
  }
  if len(cells) == len(rows) and len(timed) < 2:
    return {'': rows}
  return plotting.by_machine(rows)


def themes(names: Sequence[str]) -> dict[str, list[str]]:
  """Returns the properties of each panel that has some, in order."""
  parts, left = {}, list(names)
  for theme, begins in THEMES.items():
    own = [name for begin in begins for name in left if name.startswith(begin)]
    left = [name for name in left if name not in own]
    if own:
      parts[theme] = own
  return parts


def heading(name: str) -> str:
  """Returns a name over some lines, with chance and the best if it has them."""
  kind, _, rest = name.partition(': ')
  kinds = [] if f'{kind}:' in THEMES[RECALL] else [f'{kind}:']
  lines = [*kinds, *textwrap.wrap(rest, 17)]
  scale = claims.scale(name)
  if scale is not None:
    lines += [f'(chance {scale.chance:.3g},', f'best {scale.best:g})']
  elif name == timings.DIFFERENCE:
    lines += ['(grey: rounding)']
  elif name == measures.RATE:
    lines += ['(best: 0)']
  else:
    lines += [f'(best: {"least" if _is_lower(name) else "most"})']
  return '\n'.join(lines)


def _panel(panel, found: Mapping, names: Sequence[str]):
  from matplotlib.colors import LinearSegmentedColormap

  mixers = list(found)
  goodness = np.array([[_good(found, m, n) for n in names] for m in mixers])
  scale = [WORST, MIDDLE, BEST]
  colors = LinearSegmentedColormap.from_list('card', scale, bad='white')
  panel.imshow(goodness, cmap=colors, vmin=0, vmax=1, aspect='auto')
  place = {'ha': 'center', 'va': 'center'}
  for i, mixer in enumerate(mixers):
    for j, name in enumerate(names):
      said, bounds = _texts(found[mixer].get(name))
      panel.text(j, i - (0.17 if bounds else 0), said, fontsize=8.5, **place)
      if bounds:
        panel.text(j, i + 0.26, bounds, fontsize=6.5, **place)
  panel.grid(False)
  panel.xaxis.tick_top()
  panel.set_yticks(range(len(mixers)), mixers, fontsize=9)
  panel.set_xticks(range(len(names)), map(heading, names), fontsize=7.5)
  panel.tick_params(length=0)
  panel.spines[['left', 'bottom']].set_visible(False)


def _texts(entry: claims.Entry | None) -> tuple[str, str]:
  """Returns '0.98 (5/5)' ('-' where there is no number) and '[0.95, 1]'."""
  if entry is None:
    return '', ''
  said = _number(entry.mean, 3) if len(entry.values) else '-'
  share = f'({entry.share})' if entry.share else ''
  bounds = ''
  if entry.interval is not None:
    ends = (_number(end, 2) for end in entry.interval[1:])
    bounds = f'[{", ".join(ends)}]'
  return f'{said} {share}'.strip(), bounds


def _number(value: float, digits: int) -> str:
  """Returns so many decimals; two digits of what is small, fewer of large."""
  if abs(value) >= 10:
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'
  return f'{round(value, digits):g}' if abs(value) >= 0.1 else f'{value:.2g}'


def _good(found: Mapping, mixer: str, name: str) -> float:
  """Returns how good a mixer is, from 0 to 1; NaN without a number.

  An accuracy is judged by its value between chance and the best, so that mixers
  that differ by noise have one colour, others between the worst and the best
  mixer. A mixer of which no seed has a value, since none learnt, is the worst.
  """
  entry = found[mixer].get(name)
  if entry is None or not len(entry.values):
    return np.nan if entry is None or entry.solved is None else 0.0
  if name == timings.DIFFERENCE:  # below what counts as exact, all is rounding
    return 0.5 if entry.solved is None or min(entry.solved) else 0.0
  scale = claims.scale(name)
  if scale is not None:
    worst, best, value = scale.chance, scale.best, entry.mean
  else:
    there = [each[name] for each in found.values() if name in each]
    values = [_value(each.mean, name) for each in there if len(each.values)]
    worst, best, value = min(values), max(values), _value(entry.mean, name)
  if worst == best:
    return 0.5
  return float(np.clip((value - worst) / (best - worst), 0, 1))


def _value(mean: float, name: str) -> float:
  """Returns a number that is larger for what is better."""
  if name == measures.RATE:
    return -abs(mean)  # neither vanishes nor explodes
  size = np.log(mean) if mean > 0 else mean
  return -size if _is_lower(name) else size


def _is_lower(name: str) -> bool:
  return any(word in name for word in LOWER)
