"""Judges claim 2.8 by the accuracies beyond the trained length."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.state_tracking.main import SCHEMES
from seqjax.analysis import contrasts, rules
from seqjax.analysis.rules import MIN_SEEDS, Answer, Curve
from seqjax.analysis.statistics import LEVEL
from seqjax.analysis.verdicts import (
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  judge,
  lacking,
  leaning,
)
from seqjax.results import table

COMMAND = 'python -m experiments.state_tracking --preset=full'
SOLVED = 0.95  # test accuracy from which on a length counts as solved
ENOUGH = 3000  # updates from which on what is not learnt counts as it is
FAR = 8  # times the trained length, up to which every length is to be solved
PRIMARY = 'lstm'
ATTENTION = ('attention', *SCHEMES)
PARTS = {'2.8a': 'z2', '2.8b': 's3'}
NAMES = {
  'z2': 'the parity of the ones so far',
  'z5': 'a walk on a cycle of five places',
  'z60': 'a walk on a cycle of sixty places',
  's3': 'products of permutations of three things',
  's5': 'products of permutations of five things',
  'a5': 'products of even permutations of five things',
}
_RULE = (
  'A network generalises if its accuracy is at least .95 at 1, 2, 4 and 8 '
  'times the trained length. REFUTED if, for each scheme of positions, a '
  'greater share of the seeds of the tuned LSTM generalises than of tuned '
  "attention, by Fisher's exact two-sided test at .05 / 43. Attention that is "
  'not learnt by most seeds at the trained length decides nothing, unless it '
  f'had {ENOUGH:,} updates or more. SUPPORTED if for each scheme '
  'attention is ahead, or generalises in most networks by a sign test at that '
  'level; CONDITIONAL where schemes differ. p is the largest of the schemes.'
)
CLAIMS = {
  id: Claim(
    'In one stroke, the Transformer fixes what recurrent networks cannot do, '
    f'here: {NAMES[task]}.',
    _RULE,
  )
  for id, task in PARTS.items()
}

Rows = Sequence[Mapping[str, Any]]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges each task on one machine; without its rows it is undecided."""
  return [_verdict(id, task, rows) for id, task in PARTS.items()]


def curves(rows: Rows, task: str) -> dict[str, Curve]:
  """Returns {mixer: accuracy by multiple of the trained length}.

  A training that met what is not finite scores as guessing does, and a row
  that is missing is NaN.

  Raises:
    ValueError: rows are of several budgets, or there are two of one network.
  """
  rows = table.select(rows, task=task)
  for name in ('steps', 'batch_size', 'parameters', 'length'):
    values = sorted({row[name] for row in rows})
    if len(values) > 1:
      raise ValueError(
        f'Rows of {task} are compared at one budget, but {name} is '
        f'{" and ".join(map(str, values))} in them: judge their tables apart.'
      )
  found = dict.fromkeys(row['mixer'] for row in rows)
  return {name: _curve(name, table.select(rows, mixer=name)) for name in found}


def _curve(mixer: str, rows: Rows) -> Curve:
  points = sorted({row['times'] for row in rows} - {None})
  seeds = sorted({row['seed'] for row in rows})
  scores = np.full((len(seeds), len(points)), np.nan)
  for row in rows:
    place = seeds.index(row['seed'])
    finite = row['times'] is not None
    column = points.index(row['times']) if finite else slice(None)
    if not np.isnan(scores[place, column]).all():
      raise ValueError(
        'A table of state_tracking has one row for each network and length, '
        f'but two of {mixer}, seed {row["seed"]}, times {row["times"]}.'
      )
    scores[place, column] = row['accuracy'] if finite else row['chance']
  examples = min(row['examples'] for row in rows)
  chance = rows[0]['chance']
  return Curve(mixer, tuple(points), scores, examples, chance, 1, SOLVED)


def generalises(curve: Curve) -> np.ndarray:
  """Tells for each seed if it solves every length up to FAR times."""
  return np.all(curve.between(1, FAR).scores >= curve.solved, axis=1)


def fixes(attention: Curve, recurrent: Curve, steps: int) -> Answer:
  """Tells if attention does what the recurrent network does, or more.

  True where a greater share of its seeds generalises, or most do; False where
  a smaller share does, if it has learnt the trained length or had ENOUGH
  steps. The effect is the accuracy of the recurrent network at FAR times the
  trained length, minus that of attention.
  """
  for side in (attention, recurrent):
    if side.num_seeds < MIN_SEEDS:
      why = f'{side.entry} has {side.num_seeds} seeds, {MIN_SEEDS} are needed'
      return Answer(None, why=why)
    if FAR not in side.points or np.isnan(side.scores).any():
      return Answer(None, why=f'{side.entry} lacks rows of some lengths')
  ours, theirs = generalises(attention), generalises(recurrent)
  votes = int(ours.sum()), len(ours)
  p = contrasts.shares_differ(*votes, int(theirs.sum()), len(theirs))
  effect = contrasts.difference_interval(
    recurrent.at([FAR]).scores[:, 0], attention.at([FAR]).scores[:, 0]
  )
  learnt = int(learns(attention).sum())
  if 2 * learnt <= len(ours) and steps < ENOUGH:
    why = f'{attention.entry} is learnt by {learnt} of {len(ours)} seeds'
    return Answer(None, effect, f'{why} in {steps} updates', p)
  if p < LEVEL:
    return Answer(bool(ours.mean() > theirs.mean()), effect, p=p, votes=votes)
  alone = rules.most(ours)
  if alone.holds:
    return alone._replace(effect=effect)
  why = f'{attention.entry} and {recurrent.entry} differ with p = {p:.2g}'
  return Answer(None, effect, why, p, votes)


def _verdict(id: str, task: str, rows: Rows) -> Verdict:
  found = curves(rows, task)
  needed = (PRIMARY, *ATTENTION)
  if absent := [f'{n} ({task})' for n in needed if n not in found]:
    return lacking(id, absent, COMMAND)
  steps = max(row['steps'] for row in rows)
  answers = {
    name: fixes(found[name], found[PRIMARY], steps) for name in ATTENTION
  }
  shown = max(answers, key=lambda name: answers[name].p or 0)
  best = answers[shown]
  word = judge({name: answer.holds for name, answer in answers.items()})
  said = condition({name: answer.holds for name, answer in answers.items()})
  why = '; '.join(a.why for a in answers.values() if a.why)
  why = f' ({why})' if why else ''
  return Verdict(
    id,
    word,
    scope=_scope(table.select(rows, task=task)),
    sentence=f'The claim{said.removeprefix("it")}{why}. {_shares(found)}',
    quantity=(
      f'accuracy at {FAR} times the trained length, {PRIMARY} minus {shown}'
    ),
    effect=best.effect,
    p=best.p,
    seeds=min(found[name].num_seeds for name in needed),
    leans=leaning(*best.votes) if word == UNDECIDED else '',
    more=f'--steps={ENOUGH}' if steps < ENOUGH else '',
  )


def _shares(found: Mapping[str, Curve]) -> str:
  """Says how many seeds of each mixer learn a task, and how many generalise."""
  parts = []
  for name, curve in found.items():
    far, learnt = generalises(curve).sum(), learns(curve).sum()
    parts.append(f'{name} {learnt} and {far} of {curve.num_seeds}')
  return f'Seeds that learn it, and that generalise: {", ".join(parts)}.'


def learns(curve: Curve) -> np.ndarray:
  """Tells for each seed if it solves the trained length."""
  return np.all(curve.at([1]).scores >= curve.solved, axis=1)


def summary(rows: Rows) -> str:
  """Returns a line for each task and mixer, whoever made it."""
  lines = []
  for task in dict.fromkeys(row['task'] for row in rows):
    for name, curve in curves(rows, task).items():
      own = table.select(rows, task=task, mixer=name)
      lines.append({'task': task, 'mixer': name} | _card(curve, own))
  columns = list(dict.fromkeys(key for line in lines for key in line))
  lines = [{key: line.get(key, '-') for key in columns} for line in lines]
  chances = {row['task']: row['chance'] for row in rows}
  chances = ', '.join(f'{c:.3f} of {task}' for task, c in chances.items())
  return (
    'Accuracy, a mean over seeds, by multiples of the trained length; seeds '
    f'that learn it ({SOLVED:g} at the trained length) and that generalise (up '
    f'to {FAR} times). Chance is {chances}; best attainable 1.\n\n'
    + table.text(lines, columns)
  )


def _card(curve: Curve, rows: Rows) -> dict[str, str]:
  means = np.nanmean(curve.scores, axis=0)
  line = {
    f'at {times}x': f'{mean:.2f}'
    for times, mean in zip(curve.points, means, strict=True)
  }
  line['learn'] = f'{learns(curve).sum()} of {curve.num_seeds}'
  line['generalise'] = f'{generalises(curve).sum()} of {curve.num_seeds}'
  steps = {row['seed']: row.get('steps_to_solve') for row in rows}
  solved = [each for each in steps.values() if each]
  line['updates to solve'] = f'{np.median(solved):.0f}' if solved else '-'
  edge = ' (at the edge)' if rows[0]['at_edge'] else ''
  line['chosen'] = f'{rows[0]["variant"]}, {rows[0]["learning_rate"]:g}{edge}'
  return line


def _scope(rows: Rows) -> str:
  row = rows[0]
  return (
    f'{row["parameters"]:,} parameters in mixers, {row["steps"]} updates, '
    f'trained length {row["length"]}'
  )
