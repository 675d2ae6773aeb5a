"""One update: a pure function of the state and a batch."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from seqjax.training.state import TrainState, stream_key
from seqjax.typing import Array, Batch

FINITE = -1


def train_step(
  state: TrainState,
  batch: Batch,
  *,
  model: nn.Module,
  task: Any,
  optimizer: optax.GradientTransformation,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """The next state and what was measured on the way to it.

  Dropout is on: the model is given a key for it, a function of the run's key
  and the step. `fault` is what `first_fault` says of the loss and gradients.
  """
  dropout_key = jax.random.fold_in(stream_key(state.key, 'dropout'), state.step)

  def loss_fn(params):
    outputs = model.apply(
      {'params': params},
      batch.inputs,
      batch.segments,
      rngs={'dropout': dropout_key},
    )
    return task.loss(outputs, batch)

  loss, grads = jax.value_and_grad(loss_fn)(state.params)
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  metrics = {
    'loss': loss.astype(jnp.float32),
    'gradient_norm': optax.tree.norm(grads).astype(jnp.float32),
    'fault': first_fault(loss, grads),
  }
  state = TrainState(state.step + 1, params, opt_state, state.key)
  return state, metrics


def first_fault(loss: Float[Array, ''], grads: Any) -> Int[Array, '']:
  """0 if the loss is not finite, i if it is leaf i - 1; FINITE if all are."""
  finite = jnp.stack(
    [jnp.all(jnp.isfinite(leaf)) for leaf in (loss, *jax.tree.leaves(grads))]
  )
  fault = jnp.where(jnp.all(finite), FINITE, jnp.argmin(finite))
  return fault.astype(jnp.int32)
