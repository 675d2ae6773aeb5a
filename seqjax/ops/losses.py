"""Losses and scores under weights, where weight 0 means: not looked at.

Whatever stands at weight 0, NaN too, reaches neither a value nor a gradient,
and a mean over nothing is 0 with zero gradient.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.typing import Array


def cross_entropy(
  logits: Float[Array, '*shape C'],
  targets: Int[Array, '*shape'],
  weights: Float[Array, '*shape'],
) -> Float[Array, '']:
  """Returns the weighted mean of -log softmax(logits)[target], in nats.

  At least float32, whatever the dtype of the logits.
  """
  return weighted_mean(*_surprise(logits, targets, weights))


def bits(
  logits: Float[Array, '*shape C'],
  targets: Int[Array, '*shape'],
  weights: Float[Array, '*shape'],
) -> tuple[Float[Array, '*shape'], Float[Array, '*shape']]:
  """(-log2 softmax(logits)[target]; the weights)."""
  nats, weights = _surprise(logits, targets, weights)
  return nats / math.log(2), weights


def squared_error(
  outputs: Float[Array, '*shape'],
  targets: Float[Array, '*shape'],
  weights: Float[Array, '*weighted'],
) -> tuple[Float[Array, '*weighted'], Float[Array, '*weighted']]:
  """((output - target)^2, a mean over the axes that weights lack; weights)."""
  asked = jax.lax.expand_dims(weights != 0, range(weights.ndim, outputs.ndim))
  # Before the square: its derivative would make NaN of 0 * NaN.
  error = jnp.where(asked, outputs - targets, 0)
  error = error.astype(jnp.promote_types(error.dtype, jnp.float32))
  components = tuple(range(weights.ndim, outputs.ndim))
  return jnp.mean(error**2, axis=components), weights.astype(jnp.float32)


def accuracy(
  outputs: Float[Array, '*shape C'],
  targets: Int[Array, '*shape'],
  weights: Float[Array, '*shape'],
) -> tuple[Float[Array, '*shape'], Float[Array, '*shape']]:
  """(1 where the largest output is the target's, else 0; the weights).

  An output of NaN is never right.
  """
  right = jnp.argmax(outputs, axis=-1) == targets
  right &= ~jnp.isnan(jnp.max(outputs, axis=-1)) & (weights != 0)
  return right.astype(jnp.float32), weights.astype(jnp.float32)


def weighted_mean(
  values: Float[Array, '*shape'], weights: Float[Array, '*shape']
) -> Float[Array, '']:
  """sum(w * v) / sum(w) over the values of weight other than 0; 0 if none."""
  values = jnp.where(weights != 0, values, 0)
  weights = weights.astype(values.dtype)
  total = jnp.sum(weights)
  return jnp.sum(weights * values) / jnp.where(total != 0, total, 1)


def _surprise(logits, targets, weights):
  """(-log softmax(logits)[target] in nats; the weights)."""
  # Before the logarithm: its derivative would make NaN of 0 * NaN.
  logits = jnp.where((weights != 0)[..., None], logits, 0)
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  nats = jax.nn.logsumexp(logits, axis=-1) - chosen
  return nats, weights.astype(jnp.float32)
