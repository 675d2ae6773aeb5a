"""Finds experiments by their folders, and fills in what a folder leaves out."""

import dataclasses
import functools
import importlib
import inspect
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from seqjax import errors, experiment

ROOT = pathlib.Path(__file__).resolve().parent
# The presets that an experiment may have, and what each is for.
PRESETS = {
  'first': 'what scripts/run.sh runs: minutes on two cores',
  'quick': 'every question on few cells',
  'full': 'the results that are committed',
  'gpu': 'the lengths that a GPU deserves',
  'benchmark': 'seqjax beside other libraries; committed, too',
}
COMMITTED = ('full', 'benchmark')

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


class Experiment:
  """The files of one folder, with defaults for what they do not define.

  `main.py` has `Config` and `run(config, workdir, mixers)`. `sweep.py` has
  `PRESETS`, {preset: {axis: value}}. Everything else is optional:

      main.check(config, mixers)  raises ValueError for what `run` would refuse
      sweep.cells(**axes)      the configs; by default the grid over the axes
      sweep.shared(config)     equal for cells that share a process, and with
                               it what is compiled; by default a config without
                               its seed and learning rate
      sweep.ALONE              whether cells need the machine alone (False)
      sweep.tabulate(rows)     the table, from the rows of all cells
      plot.draw(rows, path)    the figure
      claims.verdicts(rows)    a list of `seqjax.analysis.verdicts.Verdict`
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
  def presets(self) -> dict[str, Axes]:
    """The presets; ValueError for a name that no runner would ask for."""
    for name in self.sweep.PRESETS:
      experiment.choose(PRESETS, name, f'preset of {self.name}')
    return self.sweep.PRESETS

  @property
  def alone(self) -> bool:
    return getattr(self.sweep, 'ALONE', False)

  def axes(self, preset: str) -> dict[str, Any]:
    """Returns the axes of a preset; ValueError if there is no such preset."""
    return dict(
      experiment.choose(self.presets, preset, f'preset of {self.name}')
    )

  def field(self, axis: str) -> str:
    """Returns the field of Config that an axis sets."""
    fields = {field.name for field in dataclasses.fields(self.main.Config)}
    return axis if axis in fields else axis.removesuffix('s')

  def cells(
    self, entries: Mapping[str, Any] | None = None, /, **axes: Any
  ) -> list[Any]:
    """Returns the config of every cell, each once.

    Args:
      entries: the mixers that configs may name; without, those of `main.py`.
      axes: values of axes, and of other fields of Config.

    Raises:
      ValueError: an axis, or one of its values, is unknown.
    """
    make = getattr(self.sweep, 'cells', self._grid)
    fields = {field.name for field in dataclasses.fields(self.main.Config)}
    known = {*inspect.signature(make).parameters, *fields}
    known |= {axis for preset in self.presets.values() for axis in preset}
    for axis in axes:
      experiment.choose(
        dict.fromkeys(sorted(known)), axis, f'axis of {self.name}'
      )
    fixed = self._fixed(make, axes)
    given = {k: v for k, v in axes.items() if k not in fixed}
    cells = [dataclasses.replace(c, **fixed) for c in make(**given)]
    among = (
      {}
      if entries is None
      else dict.fromkeys(fields & {'mixer', 'mixers'}, entries)
    )
    for cell in cells:
      experiment.validate(cell, **among)
    return list(dict.fromkeys(cells))

  def _fixed(self, make, axes: Axes) -> dict[str, Any]:
    """Returns fields of Config that `make` does not set by itself."""
    parameters = inspect.signature(make).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
      axis_names = {axis for preset in self.presets.values() for axis in preset}
      return {k: v for k, v in axes.items() if k not in axis_names}
    return {k: v for k, v in axes.items() if k not in parameters}

  def _grid(self, **axes: Any) -> list[Any]:
    lists = {self.field(axis): _values(axis, v) for axis, v in axes.items()}
    return experiment.grid(self.main.Config, **lists)

  def check(self, configs: Iterable[Any]):
    """Raises ValueError for the first config that `run` would refuse."""
    check = getattr(self.main, 'check', lambda config: None)
    for config in dict.fromkeys(map(experiment.without_seed_and_rate, configs)):
      check(config)

  def groups(self, cells: Iterable[Any], key=lambda cell: cell) -> list[list]:
    """Splits cells, which may be wrapped, into those that share a process."""
    shared = getattr(self.sweep, 'shared', experiment.without_seed_and_rate)
    groups = {}
    for cell in cells:
      groups.setdefault(shared(key(cell)), []).append(cell)
    return list(groups.values())

  def tabulate(self, rows: Rows) -> Rows:
    return getattr(self.sweep, 'tabulate', lambda rows: rows)(rows)

  def draw(self, rows: Rows, path: str) -> bool:
    """Draws the figure; returns False where the folder has none."""
    plot = self._module('plot', optional=True)
    if plot is not None:
      plot.draw(rows, path)
    return plot is not None

  def verdicts(self, rows: Rows) -> list[Any]:
    claims = self._module('claims', optional=True)
    return getattr(claims, 'verdicts', lambda rows: [])(rows)

  def summary(self, rows: Rows) -> str:
    claims = self._module('claims', optional=True)
    return getattr(claims, 'summary', lambda rows: '')(rows)

  def _module(self, part: str, optional: bool = False) -> ModuleType | None:
    if (self.folder / f'{part}.py').exists():
      return importlib.import_module(f'experiments.{self.name}.{part}')
    if optional:
      return None
    raise ValueError(f'The experiment {self.name!r} lacks its {part}.py.')


def _values(axis: str, value: Any) -> Sequence[Any]:
  if axis == 'seeds':
    return range(value)
  return value if isinstance(value, tuple) else (value,)
