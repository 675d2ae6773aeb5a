"""Runs one experiment with axes that you choose; writes table and verdicts.

    python -m experiments.recall --mixers=lstm,mamba2 --lag=32 --seeds=3

A mixer of one's own is named by its module, as in
--mixers=my_package.my_module:MyMixer, and held to the laws of `seqjax.testing`
before anything runs.

Every axis of the experiment's presets is an option, and so is every field of
its Config that cells do not set themselves; what is not given is as in the
preset. Everything is written under --workdir. The option --preset=full (or
benchmark) alone, without another one, replaces the table that is committed, if
every cell finished.
"""

import dataclasses
import inspect
import pathlib
import shlex
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from experiments import axes, folders, reproduce, whole
from experiments.folders import Experiment
from seqjax import experiment, results, testing
from seqjax.errors import Importable, is_imported
from seqjax.experiment import option
from seqjax.launch import cell_pool, exits
from seqjax.nn import MIXERS
from seqjax.results import table

WIDTH, CONTEXT = 16, 80  # of a mixer whose laws are checked


def run(
  name: str,
  workdir: str,
  entries: Mapping[str, Callable] | None = None,
  /,
  preset: str = '',
  **values: Any,
) -> str:
  """Runs an experiment from Python; returns its tables and verdicts as text.

      command.run('recall', 'runs/mine', {**MIXERS, 'mine': MyMixer},
                  mixers=('lstm', 'mine'), lag=32)

  Args:
    name: the experiment.
    workdir: where its runs, table, figure and verdicts are written.
    entries: from names to what makes a mixer of (features, context), or a whole
      model of a task, see `experiments.whole`. Without an axis `mixers`, all of
      them take part. Cells then run in this process.
    preset: gives the axes that are not among `values`; '': the smallest one.
    values: values of the experiment's axes, and of other fields of its Config.

  Raises:
    ValueError: a name is unknown, or a mixer of the caller's breaks a law.
    RuntimeError: a cell failed; says which and why.
  """
  found = folders.find(name)
  if entries is not None:
    _check_takes_mixers(found)
    if 'mixers' not in values:
      values['mixers'] = tuple(entries)
  given = found.axes(preset or default_preset(found)) | values
  configs = axes.cells(found, entries, **given)
  named = given.get('mixers', ())
  chosen = {n: make for n, make in (entries or {}).items() if n in named}
  check_entries(found, chosen)
  job = reproduce.Job(found, configs, pathlib.Path(workdir))
  if failed := reproduce.run_cells(job, entries):
    raise RuntimeError('; '.join(f'{cell}: {why}' for cell, why in failed))
  return reproduce.publish(job, job.root)


def check_entries(found: Experiment, entries: Mapping[str, Callable]):
  """Holds mixers of a caller's to the contract of the library's own.

  Args:
    found: the experiment.
    entries: from names to what makes a mixer of (features, context), or a whole
      model of a task.

  Raises:
    ValueError: a mixer breaks a law, its sentence stands at the end; or the
      experiment takes no whole models.
  """
  known = list(MIXERS.values())
  for name, make in entries.items():
    if make in known:
      continue
    if whole.is_whole(make):
      _check_takes_models(found, name)
      continue
    try:
      testing.assert_mixer_contract(_made(name, make), tolerance=10.0)
    except testing.LawBroken as broken:
      raise ValueError(
        f'A mixer takes part in an experiment if it keeps the laws of '
        f'`seqjax.testing`, but {name!r} breaks one: {broken}'
      ) from broken


def _made(name: str, make: Callable) -> Any:
  """Makes a mixer; ValueError if that is not what can be made so."""
  try:
    return make(WIDTH, CONTEXT)
  except TypeError as error:
    raise ValueError(
      'A mixer is made of (features, context), and a whole model of `task` '
      f'alone, but {name!r} is not: {error}'
    ) from error


def takes_mixers(found: Experiment) -> bool:
  """Says whether an experiment runs with mixers of its callers."""
  return 'mixers' in inspect.signature(found.main.run).parameters


def _check_takes_mixers(found: Experiment):
  if not takes_mixers(found):
    able = [n for n in folders.names() if takes_mixers(folders.find(n))]
    raise ValueError(
      f'The experiment {found.name!r} takes no mixers of its callers: '
      f'{", ".join(able)} take those.'
    )


def _check_takes_models(found: Experiment, name: str):
  if not found.takes_models:
    able = [n for n in folders.names() if folders.find(n).takes_models]
    raise ValueError(
      f'The experiment {found.name!r} makes mixers of (features, context), but '
      f'{name!r} makes a whole model of a task: {", ".join(able)} take those.'
    )


def default_preset(found: Experiment) -> str:
  """Returns the smallest preset that an experiment has."""
  return next(name for name in folders.PRESETS if name in found.presets)


def options(found: Experiment, preset: str) -> type:
  """Makes the dataclass of an experiment's options, with a preset's values."""
  types = experiment.field_types(found.main.Config)
  declared = {
    field.name: field for field in dataclasses.fields(found.main.Config)
  }
  text = 'Preset that gives the values of all other options.'
  fields = [('preset', str, option(preset, text, found.presets))]
  for axis, value in found.axes(preset).items():
    name = axes.field(found, axis)
    kind = _kind(value, types.get(name))
    fields.append(
      (axis, kind, _axis_option(found, axis, value, declared.get(name)))
    )
  for name in axes.free_fields(found):
    field = declared[name]
    fields.append((name, types[name], _copy(field, field.default)))
  return dataclasses.make_dataclass('Options', fields, frozen=True)


def _kind(value: Any, of_field: Any) -> Any:
  """Returns the type of an option: the field's, or that of a list of them."""
  if not isinstance(value, tuple):
    return of_field or type(value)
  item = of_field or type((*value, '')[0])
  return item if typing.get_origin(item) is tuple else tuple[item, ...]


def _axis_option(
  found: Experiment, axis: str, value: Any, field: dataclasses.Field | None
) -> Any:
  if axis == axes.SEEDS:
    return option(value, 'Number of seeds: 0, 1, ...')
  if field is None:
    texts = getattr(found.sweep, 'HELP', {})
    return option(value, texts.get(axis, f'Values of {axis}.'))
  return _copy(field, value)


def _copy(field: dataclasses.Field, default: Any) -> Any:
  """Declares a field again, with another default."""
  return option(default, field.metadata['help'], field.metadata['among'])


def one_cell(
  Config: type, run_one: Callable[[Any, str], Mapping[str, Any]], workdir: str
):
  """Runs one cell from the command line: the last lines of every main.py."""

  def run_and_say(config: Any, workdir: str):
    done = results.finished(workdir, config) is not None
    summary = run_one(config, workdir)
    rows = summary.get('rows') or [summary]
    print(table.text(rows, [n for n in rows[0] if _is_short(rows[0][n])]))
    print(f'{"Already finished. " * done}Results: {workdir}')

  run_and_say.__module__ = run_one.__module__
  experiment.launch(Config, exits.guarded()(run_and_say), workdir)


def _is_short(value: Any) -> bool:
  return not isinstance(value, tuple)


def main(package: str, argv: Sequence[str] | None = None):
  """Runs `python -m experiments.NAME`; `package` is the folder's."""
  found = folders.find(package.rpartition('.')[2])
  argv = list(sys.argv if argv is None else argv)
  requested = _requested_preset(argv)

  def run_options(chosen: Any, workdir: str):
    given = dataclasses.asdict(chosen)
    preset = given.pop('preset')
    if len(argv) == 1 and preset in folders.COMMITTED:
      raise ValueError(
        f'The experiment {found.name!r} takes hours: name its preset, as in '
        f'--preset={preset}, or axes of your own; --help lists them.'
      )
    committed = requested in folders.COMMITTED and _is_alone(argv)
    command = f'python -m {package} {shlex.join(argv[1:])}'
    sys.exit(_run(found, given, workdir, committed, command.strip()))

  # --help begins with the question of the experiment.
  run_options.__module__ = found.main.__name__
  with exits.sentences():
    Options = options(found, requested or default_preset(found))
  experiment.launch(
    Options,
    exits.guarded()(run_options),
    workdir=f'runs/{found.name}',
    argv=argv,
  )


def _requested_preset(argv: Sequence[str]) -> str:
  """Reads --preset alone, since the other options' defaults depend on it."""
  values = flags.FlagValues()
  flags.DEFINE_string('preset', '', '', values)
  try:
    values(argv, known_only=True)
  except flags.Error:  # the parser of all options says what is wrong
    return ''
  return values.preset


def _is_alone(argv: Sequence[str]) -> bool:
  """Returns True if the preset is the only option of a command line."""
  return sum(argument.startswith('-') for argument in argv[1:]) == 1


def _run(
  found: Experiment,
  given: Mapping[str, Any],
  workdir: str,
  committed: bool,
  command: str,
) -> int:
  """Runs the cells and publishes them; returns the exit code.

  `committed`: they are those of a preset whose table is committed.
  """
  configs = axes.cells(found, **given)
  values = [v for value in given.values() if isinstance(value, tuple)
            for v in value]  # fmt: skip
  named = dict.fromkeys(filter(is_imported, values))
  check_entries(found, {name: Importable('mixer', {})[name] for name in named})
  found.check(configs)
  job = reproduce.Job(found, configs, reproduce.in_checkout(workdir))
  with cell_pool.stoppable():
    failed = reproduce.run_cells(job)
  to = found.folder if committed else job.root
  print(reproduce.conclude(job, failed, to))
  parts = [reproduce.part(job, failed, to, command)]
  subject = f'results of {found.name}'
  print(reproduce.write_page(parts, job.root / 'report', subject, committed))
  reproduce.list_failures(failed)
  return 1 if failed else 0
