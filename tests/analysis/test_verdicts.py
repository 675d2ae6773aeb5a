"""Verdicts are one of four, and follow from three-valued answers."""

import itertools

import numpy as np
import pytest

from seqjax.analysis import verdicts
from seqjax.analysis.statistics import Interval


def test_a_verdict_is_one_of_four():
  """A misspelt verdict is an error that lists them."""
  verdict = verdicts.Verdict('2.1', verdicts.SUPPORTED, sentence='So.', seeds=5)
  assert verdict.verdict == 'SUPPORTED' and verdict.seeds == 5
  assert verdict.effect is verdict.low is verdict.high is None
  with pytest.raises(ValueError, match="UNDECIDED.* claim 2.1 .*'supported'"):
    verdicts.Verdict('2.1', 'supported', sentence='So.')


def test_an_effect_has_a_name():
  """A number of which nobody says what it is cannot be read."""
  effect = Interval(2.0, 1.5, 2.5)
  with pytest.raises(ValueError, match='claim 2.1 has none'):
    verdicts.Verdict('2.1', 'SUPPORTED', sentence='So.', effect=effect)
  named = verdicts.Verdict(
    '2.1', 'SUPPORTED', sentence='So.', effect=effect, quantity='ratio'
  )
  assert (named.effect, named.low, named.high) == effect


def test_a_scope_is_put_before_that_of_the_claim():
  """The machine comes first, and stands alone where the claim has none."""
  verdict = verdicts.Verdict('2.1', 'SUPPORTED', sentence='So.')
  assert verdict.within('cpu').scope == 'cpu'
  assert verdict.within('8 layers').within('cpu').scope == 'cpu; 8 layers'
  assert verdict.within('').scope == ''


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


def test_what_is_undecided_leans_to_where_most_seeds_are():
  """As many on either side lean nowhere."""
  assert verdicts.leaning(4, 5) == 'to SUPPORTED (4 of 5 seeds)'
  assert verdicts.leaning(1, 5, 'lags') == 'to REFUTED (4 of 5 lags)'
  assert verdicts.leaning(2, 4) == verdicts.leaning(0, 0) == ''


def test_answers_may_come_from_numpy():
  """As comparisons of arrays do."""
  answers = {'a': np.bool_(True), 'b': np.bool_(False)}
  assert verdicts.judge(answers) == 'CONDITIONAL'
  assert verdicts.condition(answers).startswith('it holds for a;')


@pytest.mark.parametrize('word', verdicts.VERDICTS)
@pytest.mark.parametrize(
  'devices, gpu',
  [
    (('cpu AMD EPYC',), False),
    (('TPU v4', 'cpu Intel'), False),
    ((), False),
    (('NVIDIA H200',), True),
    (('cpu AMD EPYC', 'AMD Instinct MI300X'), True),
  ],
)
def test_a_claim_about_hardware_needs_a_gpu(word, devices, gpu):
  """Without one it is at most CONDITIONAL, and says what was found."""
  verdict = verdicts.Verdict('2.1', word, sentence='So.', p=0.1)
  found = verdicts.on_hardware(verdict, devices)
  limited = not gpu and word != 'UNDECIDED'
  assert found.verdict == ('CONDITIONAL' if limited else word)
  assert found.sentence.startswith(word) == limited
  assert found.sentence.endswith('So.') and found.p == verdict.p
