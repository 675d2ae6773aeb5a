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
  places = jnp.arange(x.shape[1])[None]
  chosen = keep & (places == jnp.max(jnp.where(keep, places, -1), 1)[:, None])
  return jnp.sum(_masked(x, chosen, 0), axis=1)


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
  count = jnp.maximum(jnp.sum(keep, axis=1, dtype=jnp.int32), 1)
  return (total / count[:, None].astype(total.dtype)).astype(x.dtype)


def maximum(
  x: Float[Array, 'B T D'], keep: Bool[Array, 'B T']
) -> Float[Array, 'B D']:
  """Returns the largest kept entry of each feature; zeros where none is.

  NaN where an entry kept is: XLA's maximum on a CPU may overlook it.
  """
  x, keep = _checked('pooling.maximum', x, keep)
  largest = jnp.max(_masked(x, keep, -jnp.inf), axis=1)
  lost = jnp.any(jnp.isnan(_masked(x, keep, 0)), axis=1)
  largest = jnp.where(lost, jnp.full((), jnp.nan, x.dtype), largest)
  return jnp.where(jnp.any(keep, axis=1)[:, None], largest, 0)


def _checked(op, x, keep):
  over_time.check_whole(op)
  return checks.arrays(op, x=(x, 'B T D', 'real'), keep=(keep, 'B T', 'bool'))


def _masked(x, keep, filler):
  """Masks x; what is not kept reaches neither value nor gradient."""
  keep = jax.lax.expand_dims(keep, [2])
  return jnp.where(keep, x, jnp.asarray(filler, x.dtype))
