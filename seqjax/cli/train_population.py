r"""Trains a population: many seeds and learning rates in one program.

    seqjax-train-population --task=parity --mixer=lstm --seeds=5 \
        --learning_rates=1e-3,3e-3 --workdir=runs/population

Each member leaves the folder that seqjax-train would have left for it, so that
seqjax-evaluate and seqjax-generate can read it. results.csv holds a row per
member, summary.csv the statistics of test scores over seeds, at the learning
rate that validation chose. The same command resumes a population that was
stopped; SIGTERM saves before it stops: exit code 75. A member whose loss is not
finite is reported and the others continue: exit code 1.
"""

import dataclasses
import functools
import math
import os
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import experiment, results, training
from seqjax.cli import build, seeds, train, train_config
from seqjax.experiment import option
from seqjax.launch import exits, signals
from seqjax.launch.monitor import Monitor
from seqjax.results import records, table
from seqjax.results.checkpoint import Checkpoints
from seqjax.training import meshes
from seqjax.training.population import HOW, resolve

OF_ALL = ('step', 'time')  # what a line of metrics holds once


@dataclasses.dataclass(frozen=True)
class Config(train_config.Config):
  """The options of every member, and the number of members."""

  seeds: int = option(
    5, 'Number of members per learning rate, with seeds seed, seed + 1, ...'
  )
  learning_rates: tuple[float, ...] = option(
    (),
    'Learning rates that validation chooses from. By default learning_rate '
    'alone.',
  )
  how: str = option('auto', 'Way to train the members together.', among=HOW)
  solved: float = option(
    math.nan, 'Test score from which on a seed has solved the task.'
  )

  def __post_init__(self):
    super().__post_init__()
    if self.seeds < 1 or len({*self.learning_rates}) < len(self.learning_rates):
      raise ValueError(
        'A population has at least one seed and each learning rate once, but '
        f'seeds={self.seeds} and learning_rates={self.learning_rates} were '
        'given.'
      )
    if self.carried or self.patience or self.layer_norms:
      raise ValueError(
        'A population is trained to its last step from batches that stand '
        'alone, with norms of whole gradients: leave out carried, patience and '
        'layer_norms, or use seqjax-train.'
      )


def members(config: Config) -> list[train_config.Config]:
  """Returns the config that seqjax-train would be given for each member."""
  names = [field.name for field in dataclasses.fields(train_config.Config)]
  shared = {name: [getattr(config, name)] for name in names}
  differing = {
    'learning_rate': config.learning_rates or (config.learning_rate,),
    'seed': range(config.seed, config.seed + config.seeds),
  }
  return experiment.grid(train_config.Config, **shared | differing)


def run(
  config: Config, workdir: str | os.PathLike, *, mesh: str = ''
) -> dict[str, Any]:
  """Trains and scores all members; returns statistics over their seeds.

  Raises `signals.Preempted` when SIGTERM came, after the states were saved.

  Args:
    config: the options of the population.
    workdir: its folder.
    mesh: the devices that members are spread over, as in members:4; '': one. A
      population may be resumed on another mesh.
  """
  experiment.validate(config)
  with signals.sigterm() as preempted:
    done = results.finished(workdir, config)
    return done if done is not None else _run(config, workdir, preempted, mesh)


def _run(config, workdir, preempted, mesh) -> dict[str, Any]:
  configs = members(config)
  devices = _devices(config, mesh, len(configs))
  task, model = build.make(configs[0])
  build.check_model(task, model, configs[0])
  with (
    results.Run(workdir, config) as record,
    Checkpoints(
      record.workdir / train.CHECKPOINTS,
      latest=config.keep_latest,
      best=0,
      before_save=record.sync,
    ) as checkpoints,
  ):
    left = list(range(len(configs)))
    stop_if_preempted = functools.partial(
      train.raise_if_preempted, preempted, checkpoints, config, workdir
    )
    parts = task, model, record, checkpoints
    states = _train(
      config, configs, left, *parts, devices, preempted, stop_if_preempted
    )
    rows = []
    for i in left:
      folder = record.workdir / experiment.folder_name(configs[i])
      if results.finished(folder, configs[i]) is None:
        state = training.select_members(states, i)
        _write_member(
          configs[i], folder, task, model, state, _member_metrics(record, i)
        )
      rows += results.collate(folder)
      stop_if_preempted(states.step.max())
    table.write(rows, record.workdir / 'results.csv')
    by = (seeds.RATE, seeds.SEED)
    summary = seeds.summarize(rows, by, 'test', solved=config.solved)
    table.write(summary, record.workdir / 'summary.csv')
    return record.finish(**summary[0], failed=len(configs) - len(left))


def _train(
  config,
  configs,
  left,
  task,
  model,
  record,
  checkpoints,
  devices,
  preempted,
  stop_if_preempted,
) -> training.TrainState:
  """Returns the last states, whose checkpoint may still be being written.

  Members that met what is not finite are taken from `left`.
  """
  mesh = _mesh(devices, len(left))
  at_once = len(left) if resolve(config.how, task, mesh) == 'vmap' else 1
  if not build.fits_memory(configs[0], task, at_once):
    raise MemoryError(too_large(config, mesh))
  states = _restore(configs, left, task, model, record, checkpoints)
  first = int(states.step.max())
  stop_if_preempted(first)
  train.say_what_begins(config, record.workdir, first)
  saved = time.monotonic()
  tokens = len(configs) * config.batch_size * build.num_positions(task)
  pace = signals.Pace(train.PIECE_SECONDS)
  intervals = _intervals(
    config, configs, left, task, model, states, pace, devices
  )
  with Monitor(record.workdir, config.steps, tokens, first) as monitor:
    for states, metrics in intervals:
      step = int(states.step.max())
      pace.reached(step)
      monitor.reached(step)
      if metrics:
        record.log(step, **{n: list(of_all) for n, of_all in metrics.items()})
        monitor.update(step, **{n: np.nanmean(x) for n, x in metrics.items()})
      due = time.monotonic() - saved >= config.save_every
      if preempted.is_set() or due or step == config.steps:
        extra = {'left': left, 'lines': record.num_lines, **_data_entry(task)}
        checkpoints.save(step, states, extra)
        saved = time.monotonic()
      stop_if_preempted(step)
  return states


def _restore(configs, left, task, model, record, checkpoints):
  """Returns the states to begin with; `left` becomes the members still good."""
  begun = [build.initial_state(member, task, model) for member in configs]
  states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)
  restored = checkpoints.restore(states, record.lost_lines)
  if restored is None:
    record.begin()
    return states
  states, extra = restored
  build.check_data(task, extra, record.workdir)
  left[:] = extra['left']
  record.resume(states.step.max())
  return states


def _devices(config: Config, mesh: str, num_members: int) -> int:
  """Returns the number of devices that members are spread over; 0: no mesh.

  Raises:
    ValueError: the mesh cannot be, or does not suit the population.
  """
  if not mesh:
    return 0
  parsed = meshes.parse(mesh, among=(meshes.MEMBERS,))
  meshes.check_members(parsed, num_members)
  resolve(config.how, build.make(members(config)[0])[0], parsed)
  return parsed.size


def _mesh(devices: int, num_members: int) -> jax.sharding.Mesh | None:
  """Returns a mesh over the devices, fewer where some members have failed."""
  if not devices:
    return None
  even = [n for n in range(1, devices + 1) if num_members % n == 0]
  return meshes.make({meshes.MEMBERS: max(even)})


def _intervals(config, configs, left, task, model, states, pace, devices):
  """Yields states and metrics of all members; no metrics in a pause.

  A member that meets what is not finite stays behind, with its last sound state
  and metrics that are nan; the others continue.
  """
  while left:
    put = functools.partial(_replace_members, np.array(left))
    population = training.train_population(
      model,
      task,
      build.optimizer(config),
      states.key[np.array(left)],
      learning_rates=[configs[i].learning_rate for i in left],
      steps=config.steps,
      batch_size=config.batch_size,
      log_every=config.log_every,
      how=config.how,
      pause=pace,
      state=training.select_members(states, np.array(left)),
      mesh=_mesh(devices, len(left)),
    )
    try:
      for of_left, metrics in population:
        if devices:  # they come from several
          of_left = jax.device_put(of_left, jax.local_devices()[0])
        states = jax.tree.map(put, states, of_left)
        if metrics:
          held_out = [
            train.held_out_score(
              config, model, training.select_members(states, i), task
            ).named('validation')
            for i in left
          ]
          metrics |= {n: [of[n] for of in held_out] for n in held_out[0]}
        yield (
          states,
          {n: _for_every_member(configs, left, metrics[n]) for n in metrics},
        )
      return
    except training.MemberNotFinite as fault:
      member = configs[left.pop(fault.member)]
      fault = training.NotFinite(fault.step, fault.key, fault.parameter)
      print(
        f'FAILED seed={member.seed}, learning_rate={member.learning_rate}\n'
        f'  {fault}',
        file=sys.stderr,
      )
  raise FloatingPointError(
    'No member has reached the last step; try smaller learning rates.'
  )


def _replace_members(places, leaf, part):
  """Returns a leaf of all members with new values at some places."""
  return leaf.at[places].set(part)


def _for_every_member(configs, left, values) -> np.ndarray:
  """Returns a number for every member; nan for those that stayed behind."""
  numbers = np.full(len(configs), np.nan)
  numbers[left] = values
  return numbers


def _member_metrics(record: results.Run, index: int) -> list[dict[str, Any]]:
  """Returns the metrics of one member, from those of all."""
  lines = results.metrics(record.workdir)
  path = record.workdir / records.METRICS
  for line in lines:
    for name, of_all in line.items():
      if name not in OF_ALL and not isinstance(of_all, tuple):
        raise ValueError(
          f'{str(path)!r} holds a line without a {name} of every member: mend '
          'it, or choose another workdir.'
        )
  return [
    {'step': line['step']}
    | {n: of_all[index] for n, of_all in line.items() if n not in OF_ALL}
    for line in lines
  ]


def _write_member(member, folder, task, model, state, lines):
  """Writes the folder that seqjax-train would have written for a member."""
  validation = train.held_out_score(member, model, state, task)
  test = train.held_out_score(member, model, state, task, 'test', 16)
  sign = 1 if task.metric.higher_is_better else -1
  with (
    results.Run(folder, member) as record,
    Checkpoints(
      folder / train.CHECKPOINTS, before_save=record.sync
    ) as checkpoints,
  ):
    build.write_fitted(task, folder)
    for line in lines:
      record.log(**line)
    checkpoints.save(
      state.step, state, _data_entry(task), score=sign * validation.score
    )
    record.finish(
      metric=str(task.metric),
      steps_taken=int(state.step),
      **validation.named('validation'),
      **test.named('test'),
      chance=task.chance,
      ceiling=task.ceiling,
    )


def _data_entry(task) -> dict[str, Any]:
  """Returns the entry of a checkpoint for the data that were read."""
  return {'data': build.fingerprint(task)}


def too_large(config: Config, mesh: jax.sharding.Mesh | None = None) -> str:
  """Returns the message for exhausted memory: what is needed, what fits."""
  task, _ = build.make(members(config)[0])
  if resolve(config.how, task, mesh) != 'vmap':
    return build.too_large(members(config)[0])
  return (
    f'The device has not enough memory for {len(members(config))} members at '
    f'once (how={config.how}); how=map takes that of one: '
    f'{build.too_large(members(config)[0])}'
  )


@exits.guarded(lambda config, workdir: too_large(config), resumes=True)
def train_and_report(
  config: Config, workdir: str | os.PathLike, mesh: str = ''
):
  """Trains as `run` does, prints the outcome; exit code 1 if members failed."""
  finished = results.finished(workdir, config) is not None
  summary = run(config, workdir, mesh=mesh)
  del summary['time']
  print(
    f'{"Already finished: " * finished}{config.task} by {config.mixer}, test '
    f'over seeds. Results are in {workdir}.'
  )
  print(seeds.text([summary]))
  sys.exit(1 if summary['failed'] else 0)


def main():
  """Trains as the command line says."""
  experiment.launch(
    Config,
    train_and_report,
    workdir='runs/population',
    mesh=experiment.Text('Spread the members over devices, as in members:4.'),
  )


if __name__ == '__main__':
  main()
