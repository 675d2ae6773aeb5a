"""The table of gains, in text."""

from collections.abc import Mapping, Sequence
from typing import Any

from seqjax.results import table

COLUMNS = (
  *('kind', 'mixer', 'way', 'steps_per_second'),
  *('gain', 'gain_low', 'gain_high'),
)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
  """Returns steps per second, and gains over the simpler way of each kind."""
  return table.text(rows, COLUMNS)
