"""Draws the time of seqjax over that of the fastest other library."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.peers import benchmark
from seqjax.results import plotting

TITLE = 'Time of seqjax / time of the fastest other library'
FASTER, SLOWER = '#0060a8', '#d04a00'
NOTE = (
  'Above 1 seqjax is slower. For each layer and kind of work: the sizes where '
  'it does worst.\nDots: medians over processes; lines: their range.'
)


def draw(rows: Sequence[Mapping[str, Any]], path: str):
  """Draws a row for each of the ten lines of the benchmark, losses first."""
  found = [
    (_label(line, machine), line)
    for machine, part in plotting.by_machine(rows).items()
    for line in benchmark.lines(part)
  ]
  found.sort(key=lambda each: -each[1].ratio)
  figure, (area,) = plotting.new(
    TITLE, columns=1, width=7.2, height=1.4 + 0.42 * len(found)
  )
  plotting.names_axis(area, [label for label, _ in found])
  area.tick_params(axis='y', labelsize=8)
  compared = benchmark.compared(rows)
  cores = ' and '.join(dict.fromkeys(row['cores'] for row in compared))
  area.set_xlabel(f'ratio of times (cores: {cores})', fontsize=9)
  area.set_xscale('log')
  ticks = (0.1, 0.2, 0.5, 1, 2, 5)
  area.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
  area.set_xticks([], minor=True)
  plotting.limit_line(area, 1)
  for place, (_, line) in enumerate(found):
    color = SLOWER if line.ratio > 1 else FASTER
    area.plot([line.low, line.high], [place] * 2, color=color)
    area.plot([line.ratio], [place], marker='o', markersize=6, color=color)
    area.annotate(
      f"{line.ratio:.2f} × {line.library}'s time",
      (1, place),
      xycoords=('axes fraction', 'data'),
      xytext=(6, 0),
      textcoords='offset points',
      va='center',
      fontsize=8.5,
      color=color,
    )
  drawn = [bound for _, line in found for bound in (line.low, line.high)]
  area.set_xlim(min([0.5, *drawn]) / 1.2, max([2, *drawn]) * 1.2)
  plotting.footer(figure, compared, NOTE)
  plotting.save(figure, path)


def _label(line: benchmark.Line, machine: str) -> str:
  """Returns the task, and below it the shape and where it was measured."""
  known = line.instructions != benchmark.UNKNOWN
  where = line.instructions if known else '', machine
  return f'{line.task}\n{", ".join(filter(None, (line.shape, *where)))}'
