"""Draws what memories hold against their size, and what edits far back do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.capacity.claims import PLATEAU, Group, groups, of
from experiments.capacity.main import BANDS, LENGTHS, TASKS
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.results import plotting

TITLES = {
  'recall': 'Recall of 8 pairs, a dot for each width',
  'edits': 'What the answer loses if a key or its value is edited',
  'translate': 'Encoder-decoders of equal parameters that copy a string',
  'copy': 'Bits recalled of symbols to copy, a dot for each width',
}
LOOKS = {
  True: plotting.look('sky', 'solid', 'o'),
  False: plotting.look('sky', 'dashed', 's'),
}

Rows = Sequence[Mapping[str, Any]]


def draw(rows: Rows, path: str):
  """Draws a panel for each task that has rows, and one for edits."""
  machines = {
    machine: groups(part) for machine, part in plotting.by_machine(rows).items()
  }
  parts = {group.part for found in machines.values() for group in found}
  parts |= {'edits'} if 'recall' in parts else set()
  panels = [name for name in TITLES if name in parts]
  figure, areas = plotting.new(
    *(TITLES[name] for name in panels), columns=2, width=6.2, height=4.0
  )
  draw_panel = {
    'recall': _recall, 'copy': _copy, 'translate': _translate, 'edits': _edits,
  }  # fmt: skip
  for name, area in zip(panels, areas, strict=True):
    for index, (machine, found) in enumerate(machines.items()):
      draw_panel[name](area, found, machine, index)
  plotting.footer(
    figure,
    rows,
    'Lines: means over seeds; bands: from the lowest seed to the highest. '
    'Numbers carried: of all layers, for one row.',
  )
  plotting.save(figure, path)


def _line(area, x, values, label, machine, index, **look):
  """Draws means over seeds, a row of values per point."""
  each = np.array(values).T
  band = {}
  if len(each) >= MIN_SEEDS:
    band = {'low': each.min(axis=0), 'high': each.max(axis=0)}
  label = f'{label} {machine}'.strip()
  plotting.line(
    area, x, each.mean(axis=0), label, machine=index, seeds=each, **band, **look
  )


def _by_size(area, found: Sequence[Group], part: str, machine, index):
  """Draws a line for each mixer, over the numbers that it carries."""
  sizes = set()
  told = [group for group in found if group.floats is not None]
  for mixer in dict.fromkeys(g.mixer for g in told if g.part == part):
    each = of(told, mixer, part).values()
    floats = [group.floats for group in each]
    sizes |= set(floats)
    values = [group.main for group in each]
    _line(area, floats, values, mixer, machine, index, name=mixer)
  powers = {2 ** round(np.log2(size)) for size in sizes}
  plotting.lengths_axis(area, powers, 'numbers carried')


def _recall(area, found: Sequence[Group], machine, index):
  """Draws accuracy against size; chance, and guessing among a row's values."""
  _by_size(area, found, 'recall', machine, index)
  plotting.fraction_axis(area, 'accuracy')
  plotting.chance_line(area, PLATEAU, 'guessing a value of the row:')


def _copy(area, found: Sequence[Group], machine, index):
  """Draws bits against size, below all that there are."""
  _by_size(area, found, 'copy', machine, index)
  bits = TASKS['copy'].bits
  area.set_ylim(-0.5, 1.08 * bits)
  area.set_ylabel('bits recalled', fontsize=9)
  plotting.chance_line(area, bits, 'all bits:')


def _translate(area, found: Sequence[Group], machine, index):
  """Draws accuracy against the length of the source."""
  for group in found:
    if group.part == 'translate' and group.values:
      values = [group.values['accuracy', length] for length in LENGTHS]
      reads = 'with' if group.attention else 'without'
      label = f'{group.mixer}, {reads} attention'
      look = LOOKS[group.attention]
      _line(area, LENGTHS, values, label, machine, index, appearance=look)
  area.set_xlabel('length of the source, in symbols', fontsize=9)
  area.set_xticks(LENGTHS)
  plotting.fraction_axis(area, 'token accuracy')
  plotting.chance_line(area, TASKS['translate'].chance)


def _edits(area, found: Sequence[Group], machine, index):
  """Draws effects by distance, of the widest network of each mixer."""
  for mixer in dict.fromkeys(g.mixer for g in found if g.part == 'recall'):
    each = of(found, mixer, 'recall')
    if not each:
      continue
    group, style = each[max(each)], plotting.style(mixer)
    for edited, dashes in {'key': '-', 'value': ':'}.items():
      values = [group.values[f'edit of the {edited}', b] for b in BANDS]
      look = style._replace(dashes=dashes)
      label = f'{mixer}, {edited}'
      _line(area, BANDS, values, label, machine, index, appearance=look)
  area.set_xticks(BANDS, [f'{b - 7}-{b}' for b in BANDS])
  area.set_xlabel('positions from the question back to the key', fontsize=9)
  area.set_ylabel('fall of log p(answer), nats', fontsize=9)
  _, top = area.get_ylim()
  area.set_ylim(-0.1 * top, top)  # room for a label below 0
  plotting.chance_line(area, 0, 'no effect:')
