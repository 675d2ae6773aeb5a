"""Losses and scores under weights, where weight 0 means: not looked at.

Whatever stands at weight 0, NaN too, reaches neither a value nor a gradient,
and a mean over nothing is 0 with zero gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.typing import Array


def cross_entropy(
  logits: Float[Array, '*shape C'],
  targets: Int[Array, '*shape'],
  weights: Float[Array, '*shape'],
) -> Float[Array, '']:
  """The weighted mean of -log softmax(logits)[target], in nats.

  At least float32, whatever the dtype of the logits.
  """
  # Before the logarithm: its derivative would make NaN of 0 * NaN.
  logits = jnp.where((weights != 0)[..., None], logits, 0)
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  return weighted_mean(jax.nn.logsumexp(logits, axis=-1) - chosen, weights)


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
