"""Verdicts are one of four, and follow from three-valued answers."""

import itertools

import pytest

from seqjax.analysis import verdicts


def test_a_verdict_is_one_of_four():
  """A misspelt verdict is an error that lists them."""
  rest = ('LSTM scans cost more.', 2.0, 1.5, 2.5, 5)
  verdict = verdicts.Verdict('2.1', verdicts.SUPPORTED, *rest)
  assert verdict.verdict == 'SUPPORTED' and verdict.seeds == 5
  with pytest.raises(ValueError, match="UNDECIDED.* claim 2.1 .*'supported'"):
    verdicts.Verdict('2.1', 'supported', *rest)


def test_a_verdict_follows_from_every_set_of_answers():
  """Worked out for all 27 triples by counting, not by sets."""
  for answers in itertools.product((True, False, None), repeat=3):
    yes, no = answers.count(True), answers.count(False)
    expected = 'UNDECIDED'
    if yes == 3:
      expected = 'SUPPORTED'
    elif no == 3:
      expected = 'REFUTED'
    elif yes and no:
      expected = 'CONDITIONAL'
    assert verdicts.judge(dict(zip('abc', answers, strict=True))) == expected


def test_no_answer_decides_nothing():
  """A claim that was tried nowhere is open."""
  assert verdicts.judge({}) == 'UNDECIDED'


def test_a_condition_names_every_setting_with_its_answer():
  """Settings that are undecided are named, too."""
  answers = {'a': True, 'b': False, 'c': True, 'd': None}
  assert verdicts.condition(answers) == (
    'it holds for a, c; it does not hold for b; it is undecided for d'
  )
  assert verdicts.condition({'a': None}) == 'it is undecided for a'
