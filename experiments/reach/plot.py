"""Draws accuracy by lag over receptive field, fewest layers, and two tasks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import looks
from experiments.reach import claims
from experiments.reach.main import KERNEL, LAG
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.results import plotting

TITLES = {
  'lags': 'Accuracy by lag: a window ends where its receptive field R does',
  'layers': 'Layers of a network, by the longest lag that it learns',
  'state': 'One token at a time: was it there before?',
  'motifs': 'Patterns of patterns, four levels deep',
}
LOOKS = looks.SHARED | {
  'convolutions, 2 layers': plotting.look('purple', 'solid', 'o'),
  'convolutions, 4 layers': plotting.look('purple', 'dashed', 'd'),
  'convolutions, 8 layers': plotting.look('purple', 'dotted', '^'),
  'dilated, 2 layers': plotting.look('pink', 'solid', 'v'),
  'dilated, 3 layers': plotting.look('pink', 'dashed', 'D'),
  'dilated, 4 layers': plotting.look('pink', 'dotted', 'P'),
  'kernel of 9': plotting.look('green', 'solid', 'X'),
  'kernel of 33': plotting.look('green', 'dashed', 'h'),
  'window of 1': plotting.look('wine', 'dotted', 'p'),
  'window of 9': plotting.look('wine', 'solid', '<'),
  'window of 17': plotting.look('wine', 'dashed', '>'),
  'tcn of 2 taps': plotting.look('pink', 'solid', 'D'),
}

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws the panels whose questions were asked."""
  asked = {row['question'] for row in rows}
  asked |= {'layers'} if 'lags' in asked else set()
  names = [name for name in TITLES if name in asked]
  figure, areas = plotting.new(
    *(TITLES[name] for name in names), columns=1, width=7.2, height=3.9
  )
  for name, area in zip(names, areas, strict=True):
    _PANELS[name](area, rows)
  parameters = ' and '.join(
    f'{n:,}' for n in sorted({row['parameters'] for row in rows})
  )
  plotting.footer(
    figure,
    rows,
    f'{parameters} parameters each. Lines: means over seeds, bands from the '
    'lowest seed to the highest. Layers: a full mark at the longest lag that '
    'most seeds learn, a hollow one at the first that they do not; lines: '
    'fewest layers whose window holds a lag.',
  )
  plotting.save(figure, path)


def _look(name: str) -> plotting.Style:
  return LOOKS.get(name, plotting.style(name))


def _entries(rows: Rows, question: str):
  """Yields (label, name, number of its machine, rows) of every network."""
  for index, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for name, own in claims.entries(part, question).items():
      yield f'{name} {machine}'.strip(), name, index, own


def _lags(area, rows: Rows):
  """Draws networks with a window, by the lag in units of it."""
  plotting.fraction_axis(area, 'accuracy')
  ticks = [2.0**n for n in range(-6, 4)]
  area.set_xscale('log', base=2)
  area.set_xticks(
    ticks, [f'{tick:g}' if tick >= 1 else f'1/{1 / tick:g}' for tick in ticks]
  )
  area.set_xticks([], minor=True)
  area.set_xlabel('lag / R', fontsize=9)
  chance = _chance(rows, 'lags')
  found = [
    each
    for each in _entries(rows, 'lags')
    if each[-1][0].get('receptive_field')
  ]
  blind = [own for *_, own in found if _is_blind(own, chance)]
  whole = f'all {len(blind)} ' if len(blind) == len(found) else ''
  for label, name, index, own in found:
    reach = own[0].get('receptive_field')
    lags = sorted({row.get('lag') for row in own} - {None})
    accuracy = np.array([claims.scores(own, lag) for lag in lags])
    band = {}
    if accuracy.shape[1] >= MIN_SEEDS:
      band = {'low': accuracy.min(axis=1), 'high': accuracy.max(axis=1)}
    plotting.line(
      area,
      [lag / reach for lag in lags],
      accuracy.mean(axis=1),
      f'{label} (R = {reach})',
      appearance=_look(name),
      machine=index,
      seeds=accuracy.T,
      together=f'{whole}beyond R: chance' if own in blind else None,
      **band,
    )
  plotting.chance_line(area, chance)
  plotting.limit_line(area, 1)


def _is_blind(rows: Rows, chance: float) -> bool:
  """Tells if a network scores as guessing does at its longest lag."""
  lag = max(row.get('lag') or 0 for row in rows)
  return abs(claims.scores(rows, lag).mean() - chance) < 0.05


def _layers(area, rows: Rows):
  """Draws the fewest layers by lag: as windows allow, and as is learnt."""
  lags = np.arange(1, LAG + 1)
  bounds = {
    'convolutions: lag / 4': (
      'purple',
      lambda lag: math.ceil(lag / (KERNEL - 1)),
    ),
    'dilated: logarithm of the lag': (
      'pink',
      lambda lag: math.ceil(math.log2(lag / (KERNEL - 1) + 1)),
    ),
    'kernel, or all the past: one': ('green', lambda lag: 1),
  }
  area.set_yscale('log', base=2)
  plotting.lengths_axis(area, [1, 2, 4, 8, 16, 32, 64], 'lag, positions')
  area.set_yticks([1, 2, 4, 8, 16], ['1', '2', '4', '8', '16'])
  area.set_yticks([], minor=True)
  area.set_ylabel('layers', fontsize=9)
  for label, (color, bound) in bounds.items():
    look = plotting.look(color, 'solid', 'None')
    plotting.line(
      area,
      lags,
      [bound(lag) for lag in lags],
      label,
      appearance=look,
      steps=True,
    )
  low, high = area.get_ylim()
  area.set_ylim(0.6 * low, high)  # room for names below one layer
  for label, name, _, own in _entries(rows, 'lags'):
    last, layers = claims.deepest(own), own[0]['layers']
    look = _look(name)
    lags = [row.get('lag') or 0 for row in own]
    beyond = [lag for lag in lags if lag > last]
    for lag, fill in ((last, 'full'), (min(beyond, default=0), 'none')):
      if lag:
        area.plot(
          lag, layers, color=look.color, marker=look.marker, fillstyle=fill,
          linestyle='none', markersize=6, zorder=4,
          label=label if fill == 'full' else '_next',
        )  # fmt: skip


def _dots(question: str, guess: str = 'chance'):
  def draw_panel(area, rows: Rows):
    """Draws a dot for each seed of each network."""
    found = list(_entries(rows, question))
    labels = [
      f'{label}{"" if own[0]["carried"] else ", no state"}'
      for label, _, _, own in found
    ]
    plotting.names_axis(area, labels)
    area.set_xlim(0, 1.03)
    area.set_xlabel(f'accuracy (dotted: {guess}; best: 1)', fontsize=9)
    area.axvline(
      _chance(rows, question), color='#777777', linewidth=1, linestyle=':'
    )
    for place, (_, name, _, own) in enumerate(found):
      accuracy = claims.scores(own)
      offsets = np.linspace(-0.25, 0.25, len(accuracy))
      area.plot(
        accuracy, place + offsets, color=_look(name).color, marker='o',
        markersize=4, linestyle='none',
      )  # fmt: skip

  return draw_panel


_PANELS = {
  'lags': _lags,
  'layers': _layers,
  'state': _dots('state', 'the best guess from the position alone'),
  'motifs': _dots('motifs'),
}


def _chance(rows: Rows, question: str) -> float:
  return next(row['chance'] for row in rows if row['question'] == question)
