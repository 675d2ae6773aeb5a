"""Verdicts on claims, from answers that are true, false or unknown."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from seqjax.analysis.statistics import Interval
from seqjax.analysis.thresholds import Bracket

SUPPORTED = 'SUPPORTED'
REFUTED = 'REFUTED'
CONDITIONAL = 'CONDITIONAL'
UNDECIDED = 'UNDECIDED'
VERDICTS = (SUPPORTED, REFUTED, CONDITIONAL, UNDECIDED)

Answer = bool | np.bool_ | None


class Claim(NamedTuple):
  """A claim of the textbooks, and the rule that it is judged by.

  Attributes:
    statement: the claim in one sentence, as a textbook would put it.
    rule: what is measured, and which outcome counts for which verdict.
  """

  statement: str
  rule: str


class _Verdict(NamedTuple):
  id: str
  verdict: str
  scope: str
  quantity: str
  unit: str
  effect: float | None
  low: float | None
  high: float | None
  p: float | None
  seeds: int | None
  sentence: str
  leans: str
  more: str


class Verdict(_Verdict):
  """A verdict on one claim, with the measurement behind it.

  Attributes:
    id: of the claim, or of one of its parts.
    verdict: one of VERDICTS.
    scope: where it holds: the machine, the number of parameters, the budget.
    quantity: the effect in words, as 'accuracy lost from lag 1 to lag 128'.
    unit: of the effect, as 'times'; '' where the quantity says it.
    effect, low, high: the effect and its 95 % interval; None if there is no
      effect. For a ratio of thresholds only the ends of its bracket are known,
      and `effect` is None. For a refuted claim, the most favourable case.
    p: of the claim's one test, which is made at LEVEL; None without one.
    seeds: how many runs stand behind it; None where nothing is trained.
    sentence: the claim as it came out, with its condition or with the reason
      why nothing was decided.
    leans: the side that an undecided claim leans to, as 'to REFUTED (4 of 5
      seeds)'; else ''.
    more: the options of a longer run that may decide it, as '--seeds=33', where
      the claim knows them; else ''.
  """

  __slots__ = ()

  def __new__(
    cls,
    id: str,
    verdict: str,
    *,
    sentence: str,
    scope: str = '',
    quantity: str = '',
    unit: str = '',
    effect: Interval | Bracket | None = None,
    p: float | None = None,
    seeds: int | None = None,
    leans: str = '',
    more: str = '',
  ):
    """Makes a verdict; `effect` has a `quantity`.

    Raises:
      ValueError: there is no such verdict, or the effect has no name.
    """
    if verdict not in VERDICTS:
      raise ValueError(
        f'A verdict is one of {", ".join(VERDICTS)}, '
        f'but claim {id} was given {verdict!r}.'
      )
    if effect is not None and not quantity:
      raise ValueError(
        f'An effect has a quantity, in words, but that of claim {id} has none.'
      )
    value, low, high = (None, None, None)
    if effect is not None:
      value, low, high = effect if len(effect) == 3 else (None, *effect)
    return super().__new__(
      cls, id, verdict, scope, quantity, unit, value, low, high, p, seeds,
      sentence, leans, more,
    )  # fmt: skip

  def within(self, scope: str) -> 'Verdict':
    """Returns the verdict with a scope before its own."""
    return self._replace(scope='; '.join(filter(None, (scope, self.scope))))


def lacking(claim: str, names: Iterable[str], command: str) -> Verdict:
  """Returns the verdict on a claim of which rows are missing.

  Args:
    claim: its id.
    names: whose rows are missing.
    command: what makes them.
  """
  sentence = f'There are no rows of {", ".join(names)}; {command} makes them.'
  return Verdict(claim, UNDECIDED, sentence=sentence)


def on_hardware(verdict: Verdict, devices: Iterable[str]) -> Verdict:
  """Returns the verdict on a claim about hardware in general.

  Without a GPU among the devices that were measured it is at most CONDITIONAL:
  what holds on a CPU says nothing about a GPU.

  Args:
    verdict: what was found on the devices.
    devices: their names, as in the column `device` of a table.
  """
  others = ('cpu', 'tpu')
  gpu = any(not name.lower().startswith(others) for name in devices)
  if gpu or verdict.verdict == UNDECIDED:
    return verdict
  return verdict._replace(
    verdict=CONDITIONAL,
    sentence=f'{verdict.verdict} on this machine; no GPU was measured, so '
    f'this does not apply to GPUs. {verdict.sentence}',
  )


def judge(answers: Mapping[str, Answer]) -> str:
  """Returns the verdict on a claim that was tried in several settings.

  Args:
    answers: {setting: whether the claim holds there}, None where the samples
      do not say.

  Returns:
    SUPPORTED or REFUTED where all settings agree, CONDITIONAL where the claim
    holds in some and fails in others, UNDECIDED otherwise: an unknown answer
    never counts for either side.
  """
  found = set(answers.values())
  if found == {True}:
    return SUPPORTED
  if found == {False}:
    return REFUTED
  return CONDITIONAL if {True, False} <= found else UNDECIDED


def leaning(yes: int, of: int, unit: str = 'seeds') -> str:
  """Returns the side that most of a few lean to, as `Verdict.leans` has it.

  'to SUPPORTED (4 of 5 seeds)'; '' where as many say yes as no.
  """
  if 2 * yes == of:
    return ''
  side, count = (SUPPORTED, yes) if 2 * yes > of else (REFUTED, of - yes)
  return f'to {side} ({count} of {of} {unit})'


def condition(answers: Mapping[str, Answer]) -> str:
  """Returns a clause that names the settings by their answers.

  'it holds for a, b; it does not hold for c; it is undecided for d'
  """
  answers = {
    name: None if answer is None else bool(answer)
    for name, answer in answers.items()
  }
  phrases = {
    True: 'it holds for {}',
    False: 'it does not hold for {}',
    None: 'it is undecided for {}',
  }
  parts = []
  for answer, phrase in phrases.items():
    settings = [name for name, given in answers.items() if given is answer]
    if settings:
      parts.append(phrase.format(', '.join(settings)))
  return '; '.join(parts)
