"""Softmax attention; a cache is just more keys."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from seqjax.typing import Array


def attention(
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B S G K'],
  value: Float[Array, 'B S G V'],
  *,
  query_positions: Int[Array, 'B T'],
  key_positions: Int[Array, 'B S'],
  query_segments: Int[Array, 'B T'] | None = None,
  key_segments: Int[Array, 'B S'] | None = None,
  causal: bool = True,
  window: int | None = None,
) -> Float[Array, 'B T H V']:
  """softmax(Q K^T / sqrt(K)) V, heads in groups (Vaswani et al., 2017, eq. 1).

  H is a multiple of G: H / G consecutive heads share a key and a value head.

  Args:
    query, key, value: what attends, to what, and what it reads.
    query_positions, key_positions: places in the piece; they decide what is
      past (`causal`) and what is near (`window`).
    query_segments, key_segments: the piece each belongs to, -1 where there is
      none (padding, an empty slot of a cache); None means one piece.
    causal: whether a query sees no position after its own.
    window: how many positions a query sees, its own included; None: all.

  Returns:
    What each query reads; zeros where it sees nothing.
  """
  heads, groups = query.shape[2], key.shape[2]
  query = query.reshape(*query.shape[:2], groups, heads // groups, -1)
  dtype = jnp.promote_types(query.dtype, jnp.float32)
  logits = jnp.einsum(
    'btghk,bsgk->bghts', query, key, preferred_element_type=dtype
  )
  visible = _visible(
    query_positions,
    key_positions,
    query_segments,
    key_segments,
    causal,
    window,
  )
  weights = _softmax(logits * query.shape[-1] ** -0.5, visible)
  read = jnp.einsum(
    'bghts,bsgv->btghv',
    weights.astype(value.dtype),
    value,
    preferred_element_type=dtype,
  )
  return read.reshape(*read.shape[:2], heads, -1).astype(value.dtype)


def _visible(
  query_positions,
  key_positions,
  query_segments,
  key_segments,
  causal: bool,
  window: int | None,
) -> Bool[Array, 'B T S']:
  """Which key every query sees."""
  distance = query_positions[:, :, None] - key_positions[:, None, :]
  visible = jnp.ones(distance.shape, bool)
  if causal:
    visible &= distance >= 0
  if window is not None:
    visible &= distance < window
  if key_segments is not None:
    visible &= (key_segments >= 0)[:, None, :]
  if query_segments is not None and key_segments is not None:
    visible &= query_segments[:, :, None] == key_segments[:, None, :]
  return visible


def _softmax(
  logits: Float[Array, 'B G H T S'], visible: Bool[Array, 'B T S']
) -> Float[Array, 'B G H T S']:
  """Softmax over what is visible; zeros where nothing is."""
  visible = visible[:, None, None]
  lowest = jnp.finfo(logits.dtype).min
  weights = jax.nn.softmax(jnp.where(visible, logits, lowest), axis=-1)
  return jnp.where(visible, weights, jnp.zeros((), logits.dtype))


def slot_positions(count: Int[Array, 'B'], num_slots: int) -> Int[Array, 'B S']:
  """The position that each slot of a ring buffer holds; -1 where empty.

  Position p lies in slot p mod S, so after `count` positions slot s holds the
  latest p < count with p mod S = s.
  """
  last = count[:, None] - 1
  slots = jnp.arange(num_slots, dtype=count.dtype)[None]
  held = last - (last - slots) % num_slots
  return jnp.where(held >= 0, held, -1)


def store(
  slots: Float[Array, 'B S *D'],
  new: Float[Array, 'B T *D'],
  positions: Int[Array, 'B T'],
  keep: Bool[Array, 'B T'],
) -> Float[Array, 'B S *D']:
  """The ring buffer after writing `new` where `keep`; positions are distinct.

  At most S positions a row may be kept, since a later one would take the
  slot of an earlier one in an unspecified order.
  """
  num_slots = slots.shape[1]
  index = jnp.where(keep, positions % num_slots, num_slots)  # beyond: dropped
  rows = jnp.arange(slots.shape[0])[:, None]
  return slots.at[rows, index].set(new.astype(slots.dtype), mode='drop')
