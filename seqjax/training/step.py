"""One update: a pure function of the state and a batch."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Float, Int

from seqjax.training import sharding
from seqjax.training.state import (
  MEANS,
  TrainState,
  layer_norms,
  path_names,
  stream_key,
)
from seqjax.typing import Array, Batch, Segments

FINITE = -1


def train_step(
  state: TrainState,
  batch: Batch,
  *,
  model: nn.Module,
  task: Any,
  optimizer: optax.GradientTransformation,
  mesh: Mesh | None = None,
  shard_states: bool = False,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Returns the next state and what was measured on the way to it.

  Dropout is on: the model is given a key for it, a function of the run's key
  and the step. A state with a carry reads on from it: the batch continues the
  one before, and no gradient passes between them (truncated backpropagation
  through time: Williams & Peng, 1990). On a mesh, each device reads its part of
  the batch; with `shard_states`, it updates its part of the parameters.
  Optimizers are told the loss, by optax's extra arguments `value`, `grad` and
  `value_fn`. `fault` is what `first_fault` says.
  """
  dropout_key = jax.random.fold_in(stream_key(state.key, 'dropout'), state.step)
  read = sharding.by_parts(
    functools.partial(_read, model),
    mesh,
    same_over_time=getattr(model, 'variational', False),
  )

  def loss_fn(params):
    carry, outputs = read(
      params, dropout_key, state.carry, batch.inputs, batch.segments
    )
    return task.loss(outputs, batch), carry

  (loss, carry), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
  if shard_states:  # of sums over devices, each takes its part alone
    grads = sharding.keep_at_rest(grads, mesh)
  update = optax.with_extra_args_support(optimizer).update
  updates, opt_state = update(
    grads,
    state.opt_state,
    state.params,
    value=loss,
    grad=grads,
    value_fn=lambda params: loss_fn(params)[0],
  )
  params = optax.apply_updates(state.params, updates)
  metrics = {
    'loss': loss.astype(jnp.float32),
    'gradient_norm': optax.tree.norm(grads).astype(jnp.float32),
    'padding': padding(batch),
    'fault': first_fault(loss, grads, params, carry),
  }
  summed = {name: metrics[name] for name in MEANS} | {'steps': 1}
  summed |= layer_norms(grads, state.sums)
  sums = {name: total + summed[name] for name, total in state.sums.items()}
  state = TrainState(state.step + 1, params, opt_state, state.key, sums, carry)
  return state, metrics


def padding(batch: Batch) -> Float[Array, '']:
  """Returns the share of positions that are not valid, on both sides."""
  sides = jax.tree.leaves(
    batch.segments, is_leaf=lambda side: isinstance(side, Segments)
  )
  padded = sum(jnp.sum(~side.valid) for side in sides)
  total = sum(math.prod(x.shape[:2]) for x in jax.tree.leaves(batch.inputs))
  return jnp.asarray(padded / total, jnp.float32)


def first_fault(
  loss: Float[Array, ''], grads: Any, params: Any, carry: Any = None
) -> Int[Array, '']:
  """Finds what is not finite, for `fault_name` to name; FINITE if nothing."""
  parts = jax.tree.leaves((loss, grads, params, carry))
  finite = jnp.stack([_zero_if_finite(part) for part in parts]) == 0
  fault = jnp.where(jnp.all(finite), FINITE, jnp.argmin(finite))
  return fault.astype(jnp.int32)


def _zero_if_finite(part: Array) -> Float[Array, '']:
  """Returns 0, or NaN where a number is infinite or NaN.

  By one sum, which XLA compiles in half the time of `jnp.isfinite` and `all`.
  """
  part = jnp.asarray(part)
  if not jnp.issubdtype(part.dtype, jnp.inexact):
    return jnp.zeros((), jnp.float32)
  return jnp.sum(jnp.abs(part - part)).astype(jnp.float32)


def fault_name(fault: int, params: Any) -> str:
  """Names a fault: 'loss', the path of a parameter, or 'carry'.

  The path is that of a gradient, or with more words that of an update.
  """
  paths = path_names(params)
  names = ['loss', *paths, *(f'{path} after its update' for path in paths)]
  return names[fault] if fault < len(names) else 'carry'


def _read(model, params, dropout_key, carry, inputs, segments):
  """Reads a batch: the carry after it, if there was one, and the outputs."""
  apply = functools.partial(
    model.apply, {'params': params}, rngs={'dropout': dropout_key}
  )
  if carry is None:
    return None, apply(inputs, segments)
  return apply(carry, inputs, segments, method='unroll')
