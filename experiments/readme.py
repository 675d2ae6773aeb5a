"""Puts the committed verdicts into README.md, between two marks."""

import pathlib
import textwrap
from collections.abc import Iterable

from experiments import folders
from experiments.folders import Experiment
from seqjax.analysis.verdicts import CONDITIONAL, UNDECIDED, Verdict
from seqjax.results import report, table
from seqjax.results.json_files import write_atomically

BEGIN, END = '<!-- verdicts -->\n', '<!-- end of verdicts -->\n'
COLUMNS = ('claim', 'verdict', 'where', 'effect [95 %]')


def block(found: Iterable[Experiment]) -> str:
  """Returns a table of the verdicts of experiments, machine by machine.

  A table of another version of its experiment is left out: the page of results
  says which command makes it anew.
  """
  by_machine = {}
  for each in found:
    rows = table.read(each.folder / 'results.csv')
    for machine in table.machines(rows):
      by_machine.setdefault(machine, [])
    try:
      with folders.own_columns(each):
        verdicts = each.verdicts(rows)
    except ValueError:
      continue
    for verdict in verdicts:
      machine = max(
        (name for name in by_machine if verdict.scope.startswith(name)),
        key=len,
      )
      by_machine[machine].append(_line(each, verdict, machine))
  tables = [
    f'On {machine}:\n\n{table.markdown(lines, COLUMNS)}\n'
    for machine, lines in by_machine.items()
    if lines
  ]
  return '\n'.join(tables)


def _line(found: Experiment, verdict: Verdict, machine: str) -> dict[str, str]:
  """Returns a row: the claim in words, how it came out, and where."""
  claim = found.claims.get(verdict.id)
  return {
    'claim': f'{verdict.id} {claim.statement if claim else ""}'.strip(),
    'verdict': _word(verdict),
    'where': verdict.scope.removeprefix(machine).removeprefix('; ') or '-',
    'effect [95 %]': report.effect(verdict) or '-',
  }


def _word(verdict: Verdict) -> str:
  """Returns how a claim came out, and for what it holds or what is missing."""
  word = report.word(verdict)
  bare = verdict.verdict == UNDECIDED and not report.effect(verdict)
  if verdict.verdict != CONDITIONAL and not bare:
    return word
  condition = verdict.sentence.partition('. ')[0].removeprefix('The claim ')
  return textwrap.shorten(f'{word}: {condition}', 160, placeholder=' ...')


def with_verdicts(readme: str, found: Iterable[Experiment]) -> str:
  """Puts the tables between the two marks of a page."""
  before, rest = readme.split(BEGIN)
  _, after = rest.split(END)
  return before + BEGIN + block(found) + END + after


def judged() -> list[Experiment]:
  """Returns the experiments that have claims and a committed table."""
  found = map(folders.find, folders.names())
  return [
    each
    for each in found
    if each.claims and (each.folder / 'results.csv').is_file()
  ]


def write(path: pathlib.Path):
  """Writes a README.md anew."""
  text = with_verdicts(path.read_text(encoding='utf-8'), judged())
  write_atomically(path, lambda new: new.write_text(text, encoding='utf-8'))
