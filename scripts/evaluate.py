"""Scores a run's checkpoint, on any split and at any length.

    python scripts/evaluate.py --workdir=runs/train --split=test \
        --lengths=32,64,256

What is printed is added to evaluation.json beside the run, with the scores by
group (lag, length or position) for which there was no room.
"""

import dataclasses
import inspect
import json
import math
import pathlib
from typing import Any

import jax
import train
import trained

from seqjax import training
from seqjax.experiment import option, validate
from seqjax.results import run as run_lib
from seqjax.results import table
from seqjax.tasks import TASKS
from seqjax.tasks.task import SPLITS

FILE = 'evaluation.json'
QUESTION = ('step', 'split', 'task_options', 'examples')
COLUMNS = ('length', 'metric', 'score', 'chance', 'ceiling', 'examples')


@dataclasses.dataclass(frozen=True)
class Config:
  """What a checkpoint is scored on."""

  split: str = option('test', 'Which data.', among=SPLITS)
  lengths: tuple[int, ...] = option(
    (), "Values of the task's option length; without any, the run's own."
  )
  task_options: str = option(
    '', 'Options of the task that differ from those of the run, as in delay=99.'
  )
  batches: int = option(16, 'How many batches of the split are scored.')
  batch_size: int = option(64, 'Examples in each of them.')


def run(config: Config, workdir: str) -> list[dict[str, Any]]:
  """A row a length; printed and written, too."""
  validate(config)
  run_of = trained.load(workdir)
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
  return [
    ','.join(filter(None, [options, f'length={length}']))
    for length in config.lengths
  ]


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
  )
  return {
    'step': run_of.step,
    'split': config.split,
    'task_options': options,
    'examples': config.batches * config.batch_size,
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
  task, model = train.make(config)
  positions = train.num_positions(task)
  if train.num_positions(run_of.task) <= config.context < positions:
    config = dataclasses.replace(config, context=positions)
    task, model = train.make(config)
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
  trained.launch(Config, run, workdir='runs/train')
