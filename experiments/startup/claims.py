"""The table of waits, in text, and how many are as short as was aimed at."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.startup.waits import ALREADY, MODULES
from seqjax.results import table

# What was aimed at: seconds, but for imports, whose ratio to Flax's it is.
AIMS = {
  ALREADY[0]: 6.0,
  ALREADY[1]: 3.0,
  f'import {MODULES[1]}': 1.5,
  'compile': 3.0,
}
COLUMNS = ('part', 'what', 'mixer', 'length', 'seconds', 'low', 'high', 'ratio')


def measured(row: Mapping[str, Any]) -> float:
  """Returns the number of a row that is held to an aim."""
  return row['seconds' if row.get('ratio') is None else 'ratio']


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns all waits, the longest compilations first, and the aims."""
  held = [row for row in rows if row['what'] in AIMS]
  met = sum(measured(row) <= AIMS[row['what']] for row in held)
  shown = sorted(rows, key=lambda row: (row['part'], -row['seconds']))
  columns = [name for name in COLUMNS if any(name in row for row in rows)]
  return (
    f'{table.text(shown, columns)}\n\n{met} of {len(held)} waits are as short '
    'as was aimed at: 6 s for the first metrics, 3 s for those of the same '
    'command again, 3 s for a compilation, 1.5 times the imports of Flax.'
  )
