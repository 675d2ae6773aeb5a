"""Random integers, coins, lengths and distinct integers.

All are exactly distributed, as cheap as their random bits, and need no memory
beyond what they return.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from seqjax.typing import Array


def integers(
  key: jax.Array,
  shape: tuple[int, ...],
  low: int | Int[Array, '...'],
  high: int | Int[Array, '...'],
) -> Int[Array, '...']:
  """Samples integers low <= n < high, uniform and independent, as int32."""
  return jax.random.randint(key, shape, low, high, jnp.int32)


def lengths(
  key: jax.Array, batch_size: int, low: int, high: int
) -> Int[Array, 'B']:
  """Samples lengths low <= n <= high, uniform and independent."""
  return integers(key, (batch_size,), low, high + 1)


def coins(
  key: jax.Array, probability: float, shape: tuple[int, ...]
) -> Bool[Array, '...']:
  """Samples True with a probability, whatever the default types."""
  return jax.random.uniform(key, shape, jnp.float32) < probability


def log_uniform(key: jax.Array, batch_size: int, high: int) -> Int[Array, 'B']:
  """Samples 1..high: exp(u) floored, u uniform on [0, log(high + 1))."""
  uniform = jax.random.uniform(key, (batch_size,), jnp.float32)
  numbers = jnp.floor(jnp.exp(uniform * math.log(high + 1)))
  return jnp.clip(numbers.astype(jnp.int32), 1, high)  # rounding may overshoot


def distinct(
  key: jax.Array,
  batch_size: int,
  count: int,
  low: int,
  high: int | Int[Array, 'B 1'],
) -> Int[Array, 'B L']:
  """Samples L = count distinct integers low <= n < high per row.

  The i-th sample is a rank among what the first i have left: a Lehmer code,
  decoded from its end. Takes O(count^2) operations, whatever the range.
  """
  left = high - low - jnp.arange(count, dtype=jnp.int32)[None]
  ranks = integers(key, (batch_size, count), 0, left)
  index = jnp.arange(count)[None]

  def decode(turn, ranks):
    i = count - 1 - turn
    sampled = jax.lax.dynamic_slice_in_dim(ranks, i, 1, axis=1)
    return ranks + ((index > i) & (ranks >= sampled))

  # The loop's body is traced even where it has no turn.
  ranks = jax.lax.fori_loop(1, count, decode, ranks) if count > 1 else ranks
  return low + ranks
