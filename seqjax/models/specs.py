"""From what stands at a position to features, and from features back."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from seqjax.models import checks
from seqjax.nn.mixer import input_width
from seqjax.ops import losses
from seqjax.typing import Array, Spec


def read_by(model: nn.Module) -> Spec:
  """Returns the spec of a model's inputs; of a mixer's, its features."""
  return getattr(model, 'input', None) or Spec((input_width(model),))


def shapes(spec: Spec, *leading: int) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of what stands at many positions."""
  dtype = jnp.float32 if spec.vocab is None else jnp.int32
  return jax.ShapeDtypeStruct((*leading, *spec.shape), dtype)


def embedding(spec: Spec, features: int, **types: Any) -> nn.Module:
  """Makes the layer for `embed`: a table of tokens, or a projection.

  Raises:
    ValueError: several tokens stand at a position, which outputs alone have.
  """
  if spec.vocab is None:
    return nn.Dense(features, **types)
  if spec.shape:
    raise ValueError(
      f'One token stands at a position of the inputs, but {spec} has several: '
      'give each a position of its own.'
    )
  return nn.Embed(spec.vocab, features, **types)


def embed(
  layer: nn.Module, spec: Spec, x: Shaped[Array, '...']
) -> Float[Array, '... D']:
  """Features of what stands at each position; its axes come last in x.

  Raises:
    ValueError: values of another shape than the spec's, or tokens outside the
      vocabulary (where they are concrete; under `jit` they become NaN).
  """
  if spec.vocab is not None:
    checks.tokens(x, spec.vocab)
    known = losses.in_range(x, spec.vocab)
    return jnp.where(known[..., None], layer(jnp.where(known, x, 0)), jnp.nan)
  leading = x.ndim - len(spec.shape)
  if x.shape[leading:] != spec.shape:
    raise ValueError(
      f'Values of shape {list(spec.shape)} stand at a position of this model, '
      f'but inputs of shape {list(x.shape)} were given; their last axes must '
      'be those.'
    )
  return layer(x.reshape(*x.shape[:leading], math.prod(spec.shape)))


def one_hot(
  spec: Spec, x: Shaped[Array, '*B'], dtype: Any
) -> Float[Array, '*B V']:
  """Returns a 1 where each token stands in the vocabulary; refuses as `embed`.

  Raises:
    ValueError: as `embed`.
  """
  checks.tokens(x, spec.vocab)
  known = losses.in_range(x, spec.vocab)
  vectors = jax.nn.one_hot(x, spec.vocab, dtype=dtype)
  return jnp.where(known[..., None], vectors, jnp.nan)


def readout(spec: Spec, **types: Any) -> nn.Dense:
  """Returns the layer for `read`."""
  return nn.Dense((spec.vocab or 1) * math.prod(spec.shape), **types)


def read(
  layer: nn.Module, spec: Spec, y: Float[Array, '*B D']
) -> Float[Array, '...']:
  """Logits [*B *shape C] over the spec's vocabulary, or values [*B *shape]."""
  y = layer(y)
  classes = (spec.vocab,) if spec.vocab else ()
  return y.reshape(*y.shape[:-1], *spec.shape, *classes)
