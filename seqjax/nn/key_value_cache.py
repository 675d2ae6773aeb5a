"""What attention remembers: keys and values in a ring of slots a row."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.nn.mixer import select_rows
from seqjax.ops import attention as attention_lib
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class AttentionCarry(NamedTuple):
  """The last keys and values of each row's piece, in a ring of slots.

  `count` is how many valid positions the piece has had; empty slots are zero.
  """

  key: Float[Array, 'B S G K']
  value: Float[Array, 'B S G K']
  count: Int[Array, 'B']


def empty(
  batch_size: int, num_slots: int, heads: tuple[int, int], dtype: Any
) -> AttentionCarry:
  """Before the first position; `heads` is (G, K)."""
  shape = batch_size, num_slots, *heads
  return AttentionCarry(  # an array each, so that a carry can be donated
    jnp.zeros(shape, dtype),
    jnp.zeros(shape, dtype),
    jnp.zeros((batch_size,), jnp.int32),
  )


def positions(carry: AttentionCarry) -> Int[Array, 'B S']:
  """Which position of the piece each slot holds; -1 where it is empty."""
  return attention_lib.slot_positions(carry.count, carry.key.shape[1])


def extend(
  carry: AttentionCarry,
  key: Float[Array, 'B T G K'],
  value: Float[Array, 'B T G K'],
  segments: Segments | None = None,
) -> AttentionCarry:
  """After T more positions: the last S valid ones of each row's last piece."""
  batch_size, num_positions = key.shape[:2]
  count, places = segments_lib.positions(carry.count, segments, num_positions)
  pieces = segments_lib.piece_index(segments, batch_size, num_positions)
  last = segments_lib.num_starts(segments, batch_size)
  recent = places >= count[:, None] - carry.key.shape[1]
  keep = (pieces == last[:, None]) & recent

  def store(slots, new):
    if segments is not None:  # a new piece finds them empty
      slots = select_rows(last > 0, jnp.zeros_like(slots), slots)
    return attention_lib.store(slots, new, places, keep)

  return AttentionCarry(store(carry.key, key), store(carry.value, value), count)
