"""Computes verdicts from tables, prints them, and writes pages of them.

    python -m experiments.report                        of the committed tables
    python -m experiments.report --workdir=runs/quick   of those of another job

Beside each table, verdicts.md holds its verdicts; report/index.html, under the
workdir or under docs, shows all tables that there are, with their figures.
Verdicts of the committed tables also stand in README.md.

Nothing is measured: a rule that was changed in a claims.py is applied to the
tables that are there.
"""

import dataclasses
import pathlib

from experiments import folders, page, readme
from experiments.folders import Experiment, Rows
from seqjax import experiment
from seqjax.experiment import option
from seqjax.launch import exits
from seqjax.results import report, run, table


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of a report; --workdir is the folder of NAME/results.csv."""

  only: tuple[str, ...] = option(
    (), 'Experiments to report; without any, all that have a table.'
  )


def text(found: Experiment, rows: Rows) -> str:
  """Returns the summary of an experiment and its verdicts, for a terminal."""
  parts = found.summary(rows), report.text(found.verdicts(rows))
  return '\n\n'.join(filter(None, parts))


def markdown(found: Experiment, rows: Rows) -> str:
  """Returns the page of verdicts, below the summary; '' if there are none."""
  summary, verdicts = found.summary(rows), found.verdicts(rows)
  if not verdicts:
    return ''
  parts = [f'```text\n{summary}\n```\n'] if summary else []
  return '\n'.join([*parts, f'{report.markdown(verdicts)}\n'])


def write(found: Experiment, rows: Rows, path: pathlib.Path) -> str:
  """Writes the page of an experiment, if it has one; returns its text."""
  page = markdown(found, rows)
  if page:
    run.write_atomically(
      path, lambda temporary: temporary.write_text(page, encoding='utf-8')
    )
  return text(found, rows)


def tables(
  only: tuple[str, ...], root: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Returns the table of every experiment that has one under a folder.

  Raises:
    ValueError: an experiment that was named has no table, or none has one.
  """
  found = [folders.find(name).name for name in only or folders.names()]
  paths = {name: root / name / 'results.csv' for name in found}
  there = {name: path for name, path in paths.items() if path.is_file()}
  missing = [name for name in found if name not in there]
  if missing and (only or not there):
    raise ValueError(
      f'There is no table {str(paths[missing[0]])!r}; python -m experiments.'
      f'{missing[0]} --workdir={paths[missing[0]].parent} makes one.'
    )
  return there


def run_report(config: Config, workdir: str):
  """Reports on every table under a folder."""
  page.check()
  root = pathlib.Path(workdir).resolve()
  refused = []
  for name, path in tables(config.only, pathlib.Path(workdir)).items():
    found = folders.find(name)
    try:
      with folders.own_columns(found):
        said = write(found, table.read(path), path.with_name('verdicts.md'))
    except ValueError as error:
      refused.append(error)
      said = str(error)
    print(f'{name}\n\n{said}\n')
  print(f'Page: {write_page(root)}')
  if refused:
    raise refused[0]


def write_page(root: pathlib.Path) -> pathlib.Path:
  """Writes the page of all tables under a folder; returns its path."""
  if root == folders.ROOT:
    front = page.DOCS.parent.parent / 'README.md'
    if front.is_file():
      readme.write(front)
    return page.write_committed()
  return page.write(
    page.saved(root), root / 'report', f'results in {root.name}'
  )


def main():
  experiment.launch(
    Config, exits.guarded()(run_report), workdir=str(folders.ROOT)
  )


if __name__ == '__main__':
  main()
