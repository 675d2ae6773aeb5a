"""Verdicts on claims, as lines of text or as a Markdown table.

A verdict is any record with `id`, `verdict` (SUPPORTED, REFUTED, CONDITIONAL,
UNDECIDED), `sentence`, `effect`, `low`, `high` (an interval, or None) and
`seeds`.
"""

import textwrap
from collections.abc import Iterable
from typing import Any

from seqjax.results import table


def text(verdicts: Iterable[Any]) -> str:
  """Returns a paragraph per verdict, for the terminal."""
  return '\n'.join(_paragraph(verdict) for verdict in verdicts)


def markdown(verdicts: Iterable[Any]) -> str:
  """Returns a Markdown table with a row per verdict."""
  rows = [
    {
      'claim': verdict.id,
      'verdict': verdict.verdict,
      'what was measured': verdict.sentence,
      'effect [95 %]': effect(verdict),
      'seeds': '-' if verdict.seeds is None else str(verdict.seeds),
    }
    for verdict in verdicts
  ]
  return table.markdown(
    rows, ['claim', 'verdict', 'what was measured', 'effect [95 %]', 'seeds']
  )


def effect(verdict: Any) -> str:
  """Returns the effect and its interval, as in '2.5 [2.1, 2.9]', if known."""
  if verdict.effect is None:
    return '-'
  value = f'{verdict.effect:.3g}'
  if verdict.low is None or verdict.high is None:
    return value
  return f'{value} [{verdict.low:.3g}, {verdict.high:.3g}]'


def _paragraph(verdict: Any) -> str:
  measured = '' if verdict.effect is None else f' Effect {effect(verdict)}.'
  seeds = f' ({verdict.seeds} seeds)' if verdict.seeds else ''
  start = f'{verdict.id:<5}{verdict.verdict:<12}'
  return textwrap.fill(
    f'{start}{verdict.sentence}{measured}{seeds}',
    width=100,
    subsequent_indent=' ' * len(start),
    break_long_words=False,
    break_on_hyphens=False,
  )
