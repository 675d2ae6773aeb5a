"""Draws accuracy by the place of a motif, and the examples that it takes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import looks
from experiments.positions import scores
from experiments.positions.main import ENOUGH, MLP
from seqjax.analysis import thresholds
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.results import plotting, table

TITLES = {
  'transfer': 'Motifs at a place that was not in training: accuracy by place',
  'data': f'Training examples for {ENOUGH:.0%} accuracy, by length of the row',
}
LOOKS = looks.SHARED | {
  MLP: plotting.look('wine', 'solid', 'X'),
}

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str) -> bool:
  """Draws a panel for each of the two questions that has rows.

  Returns False, and writes nothing, where none has.
  """
  panels = [name for name in TITLES if table.select(rows, question=name)]
  if not panels:
    return False
  figure, areas = plotting.new(
    *(TITLES[name] for name in panels), columns=1, width=7.8, height=4.2
  )
  for name, area in zip(panels, areas, strict=True):
    draw_panel = {'transfer': _transfer, 'data': _data}[name]
    draw_panel(area, table.select(rows, question=name))
  plotting.footer(
    figure,
    rows,
    'Above: means over seeds, bands from the lowest seed to the highest; '
    'shaded: places in training.\nBelow: bars hold the number of every seed; '
    'markers are their middle.',
  )
  plotting.save(figure, path)


def _entries(rows: Rows) -> list[tuple[str, str, int, Rows]]:
  """Returns (label, network, number of its machine, rows) of every entry."""
  return [
    (f'{name} {machine}'.strip(), name, index, table.select(part, mixer=name))
    for index, (machine, part) in enumerate(plotting.by_machine(rows).items())
    for name in dict.fromkeys(row['mixer'] for row in part)
  ]


def _transfer(area, rows: Rows):
  """Draws accuracy against the place where a motif begins."""
  last = max(row['trained_to'] for row in rows)
  area.axvspan(-0.5, last + 0.5, color='#0060a8', alpha=0.08, linewidth=0)
  area.set_xlabel('place where the motif begins, in positions', fontsize=9)
  plotting.fraction_axis(area, 'accuracy')
  for label, name, index, own in _entries(rows):
    places, seeds = scores.by_place(own)
    band = {}
    if len(seeds) >= MIN_SEEDS:
      band = {'low': seeds.min(axis=0), 'high': seeds.max(axis=0)}
    plotting.line(
      area,
      places,
      seeds.mean(axis=0),
      label,
      name=name,
      appearance=LOOKS.get(name),
      machine=index,
      seeds=seeds,
      **band,
    )
  plotting.chance_line(area, rows[0]['chance'])


def _data(area, rows: Rows):
  """Draws the bracket of how many examples a network needs, by length."""
  lengths = sorted({row['length'] for row in rows})
  plotting.lengths_axis(area, lengths, 'length of a row, in positions')
  area.set_yscale('log', base=2)
  area.set_ylabel('training examples', fontsize=9)
  entries = _entries(rows)
  tried = sorted({row['num_examples'] for row in rows})
  area.set_ylim(tried[0] / 1.5, tried[-1] * 1.5)
  ticks = [n for n in tried if n & (n - 1) == 0]
  area.set_yticks(ticks, [f'{n:,}' for n in ticks])
  area.set_yticks([], minor=True)
  for label, name, index, own in entries:
    look = LOOKS.get(name, plotting.style(name))
    points = []
    for length in lengths:
      part = table.select(own, length=length)
      if not part:
        continue
      found = thresholds.over_seeds([*scores.fewest(part).values()])
      low = max(found.low, tried[0] / 1.5)
      high = min(found.high, tried[-1] * 1.5)
      points.append((length, math.sqrt(low * high)))
      area.plot(
        [length] * 2, [low, high], color=look.color, linewidth=5, alpha=0.35,
        solid_capstyle='butt',
      )  # fmt: skip
    plotting.line(
      area,
      *zip(*points, strict=True),
      label,
      name=name,
      appearance=look,
      machine=index,
    )
