"""Encodings of positions, for queries and keys."""

from typing import Any

import jax.numpy as jnp
import numpy as np
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


def sinusoids(
  positions: Int[Array, 'B T'], features: int, dtype: Any
) -> Float[Array, 'B T D']:
  """sin(p w_i) and cos(p w_i) beside each other, w_i = 10000^(-2i/D).

  Vaswani et al. (2017), section 3.5; an odd number of features ends with a
  sine. Angles have at least float32, whatever the dtype of the result.
  """
  wide = jnp.promote_types(dtype, jnp.float32)
  pair = jnp.arange((features + 1) // 2, dtype=wide)
  frequency = 10000.0 ** (-2 * pair / features)
  angle = positions.astype(wide)[..., None] * frequency[None, None]
  waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
  waves = waves.reshape(*positions.shape, -1)
  return waves[..., :features].astype(dtype)


def look_up(
  table: Float[Array, 'N D'], positions: Int[Array, 'B T']
) -> Float[Array, 'B T D']:
  """Rows of a learned table; NaN beyond its end, never a clamped row."""
  return jnp.take(table, positions, axis=0, mode='fill', fill_value=jnp.nan)


def alibi_slopes(num_heads: int) -> Float[np.ndarray, 'H']:
  """Returns the slope of each head over distance: 2^(-8h/H) for h = 1 .. H.

  Press et al. (2022), section 3. Where H is no power of two, the slopes are
  those of the next lower power n, and then every other one of those of 2n, as
  in the paper's code.
  """
  lower = 1 << (num_heads.bit_length() - 1)
  between = _geometric_slopes(2 * lower)[::2]
  return np.append(_geometric_slopes(lower), between[: num_heads - lower])


def _geometric_slopes(num_heads: int) -> Float[np.ndarray, 'H']:
  return 2.0 ** (-8.0 * np.arange(1, num_heads + 1) / num_heads)
