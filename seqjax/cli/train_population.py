"""Trains a population: many seeds and learning rates in one program.

    seqjax-train-population --task=parity --mixer=lstm --seeds=5 \
        --learning_rates=1e-3,3e-3 --workdir=runs/population

Each member leaves the folder that seqjax-train would have left for it, so
that seqjax-evaluate and seqjax-generate take up from there. results.csv
holds a row of every member, summary.csv what the seeds reach on test, at the
learning rate that validation chose. A population that was stopped goes on where
it was by the same command; SIGTERM saves before it stops: exit code 75. A
member whose loss is not finite is reported and the others go on: exit code 1.
"""

import dataclasses
import functools
import json
import math
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import experiment, results, training
from seqjax.cli import seeds, train, trained
from seqjax.experiment import option
from seqjax.launch import cell_pool, signals
from seqjax.launch.watch import Watch
from seqjax.results import table
from seqjax.results.checkpoint import Checkpoints
from seqjax.training.population import HOW

OF_ALL = ('step', 'time')  # what a line of metrics holds once


@dataclasses.dataclass(frozen=True)
class Config(train.Config):
  """The knobs of every member, and how many there are."""

  seeds: int = option(5, 'Members of each learning rate: seed, seed + 1, ...')
  learning_rates: tuple[float, ...] = option(
    (), 'Of which validation chooses; without any, learning_rate alone.'
  )
  how: str = option('auto', 'How members are trained.', among=HOW)
  solved: float = option(math.nan, 'Test score from which a seed solved it.')

  def __post_init__(self):
    super().__post_init__()
    if self.seeds < 1 or len({*self.learning_rates}) < len(self.learning_rates):
      raise ValueError(
        'A population has at least one seed and each learning rate once, but '
        f'seeds={self.seeds} and learning_rates={self.learning_rates} were '
        'given.'
      )
    if self.carried or self.patience:
      raise ValueError(
        'A population is trained to its last step from batches that stand '
        'alone: leave out carried and patience, or use seqjax-train.'
      )


def members(config: Config) -> list[train.Config]:
  """What seqjax-train would be asked for, one by one."""
  names = [field.name for field in dataclasses.fields(train.Config)]
  shared = {name: [getattr(config, name)] for name in names}
  differing = {
    'learning_rate': config.learning_rates or (config.learning_rate,),
    'seed': range(config.seed, config.seed + config.seeds),
  }
  return experiment.grid(train.Config, **shared | differing)


def run(config: Config, workdir: str) -> dict[str, Any]:
  """Trains and scores all members; what the seeds reach together.

  Raises `signals.Preempted` when SIGTERM came, after the states were saved.
  """
  experiment.validate(config)
  with signals.sigterm() as asked:
    done = results.finished(workdir, config)
    return done if done is not None else _run(config, workdir, asked)


def _run(config, workdir, asked) -> dict[str, Any]:
  configs = members(config)
  task, model = train.make(configs[0])
  with (
    results.Run(workdir, config) as record,
    Checkpoints(
      record.workdir / train.CHECKPOINTS, latest=config.keep_latest, best=0
    ) as checkpoints,
  ):
    left = list(range(len(configs)))
    leave = functools.partial(train.leave, asked, checkpoints, config, workdir)
    parts = task, model, record, checkpoints
    states = _train(config, configs, left, *parts, asked, leave)
    rows = []
    for i in left:
      folder = record.workdir / experiment.folder_name(configs[i])
      if results.finished(folder, configs[i]) is None:
        state = training.select_members(states, i)
        _leave(configs[i], folder, task, model, state, _lines_of(record, i))
      rows += results.collate(folder)
      leave(states.step.max())
    table.write(rows, record.workdir / 'results.csv')
    by = (seeds.RATE, seeds.SEED)
    summary = seeds.summarize(rows, by, 'test', solved=config.solved)
    table.write(summary, record.workdir / 'summary.csv')
    return record.finish(**summary[0], failed=len(configs) - len(left))


def _train(
  config, configs, left, task, model, record, checkpoints, asked, leave
) -> training.TrainState:
  """The last states. Their checkpoint may still be on its way to disk.

  Members that met what is not finite are taken from `left`.
  """
  begun = [train.initial_state(member, task, model) for member in configs]
  states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)
  restored = checkpoints.restore(states)
  if restored is not None:
    states, extra = restored
    train.check_data(task, extra, record.workdir)
    left[:] = extra['left']
    record.resume(states.step.max())
  leave(states.step.max())
  saved = time.monotonic()
  tokens = len(configs) * config.batch_size * train.num_positions(task)
  first = int(states.step.max())
  watch = Watch(record.workdir, config.steps, tokens, first)
  pace = signals.Pace(train.PIECE_SECONDS)
  intervals = _intervals(config, configs, left, task, model, states, pace)
  with watch:
    for states, metrics in intervals:
      step = int(states.step.max())
      pace.reached(step)
      if metrics:
        record.log(step, **{n: list(of_all) for n, of_all in metrics.items()})
        watch.update(step, **{n: np.nanmean(x) for n, x in metrics.items()})
      due = time.monotonic() - saved >= config.save_every
      if asked.is_set() or due or step == config.steps:
        checkpoints.save(step, states, {'left': left, **_data(task)})
        saved = time.monotonic()
      leave(step)
  return states


def _intervals(config, configs, left, task, model, states, pace):
  """The states and the metrics of all members, after every interval.

  And in its pauses, without metrics.

  One that meets what is not finite stays behind, with its last sound state and
  metrics that are nan; the others go on.
  """
  while left:
    put = functools.partial(_put, np.array(left))
    population = training.train_population(
      model,
      task,
      train.optimizer(config.steps, config.weight_decay),
      states.key[np.array(left)],
      learning_rates=[configs[i].learning_rate for i in left],
      steps=config.steps,
      batch_size=config.batch_size,
      log_every=config.log_every,
      how=config.how,
      pause=pace,
      state=training.select_members(states, np.array(left)),
    )
    try:
      for of_left, metrics in population:
        states = jax.tree.map(put, states, of_left)
        if metrics:
          metrics['validation'] = [
            _score(config, model, training.select_members(states, i), task)
            for i in left
          ]
        yield states, {n: _of_all(configs, left, metrics[n]) for n in metrics}
      return
    except training.MemberNotFinite as fault:
      member = configs[left.pop(fault.member)]
      fault = training.NotFinite(fault.step, fault.key, fault.parameter)
      print(
        f'FAILED seed={member.seed}, learning_rate={member.learning_rate}\n'
        f'  {fault}',
        file=sys.stderr,
      )
  raise ValueError(
    'No member has reached the last step; try smaller learning rates.'
  )


def _put(places, leaf, part):
  """A leaf of all members in which those at some places are new."""
  return leaf.at[places].set(part)


def _of_all(configs, left, values) -> np.ndarray:
  """A number for every member; nan for those that stayed behind."""
  numbers = np.full(len(configs), np.nan)
  numbers[left] = values
  return numbers


def _lines_of(record: results.Run, index: int) -> list[dict[str, Any]]:
  """The metrics of one member, from those of all."""
  text = (record.workdir / 'metrics.jsonl').read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return [
    {'step': line['step']}
    | {n: of_all[index] for n, of_all in line.items() if n not in OF_ALL}
    for line in lines
  ]


def _leave(member, folder, task, model, state, lines):
  """What seqjax-train would have left of a member."""
  validation = _score(member, model, state, task)
  sign = 1 if task.metric.higher_is_better else -1
  with (
    results.Run(folder, member) as record,
    Checkpoints(folder / train.CHECKPOINTS) as checkpoints,
  ):
    for line in lines:
      record.log(**line)
    checkpoints.save(state.step, state, _data(task), score=sign * validation)
    record.finish(
      metric=str(task.metric),
      steps_taken=int(state.step),
      validation=validation,
      test=_score(member, model, state, task, 'test', 16),
      chance=task.chance,
      ceiling=task.ceiling,
    )


def _data(task) -> dict[str, Any]:
  """What a checkpoint says of the data that were read."""
  return {'data': train.fingerprint(task)}


def _score(config, *parts) -> float:
  return train.held_out_score(*parts, at_once=train.rows_at_once(config))


def _too_large(config: Config) -> str:
  """What to say when the device's memory did not suffice: what would do."""
  alone = jax.default_backend() == 'cpu' and config.how == 'auto'
  if config.how in ('one_by_one', 'map') or alone:
    return train.too_large(members(config)[0])
  return (
    f'The device has not enough memory for {len(members(config))} members at '
    f'once (how={config.how}); how=map takes that of one: '
    f'{train.too_large(members(config)[0])}'
  )


def main(config: Config, workdir: str):
  """`run`, where what stops it is one sentence and an exit code."""
  with cell_pool.stoppable(), trained.sentences(lambda: _too_large(config)):
    try:
      summary = run(config, workdir)
    except signals.Preempted as error:
      print(error, file=sys.stderr)
      sys.exit(signals.PREEMPTED)
  del summary['time']
  print(f'{config.task} by {config.mixer}, test over seeds. See {workdir}.')
  print(seeds.text([summary]))
  sys.exit(1 if summary['failed'] else 0)


if __name__ == '__main__':
  experiment.launch(Config, main, workdir='runs/population')
