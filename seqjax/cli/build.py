"""Builds the task, model, optimizer and state of a training config."""

import dataclasses
import functools
import inspect
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from seqjax import training
from seqjax.analysis import memory
from seqjax.cli.mixers import make_mixers
from seqjax.cli.options import parse_options, refusing
from seqjax.cli.train_config import (
  DATA_FLAGS,
  Config,
  parts_of,
  with_options,
)
from seqjax.launch import ahead, memory_limits
from seqjax.models import model_for
from seqjax.nn import NONCAUSAL_MIXERS
from seqjax.results import json_files
from seqjax.tasks import TASKS
from seqjax.tasks.task import Metric
from seqjax.training import evaluation, interval, meshes, recipe, sharding
from seqjax.training.state import Parts
from seqjax.typing import Batch

SCORED_ROWS = 64  # of a batch; four of validation, sixteen of test
FITTED = 'fitted.json'  # beside a run's config
LENGTHS = ('length', 'delay', 'lag')  # what a task's sequences grow with


def make(
  config: Config,
  scored: Sequence[str] = ('validation', 'test'),
  fitted: Mapping[str, Any] | None = None,
):
  """Returns the task, and the model for it.

  Args:
    config: the options of a run.
    scored: splits that must have examples.
    fitted: replaces what the task fits to its training data, see `Task.fitted`.

  Raises:
    ValueError: they do not exist, the model cannot read the task, or one of the
      splits in `scored` has nothing to be scored.
  """
  task = _make_task(config)
  if fitted:
    task = _with_fitted(task, fitted)
  for split in scored:
    example(task, SCORED_ROWS, split)
    _check_scored(task, split)
  sees_all = {*parts_of(config.mixer)} & {*NONCAUSAL_MIXERS}
  if sees_all and task.metric is Metric.BITS:
    raise ValueError(
      f'{config.mixer} sees what the task {config.task} asks it to predict.'
    )
  dtype = jnp.dtype(config.dtype)
  model = model_for(
    task,
    make_mixers(config, dtype),
    expansion=config.expansion,
    dropout=config.dropout,
    variational=config.variational,
    dtype=dtype,
    remat=config.remat,
  )
  return task, model


def _with_fitted(task, fitted: Mapping[str, Any]):
  """Returns the task with what was fitted; a sentence where it does not fit."""
  try:
    return task.with_fitted(fitted)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'What was fitted to the data of the run ({FITTED}) is none of the task '
      f'{type(task).__name__}: {error}'
    ) from error


def _check_scored(task, split: str):
  """Raises ValueError where a split has no target that counts."""
  share_known = getattr(task, 'share_known', None)
  if share_known is not None and share_known(split) == 0:
    raise ValueError(
      f'Nothing could be scored: the {split} part of {task.corpus} has no '
      'character that its training part has. Order its files otherwise, or '
      'read it with --task_options=level=byte.'
    )


def _make_task(config: Config):
  options = parse_options(config.task_options, TASKS[config.task], 'task')
  for name in DATA_FLAGS:
    if value := getattr(config, name):
      options[name] = value
  known = inspect.signature(TASKS[config.task]).parameters
  if not set(options) <= set(known):
    raise ValueError(f'The task {config.task} reads no data from a folder.')
  with refusing(f'the task {config.task}'):
    return TASKS[config.task](**options)


def check_model(task, model: nn.Module, config: Config):
  """Raises ValueError where the task's batches do not suit model and training.

  Nothing is compiled: shapes are enough to see a sequence that is longer than
  the context, say.
  """
  if config.carried:
    recipe.check_carries(model, task)
  optimizer(config)  # whose errors are not the mixer's
  key, batch = jax.random.key(0), example(task)
  with refusing(f'the mixer {config.mixer}'):
    if task.on_device:  # what is traced here is not traced again
      state_shapes(config, task, model)
    else:
      jax.eval_shape(model.init, key, batch.inputs, batch.segments)


def example(task, batch_size: int = 1, split: str = 'train') -> Batch:
  """Returns a batch, or its shapes where the task makes it on the device."""
  key = jax.random.key(0)
  draw = functools.partial(task.batch, key, 0, batch_size, split)
  return jax.eval_shape(draw) if task.on_device else draw()


def num_positions(task) -> int:
  """Returns the length of a row of inputs; of the longer side if it has two."""
  return max(x.shape[1] for x in jax.tree.leaves(example(task).inputs))


def optimizer(config: Config) -> optax.GradientTransformation:
  """Returns the optimizer of a run."""
  return _optimizer(
    config.steps,
    name=config.optimizer,
    schedule=config.schedule,
    warmup=None if config.warmup < 0 else config.warmup,
    clip=config.clip,
    weight_decay=config.weight_decay,
    accumulate=config.accumulate,
    average=config.ema,
  )


# Made once, since compiled functions are kept by optimizer.
_optimizer = functools.cache(training.named_optimizer)


def initial_state(config: Config, task, model) -> training.TrainState:
  """Returns the state at step 0; checkpoints of a run have its form."""
  return training.init(
    model,
    task,
    optimizer(config),
    jax.random.key(config.seed),
    config.learning_rate,
    carried_rows=config.batch_size if config.carried else None,
    norms=config.layer_norms,
  )


def state_shapes(config: Config, task, model) -> training.TrainState:
  """Returns `initial_state`, or its shapes where they take no data to know."""
  begin = functools.partial(initial_state, config, task, model)
  return jax.eval_shape(begin) if task.on_device else begin()


def compiling(config: Config, task, model, mesh: Mesh | None) -> ahead.Ahead:
  """Begins to compile what training and validation will call.

  On one device, and where the task makes its batches there: else nothing. Nor
  with --jax_disable_jit, by which nothing is compiled.
  """
  disabled = jax.config.jax_disable_jit
  if mesh is not None or not task.on_device or disabled:
    return ahead.Ahead()
  state = state_shapes(config, task, model)
  steps = interval.lowered(
    state,
    parts=Parts(model, task, optimizer(config)),
    batch_size=config.batch_size,
  )
  score = functools.partial(
    evaluation.lowered,
    model,
    jax.eval_shape(training.averaged_params, state),
    task,
    batch_size=SCORED_ROWS,
    at_once=rows_at_once(config),
  )
  return ahead.Ahead(
    training=steps.compile,
    validation=lambda: score().compile(),
  )


def check_data(task, extra: dict[str, Any], workdir: str | os.PathLike):
  """Raises ValueError if a task reads other data than a run has read."""
  kept = extra.get('data')
  if kept is not None and kept != fingerprint(task):
    raise ValueError(
      f'The run in {str(workdir)!r} has read other data than {task} reads now:'
      ' put them back as they were, or choose another workdir.'
    )


def write_fitted(task, workdir: str | os.PathLike):
  """Keeps what the task has fitted to its training data, if it has."""
  if values := getattr(task, 'fitted', {}):
    json_files.write_json(pathlib.Path(workdir) / FITTED, values)


def read_fitted(workdir: str | os.PathLike) -> dict[str, Any]:
  """Returns what a run has fitted to its training data; {} for nothing."""
  path = pathlib.Path(workdir) / FITTED
  if not path.exists():
    return {}
  return json_files.read_json(path, 'record of what was fitted')


def fingerprint(task) -> int | None:
  """Returns a checksum of the data that a task reads; None if it reads none."""
  return getattr(task, 'fingerprint', None)


def rows_at_once(config: Config) -> int:
  """Returns the number of rows that are scored at a time.

  Outputs alone take less memory for two rows than an update does for one.
  """
  return 2 * config.batch_size


def fits_memory(
  config: Config,
  task,
  at_once: int = 1,
  mesh: Mesh | None = None,
  shard_states: bool = False,
) -> bool:
  """Tells whether an update, or several at once, would fit; compiles none.

  Asks for the sizes of small batches, and only where the numbers that pass from
  one block to the next alone take a fiftieth of the memory. On a mesh, what one
  of its devices holds must fit.
  """
  limit = memory.available_memory()
  parts = meshes.size(mesh, meshes.ROWS) * meshes.size(mesh, meshes.TIME)
  stream = at_once * config.batch_size * num_positions(task) * config.features
  if 50 * stream * jnp.dtype(config.dtype).itemsize < limit * parts:
    return True
  one, two = _bytes_of_one_and_two(config, mesh, shard_states)
  return at_once * _extrapolated(config, one, two, mesh) <= limit


def too_large(
  config: Config, mesh: Mesh | None = None, shard_states: bool = False
) -> str:
  """Returns the message for exhausted memory: what is needed, what fits."""
  bytes_of = _bytes_of_one_and_two(config, mesh, shard_states)
  return _refusal(config, *bytes_of, mesh)


def _bytes_of_one_and_two(
  config: Config, mesh: Mesh | None, shard_states: bool
) -> list[int]:
  """Returns the bytes that updates by one example and by two take on a device.

  Of an example whose positions are cut, it holds that part.
  """
  one, two = (bytes_needed(config, batch_size) for batch_size in (1, 2))
  example, part = max(two - one, 0), meshes.size(mesh, meshes.TIME)
  model = one - example
  if shard_states:
    model -= _bytes_of_others(config, meshes.size(mesh, meshes.ROWS))
  one = max(model, 0) + example // part
  return [one, one + example // part]


def _bytes_of_others(config: Config, devices: int) -> int:
  """Returns the bytes that a device leaves to others where states are sharded.

  Of the state before and after an update, that is, but for the parameters,
  which it gathers once.
  """
  task, model = make(config)
  state = state_shapes(config, task, model)
  both = [
    sharding.bytes_in_parts(tree, devices)
    for tree in (state.params, state.opt_state)
  ]
  return (2 * sum(both) - both[0]) * (devices - 1) // devices


def _extrapolated(config: Config, one: int, two: int, mesh: Mesh | None) -> int:
  """Returns the bytes of a device's rows, by those of one example and two."""
  rows = config.batch_size // meshes.size(mesh, meshes.ROWS)
  return one + (rows - 1) * (two - one)


def _refusal(config: Config, one: int, two: int, mesh: Mesh | None) -> str:
  limit = memory.available_memory()
  needed = _extrapolated(config, one, two, mesh)
  devices = meshes.size(mesh, meshes.ROWS)
  rows = config.batch_size // devices
  fits = devices * memory_limits.largest_batch(one, two, limit, below=rows)
  advice = f'batch_size={fits} would fit'
  if not fits and mesh is None:
    advice = _advise_shorter(config, limit)
  elif not fits:
    advice = (
      'not even one row for each device would fit: take more devices along '
      'time, shorten the sequences or make the model smaller'
    )
  held, part = '', meshes.size(mesh, meshes.TIME)
  if mesh is not None:
    of = f', 1/{part} of their positions' * (part > 1)
    held = f' (each device holds {rows} rows{of})'
  return (
    f'The device has not enough memory, {memory_limits.gibibytes(limit)}, for '
    f'a step with batch_size={config.batch_size}{held}, which takes at least '
    f'{memory_limits.gibibytes(needed)}; {advice}.'
  )


def _advise_shorter(config: Config, limit: int) -> str:
  """Returns advice on the sequences that would fit in a batch of one."""
  task, _ = make(config)
  known = inspect.signature(TASKS[config.task]).parameters
  name = next((name for name in LENGTHS if name in known), '')
  shorter = memory_limits.largest_half(
    lambda size: bytes_needed(with_options(config, **{name: size}), 1),
    limit,
    getattr(task, name, 0),
  )
  if shorter:
    return f'batch_size=1 with task_options={name}={shorter} would fit'
  return (
    'not even batch_size=1 would fit: shorten the sequences or make the model'
    ' smaller'
  )


def bytes_needed(config, batch_size) -> int:
  """Returns the bytes that an update takes; it is not run."""
  config = dataclasses.replace(config, batch_size=batch_size)
  task, model = make(config)
  step = functools.partial(
    training.train_step,
    model=model,
    task=task,
    optimizer=optimizer(config),
  )
  return memory_limits.needed_bytes(
    step, state_shapes(config, task, model), example(task, batch_size)
  )
