"""A line for each entry: what the rules of the claims say about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.recall.curves import Key, curves, trainings
from experiments.recall.main import COUNTS, LAG_OF_COUNTS
from seqjax.analysis import rules, thresholds
from seqjax.analysis.rules import Answer, Curve
from seqjax.results import table

TIMES = 8  # the longest trained lag, that many times
LEGEND = (
  'Mixed lags: one network for all; fixed: another network at each lag, within '
  'the same budget. Learnt: by how many seeds. Fades: how many seeds lose more '
  'than .02 of accuracy within the trained lags, or beyond them, up to 8 times '
  'the longest.'
)

Rows = Sequence[Mapping[str, Any]]


def learnt(curve: Curve) -> Answer:
  """Tells if most seeds solve every lag that they were trained on."""
  return rules.learnt(_trained(curve))


def fades(curve: Curve) -> Answer:
  """Tells if most networks lose accuracy within the trained lags."""
  return rules.fades(_trained(curve).between(1, curve.trained))


def fades_beyond(curve: Curve) -> Answer:
  """Tells if most networks lose accuracy at 2, 4 or 8 times the longest lag."""
  return rules.generalises(_trained(curve), TIMES).negated()


def _trained(curve: Curve) -> Curve:
  """Leaves out the lag of n-grams, which is tested at another length."""
  return curve.at([lag for lag in curve.points if lag != LAG_OF_COUNTS])


def summary(rows: Rows) -> str:
  """Returns the report card, whoever made the mixers."""
  mixed, fixed = curves(rows, 'mixed'), curves(rows, 'fixed')
  keys = dict.fromkeys(key._replace(design='') for key in [*mixed, *fixed])
  lines = [
    {'mixer': key.mixer, 'parameters': f'{key.parameters:,}'}
    | _of_mixed(key, mixed.get(key._replace(design='mixed')), rows)
    | _of_fixed(fixed.get(key._replace(design='fixed')))
    for key in keys
  ]
  columns = dict.fromkeys(name for line in lines for name in line)
  lines = [{name: line.get(name, '-') for name in columns} for line in lines]
  chance = f'Chance {rows[0]["chance"]:g}, best attainable 1.'
  return f'{LEGEND} {chance}\n\n{table.text(lines, list(columns))}'


def _of_mixed(key: Key, curve: Curve | None, rows: Rows) -> dict[str, str]:
  """Returns what is known of one network at all lags."""
  if curve is None:
    return {}
  line = {'learnt, mixed': _votes(learnt(curve))}
  for lag in curve.points:
    if lag >= curve.trained:
      scores = curve.scores[:, curve.points.index(lag)]
      line[f'at {lag}'] = f'{np.nanmean(scores):.2f}'
  line['fades within'] = _votes(fades(curve))
  line['fades beyond'] = _votes(fades_beyond(curve))
  if key.mixer in COUNTS:
    return line
  own = table.select(
    trainings(rows), mixer=key.mixer, design='mixed', parameters=key.parameters
  )
  steps = [row.get('steps_to_solve') for row in own]
  solved = [each for each in steps if each]
  if solved:
    line['updates to solve'] = f'{np.median(solved):.0f}'
    if len(solved) < len(steps):
      line['updates to solve'] += f' ({len(solved)} of {len(steps)} seeds)'
  if own[0].get('learning_rate'):
    edge = ' (at the edge)' if own[0]['at_edge'] else ''
    line['learning rate'] = f'{own[0]["learning_rate"]:g}{edge}'
  return line


def _of_fixed(curve: Curve | None) -> dict[str, str]:
  """Returns the shortest lag that is not learnt, seed by seed."""
  if curve is None:
    return {}
  found = thresholds.describe(rules.reach(curve))
  return {'shortest fixed lag not learnt': found}


def _votes(answer: Answer) -> str:
  """Returns 'yes (11 of 11)', 'open (3 of 5)'; the reason without votes."""
  yes, of = answer.votes
  word = {True: 'yes', False: 'no', None: 'open'}[answer.holds]
  return f'{word} ({yes} of {of})' if of else '-'
