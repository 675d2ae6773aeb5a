"""Verdicts on claims, as lines of text or as a Markdown table.

A verdict has the fields of `seqjax.analysis.verdicts.Verdict`.
"""

import math
import textwrap
from collections.abc import Iterable
from numbers import Real
from typing import Any

from seqjax.results import table

COLUMNS = ('claim', 'verdict', 'scope', 'what was measured', 'effect', 'seeds')


def text(verdicts: Iterable[Any]) -> str:
  """Returns a paragraph per verdict, for the terminal."""
  return '\n'.join(_paragraph(verdict) for verdict in verdicts)


def markdown(verdicts: Iterable[Any]) -> str:
  """Returns a Markdown table with a row per verdict."""
  rows = [
    {
      'claim': verdict.id,
      'verdict': word(verdict),
      'scope': verdict.scope or '-',
      'what was measured': verdict.sentence,
      'effect': effect(verdict) or '-',
      'seeds': '-' if verdict.seeds is None else str(verdict.seeds),
    }
    for verdict in verdicts
  ]
  return table.markdown(rows, COLUMNS)


def word(verdict: Any) -> str:
  """Returns the verdict, with the side that it leans to where it is open."""
  leans = f', leans {verdict.leans}' if verdict.leans else ''
  return verdict.verdict + leans


def effect(verdict: Any) -> str:
  """Returns the effect with its name, interval, unit and p; '' without one.

  As in 'time of the LSTM over that of attention: 2.5 [2.1, 2.9] times, p =
  0.0002'.
  """
  known = verdict.effect is not None or verdict.low is not None
  return (f'{verdict.quantity}: ' if known else '') + size(verdict)


def size(verdict: Any) -> str:
  """Returns the number of an effect with interval, unit and p; '' without one.

  As in '2.5 [2.1, 2.9] times, p = 0.0002', or 'between 2 and 4 times' where
  only the ends of a bracket are known. What is computed, and not drawn from
  seeds, is a number alone.
  """
  p = '' if verdict.p is None else f'p = {verdict.p:.2g}'
  if verdict.effect is not None:
    said = f'{verdict.effect:.3g}'
    drawn = verdict.p is not None or verdict.seeds is not None
    if drawn or verdict.low < verdict.high:
      said += f' [{verdict.low:.3g}, {verdict.high:.3g}]'
  elif verdict.low is not None:
    said = _bracket(verdict.low, verdict.high)
  else:
    return p
  said += f' {verdict.unit}' if verdict.unit else ''
  return ', '.join(filter(None, (said, p)))


def _bracket(low: Real, high: Real) -> str:
  """Returns 'between 2 and 4', with one end where only that is known."""
  if low == 0 and math.isinf(high):
    return 'not known'
  if low == 0:
    return f'below {high:.3g}'
  return (
    f'above {low:.3g}'
    if math.isinf(high)
    else f'between {low:.3g} and {high:.3g}'
  )


def _paragraph(verdict: Any) -> str:
  scope = f'[{verdict.scope}] ' if verdict.scope else ''
  leans = f'Leans {verdict.leans}. ' if verdict.leans else ''
  measured = effect(verdict)
  measured = f' {measured[0].upper()}{measured[1:]}.' if measured else ''
  seeds = f' ({verdict.seeds} seeds)' if verdict.seeds else ''
  start = f'{verdict.id:<6}{verdict.verdict:<12}'
  return textwrap.fill(
    f'{start}{scope}{leans}{verdict.sentence}{measured}{seeds}',
    width=100,
    subsequent_indent=' ' * len(start),
    break_long_words=False,
    break_on_hyphens=False,
  )
