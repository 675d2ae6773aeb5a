"""Runs one experiment with axes of one's own, to its table and verdicts.

    python -m experiments.recall --mixers=lstm,mamba2 --lags=32,128 --seeds=3

Every axis of the experiment's presets is an option, and so is every other field
of its Config; what is not given is as in --preset. Everything is written under
--workdir. An explicit --preset=full, and nothing else, replaces the table
that is committed, if every cell finished.
"""

import dataclasses
import pathlib
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from experiments import folders, reproduce
from experiments.folders import Experiment
from seqjax import experiment
from seqjax.experiment import option
from seqjax.launch import cell_pool, exits
from seqjax.results import table


def run(
  name: str,
  workdir: str,
  entries: Mapping[str, Callable] | None = None,
  /,
  preset: str = '',
  **axes: Any,
) -> str:
  """Runs an experiment from Python; returns its tables and verdicts as text.

      command.run('recall', 'runs/mine', {**MIXERS, 'mine': MyMixer},
                  mixers=('lstm', 'mine'), lags=(32, 128))

  Args:
    name: the experiment.
    workdir: where its runs, table, figure and verdicts are written.
    entries: from names to what makes a mixer of (features, context), for the
      axis mixers to choose from. With them cells run in this process; without,
      the experiment's own are known.
    preset: what is not given as an axis; '': the first that there is.
    axes: values of the experiment's axes, and of other fields of its Config.

  Raises:
    ValueError: a name is unknown.
    RuntimeError: a cell failed; says which and why.
  """
  found = folders.find(name)
  given = found.axes(preset or first_preset(found)) | axes
  job = reproduce.Job(
    found, found.cells(entries, **given), pathlib.Path(workdir)
  )
  if failed := reproduce.run_cells(job, entries):
    raise RuntimeError('; '.join(f'{cell}: {why}' for cell, why in failed))
  return reproduce.publish(job, job.root)


def first_preset(found: Experiment) -> str:
  """Returns the smallest preset that an experiment has."""
  return next(name for name in folders.PRESETS if name in found.presets)


def options(found: Experiment, preset: str) -> type:
  """Makes the dataclass of an experiment's options, with a preset's values."""
  axes, Config = found.axes(preset), found.main.Config
  types = experiment.field_types(Config)
  by_field = {field.name: field for field in dataclasses.fields(Config)}
  text = 'Preset that gives the values of all other options.'
  fields = [('preset', str, option(preset, text, found.presets))]
  for axis, value in axes.items():
    name = found.field(axis)
    kind = _kind(value, types.get(name))
    fields.append((axis, kind, _axis_option(axis, value, by_field.get(name))))
  set_by_axes = {found.field(axis) for axis in axes}
  for name, field in by_field.items():
    if name not in set_by_axes:
      fields.append((name, types[name], _copy(field, field.default)))
  return dataclasses.make_dataclass('Options', fields, frozen=True)


def _kind(value: Any, of_field: Any) -> Any:
  """Returns the type of an option: the field's, or that of a list of them."""
  if not isinstance(value, tuple):
    return of_field or type(value)
  item = of_field or type(value[0])
  return item if typing.get_origin(item) is tuple else tuple[item, ...]


def _axis_option(axis: str, value: Any, field: dataclasses.Field | None) -> Any:
  if axis == 'seeds':
    return option(value, 'Number of seeds: 0, 1, ...')
  return (
    option(value, f'Values of {axis}.')
    if field is None
    else _copy(field, value)
  )


def _copy(field: dataclasses.Field, default: Any) -> Any:
  """Declares a field again, with another default."""
  return option(default, field.metadata['help'], field.metadata['among'])


def run_cell(
  Config: type, run_one: Callable[[Any, str], Mapping[str, Any]], workdir: str
):
  """Runs one cell from the command line: the last lines of every main.py."""

  def run_and_say(config: Any, workdir: str):
    summary = run_one(config, workdir)
    rows = summary.get('rows') or [summary]
    print(table.format(rows, [n for n in rows[0] if _is_short(rows[0][n])]))
    print(f'Results: {workdir}')

  run_and_say.__module__ = run_one.__module__
  experiment.launch(Config, exits.guarded()(run_and_say), workdir)


def _is_short(value: Any) -> bool:
  return not isinstance(value, tuple)


def main(package: str, argv: Sequence[str] | None = None):
  """Runs `python -m experiments.NAME`; `package` is the folder's."""
  found = folders.find(package.rpartition('.')[2])
  argv = list(sys.argv if argv is None else argv)
  requested = _requested_preset(argv)
  preset = requested or first_preset(found)

  def run_options(chosen: Any, workdir: str):
    sys.exit(_run(found, requested, _given(found, preset, chosen), workdir))

  # --help begins with the question of the experiment.
  run_options.__module__ = found.main.__name__
  with exits.sentences():
    Options = options(found, preset)
  experiment.launch(
    Options,
    exits.guarded()(run_options),
    workdir=f'runs/{found.name}',
    argv=argv,
  )


def _given(found: Experiment, preset: str, chosen: Any) -> dict[str, Any]:
  """Returns the axes, and the other fields that are not at their defaults."""
  axes = found.axes(preset)
  return {
    field.name: getattr(chosen, field.name)
    for field in dataclasses.fields(chosen)
    if field.name in axes
    or (field.name != 'preset' and getattr(chosen, field.name) != field.default)
  }


def _requested_preset(argv: Sequence[str]) -> str:
  """Reads --preset alone, since the other options' defaults depend on it."""
  values = flags.FlagValues()
  flags.DEFINE_string('preset', '', '', values)
  try:
    values(argv, known_only=True)
  except flags.Error:  # the parser of all options says what is wrong
    return ''
  return values.preset


def _run(
  found: Experiment, requested: str, axes: Mapping[str, Any], workdir: str
) -> int:
  """Runs the cells and publishes them; returns the exit code."""
  configs = found.cells(**axes)
  found.check(configs)
  committed = requested in folders.COMMITTED and configs == found.cells(
    **found.axes(requested)
  )
  root = pathlib.Path(reproduce.in_checkout(workdir))
  job = reproduce.Job(found, configs, root)
  with cell_pool.stoppable():
    failed = reproduce.run_cells(job)
  if not failed:
    print(reproduce.publish(job, found.folder if committed else root))
  reproduce.list_failures(failed)
  return 1 if failed else 0
