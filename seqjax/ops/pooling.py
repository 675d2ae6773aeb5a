"""From many positions to one vector, over the positions that count."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.ops import checks, over_time
from seqjax.typing import Array


def last(
  x: Float[Array, 'B T D'], keep: Bool[Array, 'B T']
) -> Float[Array, 'B D']:
  """Returns the last position that is kept; zeros where none is."""
  x, keep = _checked('pooling.last', x, keep)
  places = over_time.offset(x.shape[1]) + jnp.arange(x.shape[1])[None]
  last = over_time.largest(jnp.max(jnp.where(keep, places, -1), 1))
  chosen = keep & (places == last[:, None])
  return over_time.total(jnp.sum(_masked(x, chosen, 0), axis=1))


def mean(
  x: Float[Array, 'B T D'], keep: Bool[Array, 'B T']
) -> Float[Array, 'B D']:
  """Returns the mean of the positions that are kept; zeros where none is.

  Summed in at least float32, whatever the dtype of x.
  """
  x, keep = _checked('pooling.mean', x, keep)
  total = jnp.sum(
    _masked(x, keep, 0), axis=1, dtype=jnp.promote_types(x.dtype, jnp.float32)
  )
  count = over_time.total(jnp.sum(keep, axis=1, dtype=jnp.int32))
  total, count = over_time.total(total), jnp.maximum(count, 1)
  return (total / count[:, None].astype(total.dtype)).astype(x.dtype)


def maximum(
  x: Float[Array, 'B T D'], keep: Bool[Array, 'B T']
) -> Float[Array, 'B D']:
  """Returns the largest kept entry of each feature; zeros where none is.

  NaN where an entry kept is: XLA's maximum on a CPU may overlook it.
  """
  x, keep = _checked('pooling.maximum', x, keep)
  largest = jnp.max(_masked(x, keep, -jnp.inf), axis=1)
  if over_time.is_cut():
    # Not by `pmax`, which has no derivative.
    largest = jnp.max(jax.lax.all_gather(largest, over_time.AXIS), axis=0)
  lost = over_time.total(jnp.any(jnp.isnan(_masked(x, keep, 0)), axis=1))
  largest = jnp.where(lost, jnp.full((), jnp.nan, x.dtype), largest)
  kept = over_time.total(jnp.any(keep, axis=1))
  return jnp.where(kept[:, None], largest, 0)


def _checked(op, x, keep):
  return checks.arrays(op, x=(x, 'B T D', 'real'), keep=(keep, 'B T', 'bool'))


def _masked(x, keep, filler):
  """Masks x; what is not kept reaches neither value nor gradient."""
  keep = jax.lax.expand_dims(keep, [2])
  return jnp.where(keep, x, jnp.asarray(filler, x.dtype))
