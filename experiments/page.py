"""Writes the page of results: one HTML file, and its figures beside it.

The page opens from a disk: it has no script, and asks no network for anything.
It is made from tables and figures alone, so that it can be written again at any
time.
"""

import functools
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments import drawing, folders
from experiments.drawing import Drawing
from experiments.folders import Experiment, Rows
from seqjax import errors
from seqjax.analysis.verdicts import UNDECIDED, VERDICTS, Claim, Verdict
from seqjax.results import records, report, table
from seqjax.results.environment import ENVIRONMENT_COLUMNS
from seqjax.results.json_files import write_atomically

DOCS = folders.ROOT.parent / 'docs' / 'report'  # of the committed tables
TEMPLATE = 'page.html.jinja'
MOST_LINES = 40  # of a text that is open from the start
MOST_ROWS = 20  # of a table without a summary that the page shows


class Part(NamedTuple):
  """An experiment, and the files that its part of the page is made from.

  Attributes:
    found: the experiment.
    table: the file of its rows; None where no cell has finished.
    figure: the file of its figure; None where there is none.
    command: made them; '' where that is not known.
    failed: the folder of each cell that failed, and the reason.
    cells: how many cells there are, with those that failed.
  """

  found: Experiment
  table: pathlib.Path | None
  figure: pathlib.Path | None
  command: str = ''
  failed: Sequence[tuple[str, str]] = ()
  cells: int = 0


class Judged(NamedTuple):
  """A claim with its verdicts: one for each machine, and for each of its parts.

  `claim` is None where the experiment has verdicts without a claim in words.
  """

  id: str
  claim: Claim | None
  verdicts: Sequence[Verdict]


class Section:
  """The page's part on one experiment, as the template reads it.

  Attributes:
    part: the experiment.
    rows: those of its table.
    name, question, aim: what it is called, and what it asks.
    judged: its claims.
    summaries: {machine: its summary}; {} of an experiment without one.
    trouble: why the rows could not be judged; '' where they could.
    figure: its size and words; None where there is none.
    lacks: why there is none.
  """

  def __init__(self, part: Part, to: pathlib.Path):
    self.part, self.to = part, to
    self.rows = table.read(part.table) if part.table else []
    self.name = part.found.name
    self.question, self.aim = part.found.question, part.found.aim
    verdicts, self.trouble = _attempt(
      part.found, part.found.verdicts, self.rows
    )
    self.judged = _judged(
      part.found, [_of_failed(v, part.failed) for v in verdicts or []],
      self.trouble,
    )  # fmt: skip
    summaries, trouble = _attempt(part.found, part.found.summaries, self.rows)
    self.summaries = summaries or {}
    self.trouble = self.trouble or trouble
    self.figure, self.lacks = _drawing(part)

  @property
  def table(self) -> str:
    """The way from the page to the file of the table."""
    return os.path.relpath(self.part.table, self.to).replace(os.sep, '/')

  @property
  def columns(self) -> list[str]:
    """The columns that the page shows where there is no summary."""
    hidden = {*ENVIRONMENT_COLUMNS, records.RUN, records.RUN_SECONDS}
    first = self.rows[0] if self.rows else {}
    return [
      name
      for name, value in first.items()
      if name not in hidden and not isinstance(value, tuple)
    ]

  @property
  def shown_rows(self) -> list[list[str]]:
    return table.shown(self.rows[:MOST_ROWS], self.columns)[1:]

  @property
  def time(self) -> str:
    """Seconds that the runs took in all; '' where that was not recorded."""
    machines = table.machines(self.rows).values()
    seconds = [records.total_seconds(rows) for rows in machines]
    if not seconds or None in seconds:
      return ''
    runs = sum(len({row[records.RUN] for row in rows}) for rows in machines)
    return f'{duration(sum(seconds))}, summed over {plural(runs, "run")}'


def check():
  """Raises ModuleNotFoundError, which names the extra, without jinja2."""
  errors.require({'jinja2': 'report'})


def saved(root: pathlib.Path) -> list[Part]:
  """Returns a part for each experiment that has a table under a folder."""
  parts = []
  for found in map(folders.find, folders.names()):
    path, figure = (
      root / found.name / n for n in ('results.csv', 'figure.svg')
    )
    if path.is_file():
      command = _command(found, root)
      parts.append(Part(found, path, _there(figure), command))
  return parts


def _there(path: pathlib.Path) -> pathlib.Path | None:
  return path if path.is_file() else None


def _command(found: Experiment, root: pathlib.Path) -> str:
  """Returns the command behind a table; '' where the folder does not say."""
  presets = folders.COMMITTED if root == folders.ROOT else (root.name,)
  named = [preset for preset in presets if preset in found.presets]
  return command(found, named[0]) if named else ''


def command(found: Experiment, preset: str) -> str:
  """Returns the command that runs one experiment with a preset."""
  return f'python -m experiments.{found.name} --preset={preset}'


def write(
  parts: Sequence[Part], to: pathlib.Path, subject: str
) -> pathlib.Path:
  """Writes `index.html` and the figures into a folder; returns its path.

  Args:
    parts: the experiments, in any order: those with claims come first.
    to: the folder, which is made.
    subject: says in a few words whose results they are.

  Raises:
    ModuleNotFoundError: jinja2 is missing; names the extra.
  """
  check()
  sections = [Section(part, to) for part in parts]
  sections.sort(key=lambda section: not section.judged)
  _copy_figures(sections, to / 'figures')
  html = _template().render(
    subject=subject,
    sections=sections,
    counts=_counts(sections),
    environments=_environments(sections),
  )
  index = to / 'index.html'
  write_atomically(index, lambda path: path.write_text(html, encoding='utf-8'))
  return index


def write_committed() -> pathlib.Path:
  """Writes the page of all tables that are committed; returns its path."""
  return write(saved(folders.ROOT), DOCS, 'committed results')


@functools.cache
def _template():
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters |= {
    'size': report.size,
    'slug': slug,
    'plural': plural,
    'basename': os.path.basename,
  }
  environment.globals |= {'MOST_LINES': MOST_LINES, 'MOST_ROWS': MOST_ROWS}
  return environment.get_template(TEMPLATE)


def _attempt(found: Experiment, make: Callable, rows: Rows) -> tuple[Any, str]:
  """Returns what is made of rows and '', or None and why it could not be."""
  if not rows:
    return None, 'No cell has finished, so there are no rows to judge it by.'
  try:
    with folders.own_columns(found):
      return make(rows), ''
  except ValueError as error:
    return None, str(error)
  except Exception as error:  # other experiments keep their parts of the page
    return None, f'{type(error).__name__}: {error}'


def _of_failed(verdict: Verdict, failed: Sequence[tuple[str, str]]) -> Verdict:
  """Returns what is left of a verdict where cells of its experiment failed.

  A claim is not decided by those that happened to finish.
  """
  if not failed:
    return verdict
  folder, why = failed[0]
  said = (
    f'{plural(len(failed), "cell")} failed, {os.path.basename(folder)}: {why}'
  )
  return verdict._replace(
    verdict=UNDECIDED, sentence=f'{said} {verdict.sentence}'
  )


def _judged(
  found: Experiment, verdicts: Sequence[Verdict], trouble: str
) -> list[Judged]:
  """Groups verdicts by claim; a claim that could not be judged is undecided."""
  claims = found.claims
  by_claim = {id: [] for id in claims}
  for verdict in verdicts:
    by_claim.setdefault(claim_of(verdict.id, claims), []).append(verdict)
  return [
    Judged(
      id,
      claims.get(id),
      judged
      or [Verdict(id, UNDECIDED, sentence=trouble or 'It was not judged.')],
    )
    for id, judged in by_claim.items()
  ]


def claim_of(id: str, claims: Sequence[str]) -> str:
  """Returns the claim that a verdict is on, whole or in part; else its own id.

  '2.1 training' is a part of '2.1', and '2.10' is none.
  """
  of = [c for c in claims if re.match(rf'{re.escape(c)}(?!\d)', id)]
  return max(of, key=len, default=id)


def _drawing(part: Part) -> tuple[Drawing | None, str]:
  """Reads a figure and returns it with ''; or None and why there is none."""
  if part.figure is None:
    why = 'it is drawn once all cells have finished' if part.failed else ''
    return None, f'There is no figure{"; " if why else ""}{why}.'
  try:
    return drawing.read(part.figure), ''
  except ValueError as error:
    return None, str(error)


def _copy_figures(sections: Sequence[Section], to: pathlib.Path):
  """Copies the figures that the page shows; removes those of an earlier one."""
  to.mkdir(parents=True, exist_ok=True)
  shown = {f'{s.name}.svg': s.part.figure for s in sections if s.figure}
  for name, source in shown.items():
    copy = functools.partial(shutil.copyfile, source)
    write_atomically(to / name, copy)
  for path in to.glob('*.svg'):
    if path.name not in shown:
      path.unlink()


def _counts(sections: Sequence[Section]) -> dict[str, int]:
  """Returns how many verdicts there are of each kind that there is."""
  found = [v.verdict for s in sections for j in s.judged for v in j.verdicts]
  return {name: found.count(name) for name in VERDICTS if name in found}


def _environments(
  sections: Sequence[Section],
) -> dict[tuple[str, ...], list[str]]:
  """Returns {machine and versions: the experiments that ran there}."""
  found = {}
  for section in sections:
    for row in section.rows:
      place = tuple(str(row.get(c) or 'unknown') for c in ENVIRONMENT_COLUMNS)
      names = found.setdefault(place, [])
      if section.name not in names:
        names.append(section.name)
  return found


def slug(*parts: str) -> str:
  """Returns a name for an anchor: letters, digits and hyphens."""
  return re.sub(r'[^a-z0-9]+', '-', '-'.join(parts).lower()).strip('-')


def plural(count: int, noun: str) -> str:
  """Returns '1 cell', '1,450 cells'."""
  return f'{count:,} {noun}{"s" * (count != 1)}'


def duration(seconds: float) -> str:
  """Returns seconds, from two minutes on with minutes or hours before them."""
  said = f'{seconds:,.0f} s' if seconds >= 10 else f'{seconds:.2g} s'
  for unit, name in ((3600, 'hours'), (60, 'minutes')):
    if seconds >= 2 * unit:
      return f'{seconds / unit:.1f} {name} ({said})'
  return said
