"""Judges claims 2.2, 2.7 and 2.9 by the accuracies.

2.2  Long-range dependencies fade in recurrent networks.
2.7  Attention does not fade.
2.9  The LSTM eases the problem and does not fully solve it.

The two designs of the data answer differently, so each verdict names both.
"""

import math
from collections.abc import Sequence
from typing import Any

from experiments.recall.curves import (
  Curve,
  curves,
  half_lag_interval,
  show_half_lag,
  slope,
  slope_interval,
)
from seqjax.analysis import verdicts as verdict_rules
from seqjax.analysis.statistics import MIN_SCORES, Interval
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  UNDECIDED,
  Verdict,
  condition,
  judge,
)
from seqjax.results import table

FLAT = 0.01  # accuracy a doubling of the lag
DESIGNS = ('fixed', 'mixed')

Rows = Sequence[dict[str, Any]]
Curves = dict[tuple[str, str], Curve]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the three claims within the lags that were trained."""
  inside = {(c.mixer, c.design): c.until(c.trained_lag) for c in curves(rows)}
  judged = []
  for claim, (judge_claim, mixers) in _CLAIMS.items():
    needed = [(mixer, design) for mixer in mixers for design in DESIGNS]
    missing = [f'{m} ({d})' for m, d in needed if (m, d) not in inside]
    judged.append(
      _undecided(claim, missing) if missing else judge_claim(inside, rows)
    )
  return judged


def _undecided(claim: str, missing: Sequence[str]) -> Verdict:
  sentence = f'It cannot be judged without rows of {", ".join(missing)}.'
  return Verdict(claim, UNDECIDED, sentence=sentence)


def half_lags(rows: Rows) -> list[dict[str, Any]]:
  """L50 of every mixer in both designs, and accuracy at the longest lag."""
  found = {}
  for curve in curves(rows):
    entry = found.setdefault(curve.mixer, {'mixer': curve.mixer})
    inside = curve.until(curve.trained_lag)
    entry[f'L50, {curve.design}'] = show_half_lag(inside)
    longest = f'accuracy at {inside.lags[-1]}, {curve.design}'
    entry[longest] = f'{inside.mean[-1]:.2f}'
    if curve.lags != inside.lags:
      entry[f'at {curve.lags[-1]} (never trained)'] = f'{curve.mean[-1]:.2f}'
  columns = dict.fromkeys(name for entry in found.values() for name in entry)
  return [
    {column: entry.get(column, '-') for column in columns}
    for entry in found.values()
  ]


def summary(rows: Rows) -> str:
  """The table that the main job prints."""
  lines = half_lags(rows)
  chance, seeds = rows[0]['chance'], {row['seed'] for row in rows}
  return (
    'L50: the lag at which accuracy is half-way between chance and 1 '
    f'(chance {chance:g}, best attainable 1, {len(seeds)} seeds)\n\n'
    + table.format(lines, list(lines[0]))
  )


def _recurrent_fades(inside: Curves, rows: Rows) -> Verdict:
  """L50 of elman, gru and lstm against the longest lag, design by design."""
  fades = {}
  for design in DESIGNS:
    for name in ('elman', 'gru', 'lstm'):
      if (name, design) in inside:
        fades[name, design] = verdict_rules.fades(
          _learnt_half_lag(inside[name, design])
        )
  curve = inside['lstm', 'fixed']
  sentence = '; '.join(
    f'with {_design(design)} L50 is '
    + ', '.join(
      f'{show_half_lag(inside[name, d])} ({name})'
      for name, d in fades
      if d == design
    )
    for design in DESIGNS
  )
  return _judge('2.2', fades, curve, sentence, half_lag_interval(curve))


def _attention_does_not(inside: Curves, rows: Rows) -> Verdict:
  """Flat within .01 a doubling of the lag, in both designs?"""
  flat, parts = {}, []
  for design in DESIGNS:
    curve = inside['attention', design]
    flat['attention', design] = (
      verdict_rules.flat(slope_interval(curve), FLAT) if curve.learnt else None
    )
    parts.append(
      f'with {_design(design)} accuracy changes by '
      f'{slope(curve, curve.mean):+.4f} a doubling of the lag, up to '
      f'{curve.lags[-1]}'
    )
  for curve in curves(rows):
    if curve.mixer.startswith('attention') and curve.design == 'mixed':
      if curve.lags[-1] > curve.trained_lag:
        parts.append(
          f'{curve.mixer} reaches {curve.mean[-1]:.2f} at {curve.lags[-1]}, '
          'which was never trained'
        )
  curve = inside['attention', 'fixed']
  return _judge('2.7', flat, curve, '; '.join(parts), slope_interval(curve))


def _lstm_eases(inside: Curves, rows: Rows) -> Verdict:
  """L50 above Elman's, and yet below the longest lag?"""
  holds, parts = {}, []
  for design in DESIGNS:
    lstm, elman = inside['lstm', design], inside['elman', design]
    holds['lstm', design] = verdict_rules.eases(
      _learnt_half_lag(lstm), _learnt_half_lag(elman)
    )
    variants = [
      f'{show_half_lag(inside[name, design])} ({name})'
      for name in ('elman', 'lstm', 'lstm (forget bias 3)', 'lstm (chrono)')
      if (name, design) in inside
    ]
    parts.append(f'with {_design(design)} L50 is {", ".join(variants)}')
  curve = inside['lstm', 'fixed']
  interval = _ratio_interval(curve, inside['elman', 'fixed'])
  return _judge('2.9', holds, curve, '; '.join(parts), interval)


def _learnt_half_lag(curve: Curve) -> Interval | None:
  """Returns L50 of a curve that was learnt at some lag: others cannot fade."""
  return half_lag_interval(curve) if curve.learnt else None


def _ratio_interval(lstm: Curve, elman: Curve) -> Interval | None:
  """L50(LSTM) / L50(Elman), its ends from the ends of the two; if finite."""
  ours, theirs = half_lag_interval(lstm), half_lag_interval(elman)
  if ours is None or theirs is None:
    return None
  ends = (*ours, *theirs)
  if not all(0 < end < math.inf for end in ends):
    return None
  return Interval(
    ours.value / theirs.value, ours.low / theirs.high, ours.high / theirs.low
  )


def _judge(
  claim: str,
  holds: dict[tuple[str, str], bool | None],
  curve: Curve,
  sentence: str,
  interval: Interval | None,
) -> Verdict:
  """Supported, refuted, or conditional on the design or the mixer."""
  answers = {f'{mixer} ({design})': a for (mixer, design), a in holds.items()}
  few = curve.num_seeds < MIN_SCORES
  verdict = UNDECIDED if few else judge(answers)
  if verdict == CONDITIONAL:
    sentence += f'; {condition(answers)}'
  if interval is not None and not all(map(math.isfinite, interval)):
    interval = None  # beyond the lags measured: the sentence says so
  return Verdict(
    claim,
    verdict,
    sentence=f'{sentence} (chance {curve.chance:g}).',
    quantity='effect',
    effect=interval,
    seeds=curve.num_seeds,
  )


def _design(design: str) -> str:
  return {'fixed': 'all lags equal', 'mixed': 'lags mixed'}[design]


# From a claim to the function that judges it, and the mixers that it needs.
_CLAIMS = {
  '2.2': (_recurrent_fades, ('lstm',)),
  '2.7': (_attention_does_not, ('attention',)),
  '2.9': (_lstm_eases, ('lstm', 'elman')),
}
