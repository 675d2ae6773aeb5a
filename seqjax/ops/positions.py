"""What a position adds to a query and a key."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.typing import Array


def rotate(
  x: Float[Array, 'B T H K'],
  positions: Int[Array, 'B T'],
  *,
  base: float = 10000.0,
) -> Float[Array, 'B T H K']:
  """Rotates pairs of features by angles proportional to the position.

  Pair k turns by position * base^(-2k/K) (Su et al., 2021, RoFormer, eq. 34),
  so that products of queries and keys depend on their distance alone. The
  halves of the features are the pairs, as in GPT-NeoX.
  """
  half = x.shape[-1] // 2
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  frequency = base ** (-jnp.arange(half, dtype=dtype) / half)
  angle = positions.astype(dtype)[..., None] * frequency[None, None]
  sin, cos = jnp.sin(angle)[:, :, None], jnp.cos(angle)[:, :, None]
  first, second = x[..., :half], x[..., half:]
  rotated = [first * cos - second * sin, second * cos + first * sin]
  return jnp.concatenate(rotated, axis=-1).astype(x.dtype)


def look_up(
  table: Float[Array, 'N D'], positions: Int[Array, 'B T']
) -> Float[Array, 'B T D']:
  """Rows of a learned table; NaN beyond its end, never a clamped row."""
  return jnp.take(table, positions, axis=0, mode='fill', fill_value=jnp.nan)
