"""Finds experiments by their folders, and fills in what a folder leaves out."""

import contextlib
import functools
import importlib
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from seqjax import errors, experiment
from seqjax.analysis.statistics import MIN_SCORES
from seqjax.analysis.verdicts import UNDECIDED, Claim, Verdict
from seqjax.launch import programs
from seqjax.results import table

ROOT = pathlib.Path(__file__).resolve().parent
# The presets that an experiment may have, and what each is for.
PRESETS = {
  'first': 'what scripts/run.sh runs: minutes on two cores',
  'quick': 'every question on few cells',
  'full': 'the results that are committed',
  'gpu': 'the lengths that a GPU deserves',
  'benchmark': 'seqjax beside other libraries, committed too',
}
COMMITTED = ('full', 'benchmark')
MORE = 3  # factor of seeds or updates suggested for an undecided claim

Axes = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]


def names() -> list[str]:
  """Returns the names of all experiments, in alphabetical order."""
  return sorted(path.parent.name for path in ROOT.glob('*/sweep.py'))


def find(name: str) -> 'Experiment':
  """Returns an experiment; ValueError with a suggestion if it is unknown."""
  if name not in names():
    raise ValueError(errors.unknown('experiment', name, names()))
  return Experiment(name)


def commands_in(sentence: str) -> list[str]:
  """Returns the commands that the sentence of a verdict names.

  Values of options with a blank in them are quoted, as in a shell.
  """
  option = r" --\w+=(?:'[^']*'|[\w.:,+-]*[\w+])"
  return re.findall(rf'python -m experiments(?:\.\w+)+(?:{option})*', sentence)


def _more_seeds(seeds: int) -> int:
  """Returns how many seeds may decide what so many do not.

  Those that an interval needs, where there are fewer: a verdict says so.
  """
  return MIN_SCORES if seeds < MIN_SCORES else MORE * seeds


@contextlib.contextmanager
def own_columns(found: 'Experiment') -> Iterator[None]:
  """Raises ValueError where a table has no column that an experiment needs."""
  try:
    yield
  except errors.UnknownName:
    raise
  except KeyError as error:
    raise ValueError(
      f'The table has no column {error.args[0]!r}: its rows are not of the '
      f'experiment {found.name!r}, or of another version. The command python '
      f'-m experiments.{found.name} makes a new one.'
    ) from error


class Experiment:
  """The files of one folder, with defaults for what they do not define.

  `main.py` has `Config` and `run(config, workdir, mixers)`. `sweep.py` has
  `PRESETS`, {preset: {axis: value}}. Everything else is optional:

      main.check(config, mixers)  raises ValueError for what `run` would refuse
      main.WHOLE_MODELS        whether whole models may stand in the place of
                               mixers, see `experiments.whole` (False)
      sweep.cells(**axes)      the configs; by default the grid over the axes
      sweep.shared(config)     equal for cells that run one after the other in
                               one process and share what is compiled; by
                               default a config without its seed and rate
      sweep.ALONE              whether cells need the machine alone (False)
      sweep.TIMED              values of the column `property` that are times,
                               and not compared with another device's (none)
      sweep.APART              whether cells that `shared` tells apart never
                               run in one process (False)
      sweep.tabulate(rows)     the table, from the rows of all cells
      plot.draw(rows, path)    the figure
      claims.CLAIMS            {id: `seqjax.analysis.verdicts.Claim`}
      claims.verdicts(rows)    a list of `seqjax.analysis.verdicts.Verdict`, of
                               the rows of one machine
      sweep.HELP               {axis: help text}, for axes that are no fields
      claims.summary(rows)     the text that is printed above the verdicts

  An axis is named like the field of Config that it sets, or by its plural. A
  tuple gives one cell for each value; `seeds=5` stands for the seeds 0 to 4.
  """

  def __init__(self, name: str):
    self.name = name

  @property
  def folder(self) -> pathlib.Path:
    return ROOT / self.name

  @functools.cached_property
  def main(self) -> ModuleType:
    return self._module('main')

  @functools.cached_property
  def sweep(self) -> ModuleType:
    return self._module('sweep')

  @property
  def aim(self) -> str:
    """The first paragraph of `main`, as `--help` begins with it."""
    return ' '.join((self.main.__doc__ or '').split('\n\n')[0].split())

  @property
  def question(self) -> str:
    """The heading of its README; its aim where there is none."""
    page = self.folder / 'README.md'
    text = page.read_text(encoding='utf-8') if page.exists() else ''
    heading = re.search(r'^# (.+)', text, re.MULTILINE)
    return heading[1].strip() if heading else self.aim

  @property
  def presets(self) -> dict[str, Axes]:
    """The presets; ValueError for a name that no runner would ask for."""
    for name in self.sweep.PRESETS:
      experiment.choose(PRESETS, name, f'preset of {self.name}')
    return self.sweep.PRESETS

  @property
  def alone(self) -> bool:
    return getattr(self.sweep, 'ALONE', False)

  @property
  def timed(self) -> Sequence[str]:
    return getattr(self.sweep, 'TIMED', ())

  @property
  def takes_models(self) -> bool:
    return getattr(self.main, 'WHOLE_MODELS', False)

  @property
  def apart(self) -> bool:
    return getattr(self.sweep, 'APART', False)

  def axes(self, preset: str) -> dict[str, Any]:
    """Returns the axes of a preset; ValueError if there is no such preset."""
    return dict(
      experiment.choose(self.presets, preset, f'preset of {self.name}')
    )

  @property
  def make_cells(self) -> Callable[..., list[Any]] | None:
    """The function that makes cells of axes; None: they are the grid."""
    return getattr(self.sweep, 'cells', None)

  def check(self, configs: Iterable[Any]):
    """Refuses what would fail, before any cell runs.

    Raises:
      ValueError: `run` would refuse a config.
      ModuleNotFoundError: the figure could not be drawn, or the page not be
        written; names the extras.
    """
    drawn = self._module('plot', optional=True) is not None
    plot = {'matplotlib': 'plot'} if drawn else {}
    errors.require(plot | {'jinja2': 'report'})
    programs.check(self.main, configs)

  def groups(self, cells: Iterable[Any], key=lambda cell: cell) -> list[list]:
    """Splits cells, which may be wrapped, into groups that run in one go."""
    shared = getattr(self.sweep, 'shared', experiment.without_seed_and_rate)
    groups = {}
    for cell in cells:
      groups.setdefault(shared(key(cell)), []).append(cell)
    return list(groups.values())

  def tabulate(self, rows: Rows) -> Rows:
    return getattr(self.sweep, 'tabulate', lambda rows: rows)(rows)

  def draw(self, rows: Rows, path: str) -> bool:
    """Draws the figure; returns False where there is nothing to draw."""
    plot = self._module('plot', optional=True)
    return plot is not None and plot.draw(rows, path) is not False

  @property
  def claims(self) -> dict[str, Claim]:
    """The claims that it judges; empty where it judges none."""
    claims = self._module('claims', optional=True)
    return getattr(claims, 'CLAIMS', {})

  def verdicts(self, rows: Rows) -> list[Verdict]:
    """Judges the claims on each machine that rows come from, never mixed.

    What is undecided names the command that may decide it.
    """
    claims = self._module('claims', optional=True)
    judge = getattr(claims, 'verdicts', lambda rows: [])
    return [
      self._with_command(verdict.within(machine), part)
      for machine, part in table.machines(rows).items()
      for verdict in judge(part)
    ]

  def _with_command(self, verdict: Verdict, rows: Rows) -> Verdict:
    """Adds the command to an undecided verdict that does not name one.

    It is the whole preset where fewer seeds were run. Else its options are
    those that the claim knows, or three times the updates where the reason is
    that few seeds have learnt, or more seeds. A verdict on which an experiment
    has nothing longer to run is left as it is.
    """
    if verdict.verdict != UNDECIDED or commands_in(verdict.sentence):
      return verdict
    preset = self._whole_preset
    whole, more, seeds = self.presets[preset], verdict.more, verdict.seeds
    if seeds is not None and seeds < whole.get('seeds', 0):
      more = ''  # those of the preset are more
    elif not more and 'steps' in whole and 'learnt by' in verdict.sentence:
      more = f'--steps={MORE * max(row["steps"] for row in rows)}'
    elif not more and 'seeds' in whole and seeds is not None:
      more = f'--seeds={_more_seeds(seeds)}'
    elif not more and preset not in COMMITTED:
      return verdict
    command = f'python -m experiments.{self.name} --preset={preset} {more}'
    return verdict._replace(
      sentence=f'{verdict.sentence} This may decide it: {command.strip()}.'
    )

  @property
  def _whole_preset(self) -> str:
    """The longest preset of those that the experiment has, on any machine."""
    order = (*COMMITTED, 'quick', 'first', 'gpu')
    return next(name for name in order if name in self.presets)

  def summaries(self, rows: Rows) -> dict[str, str]:
    """Returns {machine: the text above its verdicts}, where there is one."""
    claims = self._module('claims', optional=True)
    summary = getattr(claims, 'summary', lambda rows: '')
    said = {name: summary(part) for name, part in table.machines(rows).items()}
    return {machine: text for machine, text in said.items() if text}

  def summary(self, rows: Rows) -> str:
    """Returns the text above the verdicts, machine by machine."""
    said = self.summaries(rows)
    if len(said) < 2:
      return ''.join(said.values())
    return '\n\n'.join(f'On {name}:\n\n{text}' for name, text in said.items())

  def _module(self, part: str, optional: bool = False) -> ModuleType | None:
    if (self.folder / f'{part}.py').exists():
      return importlib.import_module(f'experiments.{self.name}.{part}')
    if optional:
      return None
    raise ValueError(f'The experiment {self.name!r} lacks its {part}.py.')
