"""Losses and scores under weights, where weight 0 means: not looked at.

Whatever stands at weight 0, NaN too, reaches neither a value nor a gradient,
and a mean over nothing is 0 with zero gradient. A label may be anything there,
PyTorch's -100 for instance.

Nothing is broadcast: other shapes raise ValueError. So do labels outside 0..C-1
at another weight than 0, and weights that are negative or not finite, wherever
they are concrete; inside `jit` they make NaN.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

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
  _check_shapes(outputs.shape, targets.shape, outputs, targets)
  weights = _check_weights(weights, targets.shape[: weights.ndim])
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
  targets, weights = _check_labels(outputs, targets, weights)
  right = jnp.argmax(outputs, axis=-1) == targets
  # Not of their maximum, in which XLA on a CPU may overlook NaN.
  right &= ~jnp.any(jnp.isnan(outputs), axis=-1) & (weights != 0)
  known = in_range(targets, outputs.shape[-1])
  return jnp.where(known, right, jnp.nan).astype(jnp.float32), weights


def weighted_mean(
  values: Float[Array, '*shape'], weights: Float[Array, '*shape']
) -> Float[Array, '']:
  """sum(w * v) / sum(w) over the values of weight other than 0; 0 if none."""
  weights = _check_weights(weights, values.shape)
  values = jnp.where(weights != 0, values, 0)
  weights = weights.astype(values.dtype)
  total = jnp.sum(weights)
  return jnp.sum(weights * values) / jnp.where(total != 0, total, 1)


def chosen(
  values: Float[Array, '*shape C'], index: Int[Array, '*shape']
) -> Float[Array, '*shape']:
  """Returns values[..., index], and NaN where the index is not in 0..C-1.

  The gradient is NaN there too: neither wrapped nor clamped.
  """
  known = in_range(index, values.shape[-1])
  place = jnp.where(known, index, 0)[..., None]
  found = jnp.take_along_axis(values, place, axis=-1)[..., 0]
  return found * jnp.where(known, 1, jnp.nan).astype(found.dtype)


def in_range(index: Int[Array, '*shape'], size: int) -> Bool[Array, '*shape']:
  """Tells which indices name one of `size` things."""
  return (index >= 0) & (index < size)


def _surprise(logits, targets, weights):
  """(-log softmax(logits)[target] in nats; the weights)."""
  targets, weights = _check_labels(logits, targets, weights)
  # Before the logarithm: its derivative would make NaN of 0 * NaN.
  logits = jnp.where((weights != 0)[..., None], logits, 0)
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  nats = jax.nn.logsumexp(logits, axis=-1) - chosen(logits, targets)
  return nats, weights


def _check_labels(outputs, targets, weights):
  """Returns the labels, 0 where nothing is scored, and the weights."""
  _check_shapes(outputs.shape[:-1], targets.shape, outputs, targets)
  if not jnp.issubdtype(targets.dtype, jnp.integer):
    raise ValueError(
      f'Targets are integers, but these are of type {targets.dtype}.'
    )
  weights = _check_weights(weights, targets.shape)
  weights = weights.astype(jnp.float32)
  targets = jnp.where(weights != 0, targets, 0)
  if not isinstance(targets, jax.core.Tracer):
    _check_range(np.asarray(targets), outputs.shape[-1])
  return targets, weights


def _check_range(targets, size: int):
  outside = np.unique(targets[~in_range(targets, size)])
  if outside.size:
    raise ValueError(
      f'Targets of weight other than 0 lie in 0..{size - 1}, but these were '
      f'given: {outside.tolist()}.'
    )


def _check_shapes(found, wanted, outputs, targets):
  if found != wanted:
    raise ValueError(
      'Outputs have the shape of the targets, and for classes one more axis, '
      f'but outputs of shape {list(outputs.shape)} were given for targets of '
      f'shape {list(targets.shape)}.'
    )


def _check_weights(weights, shape):
  """Returns weights as floats; those that are no weights are NaN in `jit`."""
  if weights.shape != shape:
    raise ValueError(
      f'There is a weight for each of the values, whose shape is {list(shape)}'
      f', but weights of shape {list(weights.shape)} were given.'
    )
  weights = jnp.asarray(weights)
  weights = weights.astype(jnp.promote_types(weights.dtype, jnp.float32))
  good = (weights >= 0) & (weights < jnp.inf)
  if isinstance(good, jax.core.Tracer):
    return jnp.where(good, weights, jnp.nan)
  if not np.all(good):
    raise ValueError(
      'Weights are finite and not negative, but one is '
      f'{np.asarray(weights)[~np.asarray(good)][0]}.'
    )
  return weights
