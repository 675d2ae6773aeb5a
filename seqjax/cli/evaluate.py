"""Scores a run's checkpoint, on any split and at any length.

    seqjax-evaluate --workdir=runs/train --split=test --lengths=32,64,256
    seqjax-evaluate --workdir=runs/train --lengths=1:500

A range takes at most three compiled functions. What is printed is added to
evaluation.json beside the run, with the scores by group (lag, length or
position) for which there was no room.
"""

import dataclasses
import inspect
import json
import math
import pathlib
import re
from typing import Any

import jax

from seqjax import experiment, training
from seqjax.analysis import memory
from seqjax.cli import build, train_config, trained
from seqjax.cli.options import pairs
from seqjax.experiment import option
from seqjax.launch import exits, memory_limits
from seqjax.results import json_files, lock, table
from seqjax.tasks import TASKS
from seqjax.training.evaluation import length_ranges
from seqjax.typing import SPLITS

FILE, LOCK = 'evaluation.json', 'evaluation.lock'
QUESTION = ('step', 'split', 'task_options', 'examples')
COLUMNS = (
  'min_length', 'length', 'metric', 'score', 'share', 'chance', 'ceiling',
  'examples',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of an evaluation."""

  split: str = option('test', 'Split of the data to score.', among=SPLITS)
  lengths: tuple[str, ...] = option(
    (),
    "Lengths to score: values of the task's option length, or ranges to "
    'sample from, as in 1:500. A length gives one row, a range at most three. '
    'By default the length of the run.',
  )
  task_options: str = option(
    '', 'Options of the task that differ from those of the run, as in delay=99.'
  )
  batches: int = option(16, 'Number of batches of the split to score.')
  batch_size: int = option(64, 'Number of examples per batch.')
  checkpoint: str = option(
    'newest',
    'Checkpoint to load: newest, best (in validation), or its step.',
  )


def run(config: Config, workdir: str) -> list[dict[str, Any]]:
  """Returns a row per length, three per range; prints and writes them, too."""
  experiment.validate(config)
  _read(pathlib.Path(workdir) / FILE)  # before anything is computed
  requested = task_options(config, trained.read_config(workdir))
  run_of = trained.load_trained(workdir, config.checkpoint)
  rows = [_row(config, run_of, options) for options in requested]
  print(f'{run_of.config.task}, {config.split} split, step {run_of.step}')
  print(table.text(rows, COLUMNS))
  _write(rows, pathlib.Path(workdir) / FILE)
  return rows


def task_options(config: Config, run_config: train_config.Config) -> list[str]:
  """Returns the task's options for each row; the last of a name counts."""
  given = [run_config.task_options, config.task_options]
  options = ','.join(filter(None, given))
  if not config.lengths:
    return [options]
  known = inspect.signature(TASKS[run_config.task]).parameters
  if 'length' not in known:
    raise ValueError(
      f'The task {run_config.task} has no option length that --lengths could '
      f'set; --task_options takes: {", ".join(known)}.'
    )
  requested = asked_of(run_config, options)
  rows = [
    row
    for lengths in config.lengths
    for row in _rows(lengths, requested, config.split)
  ]
  return [
    train_config.with_options(requested, **row).task_options for row in rows
  ]


def _rows(
  lengths: str, requested: train_config.Config, split: str
) -> list[dict[str, int]]:
  """Returns options of the task for one length, or for parts of a range."""
  match = re.fullmatch(r'(\d+)(?::(\d+))?', lengths)
  if not match:
    raise ValueError(
      'Lengths are numbers or ranges, as in 32,64 or 1:500, but '
      f'{lengths!r} was given.'
    )
  low, high = match.groups()
  if high is None:
    return [{'length': int(low)}]
  return [
    {'min_length': first, 'length': last}
    for first, last in length_ranges(
      _between(int(low), int(high), requested, split)
    )
  ]


def _between(low: int, high: int, requested: train_config.Config, split: str):
  """Returns the lengths that a split of the task has in a range.

  All of them where it has none: sampling from those raises the reason.
  """
  if 'min_length' not in inspect.signature(TASKS[requested.task]).parameters:
    raise ValueError(
      f'Examples of the task {requested.task} are all of one length: list '
      f'some, as in --lengths={low},{high}.'
    )
  requested = train_config.with_options(requested, min_length=low, length=high)
  task, _ = build.make(requested, scored=())
  name = 'lengths' if split == 'train' else 'held_out_lengths'
  return getattr(task, name, None) or range(low, high + 1)


def _row(config, run_of, options: str) -> dict[str, Any]:
  """Returns the scores on one task, which may differ from that of the run."""
  task, model = rebuild(run_of, options)
  groups = training.evaluate(
    model,
    run_of.params,
    task,
    batches=config.batches,
    batch_size=config.batch_size,
    split=config.split,
    at_once=build.rows_at_once(run_of.config),
  )
  return {
    'step': run_of.step,
    'split': config.split,
    'task_options': options,
    'examples': config.batches * config.batch_size,
    'min_length': getattr(task, 'min_length', None),
    'length': getattr(task, 'length', None),
    'metric': str(task.metric),
    'score': _number(training.overall(groups)),
    'share': _number(groups.share),
    'chance': task.chance,
    'ceiling': task.ceiling,
    'groups': [
      [group, _number(score), weight]
      for group, (score, weight) in groups.items()
    ],
  }


def rebuild(run_of: trained.Trained, options: str):
  """Returns the task with these options, and the model for it.

  A model whose context held all positions of the run's task is given one that
  holds this task's: parameters do not depend on it, but for learned positions.

  Raises:
    ValueError: the parameters do not fit this task.
  """
  config = asked_of(run_of.config, options)
  task, model = build.make(config, scored=(), fitted=run_of.fitted)
  positions = build.num_positions(task)
  if build.num_positions(run_of.task) <= config.context < positions:
    config = dataclasses.replace(config, context=positions)
    task, model = build.make(config, scored=(), fitted=run_of.fitted)
  batch = build.example(task)
  wanted = jax.eval_shape(
    model.init, jax.random.key(0), batch.inputs, batch.segments
  )
  _check_fits(run_of.params, wanted['params'], options)
  return task, model


def asked_of(config: train_config.Config, options: str) -> train_config.Config:
  """Returns the config with these options of the task.

  Data that they name take the place of those that flags of the run have named.
  """
  named = {name for name, _ in pairs(options)}
  flags = {name: '' for name in train_config.DATA_FLAGS if name in named}
  return dataclasses.replace(config, task_options=options, **flags)


def _check_fits(params, wanted, options: str):
  shapes = [
    {
      jax.tree_util.keystr(path, simple=True, separator='/'): list(leaf.shape)
      for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    for tree in (params, wanted)
  ]
  for path in shapes[0] | shapes[1]:
    there, needed = (shape.get(path, 'nothing') for shape in shapes)
    if there != needed:
      raise ValueError(
        f"The run's parameters do not fit its task with {options}: {path} is "
        f'{there}, but {needed} is needed. Learned positions end with the '
        'context of the run, and vocabularies must be those of the run.'
      )


def too_large(config: Config, workdir: str) -> str:
  """Returns the message for exhausted memory: what is needed, what fits."""
  run_of = trained.load_trained(workdir, config.checkpoint)
  limit = memory.available_memory()
  options = max(
    task_options(config, run_of.config),
    key=lambda options: build.num_positions(rebuild(run_of, options)[0]),
  )
  rows = min(config.batch_size, build.rows_at_once(run_of.config))
  one, two = (bytes_needed(run_of, options, n) for n in (1, 2))
  fits = memory_limits.largest_batch(one, two, limit, below=rows)
  advice = (
    f'--batch_size={fits} would fit'
    if fits
    else _advise_shorter(run_of, options, limit)
  )
  return (
    f'The device has not enough memory, {memory_limits.gibibytes(limit)}, for '
    f'{rows} rows of {rebuild(run_of, options)[0]}, which take about '
    f'{memory_limits.gibibytes(one + (rows - 1) * (two - one))}; {advice}.'
  )


def _advise_shorter(run_of, options: str, limit: int) -> str:
  """Returns advice on the length that would fit in a batch of one."""
  fits = memory_limits.largest_half(
    lambda size: bytes_needed(run_of, f'{options},length={size}', 1),
    limit,
    getattr(rebuild(run_of, options)[0], 'length', 0),
  )
  if fits:
    return f'--batch_size=1 with --lengths={fits} would fit'
  return 'not even --batch_size=1 would fit: ask for shorter sequences'


def bytes_needed(run_of, options: str, batch_size: int) -> int:
  """Returns the bytes that scoring a batch takes; it is not run."""
  task, model = rebuild(run_of, options)

  def score(params, batch):
    outputs = model.apply({'params': params}, batch.inputs, batch.segments)
    return task.score(outputs, batch)

  batch = build.example(task, batch_size)
  return memory_limits.needed_bytes(score, run_of.params, batch)


def _number(score: float) -> float | str:
  """Returns a score as JSON holds it, which has no NaN and no infinity."""
  return score if math.isfinite(score) else str(score)


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of earlier evaluations; ValueError if they are none."""
  if not path.exists():
    return []
  rows = json_files.read_json(path, 'list of scores', list)
  for row in rows:
    if not isinstance(row, dict) or not {*QUESTION} <= {*row}:
      raise ValueError(
        f'{str(path)!r} is no list of scores, for it holds '
        f'{json.dumps(row)[:40]}: repair it, or move it away.'
      )
  return rows


def _write(rows, path: pathlib.Path):
  """Adds rows to a file; they replace earlier ones of the same question."""
  requested = [_question(row) for row in rows]
  # Of two evaluations that end at once, none takes the other's rows away.
  with lock.held(path.parent, name=LOCK, wait=60.0):
    kept = [row for row in _read(path) if _question(row) not in requested]
    json_files.write_json(path, [*kept, *rows])


def _question(row) -> list[Any]:
  return [row[name] for name in QUESTION]


def main():
  """Scores what the command line says."""
  program = exits.guarded(too_large)(run)
  experiment.launch(Config, program, workdir='runs/train')


if __name__ == '__main__':
  main()
