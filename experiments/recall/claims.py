"""Judges claims 1.12, 2.2, 2.7 and 2.9 by the accuracies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.recall import card
from experiments.recall.curves import Key, curves
from experiments.recall.main import COUNTS, HOLDING, LAG_OF_COUNTS, SCHEMES
from seqjax.analysis import rules, thresholds
from seqjax.analysis.rules import Answer, Curve
from seqjax.analysis.verdicts import (
  REFUTED,
  SUPPORTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  lacking,
  leaning,
)
from seqjax.results import table

RECURRENT = ('elman', 'gru', 'lstm')
COMMAND = 'python -m experiments.recall --preset=full'
TIMES = card.TIMES
FIXED = ('2.9a', '2.9b')  # the others are about mixed lags

_MOST = (
  'of most networks, by a two-sided sign test over seeds at .05 / 43: it takes '
  '11 seeds that agree'
)
_OTHERS = (
  'The verdict is CONDITIONAL if the answer of another network, size or '
  'initialisation is the opposite, or that of most of its seeds is.'
)
_BOTH = (
  'Elman networks, GRUs and LSTMs are tested with both initialisations, which '
  'validation at the trained lags cannot tell apart; if one is missing, the '
  'verdict is UNDECIDED.'
)
CLAIMS = {
  '1.12': Claim(
    'What lies more than n - 1 tokens back is lost to an n-gram model.',
    f'The accuracy of the 5-gram at lag {LAG_OF_COUNTS} is at most .02 above '
    f'chance, {_MOST}. And the LSTM or attention, if it learnt lags as long, '
    'is above: else nobody can answer, and it is UNDECIDED.',
  ),
  '2.2a': Claim(
    'Long-range dependencies fade in recurrent networks, within the lags that '
    'they are trained on.',
    'One network, trained on all lags up to the longest: it fades if its '
    'accuracy at some longer lag is more than .02 below that at lag 1. Asked '
    f'of the LSTM, {_MOST}. {_OTHERS} {_BOTH}',
  ),
  '2.2b': Claim(
    'Long-range dependencies fade in recurrent networks, beyond the lags that '
    'they are trained on.',
    'Of networks that learnt what they were trained on: the accuracy at 2, 4 '
    'or 8 times the longest trained lag is more than .02 below that at it. '
    f'Asked of the LSTM, {_MOST}. {_OTHERS} {_BOTH}',
  ),
  '2.7a': Claim(
    'Attention does not fade with distance.',
    'The opposite of 2.2a, asked of attention with rotary positions. '
    + _OTHERS,
  ),
  '2.7b': Claim(
    'Attention does not fade beyond the lags that it is trained on.',
    'The opposite of 2.2b, asked of attention with rotary positions. Another '
    'scheme of positions, or size, that answers otherwise, or of which most '
    'seeds do, makes it CONDITIONAL; without one of them it is UNDECIDED.',
  ),
  '2.9a': Claim(
    'The LSTM eases the problem of long lags.',
    'Trained at one lag at a time, within one budget: a seed of the LSTM '
    'learns more of the lags that both were tried at than one of the Elman '
    'network, by a two-sided permutation test at .05 / 43.',
  ),
  '2.9b': Claim(
    'The LSTM does not fully solve the problem of long lags.',
    'SUPPORTED if a seed of attention learns more of the lags that both were '
    'tried at, by the same test. REFUTED if the LSTM learns all of them, in '
    'every seed, and Elman networks learn fewer. Where both learn all lags it '
    'is UNDECIDED: longer ones were not tried.',
  ),
}

Rows = Sequence[Mapping[str, Any]]
Answers = dict[str, Answer]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  mixed, fixed = curves(rows, 'mixed'), curves(rows, 'fixed')
  networks = {k: c for k, c in mixed.items() if k.mixer not in COUNTS}
  within = 'accuracy lost from lag 1 to the worst trained lag'
  beyond = f'accuracy lost from the trained lags to {TIMES} times as many'
  recurrent, schemes = (*RECURRENT, *HOLDING), ('attention', *SCHEMES)
  judged = [
    _context_of_counts(mixed, rows),
    _judged('2.2a', 'lstm', recurrent, networks, card.fades, within),
    _judged('2.2b', 'lstm', recurrent, networks, card.fades_beyond, beyond),
    _judged('2.7a', 'attention', ('attention',), networks, _flat, within),
    _judged('2.7b', 'attention', schemes, networks, _generalises, beyond),
    _eases(fixed),
    _unsolved(fixed),
  ]
  scopes = {design: _scope(rows, design) for design in ('mixed', 'fixed')}
  return [
    verdict.within(scopes['fixed' if verdict.id in FIXED else 'mixed'])
    for verdict in judged
  ]


def summary(rows: Rows) -> str:
  """Returns the report card that stands above the verdicts."""
  return card.summary(rows)


def _flat(curve: Curve) -> Answer:
  return card.fades(curve).negated()


def _generalises(curve: Curve) -> Answer:
  return card.fades_beyond(curve).negated()


def _judged(
  claim: str,
  primary: str,
  names: Sequence[str],
  found: Mapping[Key, Curve],
  rule: Callable[[Curve], Answer],
  quantity: str,
) -> Verdict:
  """Judges by the primary network, unless another one answers otherwise.

  Args:
    claim: its id.
    primary: the mixer whose smallest size is the one contrast that is tested.
    names: the mixers that the claim is about; all sizes of them are judged. It
      is not decided before each of them has rows.
    found: the curves.
    rule: answers whether the claim holds for a curve.
    quantity: the effect in words.
  """
  needed = RECURRENT if claim.startswith('2.2') else (primary,)
  if absent := _missing(found, needed, 'mixed'):
    return lacking(claim, absent, COMMAND)
  chosen = {key: found[key] for key in found if key.mixer in names}
  answers = {curve.entry: rule(curve) for curve in chosen.values()}
  tested = answers[primary]
  word = rules.led_by(tested, answers.values())
  unasked = _missing(found, names, 'mixed')
  if unasked:  # one of them might answer otherwise
    word = UNDECIDED
  shown = primary
  if word == REFUTED:  # the best case for the claim, of those that were tested
    for_it = max if claim.startswith('2.2') else min
    known = [n for n, a in answers.items() if a.effect is not None]
    shown = for_it(
      known, key=lambda name: answers[name].effect.value, default=primary
    )
  return Verdict(
    claim,
    word,
    sentence=_sentence(answers, primary)
    + (f' There are no rows of {", ".join(unasked)}.' if unasked else ''),
    quantity=f'{quantity} ({shown}, median over seeds)',
    effect=answers[shown].effect,
    p=tested.p,
    seeds=min(curve.num_seeds for curve in chosen.values()),
    leans=leaning(*tested.votes) if word == UNDECIDED else '',
  )


def _sentence(answers: Answers, primary: str) -> str:
  """Says for which networks a claim holds, and why others are undecided."""
  said = condition({name: answer.holds for name, answer in answers.items()})
  why = [a.why for a in answers.values() if a.holds is None and a.why]
  why = f' ({"; ".join(why)})' if why else ''
  return f'The claim{said.removeprefix("it")}{why}; p is that of {primary}.'


def _eases(fixed: Mapping[Key, Curve]) -> Verdict:
  """Compares how many of the lags a seed learns, LSTM against Elman."""
  if absent := _missing(fixed, ('lstm', 'elman'), 'fixed'):
    return lacking('2.9a', absent, COMMAND)
  answer = rules.eases(fixed_of(fixed, 'lstm'), fixed_of(fixed, 'elman'))
  word = {True: SUPPORTED, False: REFUTED, None: UNDECIDED}[answer.holds]
  return _compared('2.9a', word, answer, fixed, 'lstm', 'elman')


def _unsolved(fixed: Mapping[Key, Curve]) -> Verdict:
  """Asks whether something learns lags that the LSTM does not."""
  if absent := _missing(fixed, ('attention', 'lstm', 'elman'), 'fixed'):
    return lacking('2.9b', absent, COMMAND)
  lstm = fixed_of(fixed, 'lstm')
  answer = rules.eases(fixed_of(fixed, 'attention'), lstm)
  word = SUPPORTED if answer.holds else UNDECIDED
  common = lstm.at(fixed_of(fixed, 'elman').points)
  all_learnt = bool((common.scores >= common.solved).all())
  behind = rules.eases(lstm, fixed_of(fixed, 'elman'))
  if all_learnt and behind.holds:
    return _compared('2.9b', REFUTED, behind, fixed, 'lstm', 'elman')
  return _compared('2.9b', word, answer, fixed, 'attention', 'lstm')


def fixed_of(fixed: Mapping[Key, Curve], mixer: str) -> Curve:
  """Returns the curve of a mixer's smallest size."""
  keys = [key for key in fixed if key.mixer == mixer]
  return fixed[min(keys, key=lambda key: key.parameters)]


def _compared(
  claim: str,
  word: str,
  answer: Answer,
  fixed: Mapping[Key, Curve],
  ours: str,
  theirs: str,
) -> Verdict:
  """Says which lag each fails first, and the ratio of the two."""
  sides = {name: fixed_of(fixed, name) for name in (ours, theirs)}
  parts = [
    f'{name} first fails at a lag {thresholds.describe(rules.reach(side))}'
    for name, side in sides.items()
  ]
  why = f' ({answer.why})' if answer.why else ''
  lstm = fixed_of(fixed, 'lstm')
  ceiling = all((each.scores >= each.solved).all() for each in sides.values())
  return Verdict(
    claim,
    word,
    sentence=f'{"; ".join(parts)}{why}.',
    quantity=f'shortest lag that {ours} fails, over that of {theirs}',
    unit='times',
    effect=answer.effect,
    p=answer.p,
    seeds=min(side.num_seeds for side in sides.values()),
    leans=leaning(*answer.votes, 'lags') if word == UNDECIDED else '',
    more=f'--search_up_to={2 * lstm.points[-1]}' if ceiling else '',
  )


def _context_of_counts(mixed: Mapping[Key, Curve], rows: Rows) -> Verdict:
  """N-grams at chance beyond their context, and a network that is not."""
  if absent := _missing(mixed, ('5-gram', 'lstm', 'attention'), 'mixed'):
    return lacking('1.12', absent, COMMAND)
  gone = {
    key.mixer: rules.vanishes(curve, LAG_OF_COUNTS)
    for key, curve in mixed.items()
    if key.mixer in COUNTS
  }
  controls = {
    curve.entry: rules.vanishes(curve, LAG_OF_COUNTS).negated()
    for key, curve in mixed.items()
    if key.mixer in ('lstm', 'attention') and _can_answer(curve)
  }
  word = rules.led_by(gone['5-gram'], gone.values())
  if word == SUPPORTED and True not in {a.holds for a in controls.values()}:
    word = UNDECIDED
  above = [name for name, answer in controls.items() if answer.holds]
  more = '' if above else f'--steps={3 * max(row["steps"] for row in rows)}'
  beside = (
    f'above it: {", ".join(above)}' if above else 'no network is above it'
  )
  said = condition({name: answer.holds for name, answer in gone.items()})
  return Verdict(
    '1.12',
    word,
    sentence=f'Accuracy at lag {LAG_OF_COUNTS} is at chance: {said}; {beside}.',
    quantity=f'accuracy of the 5-gram at lag {LAG_OF_COUNTS} (chance .125)',
    effect=gone['5-gram'].effect,
    p=gone['5-gram'].p,
    seeds=min(curve.num_seeds for curve in mixed.values()),
    leans=leaning(*gone['5-gram'].votes) if word == UNDECIDED else '',
    more=more,
  )


def _can_answer(curve: Curve) -> bool:
  """Tells if a network learnt lags that are as long as is asked."""
  yes, of = card.learnt(curve).votes
  return curve.trained >= LAG_OF_COUNTS and 2 * yes > of


def _missing(
  found: Mapping[Key, Curve], names: Sequence[str], design: str
) -> list[str]:
  """Lists the mixers that have no curve."""
  there = {key.mixer for key in found}
  return [f'{name} ({design} lags)' for name in names if name not in there]


def _scope(rows: Rows, design: str) -> str:
  """Returns the budget: parameters, updates, and the longest lag."""
  rows = table.select(rows, design=design)
  if not rows:
    return ''
  sizes = ' and '.join(
    f'{n:,}' for n in sorted({r['parameters'] for r in rows})
  )
  lag = max(row['trained_lag'] for row in rows)
  trained = 'trained up to lag' if design == 'mixed' else 'lags up to'
  return f'{sizes} parameters, {rows[0]["steps"]} updates, {trained} {lag}'
