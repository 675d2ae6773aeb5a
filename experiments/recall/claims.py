"""Judges claims 1.12, 2.2, 2.7 and 2.9 by the accuracies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.recall.curves import Key, curves, missing, trainings
from experiments.recall.main import COUNTS, LAG_OF_COUNTS
from seqjax.analysis import rules, thresholds
from seqjax.analysis.rules import Answer, Curve
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  judge,
  leaning,
)
from seqjax.results import table

RECURRENT = ('elman', 'gru', 'lstm')
COMMAND = 'python -m experiments.recall --preset=full'
TIMES = 8  # the longest trained lag, that many times
PRIMARY = 'The test, at .05 / 43, is that of'

CLAIMS = {
  '1.12': Claim(
    'What lies more than n - 1 tokens back is lost to an n-gram model.',
    f'Accuracy at lag {LAG_OF_COUNTS} is at chance for every n-gram model, and '
    'above it for the LSTM and for attention. SUPPORTED if all of it holds, '
    f'REFUTED if none does. {PRIMARY} the 5-gram against chance + .02.',
  ),
  '2.2a': Claim(
    'Long-range dependencies fade in recurrent networks, within the lags that '
    'they are trained on.',
    'One network, trained on all lags up to the longest: the accuracy at lag 1 '
    'minus that at the longest trained lag. A network fades if that is above '
    '.02, and does not if it is at most .02; networks that differ make it '
    f'CONDITIONAL. {PRIMARY} the LSTM.',
  ),
  '2.2b': Claim(
    'Long-range dependencies fade in recurrent networks, beyond the lags that '
    'they are trained on.',
    'The accuracy at the longest trained lag minus that at eight times that '
    'lag, of networks that learnt what they were trained on: above .02 it '
    f'fades. {PRIMARY} the LSTM.',
  ),
  '2.7a': Claim(
    'Attention does not fade with distance.',
    'One network, trained on all lags up to the longest, loses no more than '
    '.02 of accuracy from lag 1 to any other trained lag. '
    f'{PRIMARY} attention with rotary positions at its worst lag.',
  ),
  '2.7b': Claim(
    'Attention does not fade beyond the lags that it is trained on.',
    'It loses no more than .02 of accuracy from the longest trained lag to '
    'eight times that lag; schemes of positions that differ make it '
    f'CONDITIONAL. {PRIMARY} attention with rotary positions.',
  ),
  '2.9a': Claim(
    'The LSTM eases the problem of long lags.',
    'Trained at one lag at a time, within one budget, more seeds of the LSTM '
    'than of the Elman network learn one of the lags that both were tried at '
    "(Fisher's exact test, times the number of lags).",
  ),
  '2.9b': Claim(
    'The LSTM does not fully solve the problem of long lags.',
    'Trained at one lag at a time, within one budget, more seeds of '
    'attention than of the LSTM learn one of the lags that both were tried at '
    '(likewise). Where both learn all of them it is UNDECIDED: longer lags '
    'were not tried.',
  ),
}

Rows = Sequence[Mapping[str, Any]]
Answers = dict[str, Answer]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  mixed, fixed = curves(rows, 'mixed'), curves(rows, 'fixed')
  scope = _scope(rows)
  return [
    judged.within(scope)
    for judged in (
      _context_of_counts(mixed),
      _fades(mixed, '2.2a', _within, 'lag 1 to the longest trained lag'),
      _fades(
        mixed, '2.2b', _beyond,
        f'the longest trained lag to {TIMES} times that lag',
      ),
      _does_not_fade(mixed, '2.7a', _flat, 'lag 1 to the worst trained lag'),
      _does_not_fade(
        mixed, '2.7b', _generalises,
        f'the longest trained lag to {TIMES} times that lag',
      ),
      _eases(fixed, '2.9a', 'lstm', 'elman'),
      _eases(fixed, '2.9b', 'attention', 'lstm'),
    )
  ]  # fmt: skip


def summary(rows: Rows) -> str:
  """Returns a report card: a line for each entry, whoever made it."""
  mixed, fixed = curves(rows, 'mixed'), curves(rows, 'fixed')
  keys = dict.fromkeys(key._replace(design='') for key in [*mixed, *fixed])
  lines = [
    _card(
      key,
      mixed.get(key._replace(design='mixed')),
      fixed.get(key._replace(design='fixed')),
      rows,
    )
    for key in keys
  ]
  columns = dict.fromkeys(name for line in lines for name in line)
  lines = [{name: line.get(name, '-') for name in columns} for line in lines]
  return (
    'Mixed lags: one network for all; fixed: another network at each lag, '
    'within the same budget. Learnt: by how many seeds. (Chance '
    f'{rows[0]["chance"]:g}, best attainable 1.)\n\n'
    + table.format(lines, list(columns))
  )


def _card(
  key: Key, mixed: Curve | None, fixed: Curve | None, rows: Rows
) -> dict[str, str]:
  """Returns what is known of one entry, in words."""
  card = {'mixer': key.mixer, 'parameters': f'{key.parameters:,}'}
  if mixed is not None:
    inside = mixed.between(1, mixed.trained)
    solved = int((inside.scores >= mixed.solved).all(axis=1).sum())
    card['learnt, mixed'] = f'{solved} of {mixed.num_seeds}'
    for lag in mixed.points:
      if lag >= mixed.trained:
        column = mixed.scores[:, mixed.points.index(lag)]
        card[f'accuracy at {lag}'] = f'{column.mean():.2f}'
    card['fades within'] = _word(_within(mixed))
    card['fades beyond'] = _word(_beyond(mixed))
    own = table.select(
      trainings(rows),
      mixer=key.mixer,
      design='mixed',
      parameters=key.parameters,
    )
    steps = [row.get('steps_to_solve') for row in own]
    if None not in steps:
      card['steps to solve'] = f'{np.median(steps):.0f}'
    chosen = own[0]
    if chosen.get('learning_rate'):
      edge = ' (at the edge)' if chosen['at_edge'] else ''
      card['chosen'] = f'{chosen["variant"]}, {chosen["learning_rate"]:g}{edge}'
  if fixed is not None:
    found = rules.reach(fixed)
    card['first fixed lag not learnt'] = thresholds.describe(found)
  return card


def _word(answer: Answer) -> str:
  return {True: 'yes', False: 'no', None: 'open'}[answer.holds]


def _within(curve: Curve) -> Answer:
  return rules.fades(curve.between(1, curve.trained))


def _beyond(curve: Curve) -> Answer:
  """Fades where it does not generalise."""
  answer = rules.generalises(curve, TIMES)
  yes, of = answer.votes
  holds = None if answer.holds is None else not answer.holds
  return answer._replace(holds=holds, votes=(of - yes, of))


def _flat(curve: Curve) -> Answer:
  return rules.flat(curve)


def _generalises(curve: Curve) -> Answer:
  return rules.generalises(curve, TIMES)


def _fades(
  mixed: Mapping[Key, Curve],
  claim: str,
  rule: Callable[[Curve], Answer],
  ends: str,
) -> Verdict:
  """Judges all recurrent networks, at every size, by one rule."""
  wanted = [(name, 'mixed') for name in RECURRENT]
  return _judged(mixed, claim, rule, wanted[-1:], wanted, ends)


def _does_not_fade(
  mixed: Mapping[Key, Curve],
  claim: str,
  rule: Callable[[Curve], Answer],
  ends: str,
) -> Verdict:
  """Judges attention; beyond training, in each scheme of positions."""
  names = dict.fromkeys(
    k.mixer for k in mixed if k.mixer.startswith('attention')
  )
  if claim == '2.7a':
    names = ['attention']
  wanted = [('attention', 'mixed'), *((name, 'mixed') for name in names)]
  return _judged(mixed, claim, rule, wanted[:1], wanted, ends)


def _judged(
  found: Mapping[Key, Curve],
  claim: str,
  rule: Callable[[Curve], Answer],
  needed: Sequence[tuple[str, str]],
  wanted: Sequence[tuple[str, str]],
  ends: str,
) -> Verdict:
  """Applies a rule to the curves that are wanted; the first needed is primary.

  An undecided entry leaves a claim open only if no other one decides it both
  ways. The effect is the primary entry's; of a refutation, the best case for
  the claim.
  """
  lacking = missing(found, needed)
  if lacking:
    return _lacking(claim, lacking)
  chosen = {k: c for k, c in found.items() if (k.mixer, k.design) in wanted}
  answers = {curve.entry: rule(curve) for curve in chosen.values()}
  name, design = needed[0]
  smallest = min(key.parameters for key in chosen if key.mixer == name)
  primary = chosen[Key(name, design, smallest)].entry
  word = judge({name: answer.holds for name, answer in answers.items()})
  shown = answers[primary]
  if word == REFUTED:
    sign = 1 if claim.startswith('2.2') else -1
    shown = max(
      (a for a in answers.values() if a.effect),
      key=lambda answer: sign * answer.effect.value,
    )
  entry = next(name for name, answer in answers.items() if answer is shown)
  return Verdict(
    claim,
    word,
    sentence=_sentence(word, answers),
    quantity=f'accuracy lost from {ends} ({entry})',
    effect=shown.effect,
    p=answers[primary].p,
    seeds=min(curve.num_seeds for curve in chosen.values()),
    leans=leaning(*answers[primary].votes) if word == UNDECIDED else '',
  )


def _sentence(word: str, answers: Answers) -> str:
  """Says for which entries a claim holds, and why others are undecided."""
  said = condition({name: answer.holds for name, answer in answers.items()})
  why = [a.why for a in answers.values() if a.holds is None and a.why]
  if word in (CONDITIONAL, UNDECIDED) and why:
    said += f' ({"; ".join(why)})'
  return f'The claim{said.removeprefix("it")}.'


def _eases(
  fixed: Mapping[Key, Curve], claim: str, ours: str, theirs: str
) -> Verdict:
  """Compares how many seeds learn each lag, by Fisher's test."""
  lacking = missing(fixed, [(ours, 'fixed'), (theirs, 'fixed')])
  if lacking:
    return _lacking(claim, lacking)
  sides = {}
  for key in sorted(fixed, key=lambda key: -key.parameters):
    sides[key.mixer] = fixed[key]  # the smallest size is the primary one
  answer = rules.eases(sides[ours], sides[theirs])
  word = judge({'': answer.holds})
  parts = [
    f'{name} first fails at a lag {thresholds.describe(rules.reach(side))}'
    for name, side in ((ours, sides[ours]), (theirs, sides[theirs]))
  ]
  why = f' ({answer.why})' if answer.holds is None else ''
  return Verdict(
    claim,
    word,
    sentence=f'{"; ".join(parts)}{why}.',
    quantity=f'lag learnt by {ours} over that learnt by {theirs}',
    unit='times',
    effect=answer.effect,
    p=answer.p,
    seeds=min(sides[ours].num_seeds, sides[theirs].num_seeds),
    leans=leaning(*answer.votes, 'lags') if word == UNDECIDED else '',
  )


def _context_of_counts(mixed: Mapping[Key, Curve]) -> Verdict:
  """N-grams at chance beyond their context, and networks above it."""
  lacking = missing(mixed, [('5-gram', 'mixed'), ('lstm', 'mixed')])
  if lacking:
    return _lacking('1.12', lacking)
  answers = {}
  for key, curve in mixed.items():
    vanishes = rules.vanishes(curve, LAG_OF_COUNTS)
    if key.mixer in COUNTS:
      answers[f'{key.mixer} at chance'] = vanishes
    elif key.mixer in ('lstm', 'attention'):
      yes, of = vanishes.votes
      holds = None if vanishes.holds is None else not vanishes.holds
      answers[f'{curve.entry} above chance'] = vanishes._replace(
        holds=holds, votes=(of - yes, of)
      )
  primary = answers['5-gram at chance']
  word = judge({name: answer.holds for name, answer in answers.items()})
  return Verdict(
    '1.12',
    word,
    sentence=_sentence(word, answers),
    quantity=f'accuracy of the 5-gram at lag {LAG_OF_COUNTS}, chance being 1/8',
    effect=primary.effect,
    p=primary.p,
    seeds=min(curve.num_seeds for curve in mixed.values()),
    leans=leaning(*primary.votes) if word == UNDECIDED else '',
  )


def _lacking(claim: str, names: Sequence[str]) -> Verdict:
  sentence = f'There are no rows of {", ".join(names)}; {COMMAND} makes them.'
  return Verdict(claim, UNDECIDED, sentence=sentence)


def _scope(rows: Rows) -> str:
  """Returns the budget: parameters, updates, and the longest trained lag."""
  sizes = sorted({row['parameters'] for row in rows})
  steps = sorted({row['steps'] for row in rows})
  lags = sorted({row['lag'] for row in table.select(rows, design='mixed')})
  parts = [
    f'{" and ".join(f"{n:,}" for n in sizes)} parameters',
    f'{" and ".join(map(str, steps))} updates',
  ]
  if lags:
    parts.append(f'trained to lag {" and ".join(map(str, lags))}')
  return ', '.join(parts)
