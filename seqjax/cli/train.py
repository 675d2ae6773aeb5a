"""Trains any mixer of the catalogue on any task of the catalogue.

    seqjax-train --task=copy_memory --task_options=delay=50 --mixer=attention
    seqjax-train --task=text --corpus=my/notes --mixer=lstm

A run is a folder with its config, its metrics, its checkpoints and a summary:
scores on the validation and the test split, with chance and ceiling beside
them. The same command resumes a run that was stopped or killed, and the run
ends as if it had not been. SIGTERM saves before it stops, within a few seconds
of training: exit code 75.

Several processes train one run, each on its devices, under srun or mpirun, or
where each is told of the others: --distributed=node1:1234,2,0.
"""

import contextlib
import functools
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from seqjax import experiment, results, training
from seqjax.cli import build, spreading
from seqjax.cli.train_config import CHECKPOINTS, Config
from seqjax.launch import (
  exits,
  memory_limits,
  monitor,
  processes,
  signals,
  trackers,
)
from seqjax.results import extension, leaves
from seqjax.results.checkpoint import Checkpoints
from seqjax.results.follower import FollowerCheckpoints, FollowerRun
from seqjax.results.saver import Saver
from seqjax.training import recipe, sharding

PIECE_SECONDS = 5.0  # of training between checks of the clock and for SIGTERM


def run(
  config: Config,
  workdir: str | os.PathLike,
  *,
  shard: bool = False,
  mesh: str = '',
  shard_states: bool = False,
  tracker: str = 'none',
  profile: bool = False,
  extend: bool = False,
) -> dict[str, Any]:
  """Trains and scores one model; a finished run is not repeated.

  Resumes from the newest checkpoint in workdir. Each window is scored by
  itself, also where the model was trained on a carry. All processes of a job
  (see `launch.processes`) call this alike; the first one reads and writes.

  Args:
    config: the options of the run.
    workdir: its folder.
    shard: spread the rows of batches over all devices: the mesh rows:-1.
    mesh: the mesh that batches are spread over, as `training.meshes.parse`
      reads it. Several processes spread rows over all devices where none is
      given. A run may be resumed on another mesh.
    shard_states: share parameters and the optimizer's state among the devices
      along rows, as `training.train` does.
    tracker: where the run is shown, one of `trackers.TRACKERS`, which changes
      no result.
    profile: trace a few intervals, which changes no result either.
    extend: train a finished run of fewer steps for longer.

  Returns:
    The summary, as `results.finished` returns it.

  Raises:
    ValueError: the config cannot be run; nothing has been written.
    ModuleNotFoundError: the tracker is not installed; nothing has been written.
    signals.Preempted: SIGTERM came; the state has been saved.
    MemoryError: the device's memory does not suffice; says what would fit.
  """
  experiment.validate(config)
  processes.check_same(
    {'config': repr(config), 'version of jax': jax.__version__}
  )
  first = processes.is_first()
  tracking = processes.first_alone(
    lambda: trackers.Tracking(tracker, workdir, config)
  ) or trackers.Tracking('none', workdir, config)
  spread = spreading.over(shard, mesh, shard_states)
  exhausted = memory_limits.named(lambda: build.too_large(config, *spread))
  with signals.sigterm() as here, exhausted:
    preempted = processes.AnyAsked(here)
    if extend:
      build.check_model(*build.make(config), config)
      processes.first_alone(lambda: _extend(config, workdir))
    done = _finished(config, workdir)
    if done is not None:
      return done
    with tracking:
      return _run(
        config, workdir, preempted, spread, tracking, profile and first
      )


def _finished(
  config: Config, workdir: str | os.PathLike
) -> dict[str, Any] | None:
  """Returns the summary of a finished run, or None, as the first one reads."""
  read = functools.partial(_read_finished, config, workdir)
  return processes.from_first(processes.first_alone(read))


def _read_finished(
  config: Config, workdir: str | os.PathLike
) -> dict[str, Any] | None:
  """Returns the summary of a finished run, or None.

  Raises:
    ValueError: the workdir holds the run of another config; of a finished run
      of fewer steps, it says how that is trained for longer.
  """
  had = extension.finished_earlier(workdir, config)
  if had is not None:
    raise ValueError(
      f'The run in {str(workdir)!r} has finished its {had} steps, and steps='
      f'{config.steps} was given: add --extend to train it for longer, or '
      'choose another workdir.'
    )
  return results.finished(workdir, config)


def _extend(config: Config, workdir: str | os.PathLike):
  """Extends the run, and says what that means for the learning rate."""
  had = extension.extend(workdir, config)
  if had is not None:
    print(
      f'extending the run from {had} to {config.steps} steps: its schedule '
      f'ended at step {had} with a learning rate of 0; from there on it is the '
      f'schedule of {config.steps} steps, so that the learning rate rises at '
      f'once and falls to 0 again by step {config.steps}',
      file=sys.stderr,
      flush=True,
    )


def check(config: Config):
  """Raises ValueError for what `run` would refuse; nothing is compiled."""
  build.check_model(*build.make(config), config)


@contextlib.contextmanager
def _records(config: Config, workdir: Any) -> Iterator[tuple[Any, Any]]:
  """Yields what writes the run and its checkpoints: in the first process."""
  with contextlib.ExitStack() as opened:

    def begin():
      record = opened.enter_context(results.Run(workdir, config))
      checkpoints = Checkpoints(
        record.workdir / CHECKPOINTS,
        latest=config.keep_latest,
        best=config.keep_best,
        before_save=record.sync,
      )
      return record, opened.enter_context(checkpoints)

    yield processes.first_alone(begin) or (
      FollowerRun(workdir, config),
      FollowerCheckpoints(),
    )


def _run(
  config, workdir, preempted, spread, tracking, profile
) -> dict[str, Any]:
  # A run that resumes keeps what it has fitted, whatever fits it now.
  kept = processes.first_alone(lambda: build.read_fitted(workdir))
  task, model = build.make(config, fitted=processes.from_first(kept))
  build.check_model(task, model, config)
  recipe.check_spread(*spread, model, task, config.batch_size)
  processes.check_same({'data': build.fingerprint(task)})
  with _records(config, workdir) as (record, checkpoints):
    stop_if_preempted = functools.partial(
      raise_if_preempted, preempted, checkpoints, config, workdir
    )
    parts = task, model, record, checkpoints, tracking
    if not processes.from_first(build.fits_memory(config, task, 1, *spread)):
      raise MemoryError(build.too_large(config, *spread))
    with build.compiling(config, task, model, spread.mesh) as ahead:
      state = _train(
        config, *parts, spread, profile, preempted, stop_if_preempted, ahead
      )
    held_out = {}
    _say('scoring validation and test ...')
    for split, batches in {'validation': 4, 'test': 16}.items():
      scored = held_out_score(
        config, model, state, task, split, batches, spread.mesh
      )
      held_out |= scored.named(split)
      stop_if_preempted(state.step)
    summary = record.finish(
      metric=str(task.metric),
      steps_taken=int(state.step),
      **held_out,
      chance=task.chance,
      ceiling=task.ceiling,
    )
    tracking.finish(state.step, **summary)
    return summary


def _train(
  config,
  task,
  model,
  record,
  checkpoints,
  tracking,
  spread,
  profile,
  preempted,
  stop_if_preempted,
  ahead,
) -> training.TrainState:
  """Returns the last state, whose checkpoint may still be being written."""
  with spreading.beginning(spread):
    state, patience = _restore(config, task, model, record, checkpoints)
  state = sharding.put(state, *spread)
  processes.first_alone(lambda: build.write_fitted(task, record.workdir))
  stop_if_preempted(state.step)
  tracking.begin(state.step)
  if patience.is_over(config.patience):
    return state
  say_what_begins(config, record.workdir, state.step)
  pace = signals.Pace(PIECE_SECONDS)
  pause = processes.agreed(pace)
  saver = Saver(checkpoints, float(config.save_every))
  data = build.fingerprint(task)
  sign = 1 if task.metric.higher_is_better else -1
  tokens = config.batch_size * build.num_positions(task)
  watch = monitor.Monitor(
    record.workdir,
    config.steps,
    tokens,
    int(state.step),
    profile=profile,
    stream=None if processes.is_first() else io.StringIO(),
  )
  costly = spread.shard_states and processes.are_several()  # to put together
  states = _states(config, task, model, state, pause, spread)
  with watch, _keeping_the_last(saver):
    ahead.wait('training')
    for state, metrics in states:
      step = int(state.step)
      pace.reached(step)
      watch.reached(step)
      score = None
      if metrics:
        ahead.wait('validation')
        validation = held_out_score(
          config, model, state, task, mesh=spread.mesh
        )
        line = metrics | validation.named('validation')
        record.log(step, **line)
        tracking.log(step, **line)
        watch.update(step, **metrics, validation=validation.score)
        score = processes.from_first(sign * validation.score)
        patience = patience.after(score)
      extra = {
        'patience': patience._asdict(),
        'data': data,
        'lines': record.num_lines,
      }
      over = patience.is_over(config.patience) or step == config.steps
      ends = over or preempted.is_set()
      saves = metrics or ends or not costly
      if saves or processes.from_first(saver.is_due()):
        whole = sharding.local(state)
        saver.offer(step, whole, extra, score)
        save = saver.save if ends else saver.save_when_due
        save(step, whole, extra)
      if ends:
        stop_if_preempted(step)
      if over:
        break
  return state


def _states(config, task, model, state, pause, spread):
  """Returns the generator of states and metrics from `state` on."""
  return training.train(
    model,
    task,
    build.optimizer(config),
    jax.random.key(config.seed),
    steps=config.steps,
    batch_size=config.batch_size,
    learning_rate=config.learning_rate,
    log_every=config.log_every,
    pause=pause,
    state=state,
    mesh=spread.mesh,
    carried=config.carried,
    layer_norms=config.layer_norms,
    shard_states=spread.shard_states,
  )


def say_what_begins(config: Config, workdir: Any, step: Any):
  """Prints what is trained and where its results are written."""
  how = f'resuming at step {int(step)}' if step else 'starting at step 0'
  _say(
    f'training {config.mixer} on {config.task}, {how}; results are written to '
    f'{workdir}'
  )


def _say(line: str):
  """Prints a line on stderr, once for all processes."""
  if processes.is_first():
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _keeping_the_last(saver: Saver) -> Iterator[None]:
  """Saves the last good state where training meets what is not finite."""
  try:
    yield
  except training.NotFinite:
    saver.save_last()
    raise


def raise_if_preempted(preempted, checkpoints, config, workdir, step):
  """Raises Preempted if SIGTERM came; what was saved is on disk by then."""
  if not preempted.is_set():
    return
  checkpoints.wait()
  where = f'at step {step} of {config.steps}; it is saved in {str(workdir)!r}'
  raise signals.Preempted(
    f'Stopped by SIGTERM {where if step else "before the first step"}, and the '
    'same command resumes it.'
  )


def _restore(config, task, model, record, checkpoints):
  """Returns the state to begin with, and the patience that is left.

  The first process reads the checkpoint, and the others have it from there.
  """
  state = build.initial_state(config, task, model)

  def read():
    build.check_data(task, checkpoints.extra, record.workdir)
    return checkpoints.restore(state, record.lost_lines)

  restored = processes.first_alone(read)
  extra = processes.from_first(restored and restored[1])
  if extra is None:
    record.begin()
    return state, signals.Patience()
  state = _from_first(restored[0] if restored else state)
  record.resume(state.step)
  return state, signals.Patience(**extra['patience'])


def _from_first(state: training.TrainState) -> training.TrainState:
  """Returns the first process's state in all of them."""
  if not processes.are_several():
    return state
  named = leaves.named(state)
  arrays = {path: leaves.on_host(leaf) for path, leaf in named.items()}
  about = {p: leaves.describe(leaf, arrays[p]) for p, leaf in named.items()}
  return leaves.together(processes.arrays_from_first(arrays), about, state)


class HeldOut(NamedTuple):
  """A mean score of a split, and the share of its targets that count."""

  score: float
  share: float

  def named(self, split: str) -> dict[str, float]:
    """Returns both by their names in records."""
    return {split: self.score, f'{split}_share': self.share}


def held_out_score(
  config: Config,
  model,
  state,
  task,
  split: str = 'validation',
  batches: int = 4,
  mesh: jax.sharding.Mesh | None = None,
) -> HeldOut:
  """Scores batches of SCORED_ROWS examples of a split.

  The devices of a mesh, those of all processes, share their rows.

  Raises:
    ValueError: none of their targets counts.
  """
  scores = training.evaluate(
    model,
    training.averaged_params(state),
    task,
    batches=batches,
    batch_size=build.SCORED_ROWS,
    split=split,
    at_once=build.rows_at_once(config),
    mesh=mesh,
  )
  if not scores:
    raise ValueError(
      f'Nothing was scored: all targets of the {split} split of {config.task} '
      'have weight 0, as characters have that training has not seen.'
    )
  return HeldOut(training.overall(scores), scores.share)


def report(
  config: Config, summary: dict[str, Any], workdir: str | os.PathLike, took: str
) -> str:
  """Returns the outcome of a run as a sentence; `took` follows the steps."""
  known = {'chance': summary['chance'], 'ceiling': summary['ceiling']}
  beside = [f'{name} {x:.4g}' for name, x in known.items() if x is not None]
  return (
    f'{config.task} by {config.mixer}, {summary["steps_taken"]} steps{took}: '
    f'{summary["metric"]} {summary["test"]:.4g} on test, '
    f'{summary["validation"]:.4g} on validation{_counted(summary)}'
    f'{" (" * bool(beside)}{", ".join(beside)}{")" * bool(beside)}. '
    f'Results are in {workdir}.'
  )


def _counted(summary: dict[str, Any]) -> str:
  """Says how many of the test targets count, if not all of them do."""
  share = summary.get('test_share', 1.0)
  return '' if share == 1 else f', {share:.1%} of the targets counted'


@processes.leaving_together
@exits.guarded(resumes=True, several=True)
def train_and_report(
  config: Config,
  workdir: str | os.PathLike,
  distributed: str = '',
  **switches: bool | str,
):
  """Trains as `run` does, and prints the outcome."""
  processes.begin(processes.asked_for(distributed, os.environ))
  extend = switches.get('extend', False)
  with processes.noticing_the_lost():
    processes.check_same({'command': repr((config, sorted(switches.items())))})
    finished = not extend and _finished(config, workdir) is not None
    summary = run(config, workdir, **switches)
  if not processes.is_first():
    return
  if finished:
    print(f'Already finished: {report(config, summary, workdir, "")}')
  else:
    took = f' in {summary["time"]:.0f} s'
    print(report(config, summary, workdir, took))


def main():
  """Trains as the command line says."""
  experiment.launch(
    Config,
    train_and_report,
    workdir='runs/train',
    **spreading.SWITCHES,
    tracker=experiment.Choice(
      'Show metrics in another program, too, by the extra of that name.',
      trackers.TRACKERS,
    ),
    profile='Trace a few intervals with jax.profiler, into workdir/profile.',
    extend='Continue a finished run up to --steps.',
    distributed=experiment.Text(
      'Join other processes in one run: HOST:PORT,COUNT,INDEX is the address '
      'of the first, their number, and which this is; auto asks the launcher, '
      'as happens without this flag under srun and mpirun.'
    ),
  )


if __name__ == '__main__':
  main()
