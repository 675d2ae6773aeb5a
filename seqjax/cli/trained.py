"""Loads runs into Python: config, task, model, variables, metrics.

    run = load_run('runs/train', checkpoint='best')
    logits = run.model.apply(run.variables, inputs)

A module for programs that use a trained model; not a program itself.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from seqjax import experiment, training
from seqjax.cli import build
from seqjax.cli.train_config import CHECKPOINTS, Config
from seqjax.results import records, tensors
from seqjax.results.checkpoint import Checkpoints

LISTED = 3  # folders that a sentence names


class Trained(NamedTuple):
  """A run of seqjax-train, with the variables of one of its checkpoints.

  Attributes:
    config: its options.
    task: what it was trained on.
    model: a Flax module, for `model.apply(variables, inputs)`.
    variables: {'params': parameters}, those that are scored: their average
      where the run took one.
    step: the number of updates that the variables have seen.
    metrics: a row (dict) per line of metrics.jsonl.
    summary: what came out; None of a run that has not finished.
    fitted: what was fitted to the training data, see `Task.fitted`.
  """

  config: Config
  task: Any
  model: nn.Module
  variables: dict[str, Any]
  step: int
  metrics: list[dict[str, Any]]
  summary: dict[str, Any] | None
  fitted: dict[str, Any]

  @property
  def params(self) -> Any:
    return self.variables['params']


class Recorded(NamedTuple):
  """A run that keeps no parameters, as those of experiments.

  Attributes:
    config: its options, by name.
    rows: what came out, as `results.collate` gives it; none if unfinished.
    metrics: a row (dict) per line of metrics.jsonl.
    why: the sentence that is raised for the parts that only `Trained` has.
  """

  config: dict[str, Any]
  rows: list[dict[str, Any]]
  metrics: list[dict[str, Any]]
  why: str

  def __getattr__(self, name: str) -> Any:
    if name in (*Trained._fields, 'params'):
      raise AttributeError(f'There is no {name}: {self.why}')
    raise AttributeError(name)


def load_run(
  workdir: str | pathlib.Path, checkpoint: str | int = 'best'
) -> Trained | Recorded:
  """Reads a run, finished or not, from the folder that it was written to.

  Args:
    workdir: the folder of a run of seqjax-train, of a population's member, or
      of an experiment's cell, which gives a `Recorded`; or the path of a file
      that seqjax-export has written, which holds one checkpoint and no metrics.
    checkpoint: 'best', the one with the best validation score of those that
      are kept; 'newest', the newest sound one; or the step of one.

  Raises:
    ValueError: there is no run, no such checkpoint, one that is damaged or of
      another version; or the task's data are others now.

  Example:
    >>> import seqjax
    >>> from seqjax.cli import train
    >>> config = train.Config(
    ...   task='parity', mixer='gru', layers=1, features=8, steps=2,
    ...   log_every=1, batch_size=4
    ... )
    >>> _ = train.run(config, 'runs/parity')
    >>> run = seqjax.load_run('runs/parity', checkpoint='newest')
    >>> run.config.mixer, run.step
    ('gru', 2)
  """
  if str(workdir).endswith(tensors.SUFFIX):
    return _exported(workdir)
  config = _config_of(_content(workdir)['config'], workdir)
  if isinstance(config, dict):
    return Recorded(config, *_rows_and_metrics(workdir), _why(workdir))
  fitted = build.read_fitted(workdir)
  task, model = build.make(config, fitted=fitted)
  with Checkpoints(pathlib.Path(workdir) / CHECKPOINTS) as checkpoints:
    if not checkpoints.steps:
      raise ValueError(
        f'The run in {str(workdir)!r} has no checkpoint; start it again with '
        'the same command, and it saves one.'
      )
    build.check_data(task, checkpoints.extra, workdir)
    fitted = fitted or getattr(task, 'fitted', {})
    state = _state(checkpoints, str(checkpoint), config, task, model, workdir)
  return Trained(
    config,
    task,
    model,
    {'params': training.averaged_params(state)},
    int(state.step),
    records.metrics(workdir),
    _summary(workdir),
    fitted,
  )


def _summary(workdir) -> dict[str, Any] | None:
  """Returns the summary of a run, or None if it has not finished."""
  path = pathlib.Path(workdir)
  there = (path / records.SUMMARY).exists()
  return records.read_summary(path) if there else None


def _exported(path) -> Trained:
  """Reads a file of seqjax-export; the task's data need not be there."""
  params, header = tensors.read(path)
  try:
    fields, fitted = (json.loads(header[x]) for x in ('config', 'fitted'))
    config, step = experiment.from_dict(Config, fields), int(header['step'])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{str(path)!r} was not written by this version of seqjax-export; '
      'seqjax.results.tensors.read gives its parameters alone.'
    ) from error
  task, model = build.make(config, scored=(), fitted=fitted)
  return Trained(
    config, task, model, {'params': params}, step, [], None, fitted
  )


def load_trained(
  workdir: str | pathlib.Path, checkpoint: str | int = 'best'
) -> Trained:
  """Reads a run as `load_run` does; ValueError if it keeps no parameters."""
  run = load_run(workdir, checkpoint)
  if isinstance(run, Recorded):
    raise ValueError(run.why)
  return run


def read_config(workdir: str | pathlib.Path) -> Config:
  """Returns the config of a run of seqjax-train.

  Raises:
    ValueError: there is no run of seqjax-train, or one of another version.
  """
  config = _config_of(_content(workdir)['config'], workdir)
  if isinstance(config, dict):
    raise ValueError(_why(workdir))
  return config


def _content(workdir) -> dict[str, Any]:
  """Returns the content of config.json; names the runs below if it has none."""
  try:
    return records.read_config(workdir)
  except ValueError as error:
    below = sorted(pathlib.Path(workdir).glob('*/**/config.json'))
    if (pathlib.Path(workdir) / records.CONFIG).exists() or not below:
      raise
    raise ValueError(f'{error} {_listed(below)}') from error


def _config_of(fields: Mapping[str, Any], workdir) -> Config | dict[str, Any]:
  """Returns the Config of a run of seqjax-train; of others the fields."""
  path = pathlib.Path(workdir) / records.CONFIG
  try:
    config = experiment.from_dict(Config, dict(fields))
    experiment.validate(config)
    return config
  except (KeyError, TypeError, ValueError) as error:
    if 'mixer_options' in fields and 'seeds' not in fields:
      raise ValueError(
        f'{str(path)!r} is of another version of seqjax-train: {error}'
      ) from error
  return records.decoded(fields)


def _why(workdir) -> str:
  """Says that a run keeps no parameters, and which runs below do."""
  below = sorted(pathlib.Path(workdir).glob(f'*/{records.CONFIG}'))
  return (
    f'The run in {str(workdir)!r} is none of seqjax-train, and keeps no '
    'parameters of its own: its config, rows and metrics are what there is.'
    f'{" " * bool(below)}{_listed(below) if below else ""}'
  )


def _listed(paths) -> str:
  names = ', '.join(repr(str(path.parent)) for path in paths[:LISTED])
  more = f' and {len(paths) - LISTED} more' if len(paths) > LISTED else ''
  return f'There are runs in {names}{more}.'


def _rows_and_metrics(workdir):
  finished = (pathlib.Path(workdir) / records.SUMMARY).exists()
  rows = records.rows(workdir) if finished else []
  return rows, records.metrics(workdir)


def _state(checkpoints, which: str, config, task, model, workdir):
  """Returns the state of the checkpoint that is asked for."""
  like = build.state_shapes(config, task, model)
  if which == 'newest':
    return checkpoints.restore(like)[0]
  step = _step_of(checkpoints, which, workdir)
  return checkpoints.restore_step(step, like)[0]


def _step_of(checkpoints, which: str, workdir) -> int:
  """Returns the step of the checkpoint called 'best', or of that number."""
  if which == 'best' and checkpoints.damaged:
    folders = [str(checkpoints.folder / str(x)) for x in checkpoints.damaged]
    raise ValueError(
      f'The best checkpoint is not known, for damaged are {folders}: name '
      'another one, or newest.'
    )
  best = checkpoints.best
  steps = {} if best is None else {'best': best}
  steps |= {str(step): step for step in checkpoints.steps}
  if which not in steps:
    raise ValueError(
      f'The run in {str(workdir)!r} has no checkpoint {which!r}; there are:'
      f' newest, {", ".join(steps)}.'
    )
  return steps[which]
