"""Trains any mixer of the catalogue on any task of the catalogue.

    python scripts/train.py --task=copy_memory --task_options=delay=50 \
        --mixer=attention
    python scripts/train.py --task=text --corpus=my/notes --mixer=lstm

The run is a folder with its config, its metrics, its checkpoints and a summary:
scores on the validation and the test split, with chance and ceiling beside
them. A run that was stopped or killed goes on where it was by the same command,
and ends as if it had not been. SIGTERM saves before it stops: exit code 75.
"""

import ast
import dataclasses
import functools
import inspect
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from seqjax import experiment, results, training  # noqa: E402
from seqjax.errors import unknown  # noqa: E402
from seqjax.experiment import option  # noqa: E402
from seqjax.models import model_for  # noqa: E402
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS  # noqa: E402
from seqjax.results import stopping  # noqa: E402
from seqjax.results.checkpoint import Checkpoints  # noqa: E402
from seqjax.results.watch import Watch  # noqa: E402
from seqjax.tasks import TASKS  # noqa: E402
from seqjax.tasks.task import Metric  # noqa: E402
from seqjax.typing import Batch  # noqa: E402

CHECKPOINTS = 'checkpoints'  # the folder of them in a run's
EVERY_MIXER = MIXERS | NONCAUSAL_MIXERS
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
  carried: bool = option(False, 'Go on from the carry of the batch before.')
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

  Goes on from the newest checkpoint in workdir. Raises `stopping.Preempted`
  when SIGTERM came, after the state has been saved. `shard` spreads batches
  over all devices, also of a run that was begun without; the other switches
  change nothing about the result, see `results.watch.Watch`.
  """
  experiment.validate(config)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  task, model = make(config)
  with (
    results.Run(workdir, config) as record,
    Checkpoints(
      record.workdir / CHECKPOINTS,
      latest=config.keep_latest,
      best=config.keep_best,
    ) as checkpoints,
  ):
    switches = {'tensorboard': tensorboard, 'profile': profile}
    mesh = jax.make_mesh((jax.device_count(),), ('rows',)) if shard else None
    state = _train(config, task, model, record, checkpoints, mesh, switches)
    return record.finish(
      metric=str(task.metric),
      steps_taken=int(state.step),
      validation=_score(model, state, task),
      test=_score(model, state, task, 'test', batches=16),
      chance=task.chance,
      ceiling=task.ceiling,
    )


def _train(
  config, task, model, record, checkpoints, mesh, switches
) -> training.TrainState:
  """The last state. Its checkpoint may still be on its way to disk."""
  state, patience = _begin(config, task, model, record, checkpoints)
  if patience.is_over(config.patience):
    return state
  states = training.train(
    model,
    task,
    _optimizer(config.steps, config.weight_decay),
    jax.random.key(config.seed),
    steps=config.steps,
    batch_size=config.batch_size,
    learning_rate=config.learning_rate,
    log_every=config.log_every,
    state=state,
    mesh=mesh,
    carried=config.carried,
  )
  saved = time.monotonic()
  sign = 1 if task.metric.higher_is_better else -1
  tokens = config.batch_size * num_positions(task)
  watch = Watch(
    record.workdir, config.steps, tokens, int(state.step), **switches
  )
  with stopping.sigterm() as asked, watch:
    for state, metrics in states:
      validation = _score(model, state, task)
      record.log(state.step, **metrics, validation=validation)
      watch.update(state.step, **metrics, validation=validation)
      patience = patience.after(sign * validation)
      over = patience.is_over(config.patience) or state.step == config.steps
      due = time.monotonic() - saved >= config.save_every
      if asked.is_set() or over or due:
        extra = {'patience': patience._asdict()}
        checkpoints.save(state.step, state, extra, score=sign * validation)
        saved = time.monotonic()
      if asked.is_set():
        checkpoints.wait()
        raise stopping.Preempted(
          f'Stopped by SIGTERM at step {state.step} of {config.steps}; it is '
          f'saved in {str(record.workdir)!r}, and the same command goes on.'
        )
      if over:
        break
  return state


def _begin(config, task, model, record, checkpoints):
  """The state to go on from, and the patience that is left."""
  state = initial_state(config, task, model)
  restored = checkpoints.restore(state)
  if restored is None:
    return state, stopping.Patience()
  state, extra = restored
  record.resume(state.step)
  return state, stopping.Patience(**extra['patience'])


def initial_state(config: Config, task, model) -> training.TrainState:
  """At step 0; the checkpoints of a run are of its form."""
  return training.init(
    model,
    task,
    _optimizer(config.steps, config.weight_decay),
    jax.random.key(config.seed),
    config.learning_rate,
    carried_rows=config.batch_size if config.carried else None,
  )


def example(task) -> Batch:
  """The shapes of a batch of one, or one."""
  draw = functools.partial(task.batch, jax.random.key(0), 0, 1)
  return jax.eval_shape(draw) if task.on_device else draw()


def num_positions(task) -> int:
  """In a row of inputs; in that of the longer side if there are two."""
  return max(x.shape[1] for x in jax.tree.leaves(example(task).inputs))


@functools.cache
def _optimizer(steps: int, weight_decay: float):
  """Made once: compiled functions are kept by optimizer."""
  warmup = min(50, steps // 10)
  return training.adamw(steps, warmup=warmup, weight_decay=weight_decay)


def make(config: Config):
  """The task, and the model that it specifies."""
  options = parse(config.task_options, TASKS[config.task], 'task')
  for name in ('corpus', 'data_dir'):
    if value := getattr(config, name):
      options[name] = value
  known = inspect.signature(TASKS[config.task]).parameters
  if not set(options) <= set(known):
    raise ValueError(f'The task {config.task} reads no data from a folder.')
  task = TASKS[config.task](**options)
  if task.on_device:  # or a task of few examples would refuse later
    jax.eval_shape(lambda: task.batch(jax.random.key(0), 0, 1, 'validation'))
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


def _score(model, state, task, split='validation', batches=4) -> float:
  scores = training.evaluate(
    model, state.params, task, batches=batches, batch_size=64, split=split
  )
  return training.overall(scores)


def too_large(config: Config) -> str:
  """What to say when the device's memory did not suffice: what would do."""
  from seqjax.analysis import memory

  limit = memory.available_memory()
  one, two = (_bytes_needed(config, batch_size) for batch_size in (1, 2))
  # A fifth is left for evaluation, and for what surrounds the step.
  fitting = (limit * 4 // 5 - one) // max(two - one, 1) + 1
  needed = one + (config.batch_size - 1) * (two - one)
  advice = (
    f'batch_size={2 ** (fitting.bit_length() - 1)} would fit'
    if fitting > 0
    else 'not even batch_size=1 would fit: shorten the sequences or make the'
    ' model smaller'
  )
  return (
    f'The device has not enough memory, {limit / 2**30:,.1f} GiB, for a step '
    f'with batch_size={config.batch_size}, which takes about '
    f'{needed / 2**30:,.1f} GiB; {advice}.'
  )


def _bytes_needed(config, batch_size) -> int:
  """Of one update; compiled, not run."""
  from seqjax.analysis import timing

  config = dataclasses.replace(config, batch_size=batch_size)
  task, model = make(config)
  state = initial_state(config, task, model)
  step = functools.partial(
    training.train_step,
    model=model,
    task=task,
    optimizer=_optimizer(config.steps, config.weight_decay),
  )
  batch = task.batch(state.key, 0, batch_size)
  return timing.predicted_bytes(step, state, batch)


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
  except stopping.Preempted as error:
    _exit(error, stopping.PREEMPTED)
  except KeyboardInterrupt:
    _exit(
      'Interrupted; the same command goes on from the last checkpoint.', 130
    )
  except (ValueError, OSError, MemoryError, training.NotFinite) as error:
    _exit(error, 1)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    _exit(too_large(config), 1)


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
