"""Scores a run's checkpoint, on any split and at any length.

    seqjax-evaluate --workdir=runs/train --split=test \
        --lengths=32,64,256
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

from seqjax import training
from seqjax.analysis import memory, timing
from seqjax.cli import train, trained
from seqjax.experiment import option, validate
from seqjax.launch import memory_limits
from seqjax.results import run as run_lib
from seqjax.results import table
from seqjax.tasks import TASKS
from seqjax.training.evaluation import length_ranges
from seqjax.typing import SPLITS

FILE = 'evaluation.json'
QUESTION = ('step', 'split', 'task_options', 'examples')
COLUMNS = (
  'min_length', 'length', 'metric', 'score', 'chance', 'ceiling', 'examples'
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
  """What a checkpoint is scored on."""

  split: str = option('test', 'Which data.', among=SPLITS)
  lengths: tuple[str, ...] = option(
    (),
    "Values of the task's option length, or ranges as in 1:500 that examples "
    "are drawn from, a score each; without any, the run's own.",
  )
  task_options: str = option(
    '', 'Options of the task that differ from those of the run, as in delay=99.'
  )
  batches: int = option(16, 'How many batches of the split are scored.')
  batch_size: int = option(64, 'Examples in each of them.')
  checkpoint: str = option(
    'newest', 'newest, best (in validation), or the step of one.'
  )


def run(config: Config, workdir: str) -> list[dict[str, Any]]:
  """A row a length, three a range of them; printed and written, too."""
  validate(config)
  run_of = trained.load(workdir, config.checkpoint)
  rows = [_row(config, run_of, options) for options in _options(config, run_of)]
  print(f'{run_of.config.task}, {config.split} split, step {run_of.step}')
  print(table.format(rows, COLUMNS))
  _write(rows, pathlib.Path(workdir) / FILE)
  return rows


def _options(config: Config, run_of: trained.Trained) -> list[str]:
  """The task's options for each row, as text; the last of a name counts."""
  name, given = run_of.config.task, run_of.config.task_options
  options = ','.join(filter(None, [given, config.task_options]))
  if not config.lengths:
    return [options]
  known = inspect.signature(TASKS[name]).parameters
  if 'length' not in known:
    raise ValueError(
      f'The task {name} has no option length that --lengths could set; '
      f'--task_options takes: {", ".join(known)}.'
    )
  asked = dataclasses.replace(run_of.config, task_options=options)
  rows = [
    row
    for lengths in config.lengths
    for row in _rows(lengths, asked, config.split)
  ]
  return [train.with_options(asked, **row).task_options for row in rows]


def _rows(
  lengths: str, asked: train.Config, split: str
) -> list[dict[str, int]]:
  """Options of the task for one length, or for the parts of a range."""
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
      _between(int(low), int(high), asked, split)
    )
  ]


def _between(low: int, high: int, asked: train.Config, split: str):
  """The lengths that a split of the task has in a range.

  All of them where it has none: to draw from those says why.
  """
  if 'min_length' not in inspect.signature(TASKS[asked.task]).parameters:
    raise ValueError(
      f'Examples of the task {asked.task} are all of one length: list some, as '
      f'in --lengths={low},{high}.'
    )
  asked = train.with_options(asked, min_length=low, length=high)
  task, _ = train.make(asked, scored=())
  name = 'lengths' if split == 'train' else 'held_out_lengths'
  return getattr(task, name, None) or range(low, high + 1)


def _row(config, run_of, options: str) -> dict[str, Any]:
  """The scores of one task, which may differ from that of the run."""
  task, model = _rebuilt(run_of, options)
  groups = training.evaluate(
    model,
    run_of.params,
    task,
    batches=config.batches,
    batch_size=config.batch_size,
    split=config.split,
    at_once=train.rows_at_once(run_of.config),
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
    'chance': task.chance,
    'ceiling': task.ceiling,
    'groups': [
      [group, _number(score), weight]
      for group, (score, weight) in groups.items()
    ],
  }


def _rebuilt(run_of: trained.Trained, options: str):
  """The task with these options, and the model for it.

  A model whose context held all positions of the run's task is given one that
  holds this task's: parameters do not depend on it, but for learned positions.

  Raises:
    ValueError: the parameters do not fit this task.
  """
  config = dataclasses.replace(run_of.config, task_options=options)
  task, model = train.make(config, scored=())
  positions = train.num_positions(task)
  if train.num_positions(run_of.task) <= config.context < positions:
    config = dataclasses.replace(config, context=positions)
    task, model = train.make(config, scored=())
  batch = train.example(task)
  wanted = jax.eval_shape(
    model.init, jax.random.key(0), batch.inputs, batch.segments
  )
  _check_fits(run_of.params, wanted['params'], options)
  return task, model


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
  """What to say when the device's memory did not suffice: what would do."""
  run_of = trained.load(workdir, config.checkpoint)
  limit = memory.available_memory()
  options = max(
    _options(config, run_of),
    key=lambda options: train.num_positions(_rebuilt(run_of, options)[0]),
  )
  rows = min(config.batch_size, train.rows_at_once(run_of.config))
  one, two = (_bytes_needed(run_of, options, n) for n in (1, 2))
  fits = memory_limits.largest_batch(one, two, limit, below=rows)
  advice = (
    f'--batch_size={fits} would fit'
    if fits
    else _shorter(run_of, options, limit)
  )
  return (
    f'The device has not enough memory, {memory_limits.gibibytes(limit)},'
    f' for {rows} '
    f'rows of {_rebuilt(run_of, options)[0]}, which take about '
    f'{memory_limits.gibibytes(one + (rows - 1) * (two - one))}; {advice}.'
  )


def _shorter(run_of, options: str, limit: int) -> str:
  """Which length would fit in a batch of one."""
  fits = memory_limits.largest_half(
    lambda size: _bytes_needed(run_of, f'{options},length={size}', 1),
    limit,
    getattr(_rebuilt(run_of, options)[0], 'length', 0),
  )
  if fits:
    return f'--batch_size=1 with --lengths={fits} would fit'
  return 'not even --batch_size=1 would fit: ask for shorter sequences'


def _bytes_needed(run_of, options: str, batch_size: int) -> int:
  """Of the scores of a batch; compiled, not run."""
  task, model = _rebuilt(run_of, options)

  def score(params, batch):
    outputs = model.apply({'params': params}, batch.inputs, batch.segments)
    return task.score(outputs, batch)

  batch = train.example(task, batch_size)
  return timing.predicted_bytes(score, run_of.params, batch)


def _number(score: float) -> float | str:
  """JSON has no word for what is not finite."""
  return score if math.isfinite(score) else str(score)


def _write(rows, path: pathlib.Path):
  """Beside earlier rows, of which those of the same question give way."""
  earlier = json.loads(path.read_text()) if path.exists() else []
  asked = [_question(row) for row in rows]
  kept = [row for row in earlier if _question(row) not in asked]
  text = json.dumps([*kept, *rows], indent=2, allow_nan=False) + '\n'
  run_lib.write_atomically(path, lambda temporary: temporary.write_text(text))


def _question(row) -> list[Any]:
  return [row[name] for name in QUESTION]


if __name__ == '__main__':
  trained.launch(Config, run, workdir='runs/train', too_large=too_large)
