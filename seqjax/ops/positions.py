"""Encodings of positions, for queries and keys."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from seqjax.ops import checks
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
  x, positions = checks.arrays(
    'rotate',
    x=(x, 'B T H 2*K', 'real'),
    positions=(positions, 'B T', 'integer'),
  )
  half = x.shape[-1] // 2
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  angle = _angles(positions, base ** (-np.arange(half) / half), dtype)
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
  checks.size('sinusoids', 'features', features)
  (positions,) = checks.arrays(
    'sinusoids', positions=(positions, 'B T', 'integer')
  )
  wide = jnp.promote_types(dtype, jnp.float32)
  frequency = 10000.0 ** (-2 * np.arange((features + 1) // 2) / features)
  angle = _angles(positions, frequency, wide)
  waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
  waves = waves.reshape(*positions.shape, -1)
  return waves[..., :features].astype(dtype)


def _angles(
  positions: Int[Array, 'B T'], frequency: Float[np.ndarray, 'M'], dtype: Any
) -> Float[Array, 'B T M']:
  """Returns position * frequency, in float32 less whole turns.

  A float32 product would be off by a radian at ten million. So integers count
  the turns: a frequency is a number of 2^-32 turns, whose products with
  positions wrap where a turn is full, and a rest below 2^-33 turns, whose
  products are small.
  """
  if dtype == jnp.float64:
    return positions[..., None].astype(dtype) * frequency[None, None]
  turns = frequency / (2 * np.pi) * 2.0**32
  whole = np.round(turns)
  rest = ((turns - whole) * 2.0**-32).astype(np.float32)
  wrapped = (
    positions[..., None].astype(jnp.uint32)
    * whole.astype(np.uint64).astype(np.uint32)[None, None]
  )
  wrapped = jax.lax.bitcast_convert_type(wrapped, jnp.int32)
  part = wrapped.astype(dtype) * np.asarray(2.0**-32, dtype)
  part += positions[..., None].astype(dtype) * rest[None, None]
  return part * np.asarray(2 * np.pi, dtype)


def look_up(
  table: Float[Array, 'N D'], positions: Int[Array, 'B T']
) -> Float[Array, 'B T D']:
  """Rows of a learned table; NaN beyond its ends, never a clamped row."""
  table, positions = checks.arrays(
    'look_up',
    table=(table, 'N D', 'real'),
    positions=(positions, 'B T', 'integer'),
  )
  # Negative positions would count from the end.
  positions = jnp.where(positions < 0, table.shape[0], positions)
  return jnp.take(table, positions, axis=0, mode='fill', fill_value=jnp.nan)


def alibi_slopes(num_heads: int) -> Float[np.ndarray, 'H']:
  """Returns the slope of each head over distance: 2^(-8h/H) for h = 1 .. H.

  Press et al. (2022), section 3. Where H is no power of two, the slopes are
  those of the next lower power n, and then every other one of those of 2n, as
  in the paper's code.
  """
  checks.size('alibi_slopes', 'num_heads', num_heads)
  lower = 1 << (num_heads.bit_length() - 1)
  between = _geometric_slopes(2 * lower)[::2]
  return np.append(_geometric_slopes(lower), between[: num_heads - lower])


def _geometric_slopes(num_heads: int) -> Float[np.ndarray, 'H']:
  return 2.0 ** (-8.0 * np.arange(1, num_heads + 1) / num_heads)
