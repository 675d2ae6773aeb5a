"""Verdicts as people read them."""

from typing import NamedTuple

from seqjax.results import report


class Verdict(NamedTuple):
  id: str
  verdict: str
  sentence: str
  effect: float | None = None
  low: float | None = None
  high: float | None = None
  seeds: int | None = None


VERDICTS = [
  Verdict('2.1', 'SUPPORTED', 'A scan takes T steps.', 1.0123, 0.98, 1.0456),
  Verdict('2.2', 'UNDECIDED', 'Recall fades | stays.', 0.5, seeds=3),
  Verdict('2.6', 'REFUTED', 'Nothing crosses.'),
]


def test_a_paragraph_says_what_is_known_and_no_more():
  """Interval and seeds only where there are any."""
  assert report.text(VERDICTS).splitlines() == [
    '2.1  SUPPORTED   A scan takes T steps. Effect 1.01 [0.98, 1.05].',
    '2.2  UNDECIDED   Recall fades | stays. Effect 0.5. (3 seeds)',
    '2.6  REFUTED     Nothing crosses.',
  ]


def test_a_long_sentence_is_wrapped_under_itself():
  """A hundred columns, the continuation indented."""
  long = Verdict('2.1', 'SUPPORTED', 'word ' * 40 + 'end.')
  first, *rest = report.text([long]).splitlines()
  assert rest and len(first) <= 100
  assert all(line.startswith(' ' * 17 + 'word') for line in rest)


def test_a_markdown_row_holds_effect_and_interval():
  """One row a verdict; a bar inside is escaped."""
  lines = report.markdown(VERDICTS).splitlines()
  assert len(lines) == 5
  assert lines[2] == (
    '| 2.1 | SUPPORTED | A scan takes T steps. | 1.01 [0.98, 1.05] | - |'
  )
  assert 'fades \\| stays' in lines[3] and lines[3].endswith('| 0.5 | 3 |')
