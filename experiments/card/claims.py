"""The report card: a line for each mixer, a column for each property."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.capacity import claims as capacity
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.analysis.statistics import Interval, mean_interval
from seqjax.results import table
from seqjax.tasks.synthetic import recall
from seqjax.tasks.synthetic.formal import groups

Rows = Sequence[Mapping[str, Any]]


class Scale(NamedTuple):
  """The ends of an accuracy, or of what is lost of one.

  Attributes:
    chance: the value of a mixer that guesses.
    best: the value of one that makes no mistake.
  """

  chance: float
  best: float


# By how the names of properties begin.
SCALES = {
  'recall: lost': Scale(1 - recall.Recall().chance, 0.0),
  'recall of 8 pairs: accuracy': Scale(capacity.PLATEAU, 1.0),
  'parity': Scale(groups.GroupWord('z2').chance, 1.0),
  'S3': Scale(groups.GroupWord('s3').chance, 1.0),
}


class Entry(NamedTuple):
  """One mixer's scores at one property.

  Attributes:
    values: of the seeds that have one.
    solved: how many of how many seeds count as learnt; None where nothing is.
    interval: the mean with its interval; None of fewer than five values, or
      where they are all equal. That of a share ends at 0 and at 1.
  """

  values: np.ndarray
  solved: tuple[int, int] | None
  interval: Interval | None

  @property
  def mean(self) -> float:
    """The mean over seeds; NaN where none has a value."""
    return float(self.values.mean()) if len(self.values) else np.nan

  @property
  def text(self) -> str:
    """'0.98 [0.95, 1] 5/5', as far as there is one."""
    said = number(self.mean) if len(self.values) else '-'
    return ' '.join(part for part in (said, self.bounds, self.share) if part)

  @property
  def bounds(self) -> str:
    """'[0.95, 1]', as far as there is an interval."""
    if self.interval is None:
      return ''
    return f'[{number(self.interval.low)}, {number(self.interval.high)}]'

  @property
  def share(self) -> str:
    """'4/5': the seeds that count as learnt."""
    return '' if self.solved is None else '{}/{}'.format(*self.solved)


def number(value: float) -> str:
  """Returns three digits, or all of a number above 1,000: '0.0756', '2,048'."""
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def scale(name: str) -> Scale | None:
  """Returns chance and the best of a property; None where it has neither."""
  found = (SCALES[begins] for begins in SCALES if name.startswith(begins))
  return next(found, None)


def entries(rows: Rows) -> dict[str, dict[str, Entry]]:
  """Returns {mixer: {property: entry}}, in the order of the table."""
  grouped = {}
  for row in rows:
    of_mixer = grouped.setdefault(row['mixer'], {})
    of_mixer.setdefault(row['property'], []).append(row)
  return {
    mixer: {name: _entry(part) for name, part in found.items()}
    for mixer, found in grouped.items()
  }


def _entry(rows: Rows) -> Entry:
  seeds = [row['seed'] for row in rows]
  if len(set(seeds)) < len(seeds):
    raise ValueError(
      'A card has one row for each mixer, property and seed, but two of '
      f'{rows[0]["mixer"]}, {rows[0]["property"]}.'
    )
  values = [row['value'] for row in rows if row['value'] is not None]
  values = np.array([x for x in values if np.isfinite(x)], float)
  known = [row['solved'] for row in rows if row.get('solved') is not None]
  solved = (sum(known), len(known)) if known else None
  several = len(values) >= MIN_SEEDS and np.ptp(values) > 0
  interval = mean_interval(values) if several else None
  if interval is not None and scale(rows[0]['property']) is not None:
    interval = Interval(*(float(np.clip(x, 0, 1)) for x in interval))
  return Entry(values, solved, interval)


def properties(found: Mapping[str, Mapping[str, Entry]]) -> list[str]:
  """Returns the properties that some mixer has, in order."""
  return list(dict.fromkeys(name for each in found.values() for name in each))


def summary(rows: Rows) -> str:
  """Returns the card as text, a table for each group of properties."""
  found = entries(rows)
  names = properties(found)
  groups = dict.fromkeys(name.partition(':')[0] for name in names)
  parts = [
    'Means over seeds with their 95 % intervals, and how many seeds count as '
    'learnt; "-" where no seed has a value.'
  ]
  for group in groups:
    own = [name for name in names if name.partition(':')[0] == group]
    lines = [
      {'mixer': mixer} | {n: each[n].text if n in each else '-' for n in own}
      for mixer, each in found.items()
      if any(n in each for n in own)
    ]
    parts.append(table.text(lines, ['mixer', *own]))
  return '\n\n'.join(parts)
