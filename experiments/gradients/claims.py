"""Judges claim 2.4 by the rate at which gradients change with the lag."""

import functools
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from experiments.gradients.sweep import AT_REST, RECURRENT
from seqjax.analysis import gradients
from seqjax.analysis.contrasts import smallest_level
from seqjax.analysis.rules import MIN_SEEDS, Answer
from seqjax.analysis.statistics import LEVEL, mean_interval
from seqjax.analysis.verdicts import (
  REFUTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  judge,
  lacking,
  leaning,
)
from seqjax.results import table

COMMAND = 'python -m experiments.gradients --preset=full'
MARGIN = 0.01  # nats per step: a factor of 13 in 256 steps
NAMED = {*RECURRENT, *(f'{name}, at rest' for name in AT_REST)}
PRIMARY = {'2.4a': 'elman', '2.4b': 'elman (radius 1.1)'}
SIGN = {'2.4a': -1, '2.4b': 1}
STEEP = 0.1  # beyond which a rate is compared in percent
UNIT = 'nats per step'
_RULE = (
  'The slope of log |dh_T/dh_t| against T - t (from the output to all that is '
  'carried), fitted from a quarter of the longest lag on, of networks at '
  'initialisation that read unit-normal inputs, or zeros (at rest): gradients '
  '{} in a network if the interval of its slope over seeds lies {} nats per '
  'step, and do not if it lies on the other side; networks that differ make it '
  'CONDITIONAL. Every interval is at level .05 / 43; the test is that of an '
  'Elman network with tanh and orthogonal weights at spectral radius {}, which '
  'reads inputs.'
)
CLAIMS = {
  '2.4a': Claim(
    'Gradients vanish through time in recurrent networks.',
    _RULE.format('vanish', 'below -.01', '1'),
  ),
  '2.4b': Claim(
    'Gradients explode through time in recurrent networks.',
    _RULE.format('explode', 'above .01', '1.1'),
  ),
}

Rows = Sequence[Mapping[str, Any]]


def grouped(rows: Rows) -> dict[str, Rows]:
  """Groups rows by what was measured: a mixer, driven or at rest."""
  found = {}
  for row in rows:
    name = row['mixer'] if row['drive'] else f'{row["mixer"]}, at rest'
    found.setdefault(name, []).append(row)
  return found


def curve(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
  """Returns lags, and log norms with a row per seed; zero is -infinity."""
  lags = sorted({row['lag'] for row in rows})
  seeds = sorted({row['seed'] for row in rows})
  norms = np.full((len(seeds), len(lags)), np.nan)
  for row in rows:
    norm = -np.inf if row['log_norm'] is None else row['log_norm']
    norms[seeds.index(row['seed']), lags.index(row['lag'])] = norm
  return np.array(lags), norms


def rates(rows: Rows) -> np.ndarray:
  """Returns the slope of each seed; -infinity where a gradient is zero."""
  lags, norms = curve(rows)
  fitted = lags >= max(lags) / 4
  with np.errstate(invalid='ignore'):
    slopes = gradients.rates(lags[fitted], norms[:, fitted])
  return np.where(np.isfinite(norms[:, fitted]).all(axis=1), slopes, -np.inf)


def changes(slopes: np.ndarray, sign: int, level: Real = LEVEL) -> Answer:
  """Tells if gradients grow (sign 1) or shrink (-1) by more than the margin."""
  votes = int((sign * slopes > MARGIN).sum()), len(slopes)
  if len(slopes) < MIN_SEEDS:
    why = f'{len(slopes)} seeds are fewer than {MIN_SEEDS}'
    return Answer(None, None, why, votes=votes)
  if not np.isfinite(slopes).all():  # no interval holds an infinity
    all_vanish = bool((slopes < -MARGIN).all())
    return Answer(sign < 0 if all_vanish else None, None, votes=votes)
  interval = functools.partial(mean_interval, sign * slopes)
  found = interval(1 - level)
  holds = True if found.low > MARGIN else False if found.high < MARGIN else None
  p = smallest_level(interval, MARGIN)
  return Answer(holds, mean_interval(slopes), '', p, votes)


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges both parts; without the rows of its test, one is undecided."""
  found = {name: rates(part) for name, part in grouped(rows).items()}
  return [_verdict(claim, found, rows) for claim in CLAIMS]


def _verdict(
  claim: str, found: Mapping[str, np.ndarray], rows: Rows
) -> Verdict:
  primary, sign = PRIMARY[claim], SIGN[claim]
  if primary not in found:
    return lacking(claim, [primary], COMMAND)
  named = {name: found[name] for name in found if name in NAMED}
  answers = {name: changes(slopes, sign) for name, slopes in named.items()}
  word = judge({name: answer.holds for name, answer in answers.items()})
  shown = primary
  if word == REFUTED:  # the best case for the claim
    shown = max(named, key=lambda name: sign * named[name].mean())
  said = condition(
    {
      f'{name} ({short(named[name])})': answer.holds
      for name, answer in answers.items()
    }
  )
  why = dict.fromkeys(a.why for a in answers.values() if a.why)
  said += f' ({"; ".join(why)})' if why else ''
  return Verdict(
    claim,
    word,
    scope=_scope(rows),
    sentence=f'The claim{said.removeprefix("it")} ({UNIT}).',
    quantity=f'change of log |dh_T/dh_t| per position of lag ({shown})',
    unit=UNIT,
    effect=answers[shown].effect,
    p=answers[primary].p,
    seeds=min(map(len, named.values())),
    leans=leaning(*answers[primary].votes) if word == UNDECIDED else '',
  )


def summary(rows: Rows) -> str:
  """Returns a line for each mixer, whoever made it, and what clipping does."""
  lines = [_card(name, part) for name, part in grouped(rows).items()]
  norms = [row['clipped_norm'] for row in rows]
  bends = max(row['clip_bends'] for row in rows)
  return (
    'Rate: change of log |dh_T/dh_t| in nats per step, 95 % over seeds; of '
    'attention and other windows, of log |dy_T/dx_t|. Forwards: the largest '
    'Lyapunov exponent, of the same trajectories'
    f'{_agreement(rows)}.\n\n'
    + table.text(lines, list(lines[0]))
    + '\n\nClipping a gradient of norm 100 at 1 left norms of '
    f'{min(norms):.4f} to {max(norms):.4f}, and changed the ratio of norms at '
    f'two positions by {bends:.2g} nats at most: it bounds steps that '
    'explode, and does nothing about what vanishes.'
  )


def _agreement(rows: Rows) -> str:
  """Says how far rates are from Lyapunov exponents, where both are large."""
  off = []
  for part in grouped(rows).values():
    rate, exponents = rates(part).mean(), _exponents(part)
    if exponents and STEEP < abs(rate) < np.inf:
      off.append(abs(np.mean(exponents) / rate - 1))
  far = f'; beyond {STEEP:g} nats per step the two differ by '
  return f'{far}{max(off):.1%} at most' if off else ''


def _exponents(rows: Rows) -> list[float]:
  found = (row.get('lyapunov') for row in rows)  # None of a window
  return [exponent for exponent in found if exponent is not None]


def _card(name: str, rows: Rows) -> dict[str, str]:
  slopes = rates(rows)
  words = {True: 'yes', False: 'no', None: 'open'}
  forwards = _exponents(rows)
  return {
    'mixer': name,
    'gradient of': f'output by {rows[0]["of"]}',
    'rate': interval_text(slopes),
    'forwards': f'{np.mean(forwards):+.4f}' if forwards else '-',
    'vanishes': words[changes(slopes, -1).holds],
    'explodes': words[changes(slopes, 1).holds],
    'seeds': str(len(slopes)),
  }


def short(slopes: np.ndarray) -> str:
  """Returns a rate, or in how many seeds a gradient is zero, as text."""
  zero = int(np.isneginf(slopes).sum())
  return f'0 in {zero}/{len(slopes)}' if zero else f'{slopes.mean():+.3f}'


def interval_text(slopes: np.ndarray) -> str:
  """Returns a rate with its interval, as text."""
  if not np.isfinite(slopes).all():
    zero = int(np.isneginf(slopes).sum())
    return f'exactly 0 in {zero} of {len(slopes)} seeds'
  if len(slopes) < MIN_SEEDS:
    return f'{slopes.mean():+.4f}'
  found = mean_interval(slopes)
  return f'{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]'


def _scope(rows: Rows) -> str:
  widths = sorted({row['features'] for row in rows})
  lengths = sorted({row['length'] for row in rows})
  return (
    f'width {" and ".join(map(str, widths))}, '
    f'{" and ".join(map(str, lengths))} positions, at initialisation'
  )
