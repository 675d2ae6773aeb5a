"""Puts the committed rows of an experiment beside those of a new mixer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.folders import Experiment
from seqjax.results import table

Rows = Sequence[Mapping[str, Any]]


def joined(found: Experiment, rows: Rows) -> tuple[Rows, str]:
  """Adds committed rows to those of mixers that the committed table lacks.

  They are added where everything but the mixer was set alike, so that the new
  mixer's curves and verdicts stand among those of the textbooks. Times are
  never compared across runs: experiments that only measure times get no
  committed rows, and rows of other devices are left out if their `property` is
  a time.

  Args:
    found: the experiment.
    rows: the rows of a job.

  Returns:
    The rows, and a sentence on what was added, or why nothing was; '' where
    all mixers are known.
  """
  path = found.folder / 'results.csv'
  if found.alone or not rows or 'mixer' not in rows[0] or not path.is_file():
    return rows, ''
  committed = table.read(path)
  if 'mixer' not in committed[0]:
    return rows, ''
  own = {row['mixer'] for row in rows}
  known = {row['mixer'] for row in committed}
  if own <= known:
    return rows, ''
  names = ', '.join(sorted(own - known))
  fields = [
    field.name
    for field in dataclasses.fields(found.main.Config)
    if field.name != 'mixer' and field.name in rows[0].keys() & committed[0]
  ]
  settings = {_settings(row, fields) for row in committed}
  other = {_settings(row, fields) for row in rows} - settings
  if other:
    return rows, (
      f'No committed rows were added to those of {names}, whose settings '
      f'differ ({_difference(other, settings, fields)}): --preset=full uses '
      'the committed settings.'
    )
  there = {(row['mixer'], _settings(row, fields)) for row in rows}
  devices = {row['device'] for row in rows}
  added = [
    row
    for row in committed
    if (row['mixer'], _settings(row, fields)) not in there
    and (row['device'] in devices or row.get('property') not in found.timed)
  ]
  if not added:
    return rows, ''
  others = len({row['mixer'] for row in added})
  return [*rows, *added], (
    f'Committed rows of {others} mixers stand beside those of {names}.'
  )


def _settings(row: Mapping[str, Any], fields: Sequence[str]) -> tuple:
  return tuple(row[name] for name in fields)


def _difference(other: set, known: set, fields: Sequence[str]) -> str:
  """Names the values that no committed row has; all where each has been."""
  first = dict(zip(fields, min(other, key=repr), strict=True))
  values = {name: {each[i] for each in known} for i, name in enumerate(fields)}
  new = [n for n, value in first.items() if value not in values[n]]
  return ', '.join(f'{n}={first[n]}' for n in new or fields)
