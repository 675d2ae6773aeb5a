"""Picks the ten rows of the benchmark, losses first, and lists all sizes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.peers import contestant
from experiments.peers.cases import family
from seqjax.results import table

SHOWN = 10
LAYERS = {
  'lstm': 'LSTM',
  'gru': 'GRU',
  'elman': 'Elman network',
  'attention': 'attention',
  'attention_layer': 'attention layer',
  'linear': 'linear recurrence',
  'gated_outer': 'gated outer products',
  'delta_rule': 'delta rule',
  'transformer': 'transformer',
}
MODELS = ('training', 'generate')  # families whose cases are whole models
UNKNOWN = 'unknown'  # instruction set of rows that do not say theirs
LEGEND = {
  'task': 'task',
  'shape': 'shape',
  'instructions': 'instruction set',
  'library': 'fastest other library',
  'time': 'time of seqjax / its time',
  'memory': 'memory of seqjax / its memory',
}

Rows = Sequence[Mapping[str, Any]]


class Line(NamedTuple):
  """The time of seqjax over that of the fastest other library at one task.

  Attributes:
    task: the layer and the work.
    shape: its sizes.
    instructions: the instruction set of both.
    library: the fastest of the others.
    ratio: the median over processes; above 1 seqjax is slower.
    low, high: the range over processes.
    memory: the resident memory of seqjax over that library's, where it was
      measured.
  """

  task: str
  shape: str
  instructions: str
  library: str
  ratio: float
  low: float
  high: float
  memory: float | None


def lines(rows: Rows) -> list[Line]:
  """Returns the worst size for seqjax per layer and kind of work.

  The ten with the largest ratios, in that order.
  """
  worst = {}
  for line in every_line(rows):  # the worst come first
    worst.setdefault(line.task, line)
  return list(worst.values())[:SHOWN]


def every_line(rows: Rows) -> list[Line]:
  """Returns a line per task, shape and instruction set, losses first."""
  fastest = {}
  for row in compared(rows):
    place = row['case'], row['work'], row.get('instruction_set')
    if place not in fastest or row['ratio'] > fastest[place]['ratio']:
      fastest[place] = row
  ranked = sorted(fastest.values(), key=lambda row: -row['ratio'])
  return [
    Line(
      task(row),
      shape(row),
      row.get('instruction_set') or UNKNOWN,
      row['contestant'],
      *(row[name] for name in ('ratio', 'ratio_low', 'ratio_high')),
      _memory(rows, row),
    )
    for row in ranked
  ]


def compared(rows: Rows) -> Rows:
  """Returns the times of other libraries in the default environment.

  Those on one core, where there are such.
  """
  timed = table.select(rows, quantity='seconds', environment='default')
  timed = table.select(timed, cores='one') or timed
  return [
    row
    for row in timed
    if row.get('ratio') is not None
    and contestant.library(row['contestant']) != contestant.OURS
  ]


def _memory(rows: Rows, row: Mapping[str, Any]) -> float | None:
  """Returns the ratio of resident memory beside a ratio of times.

  It is measured in one environment and with one kind of instructions alone,
  since it hardly varies.
  """
  same = ('case', 'work', 'contestant', 'device')
  found = table.select(
    rows, quantity='resident_bytes', **{name: row.get(name) for name in same}
  )
  return found[0]['ratio'] if found else None


def markdown(found: Iterable[Line]) -> str:
  """Returns lines as a table for a page."""
  shown = [
    {
      LEGEND['task']: line.task,
      LEGEND['shape']: line.shape,
      LEGEND['instructions']: line.instructions,
      LEGEND['library']: line.library,
      LEGEND['time']: _ratio(line),
      LEGEND['memory']: '-' if line.memory is None else f'{line.memory:.2f}',
    }
    for line in found
  ]
  return table.markdown(shown, list(LEGEND.values())) if shown else 'No times.'


def _ratio(line: Line) -> str:
  """Returns the ratio of times, and its range where there is one."""
  if line.low == line.high:  # of one process
    return f'{line.ratio:.2f}'
  return f'{line.ratio:.2f} [{line.low:.2f}, {line.high:.2f}]'


def task(row: Mapping[str, Any]) -> str:
  """Returns 'LSTM, forward' or 'LSTM model, training step'."""
  name, _, kind = row['case'].removeprefix('quick_').partition('-')
  kind = kind.partition('-')[0]
  if name in MODELS:
    return f'{LAYERS[kind]} model, {row["work"]}'
  layer = kind if name in ('decoding', 'matrix') else family(row['case'])
  return f'{LAYERS[layer]}, {row["work"]}'


def shape(row: Mapping[str, Any]) -> str:
  """Returns 'batch 16, 256 features, 256 positions'."""
  sizes = []
  if row['batch_size'] is not None:
    sizes.append(f'batch {row["batch_size"]}')
  if row['heads'] is not None:
    size = row['head_size'] or row['features'] // row['heads']
    sizes.append(f'{row["heads"]} heads of {size}')
  elif row['features'] is not None:
    sizes.append(f'{row["features"]} features')
  if row['length'] is not None:
    sizes.append(f'{row["length"]} positions')
  if row.get('past'):
    sizes.append(f'after {row["past"]} positions')
  if row.get('prompt'):
    sizes.append(f'prompt of {row["prompt"]} tokens')
  return ', '.join(sizes)
