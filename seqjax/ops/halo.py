"""The last valid positions that stand before the part of a device.

A window that looks back W positions needs them of the devices before. Padding
is left out, so that they may be spread over any number of parts.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int, Shaped

from seqjax.ops import over_time
from seqjax.typing import Array


def before_part(first: Any, x: Any, valid: Bool[Array, 'B T'] | None) -> Any:
  """Returns the last W valid positions before those of this device.

  Args:
    first: what stands before the first position of the whole; leaves are
      [B W ...], the most recent last.
    x: the positions of this device; leaves are [B T ...].
    valid: which of them count; None: all. Then only the parts that W positions
      reach back to send something.
  """
  size = jax.tree.leaves(first)[0].shape[1]
  batch_size, length = jax.tree.leaves(x)[0].shape[:2]
  if size == 0 or length == 0:
    return first

  def compose(earlier, later):
    (tail_1, count_1), (tail_2, count_2) = earlier, later
    place = jnp.arange(size)[None]
    count = count_2[:, None]
    index = jnp.where(place >= size - count, size + place, place + count)
    both = jax.tree.map(_joined, tail_1, tail_2)
    tail = jax.tree.map(lambda a: gather(a, index), both)
    return tail, jnp.minimum(count_1 + count_2, size)

  full = jnp.full((batch_size,), size, jnp.int32)
  reach = -(-size // length) if valid is None else 0
  tail, _ = over_time.prefix(
    (first, full), _tail(x, valid, size), compose, reach
  )
  return tail


def _tail(x, valid, size) -> tuple[Any, Int[Array, 'B']]:
  """Returns the last valid positions, zeros before them, and their number."""
  batch_size, length = jax.tree.leaves(x)[0].shape[:2]
  x = jax.tree.map(lambda a: _with_zeros(a, size), x)
  if valid is None:
    x = jax.tree.map(lambda a: a[:, length:], x)
    return x, jnp.full((batch_size,), min(length, size), jnp.int32)
  count = jnp.sum(valid, axis=1, dtype=jnp.int32)
  order = jnp.argsort(~valid, axis=1, stable=True)
  zeros = jnp.broadcast_to(jnp.arange(size)[None], (batch_size, size))
  order = jnp.concatenate([zeros, size + order], axis=1)
  index = gather(order, count[:, None] + jnp.arange(size)[None])
  x = jax.tree.map(lambda a: gather(a, index), x)
  return x, jnp.minimum(count, size)


def gather(
  x: Shaped[Array, 'B S *D'], index: Shaped[Array, 'B T']
) -> Shaped[Array, 'B T *D']:
  """Returns x[b, index[b, t]] for every b and t."""
  rows = jnp.arange(x.shape[0])[:, None]
  return x[rows, index]


def _joined(a, b):
  return jnp.concatenate([a, b], axis=1)


def _with_zeros(array, size):
  """Puts zeros before the first position."""
  return jnp.pad(array, [(0, 0), (size, 0)] + [(0, 0)] * (array.ndim - 2))
