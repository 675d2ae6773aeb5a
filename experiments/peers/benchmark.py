"""Picks the ten rows of the benchmark, losses first."""

from collections.abc import Mapping, Sequence
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
}

Rows = Sequence[Mapping[str, Any]]


class Line(NamedTuple):
  """The time of seqjax over that of the fastest other library at one task.

  Attributes:
    task: what is computed, and at which sizes.
    library: the fastest of the others.
    ratio: the median over processes; above 1 seqjax is slower.
    low, high: the range over processes.
  """

  task: str
  library: str
  ratio: float
  low: float
  high: float


def lines(rows: Rows) -> list[Line]:
  """Returns the worst sizes for seqjax, by layer and kind of work.

  The ten with the largest ratios, in that order.
  """
  worst = {}
  for row in compared(rows):
    kind = family(row['case']), row['work']
    if kind not in worst or row['ratio'] > worst[kind]['ratio']:
      worst[kind] = row
  ranked = sorted(worst.values(), key=lambda row: -row['ratio'])[:SHOWN]
  return [
    Line(
      _described(row),
      row['contestant'],
      *(row[name] for name in ('ratio', 'ratio_low', 'ratio_high')),
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
    if row['ratio'] is not None
    and contestant.library(row['contestant']) != contestant.OURS
  ]


def markdown(rows: Rows) -> str:
  """Returns the lines as a table for a page."""
  found = [
    {
      'task': line.task,
      'fastest other library': line.library,
      'time of seqjax / its time': (
        f'{line.ratio:.2f} [{line.low:.2f}, {line.high:.2f}]'
      ),
    }
    for line in lines(rows)
  ]
  return table.markdown(found, list(found[0])) if found else 'No times.'


def _described(row: Mapping[str, Any]) -> str:
  """Returns 'LSTM, forward: batch 16, 256 features, 256 positions'."""
  name, _, kind = row['case'].removeprefix('quick_').partition('-')
  what = f'{kind} model' if name == 'training' else LAYERS[name]
  sizes = []
  if row['batch_size'] is not None:
    sizes.append(f'batch {row["batch_size"]}')
  if row['heads'] is not None:
    sizes.append(f'{row["heads"]} heads of {row["head_size"]}')
  if row['features'] is not None:
    sizes.append(f'{row["features"]} features')
  sizes.append(f'{row["length"]} positions')
  return f'{what}, {row["work"]}: {", ".join(sizes)}'
