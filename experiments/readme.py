"""Puts the committed verdicts into README.md, between two marks."""

import pathlib
from collections.abc import Iterable

from experiments import folders
from experiments.folders import Experiment
from seqjax.results import report, table
from seqjax.results.json_files import write_atomically

BEGIN, END = '<!-- verdicts -->\n', '<!-- end of verdicts -->\n'
COLUMNS = ('claim', 'verdict', 'effect [95 %]')


def block(found: Iterable[Experiment]) -> str:
  """Returns a table of the verdicts of experiments, machine by machine."""
  by_machine = {}
  for each in found:
    rows = table.read(each.folder / 'results.csv')
    for machine, part in table.machines(rows).items():
      lines = by_machine.setdefault(machine, [])
      lines += [_line(each, verdict) for verdict in each.verdicts(part)]
  tables = [
    f'On {machine}:\n\n{table.markdown(lines, COLUMNS)}\n'
    for machine, lines in by_machine.items()
    if lines
  ]
  return '\n'.join(tables)


def _line(found: Experiment, verdict) -> dict[str, str]:
  """Returns a row: the claim in words, and how it came out."""
  claim = found.claims.get(verdict.id)
  return {
    'claim': f'{verdict.id} {claim.statement if claim else ""}'.strip(),
    'verdict': report.word(verdict),
    'effect [95 %]': report.effect(verdict) or '-',
  }


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
