"""Judges claim 1.6 by the errors of rollouts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.forecasting.curves import Rollouts, growth, rollouts
from experiments.forecasting.main import PERFECT, SERIES
from experiments.forecasting.sweep import MIXERS
from seqjax.analysis import contrasts, rules
from seqjax.analysis.rules import MIN_SEEDS, Answer
from seqjax.analysis.statistics import LEVEL, Interval, median_interval
from seqjax.analysis.verdicts import (
  CONDITIONAL,
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

COMMAND = 'python -m experiments.forecasting --preset=full'
PRIMARY = tuple(SERIES)[0], 'window_mlp (tau 4)'  # the textbook's own network
TIMES = 10  # the error of one step: more has accumulated
CHAOTIC = 10  # times that squared errors grow, where chaos is to be seen
FLAT = 0.1  # of the truth's variance over time: less is a flat line

_ASKED = (
  'Asked of the perceptron on 4 values, on the Mackey-Glass series, by a '
  'two-sided sign test over the seeds that learnt to predict one step, at '
  '.05 / 43: it takes 11 seeds that agree. Another mixer, or the Lorenz '
  'series, that answers otherwise makes it CONDITIONAL, and so does one of '
  'which most seeds do.'
)
CLAIMS = {
  '1.6a': Claim(
    'The error of one step is small, and accumulates over many steps.',
    'A seed that learnt (error of one step at most .05 of the variance) has '
    f'more than {TIMES} times that error after 64 steps of reading its own '
    f'predictions. {_ASKED}',
  ),
  '1.6b': Claim(
    'The error of many steps grows exponentially.',
    'Up to the first error of half the variance, an exponential describes a '
    "seed's errors better than a power law, by AIC; of a seed with fewer than "
    'four horizons before that it is not known. A series whose chaos '
    f'multiplies squared errors by {CHAOTIC} or more within 64 steps is a '
    "control: if the equation's own errors are not told exponential in most "
    f'seeds, the rule is blind there, and the series is left out. {_ASKED}',
  ),
  '1.6c': Claim(
    'Forecasts of many steps decay to a flat line.',
    "In steps 33 to 64 the variance of a seed's rollouts over time is less "
    f'than {FLAT:g} of that of the truth in the same steps. {_ASKED}',
  ),
  '1.6d': Claim(
    'The error of one step is misleading: the best model at one step is not '
    'the best at 64.',
    'The best model is the one with the lowest mean log error of one step over '
    'seeds, among those that most seeds learnt. SUPPORTED if some other one is '
    'worse at one step and better at 64, both by two-sided permutation tests '
    'of log errors, p times the number of others below .05 / 43; REFUTED if '
    'the best one is better than each other at 64 by that test. Asked on the '
    'Mackey-Glass series; the Lorenz series makes it CONDITIONAL if it answers '
    'otherwise.',
  ),
}

Rows = Sequence[Mapping[str, Any]]
Key = tuple[str, str]


class Question(NamedTuple):
  """A question that is put to every seed.

  Attributes:
    quantity: the number behind it in words, with its unit.
    number: of each seed; NaN where it is not known.
    holds: whether the claim holds for seeds with these numbers.
    most: whether the largest number is the best case for the claim.
  """

  quantity: str
  number: Callable[[Rollouts], Float[np.ndarray, ' S']]
  holds: Callable[[Float[np.ndarray, ' S']], Bool[np.ndarray, ' S']]
  most: bool


def preferences(found: Rollouts) -> Float[np.ndarray, ' S']:
  """Returns by how much AIC prefers the power law, for each seed."""
  fits = [growth(found.horizons, errors) for errors in found.errors]
  return np.array([fit.preference if fit else np.nan for fit in fits])


QUESTIONS = {
  '1.6a': Question(
    'squared error of 64 steps over that of one step',
    lambda found: found.accumulated,
    lambda ratios: ratios > TIMES,
    most=True,
  ),
  '1.6b': Question(
    'AIC of the exponential minus that of the power law',
    preferences,
    lambda preference: preference < 0,
    most=False,
  ),
  '1.6c': Question(
    'variance over time of rollouts in steps 33 to 64, over that of the truth',
    lambda found: found.movement,
    lambda movement: movement < FLAT,
    most=False,
  ),
}


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  every = rollouts(rows)
  found = {
    key: each
    for key, each in every.items()
    if each.mixer in MIXERS and each.series in SERIES
  }
  blind = blind_to_chaos(every, rows)
  told = {key: each for key, each in found.items() if key[0] not in blind}
  judged = [
    _judged('1.6a', found),
    _without(_judged('1.6b', told), blind),
    _judged('1.6c', found),
  ]
  return [v.within(_scope(rows)) for v in [*judged, _misleading(found)]]


def blind_to_chaos(every: Mapping[Key, Rollouts], rows: Rows) -> list[str]:
  """Returns the chaotic series on which 1.6b does not see what is known."""
  rates = {row['series']: row['lyapunov_per_step'] for row in rows}
  chaotic = [s for s, rate in rates.items() if 2 * 64 * rate > np.log(CHAOTIC)]
  blind = []
  for series in chaotic:
    control = every.get((series, PERFECT))
    votes = [] if control is None else preferences(control) < 0
    if 2 * np.sum(votes) <= len(votes):
      blind.append(series)
  return blind


def _without(verdict: Verdict, blind: Sequence[str]) -> Verdict:
  """Says which series are left out."""
  if not blind:
    return verdict
  said = (
    f' Left out: {", ".join(blind)}, where the errors of the equation itself, '
    'which grow exponentially, are not told so.'
  )
  return verdict._replace(sentence=verdict.sentence + said)


def ask(question: Question, found: Rollouts) -> Answer:
  """Puts a question to the seeds that learnt to predict one step."""
  told = found.of_learnt()
  numbers = question.number(told)
  numbers = numbers[~np.isnan(numbers)]
  seeds = len(found.learnt)
  if len(numbers) < MIN_SEEDS or 2 * len(numbers) <= seeds:
    why = (
      f'{name(found)} answers in {len(numbers)} of {seeds} seeds, and learnt '
      f'one step within the budget in {len(told.learnt)}'
    )
    return Answer(None, why=why, votes=_votes(question.holds(numbers)))
  why = f'{name(found)}: yes in '
  finite = np.isfinite(numbers).all() and len(numbers) >= 6
  effect = median_interval(numbers) if finite else None
  return rules.most(question.holds(numbers), effect, why)


def name(found: Rollouts) -> str:
  """Returns the name of the mixer, with the series if it is the second."""
  if found.series == PRIMARY[0]:
    return found.mixer
  return f'{found.mixer} on {found.series}'


def _votes(votes: Bool[np.ndarray, ' S']) -> tuple[int, int]:
  return int(votes.sum()), len(votes)


def _judged(claim: str, found: Mapping[Key, Rollouts]) -> Verdict:
  """Judges by the primary network, unless another one answers otherwise."""
  if PRIMARY not in found:
    return lacking(claim, [' on '.join(PRIMARY[::-1])], COMMAND)
  question = QUESTIONS[claim]
  answers = {key: ask(question, each) for key, each in found.items()}
  tested = answers[PRIMARY]
  word = rules.led_by(tested, answers.values())
  shown = PRIMARY
  if word == REFUTED:  # the best case for the claim
    known = [key for key, answer in answers.items() if answer.effect]
    best = max if question.most else min
    shown = best(
      known, key=lambda key: answers[key].effect.value, default=PRIMARY
    )
  said = condition({name(found[k]): a.holds for k, a in answers.items()})
  why = '; '.join(a.why for a in answers.values() if a.holds is None)
  said = said.removeprefix('it') + (f' ({why})' if why else '')
  return Verdict(
    claim,
    word,
    sentence=f'The claim{said}; p is that of {name(found[PRIMARY])}.',
    quantity=f'{question.quantity} ({name(found[shown])}, median over seeds)',
    effect=answers[shown].effect,
    p=tested.p,
    seeds=min(len(each.learnt) for each in found.values()),
    leans=leaning(*tested.votes) if word == UNDECIDED else '',
  )


class Comparison(NamedTuple):
  """The best model at one step, against each other one after 64 steps.

  Attributes:
    answer: whether another one overtakes it.
    best: its name.
    rival: the one with the lowest error at 64 steps of the others.
  """

  answer: Answer
  best: str
  rival: str


def compare_best(found: Sequence[Rollouts]) -> Comparison | None:
  """Asks of one series whether the best model at one step is overtaken.

  None where fewer than two models are learnt by most of five seeds or more.
  """
  usable = [
    each.of_learnt()
    for each in found
    if 2 * each.learnt.sum() > len(each.learnt)
    and each.learnt.sum() >= MIN_SEEDS
  ]
  if len(usable) < 2:
    return None
  logs = {each.mixer: _ends(each) for each in usable}
  best = min(logs, key=lambda name: logs[name][0].mean())
  others = [name for name in logs if name != best]
  rival = min(others, key=lambda name: logs[name][1].mean())
  p = {
    other: [
      contrasts.means_differ(a, b)
      for a, b in zip(logs[best], logs[other], strict=True)
    ]
    for other in others
  }
  behind = {o: logs[o][1].mean() > logs[best][1].mean() for o in others}
  p_over = min(
    (len(others) * max(p[o]) for o in others if not behind[o]), default=1.0
  )
  p_kept = 1.0 if not all(behind.values()) else max(p[o][1] for o in others)
  size = _ratio(logs[best][1], logs[rival][1])
  overtaken = not all(behind.values())
  tested = min(1.0, p_over if overtaken else p_kept)
  holds = overtaken if tested < LEVEL else None
  votes = int(np.sum(~np.array(list(behind.values())))), len(others)
  return Comparison(Answer(holds, size, '', tested, votes), best, rival)


def _ends(each: Rollouts) -> list[Float[np.ndarray, ' S']]:
  """Returns log errors of one step and of 64; what overflowed is large."""
  largest = np.finfo(float).max
  return list(np.log(np.minimum(each.errors[:, [0, -1]], largest)).T)


def _ratio(ours, theirs) -> Interval:
  """Returns the ratio of the geometric means of errors, from their logs."""
  return Interval(*np.exp(contrasts.difference_interval(ours, theirs)).tolist())


def _misleading(found: Mapping[Key, Rollouts]) -> Verdict:
  """Judges 1.6d on the first series; the second can make it depend."""
  compared = {
    series: compare_best([e for (s, _), e in found.items() if s == series])
    for series in SERIES
  }
  first = compared[PRIMARY[0]]
  if first is None:
    needed = [f'two learnt mixers on {PRIMARY[0]}, each of five seeds']
    return lacking('1.6d', needed, COMMAND)
  there = {series: each for series, each in compared.items() if each}
  parts = [
    f'on {series} the best at one step is {each.best}, and the best other one '
    f'at 64 steps {each.rival} (error of the first over the second '
    f'{each.answer.effect.value:.3g})'
    for series, each in there.items()
  ]
  holds = {each.answer.holds for each in there.values()} - {None}
  word = {True: SUPPORTED, False: REFUTED, None: UNDECIDED}[first.answer.holds]
  if first.answer.holds is not None and len(holds) == 2:
    word = CONDITIONAL
  return Verdict(
    '1.6d',
    word,
    sentence=f'O{"; ".join(parts)[1:]}.',
    quantity=(
      f'squared error at 64 steps, {first.best} over {first.rival} on '
      f'{PRIMARY[0]}'
    ),
    unit='times',
    effect=first.answer.effect,
    p=first.answer.p,
    seeds=min(len(each.learnt) for each in found.values()),
    leans=leaning(int(first.answer.effect.value > 1), 1, 'series')
    if word == UNDECIDED
    else '',
  )


def summary(rows: Rows) -> str:
  """Returns a line for each mixer and series, by the rules of the claims."""
  found = rollouts(rows)
  lines = [_line(each) for each in found.values()]
  rates = {row['series']: row['lyapunov_per_step'] for row in rows}
  said = '; '.join(f'{rate:.4f} on {name}' for name, rate in rates.items())
  return (
    'Squared errors over the variance of the series, medians over seeds. '
    'Growth: the law that describes most seeds better up to half the variance. '
    'Movement: variance over time in steps 33 to 64, over that of the truth. '
    f'{PERFECT}: the equation itself, from values that are off by .001. '
    f'Largest Lyapunov exponent, nats per step: {said}.\n\n'
    + table.text(lines, list(lines[0]))
  )


def _line(each: Rollouts) -> dict[str, str]:
  yes, of = ask(QUESTIONS['1.6c'], each).votes
  return {
    'series': each.series,
    'mixer': each.mixer,
    'learnt': f'{each.learnt.sum()} of {len(each.learnt)}',
    **{
      f'at {k}': f'{np.median(each.errors[:, each.horizons == k]):.2g}'
      for k in (1, 8, 64)
    },
    '64 over 1': f'{np.median(each.accumulated):.3g}',
    'growth': _law(each),
    'movement': f'{np.median(each.movement):.2f}',
    'flat': f'{yes} of {of}',
  }


def _law(each: Rollouts) -> str:
  """Returns 'k^2.3 (9 of 11)' or 'e^(0.04 k) (6 of 11)', of seeds that tell."""
  fits = [growth(each.horizons, errors) for errors in each.errors]
  fits = [fit for fit in fits if fit is not None]
  if not fits:
    return '-'
  power = [fit.preference > 0 for fit in fits]
  if 2 * sum(power) >= len(fits):
    law = f'k^{np.median([fit.power for fit in fits]):.1f}'
    return f'{law} ({sum(power)} of {len(fits)})'
  law = f'e^({np.median([fit.rate for fit in fits]):.3f} k)'
  return f'{law} ({len(fits) - sum(power)} of {len(fits)})'


def _scope(rows: Rows) -> str:
  trained = [row for row in rows if row['mixer'] != PERFECT]
  if not trained:
    return ''
  return (
    f'{trained[0]["parameters"]:,} parameters, {trained[0]["steps"]} updates, '
    f'{trained[0]["context"]} true values before a forecast of 64 steps'
  )
