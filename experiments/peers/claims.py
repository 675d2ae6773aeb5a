"""Tables of the benchmark, and how many of its aims are met."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.peers import medians
from seqjax.results import table

COLUMNS = (
  *('case', 'work', 'environment', 'cores', 'instruction_set'),
  'contestant',
  *('value', 'low', 'high', 'ratio', 'ratio_low', 'ratio_high'),
  *('opponent', 'bar', 'missed_by'),
)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns a table per quantity, and how many aims are met."""
  rows = [{'instruction_set': None} | dict(row) for row in rows]
  held = [row for row in rows if row['bar'] is not None]
  met = sum(row['met'] for row in held)
  tables = [
    f'{quantity}\n{table.text(part, COLUMNS)}'
    for quantity in medians.RATIOS
    if (part := table.select(rows, quantity=quantity))
  ]
  return '\n\n'.join([*tables, f'{met} of {len(held)} bars are met.'])
