"""Trains any mixer of the catalogue on any task of the catalogue.

    seqjax-train --task=copy_memory --task_options=delay=50 \
        --mixer=attention
    seqjax-train --task=text --corpus=my/notes --mixer=lstm

The run is a folder with its config, its metrics, its checkpoints and a summary:
scores on the validation and the test split, with chance and ceiling beside
them. A run that was stopped or killed goes on where it was by the same command,
and ends as if it had not been. SIGTERM saves before it stops, within a few
seconds of training: exit code 75.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax import experiment, results, training
from seqjax.errors import unknown
from seqjax.experiment import option
from seqjax.launch import memory_limits, signals
from seqjax.launch.watch import Watch
from seqjax.models import model_for
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.results.checkpoint import Checkpoints
from seqjax.results.saver import Saver
from seqjax.tasks import TASKS
from seqjax.tasks.task import Metric
from seqjax.typing import Batch

CHECKPOINTS = 'checkpoints'  # the folder of them in a run's
PIECE_SECONDS = 5.0  # of training, between looks at the clock and for SIGTERM
EVERY_MIXER = MIXERS | NONCAUSAL_MIXERS
SCORED_ROWS = 64  # of a batch; four of validation, sixteen of test
LENGTHS = ('length', 'delay', 'lag')  # what a task's sequences grow with
DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class Config:
  """The knobs of one training run."""

  task: str = option('recall', 'What is learnt.', among=TASKS)
  mixer: str = option('lstm', 'What moves along time.', among=EVERY_MIXER)
  task_options: str = option('', 'Its options, as in length=32,num_symbols=8.')
  mixer_options: str = option('', 'Its options, as in num_heads=4.')
  corpus: str = option('', 'A file or folder for the task text, or its name.')
  data_dir: str = option('', 'Where prepared data of the task lie.')
  features: int = option(64, 'Width of the stream.')
  layers: int = option(2, 'Blocks, one on top of the other.')
  context: int = option(1024, 'Positions that attention holds.')
  expansion: int = option(2, "Width of a block's perceptron over features.")
  dropout: float = option(0.0, 'Share of each block that training drops.')
  dtype: str = option(
    'float32', 'Of the arithmetic; parameters are float32.', among=DTYPES
  )
  remat: bool = option(False, 'Compute blocks again instead of keeping them.')
  steps: int = option(1000, 'Updates.')
  batch_size: int = option(32, 'Examples an update.')
  learning_rate: float = option(3e-3, 'Peak of the schedule.')
  weight_decay: float = option(0.01, 'Decoupled, times the learning rate.')
  log_every: int = option(100, 'Updates between two lines of metrics.')
  seed: int = option(0, 'Seeds the parameters and the order of the data.')
  carried: bool = option(
    False,
    'Train on from the carry of the batch before; scores begin every window '
    'without one.',
  )
  patience: int = option(
    0, 'Evaluations without a better one that end training; 0: none do.'
  )
  save_every: float = option(60.0, 'Seconds between two checkpoints.')
  keep_latest: int = option(2, 'Checkpoints to keep, the newest.')
  keep_best: int = option(1, 'Checkpoints to keep, best in validation.')

  def __post_init__(self):
    least = dict.fromkeys(
      ('patience', 'save_every', 'keep_best', 'dropout', 'weight_decay'), 0
    ) | dict.fromkeys(
      ('features', 'layers', 'steps', 'batch_size', 'log_every', 'keep_latest'),
      1,
    )
    for name, bound in least.items():
      if getattr(self, name) < bound:
        raise ValueError(
          f'{name} must be at least {bound}, but {name}={getattr(self, name)} '
          'was given.'
        )
    if self.corpus and not self.task.startswith('text'):
      raise ValueError(
        f'A corpus is what the task text reads, but task={self.task} was given.'
      )


def run(
  config: Config,
  workdir: str,
  *,
  shard: bool = False,
  tensorboard: bool = False,
  profile: bool = False,
) -> dict[str, Any]:
  """Trains and scores one model; what has finished is not done again.

  Goes on from the newest checkpoint in workdir. Raises `signals.Preempted`
  when SIGTERM came, after the state has been saved. `shard` spreads batches
  over all devices, also of a run that was begun without; the other switches
  change nothing about the result, see `results.watch.Watch`. Scores are of
  windows by themselves, also those of a model that was trained on a carry.
  Raises MemoryError, with what would fit, where the device's does not suffice.
  """
  experiment.validate(config)
  exhausted = memory_limits.named(lambda: too_large(config))
  with signals.sigterm() as asked, exhausted:
    done = results.finished(workdir, config)
    if done is not None:
      return done
    switches = {'tensorboard': tensorboard, 'profile': profile}
    return _run(config, workdir, asked, shard, switches)


def _run(config, workdir, asked, shard, switches) -> dict[str, Any]:
  task, model = make(config)
  with (
    results.Run(workdir, config) as record,
    Checkpoints(
      record.workdir / CHECKPOINTS,
      latest=config.keep_latest,
      best=config.keep_best,
    ) as checkpoints,
  ):
    mesh = jax.make_mesh((jax.device_count(),), ('rows',)) if shard else None
    leave_ = functools.partial(leave, asked, checkpoints, config, workdir)
    parts = task, model, record, checkpoints
    state = _train(config, *parts, mesh, switches, asked, leave_)
    scores = {}
    for split, batches in {'validation': 4, 'test': 16}.items():
      at_once = rows_at_once(config)
      scores[split] = held_out_score(
        model, state, task, split, batches, at_once
      )
      leave_(state.step)
    return record.finish(
      metric=str(task.metric),
      steps_taken=int(state.step),
      **scores,
      chance=task.chance,
      ceiling=task.ceiling,
    )


def _train(
  config, task, model, record, checkpoints, mesh, switches, asked, leave
) -> training.TrainState:
  """The last state. Its checkpoint may still be on its way to disk."""
  state, patience = _begin(config, task, model, record, checkpoints)
  leave(state.step)
  if patience.is_over(config.patience):
    return state
  pace = signals.Pace(PIECE_SECONDS)
  states = training.train(
    model,
    task,
    optimizer(config.steps, config.weight_decay),
    jax.random.key(config.seed),
    steps=config.steps,
    batch_size=config.batch_size,
    learning_rate=config.learning_rate,
    log_every=config.log_every,
    pause=pace,
    state=state,
    mesh=mesh,
    carried=config.carried,
  )
  saver = Saver(checkpoints, float(config.save_every))
  data = fingerprint(task)
  sign = 1 if task.metric.higher_is_better else -1
  tokens = config.batch_size * num_positions(task)
  watch = Watch(
    record.workdir, config.steps, tokens, int(state.step), **switches
  )
  with watch, _keeping_the_last(saver):
    for state, metrics in states:
      pace.reached(state.step)
      score = None
      if metrics:
        validation = held_out_score(
          model, state, task, at_once=rows_at_once(config)
        )
        record.log(state.step, **metrics, validation=validation)
        watch.update(state.step, **metrics, validation=validation)
        score = sign * validation
        patience = patience.after(score)
      extra = {'patience': patience._asdict(), 'data': data}
      saver.offer(state.step, state, extra, score)
      over = patience.is_over(config.patience) or state.step == config.steps
      ends = over or asked.is_set()
      save = saver.save if ends else saver.save_when_due
      save(state.step, state, extra)
      if ends:
        leave(state.step)
      if over:
        break
  return state


@contextlib.contextmanager
def _keeping_the_last(saver: Saver) -> Iterator[None]:
  """Saves the last good state, where training meets what is not finite."""
  try:
    yield
  except training.NotFinite:
    saver.save_last()
    raise


def leave(asked, checkpoints, config, workdir, step):
  """Raises Preempted if SIGTERM came; what was saved is on disk by then."""
  if not asked.is_set():
    return
  checkpoints.wait()
  where = f'at step {step} of {config.steps}; it is saved in {str(workdir)!r}'
  raise signals.Preempted(
    f'Stopped by SIGTERM {where if step else "before the first step"}, and the '
    'same command goes on.'
  )


def _begin(config, task, model, record, checkpoints):
  """The state to go on from, and the patience that is left."""
  check_data(task, checkpoints.extra, record.workdir)
  state = initial_state(config, task, model)
  restored = checkpoints.restore(state)
  if restored is None:
    return state, signals.Patience()
  state, extra = restored
  record.resume(state.step)
  return state, signals.Patience(**extra['patience'])


def check_data(task, extra: dict[str, Any], workdir: str | os.PathLike):
  """Raises ValueError where a task reads other data than a run has read."""
  kept = extra.get('data')
  if kept is not None and kept != fingerprint(task):
    raise ValueError(
      f'The run in {str(workdir)!r} has read other data than {task} reads now:'
      ' put them back as they were, or choose another workdir.'
    )


def fingerprint(task) -> int | None:
  """Of the data that it reads; None where it draws its own."""
  return getattr(task, 'fingerprint', None)


def initial_state(config: Config, task, model) -> training.TrainState:
  """At step 0; the checkpoints of a run are of its form."""
  return training.init(
    model,
    task,
    optimizer(config.steps, config.weight_decay),
    jax.random.key(config.seed),
    config.learning_rate,
    carried_rows=config.batch_size if config.carried else None,
  )


def example(task, batch_size: int = 1, split: str = 'train') -> Batch:
  """The shapes of a batch, or one."""
  key = jax.random.key(0)
  draw = functools.partial(task.batch, key, 0, batch_size, split)
  return jax.eval_shape(draw) if task.on_device else draw()


def num_positions(task) -> int:
  """In a row of inputs; in that of the longer side if there are two."""
  return max(x.shape[1] for x in jax.tree.leaves(example(task).inputs))


@functools.cache
def optimizer(steps: int, weight_decay: float):
  """Made once: compiled functions are kept by optimizer."""
  warmup = min(50, steps // 10)
  return training.adamw(steps, warmup=warmup, weight_decay=weight_decay)


def make(config: Config, scored: Sequence[str] = ('validation', 'test')):
  """The task, and the model that it specifies.

  Raises:
    ValueError: they do not exist, or there is nothing in a split to be scored.
  """
  options = parse(config.task_options, TASKS[config.task], 'task')
  for name in ('corpus', 'data_dir'):
    if value := getattr(config, name):
      options[name] = value
  known = inspect.signature(TASKS[config.task]).parameters
  if not set(options) <= set(known):
    raise ValueError(f'The task {config.task} reads no data from a folder.')
  task = TASKS[config.task](**options)
  for split in scored:
    example(task, SCORED_ROWS, split)
  if config.mixer in NONCAUSAL_MIXERS and task.metric is Metric.BITS:
    raise ValueError(
      f'{config.mixer} sees what the task {config.task} asks it to predict.'
    )
  maker = EVERY_MIXER[config.mixer]
  options = parse(config.mixer_options, maker, 'mixer')
  dtype = jnp.dtype(config.dtype)
  mixer = maker(config.features, config.context, **{'dtype': dtype} | options)
  model = model_for(
    task,
    (mixer,) * config.layers,
    expansion=config.expansion,
    dropout=config.dropout,
    dtype=dtype,
    remat=config.remat,
  )
  return task, model


def parse(text: str, maker: Callable, what: str) -> dict[str, Any]:
  """{name: value} of 'name=value,name=value', for arguments of `maker`."""
  known = inspect.signature(maker).parameters
  options = {}
  for part in filter(None, text.split(',')):
    name, equals, value = part.partition('=')
    if not equals:
      raise ValueError(f'Options are name=value,name=value, but got {part!r}.')
    if name not in known:
      raise ValueError(unknown(f'{what} option', name, known))
    try:
      options[name] = ast.literal_eval(value)
    except (SyntaxError, ValueError):
      options[name] = value  # a word
  return options


def held_out_score(
  model, state, task, split='validation', batches=4, at_once=None
) -> float:
  """The mean over batches of SCORED_ROWS examples of a split."""
  scores = training.evaluate(
    model,
    state.params,
    task,
    batches=batches,
    batch_size=SCORED_ROWS,
    split=split,
    at_once=at_once,
  )
  return training.overall(scores)


def rows_at_once(config: Config) -> int:
  """How many rows are scored at a time.

  Outputs alone take less memory for two rows than an update does for one.
  """
  return 2 * config.batch_size


def too_large(config: Config) -> str:
  """What to say when the device's memory did not suffice: what would do."""
  from seqjax.analysis import memory

  limit = memory.available_memory()
  one, two = (_bytes_needed(config, batch_size) for batch_size in (1, 2))
  needed = one + (config.batch_size - 1) * (two - one)
  fits = memory_limits.largest_batch(one, two, limit, below=config.batch_size)
  advice = f'batch_size={fits} would fit' if fits else _shorter(config, limit)
  return (
    f'The device has not enough memory, {memory_limits.gibibytes(limit)},'
    ' for a step '
    f'with batch_size={config.batch_size}, which takes about '
    f'{memory_limits.gibibytes(needed)}; {advice}.'
  )


def _shorter(config: Config, limit: int) -> str:
  """Which sequences would fit in a batch of one."""
  task, _ = make(config)
  known = inspect.signature(TASKS[config.task]).parameters
  name = next((name for name in LENGTHS if name in known), '')
  shorter = memory_limits.largest_half(
    lambda size: _bytes_needed(with_options(config, **{name: size}), 1),
    limit,
    getattr(task, name, 0),
  )
  if shorter:
    return f'batch_size=1 with task_options={name}={shorter} would fit'
  return (
    'not even batch_size=1 would fit: shorten the sequences or make the model'
    ' smaller'
  )


def with_options(config: Config, **options: Any) -> Config:
  """The same with other options of the task; the last of a name counts."""
  given = [f'{name}={value}' for name, value in options.items()]
  text = ','.join(filter(None, [config.task_options, *given]))
  return dataclasses.replace(config, task_options=text)


def _bytes_needed(config, batch_size) -> int:
  """Of one update; compiled, not run."""
  from seqjax.analysis import timing

  config = dataclasses.replace(config, batch_size=batch_size)
  task, model = make(config)
  begin = functools.partial(initial_state, config, task, model)
  step = functools.partial(
    training.train_step,
    model=model,
    task=task,
    optimizer=optimizer(config.steps, config.weight_decay),
  )
  return timing.predicted_bytes(
    step,
    jax.eval_shape(begin) if task.on_device else begin(),
    example(task, batch_size),
  )


def report(config: Config, summary: dict[str, Any], workdir: str) -> str:
  """What came out, for a person."""
  known = {'chance': summary['chance'], 'ceiling': summary['ceiling']}
  beside = [f'{name} {x:.4g}' for name, x in known.items() if x is not None]
  return (
    f'{config.task} by {config.mixer}, {summary["steps_taken"]} steps in '
    f'{summary["time"]:.0f} s: {summary["metric"]} {summary["test"]:.4g} on '
    f'test, {summary["validation"]:.4g} on validation'
    f'{" (" * bool(beside)}{", ".join(beside)}{")" * bool(beside)}. '
    f'See {workdir}.'
  )


def main(config: Config, workdir: str, **switches: bool):
  """`run`, where what stops it is one sentence and an exit code."""
  try:
    print(report(config, run(config, workdir, **switches), workdir))
  except signals.Preempted as error:
    _exit(error, signals.PREEMPTED)
  except KeyboardInterrupt:
    _exit(
      'Interrupted; the same command goes on from the last checkpoint.', 130
    )
  except (ValueError, OSError, MemoryError, training.NotFinite) as error:
    _exit(error, 1)


def _exit(sentence, code):
  print(sentence, file=sys.stderr)
  sys.exit(code)


if __name__ == '__main__':
  experiment.launch(
    Config,
    main,
    workdir='runs/train',
    shard='Spread batches over all devices.',
    tensorboard='Also write files for TensorBoard (extra tensorboard).',
    profile='Trace a few intervals with jax.profiler, into workdir/profile.',
  )
