"""Verdicts as people read them."""

import math

import pytest

from seqjax.analysis.statistics import Interval
from seqjax.analysis.thresholds import Bracket
from seqjax.analysis.verdicts import Verdict
from seqjax.results import report

VERDICTS = [
  Verdict(
    '2.1',
    'SUPPORTED',
    scope='cpu, 2 cores',
    sentence='A scan takes T steps.',
    quantity='time of the scan over attention',
    unit='times',
    effect=Interval(1.0123, 0.98, 1.0456),
    p=0.000123,
  ),
  Verdict(
    '2.2',
    'UNDECIDED',
    sentence='Recall fades | stays.',
    seeds=3,
    leans='to REFUTED (2 of 3 seeds)',
  ),
  Verdict('2.6', 'REFUTED', sentence='Nothing crosses.', p=0.01),
]


def test_a_paragraph_says_what_is_known_and_no_more():
  """Scope, effect, leaning and seeds stand only where there are any."""
  first, *rest = report.text(VERDICTS).splitlines()
  assert first + ' ' + rest[0].strip() == (
    '2.1   SUPPORTED   [cpu, 2 cores] A scan takes T steps. Time of the scan '
    'over attention: 1.01 [0.98, 1.05] times, p = 0.00012.'
  )
  assert rest[1:] == [
    '2.2   UNDECIDED   Leans to REFUTED (2 of 3 seeds). Recall fades | stays. '
    '(3 seeds)',
    '2.6   REFUTED     Nothing crosses. P = 0.01.',
  ]


def test_a_long_sentence_is_wrapped_under_itself():
  """A hundred columns, the continuation indented."""
  long = Verdict('2.1', 'SUPPORTED', sentence='word ' * 40 + 'end.')
  first, *rest = report.text([long]).splitlines()
  assert rest and len(first) <= 100
  assert all(line.startswith(' ' * 18 + 'word') for line in rest)


def test_a_markdown_row_holds_scope_effect_and_interval():
  """One row a verdict; a bar inside is escaped."""
  lines = report.markdown(VERDICTS).splitlines()
  assert len(lines) == 5
  assert lines[2] == (
    '| 2.1 | SUPPORTED | cpu, 2 cores | A scan takes T steps. | time of the '
    'scan over attention: 1.01 [0.98, 1.05] times, p = 0.00012 | - |'
  )
  assert 'fades \\| stays' in lines[3] and lines[3].endswith('| - | 3 |')
  assert 'UNDECIDED, leans to REFUTED (2 of 3 seeds)' in lines[3]


@pytest.mark.parametrize(
  'ends, said',
  [
    ((2, 8), 'between 2 and 8 times'),
    ((2, math.inf), 'above 2 times'),
    ((0, 8), 'below 8 times'),
    ((0, math.inf), 'not known times'),
  ],
)
def test_of_a_bracket_only_the_ends_are_said(ends, said):
  """No value between them was measured."""
  verdict = Verdict(
    '2.9', 'SUPPORTED', sentence='So.', quantity='ratio', unit='times',
    effect=Bracket(*ends),
  )  # fmt: skip
  assert report.effect(verdict) == f'ratio: {said}'


def test_what_is_computed_has_no_interval():
  """Seeds that agree have one, of no width."""
  shared = {'sentence': 'So.', 'quantity': 'checks', 'unit': 'of 9'}
  shared['effect'] = Interval(9, 9, 9)
  assert report.size(Verdict('0.1', 'SUPPORTED', **shared)) == '9 of 9'
  drawn = Verdict('0.1', 'SUPPORTED', seeds=3, **shared)
  assert report.size(drawn) == '9 [9, 9] of 9'
  tested = Verdict('0.1', 'SUPPORTED', p=0.5, **shared)
  assert report.size(tested) == '9 [9, 9] of 9, p = 0.5'
