"""The last keys and values of a row, in a ring buffer."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from seqjax.ops import over_time
from seqjax.typing import Array


def slot_positions(count: Int[Array, 'B'], num_slots: int) -> Int[Array, 'B S']:
  """Returns the position that each slot of a ring buffer holds; -1 where empty.

  Position p lies in slot p mod S, so after `count` positions slot s holds the
  latest p < count with p mod S = s.
  """
  last = count[:, None] - 1
  newest = last % num_slots  # slots after it are a round behind
  slots = jnp.arange(num_slots, dtype=count.dtype)[None]
  held = last - newest + slots - jnp.where(slots > newest, num_slots, 0)
  return jnp.where(held >= 0, held, -1)


def store(
  slots: Float[Array, 'B *D S'],
  new: Float[Array, 'B T *D'],
  positions: Int[Array, 'B T'],
  keep: Bool[Array, 'B T'],
) -> Float[Array, 'B *D S']:
  """Writes `new` into the ring buffer where `keep`; positions are distinct.

  At most S positions a row may be kept, since a later one would take the
  slot of an earlier one in an unspecified order. Where positions are cut over
  devices, all have the same slots, and write what any of them keeps.
  """
  if not over_time.is_cut():
    return _write(slots, new, positions, keep)
  nothing = jnp.zeros((len(slots), slots.shape[-1]), jnp.int32)
  count = _write(nothing, jnp.ones_like(positions), positions, keep)
  written = over_time.total(count) > 0
  written = jax.lax.expand_dims(written, range(1, slots.ndim - 1))
  new = _write(jnp.zeros_like(slots), new, positions, keep)
  return jnp.where(written, over_time.total(new), slots)


def _write(slots, new, positions, keep):
  num_slots = slots.shape[-1]
  index = jnp.where(keep, positions % num_slots, num_slots)  # beyond: dropped
  new = new.astype(slots.dtype)
  if index.size == 1:
    # Each number has an index: a single index for all would become the update
    # of a slice, for which XLA copies the whole buffer on a CPU.
    numbers = np.ix_(*map(np.arange, new.shape[2:]))
    return slots.at[0, *numbers, index[0, 0]].set(new[0, 0], mode='drop')
  rows = jnp.arange(len(slots))[:, None]
  return slots.at[rows, ..., index].set(new, mode='drop')
