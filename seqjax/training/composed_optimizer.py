"""Puts an optimizer together by names, as researchers set training up."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.errors import unknown
from seqjax.training.optimizer import adamw, kernels_and_embeddings

SCHEDULES = ('cosine', 'linear', 'constant')


class AverageState(NamedTuple):
  """The state of an optimizer beside an average of the parameters."""

  parameter_average: Any
  inner: Any


def named_optimizer(
  steps: int,
  *,
  name: str = 'adamw',
  schedule: str = 'cosine',
  warmup: int | None = None,
  clip: float = 1.0,
  weight_decay: float = 0.01,
  accumulate: int = 1,
  average: float = 0.0,
) -> optax.GradientTransformation:
  """Returns an optimizer whose state holds its (peak) learning rate.

  Make it once and share it, as `adamw`, which it is by default.

  Args:
    steps: the number of batches, where a schedule that decays reaches 0.
    name: 'adamw', 'lion', 'rmsprop' or 'sgd' (with Nesterov's momentum of 0.9).
    schedule: 'cosine', 'linear' or 'constant', after the warm-up.
    warmup: the number of updates in which the learning rate rises from 0; None:
      a tenth of all, 50 at most.
    clip: the largest global norm of a gradient; 0 does not clip.
    weight_decay: of kernels and embeddings, decoupled, times the learning rate.
    accumulate: the number of batches whose gradients are averaged for an
      update; the parameters stay as they are in between.
    average: the decay of an exponential moving average of the parameters, taken
      at every update, which `averaged_params` gives; 0 takes none.

  Raises:
    ValueError: a name is unknown, or a number out of range.
  """
  _check(steps, name, schedule, accumulate, average)
  updates = steps // accumulate
  if (name, schedule) == ('adamw', 'cosine') and clip > 0:
    made = adamw(updates, warmup=warmup, clip=clip, weight_decay=weight_decay)
  else:
    made = optax.chain(
      optax.clip_by_global_norm(clip) if clip > 0 else optax.identity(),
      optax.inject_hyperparams(
        OPTIMIZERS[name],
        static_args=('weight_decay',),
        hyperparam_dtype=jnp.float32,
      )(learning_rate=float('nan'), weight_decay=weight_decay),
      _scheduled(updates, schedule, warmup),
    )
  if average:
    made = with_average(made, average)
  if accumulate > 1:
    steps_of = optax.MultiSteps(made, every_k_schedule=accumulate)
    made = steps_of.gradient_transformation()
  return made


def with_average(
  inner: optax.GradientTransformation, decay: float
) -> optax.GradientTransformation:
  """Returns an optimizer that keeps an average of the parameters beside it.

      average <- decay average + (1 - decay) parameters

  after every update; it begins as the parameters do. Polyak and Juditsky,
  "Acceleration of Stochastic Approximation by Averaging", 1992, with weights
  that fall exponentially.
  """

  def init(params):
    return AverageState(jax.tree.map(jnp.array, params), inner.init(params))

  def update(updates, state, params):
    updates, after = inner.update(updates, state.inner, params)
    moved = optax.apply_updates(params, updates)
    average = optax.incremental_update(
      moved, state.parameter_average, 1.0 - decay
    )
    return updates, AverageState(average, after)

  return optax.GradientTransformation(init, update)


def averaged_params(state: Any) -> Any:
  """Returns the average that a state's optimizer keeps, else its parameters."""
  average = optax.tree.get(state.opt_state, 'parameter_average')
  return state.params if average is None else average


def _adamw(learning_rate, weight_decay):
  return optax.adamw(
    learning_rate, weight_decay=weight_decay, mask=kernels_and_embeddings
  )


def _lion(learning_rate, weight_decay):
  return optax.lion(
    learning_rate, weight_decay=weight_decay, mask=kernels_and_embeddings
  )


def _rmsprop(learning_rate, weight_decay):
  return _decoupled(optax.scale_by_rms(decay=0.99), learning_rate, weight_decay)


def _sgd(learning_rate, weight_decay):
  momentum = optax.trace(decay=0.9, nesterov=True)
  return _decoupled(momentum, learning_rate, weight_decay)


def _decoupled(direction, learning_rate, weight_decay):
  return optax.chain(
    direction,
    optax.add_decayed_weights(weight_decay, kernels_and_embeddings),
    optax.scale_by_learning_rate(learning_rate),
  )


# From a name to (learning_rate, weight_decay) -> a transformation.
OPTIMIZERS: dict[str, Callable] = {
  'adamw': _adamw,
  'lion': _lion,
  'rmsprop': _rmsprop,
  'sgd': _sgd,
}


def _scheduled(updates: int, schedule: str, warmup: int | None):
  """Returns the factor of the learning rate, as a transformation."""
  warmup = min(50, updates // 10) if warmup is None else warmup
  if not 0 <= warmup < updates:
    raise ValueError(
      f'The warm-up must end before the {updates} updates of the schedule do, '
      f'but warmup={warmup} was given.'
    )
  rest = updates - warmup
  after = {
    'cosine': optax.cosine_decay_schedule(1.0, rest),
    'linear': optax.linear_schedule(1.0, 0.0, rest),
    'constant': optax.constant_schedule(1.0),
  }[schedule]
  rises = optax.linear_schedule(0.0, 1.0, warmup)
  factor = optax.join_schedules([rises, after], [warmup]) if warmup else after
  # Counted in floating point, or float64 would have a schedule in float32.
  return optax.scale_by_schedule(lambda count: factor(count.astype(float)))


def _check(steps, name, schedule, accumulate, average):
  if name not in OPTIMIZERS:
    raise ValueError(unknown('optimizer', name, OPTIMIZERS))
  if schedule not in SCHEDULES:
    raise ValueError(unknown('schedule', schedule, SCHEDULES))
  if accumulate < 1 or steps % accumulate:
    raise ValueError(
      'Gradients are accumulated over a number of batches that divides the '
      f'steps, but steps={steps} and accumulate={accumulate} were given.'
    )
  if not 0 <= average < 1:
    raise ValueError(
      'The decay of an average is 0 or more and less than 1, but '
      f'{average} was given.'
    )
