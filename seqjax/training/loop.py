"""Training as a generator: the caller logs, saves and stops."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from seqjax.training import interval, sharding
from seqjax.training import optimizer as optimizers
from seqjax.training.recipe import Recipe
from seqjax.training.state import (
  TrainState,
  check_continues,
  check_fits,
  init,
  means,
)
from seqjax.training.step import FINITE, fault_name

LEARNING_RATE = 1e-3  # where an optimizer's state has one, and none is given


class NotFinite(FloatingPointError):
  """Training met a loss, a gradient or a carry that is not finite.

  Attributes:
    step: the number of the batch it happened on.
    key: the run's key; `task.batch(key, step, batch_size)` draws that batch.
    parameter: the path of the first parameter whose gradient is not finite;
      'loss' if the loss itself is not, 'carry' if only that is not; followed
      by 'after its update' where gradients are, and the parameter is not.
  """

  def __init__(self, step: int, key: jax.Array, parameter: str):
    self.step, self.key, self.parameter = step, key, parameter
    plain = parameter in ('loss', 'carry') or ' ' in parameter
    what = parameter if plain else f'gradient of {parameter}'
    super().__init__(
      f'The {what} is not finite at step {step}; the last state that was '
      f'yielded is sound, and task.batch(key, {step}, batch_size) with the '
      "exception's key draws the batch again."
    )


def train(
  model: nn.Module,
  task: Any,
  optimizer: optax.GradientTransformation,
  key: jax.Array,
  *,
  steps: int,
  batch_size: int,
  learning_rate: float | None = None,
  log_every: int = 100,
  pause: Callable[[int], int] | None = None,
  state: TrainState | None = None,
  mesh: Mesh | None = None,
  carried: bool = False,
  layer_norms: bool = False,
  shard_states: bool = False,
) -> Iterator[tuple[TrainState, dict[str, jax.Array]]]:
  """Yields state and metrics at multiples of `log_every`, and at the end.

  Whole intervals run on the device; a yielded state stays valid. Functions are
  compiled once per (model, task, optimizer, batch_size), for all keys, learning
  rates, steps and intervals; where the task makes its batches on the host, once
  per `log_every` too. To stop early on an evaluation:

      for state, metrics in train(...):
        scores = evaluate(model, state.params, task, batches=8, batch_size=64)
        if min(score for score, _ in scores.values()) >= 0.99:
          break

  Clipping, schedules, masks, accumulated gradients and averaged parameters are
  optax's, whose transformations of gradients keep what they need in the state:

      adam = optax.inject_hyperparams(optax.adamw, static_args='mask')(
        learning_rate=float('nan'), mask=is_kernel)
      optimizer = optax.MultiSteps(adam, 4).gradient_transformation()

  Args:
    model: hashable; `model.apply({'params': params}, inputs, segments)`.
    task: hashable; see `seqjax.tasks.Task`.
    optimizer: made once, with the learning rate in its state, as by `adamw`; or
      any of optax's, `optax.adam(1e-3)` for instance.
    key: seeds parameters, data and dropout.
    steps: the total, counted from step 0, also when a state is given.
    batch_size: examples per step.
    learning_rate: that of the optimizer; with a schedule, its peak. None:
      0.001, or the optimizer's own if its state holds no learning rate.
    log_every: steps between two yields of metrics.
    pause: maps the current step to a later one. If that comes before the next
      metrics, the state is yielded there as well, without metrics. It may look
      at a clock: where a run pauses does not change its results by a bit.
    state: resume from it; it must come from a run with the same arguments,
      except for the mesh.
    mesh: has the axis `rows`, the axis `time`, or both. Each device takes an
      equal share of a batch's rows, and of their positions, and samples its own
      dropout; all hold the parameters. None: one device.
    carried: whether each batch starts from the final carry of the one before,
      without a gradient through it. The model must stream, and the task must be
      `sequential`: row i continues row i of the batch before, unless
      `segments.start` marks a new start.
    layer_norms: whether the norm of each layer's gradient is a metric, too,
      such as 'gradient_norm/stack/blocks_0'.
    shard_states: whether devices along `rows` share the parameters and the
      state of the optimizer between steps, each leaf along its largest axis
      that they divide (ZeRO: Rajbhandari et al., 2020). During a step each
      gathers the parameters that it reads.

  Yields:
    The state, and a dict of scalars, which is empty at a pause: the interval's
    means of `loss`, `gradient_norm` and `padding` (the share of positions that
    are not valid), and `learning_rate` if the optimizer's state holds one.

  Raises:
    ValueError: an argument is out of range, or the state does not fit.
    NotFinite: on the first loss, gradient or carry that is not finite.

  Example:
    >>> import jax
    >>> from seqjax import nn, training
    >>> from seqjax.models import model_for
    >>> from seqjax.tasks import Recall
    >>> task = Recall(lag=4)
    >>> model = model_for(task, (nn.GRU(8),))
    >>> for state, metrics in training.train(
    ...   model, task, training.adamw(20), jax.random.key(0), steps=20,
    ...   batch_size=8, log_every=10
    ... ):
    ...   print(int(state.step), sorted(metrics))
    10 ['gradient_norm', 'learning_rate', 'loss', 'padding']
    20 ['gradient_norm', 'learning_rate', 'loss', 'padding']
  """
  recipe = Recipe(
    model,
    task,
    optimizer,
    steps,
    batch_size,
    log_every,
    pause,
    mesh,
    carried,
    layer_norms,
    shard_states,
  )
  return follow(recipe, key, learning_rate, state)


def follow(
  recipe: Recipe,
  key: jax.Array,
  learning_rate: float | None,
  state: TrainState | None = None,
) -> Iterator[tuple[TrainState, dict[str, jax.Array]]]:
  """Runs `train` from a checked recipe."""
  return _intervals(*started(recipe, key, learning_rate, state), recipe)


def started(
  recipe: Recipe,
  key: jax.Array,
  learning_rate: float | None,
  state: TrainState | None = None,
) -> tuple[Callable, TrainState]:
  """Returns what runs an interval, and the state that the first begins with."""
  parts, task = recipe.parts, recipe.task
  if learning_rate is not None:
    optimizers.check_learning_rate(learning_rate)
  if state is None:
    state = begin(recipe, key, learning_rate)
  else:
    if learning_rate is None and optimizers.has_learning_rate(state.opt_state):
      learning_rate = LEARNING_RATE
    check_fits(state, *parts[:3], recipe.carried_rows, recipe.layer_norms)
    check_continues(state, key, learning_rate)
  if task.on_device:
    run = functools.partial(
      interval.steps_on_device, parts=parts, batch_size=recipe.batch_size
    )
  else:
    draw = functools.partial(task.batch, key, batch_size=recipe.batch_size)
    run = functools.partial(
      interval.steps_on_host_batches, draw, most=recipe.log_every, parts=parts
    )
  return run, sharding.put(state, parts.mesh, parts.shard_states)


def begin(
  recipe: Recipe, key: jax.Array, learning_rate: float | None
) -> TrainState:
  """Returns the state at step 0, at the learning rate that is meant."""
  make = functools.partial(
    init,
    recipe.model,
    recipe.task,
    recipe.optimizer,
    key,
    carried_rows=recipe.carried_rows,
    norms=recipe.layer_norms,
  )
  try:
    return make(LEARNING_RATE if learning_rate is None else learning_rate)
  except optimizers.NoLearningRate:
    if learning_rate is not None:
      raise
    return make(None)


def _intervals(run: Callable, state: TrainState, recipe: Recipe):
  """Runs from one multiple of `log_every` to the next, up to `steps`."""
  for stop, is_end in stops(int(state.step), recipe):
    progress = run(interval.Progress.begin(state), stop)
    state, metrics = concluded(progress, is_end, recipe)
    yield state, metrics


def concluded(
  progress: interval.Progress, is_end: bool, recipe: Recipe
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Returns state and metrics after a run of steps; NotFinite at a fault.

  Args:
    progress: after the steps.
    is_end: whether an interval ends there, which has metrics.
    recipe: of the run.
  """
  check_finite(progress)
  state, metrics = progress.state, {}
  if is_end:
    metrics = means(state.sums)
    if optimizers.has_learning_rate(state.opt_state):
      metrics['learning_rate'] = optimizers.learning_rate(state.opt_state)
    parts = recipe.parts
    state = sharding.put(_cleared(state), parts.mesh, parts.shard_states)
  return state, metrics


def _cleared(state: TrainState) -> TrainState:
  """Returns the state at which an interval begins."""
  return state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))


def stops(start: int, recipe: Recipe) -> Iterator[tuple[int, bool]]:
  """Yields the steps to stop at, and whether an interval ends there."""
  log_every = recipe.log_every
  while start < recipe.steps:
    end = min(recipe.steps, (start // log_every + 1) * log_every)
    stop = end if recipe.pause is None else min(end, recipe.pause(start))
    yield stop, stop == end
    start = stop


def check_finite(progress: interval.Progress):
  """Raises NotFinite where an interval met a fault."""
  fault = int(progress.fault)
  if fault != FINITE:
    step = int(progress.state.step) - 1  # the one that has just been counted
    name = fault_name(fault, progress.state.params)
    raise NotFinite(step, progress.state.key, name)
