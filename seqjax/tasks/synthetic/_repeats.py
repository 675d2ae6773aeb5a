"""Equal entries of a row: the first of them, and the latest one before."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from seqjax.typing import Array


def first_equal(codes: Int[Array, 'B L']) -> Int[Array, 'B L']:
  """Returns the index of the first entry of the row that equals each."""
  order, same = _ranked(codes)
  rank = jnp.arange(codes.shape[1], dtype=jnp.int32)[None]
  begun = jax.lax.cummax(jnp.where(same, 0, rank), axis=1)
  return _unranked(order, jnp.take_along_axis(order, begun, axis=1))


def latest_equal(codes: Int[Array, 'B L']) -> Int[Array, 'B L']:
  """Returns the index of the latest earlier entry that equals each, or -1."""
  order, same = _ranked(codes)
  before = jnp.pad(order[:, :-1], ((0, 0), (1, 0)))
  return _unranked(order, jnp.where(same, before, -1))


def _ranked(codes) -> tuple[Int[Array, 'B L'], Bool[Array, 'B L']]:
  """Returns the sorted order, and which entries equal the one before in it."""
  order = jnp.argsort(codes, axis=1, stable=True).astype(jnp.int32)
  ranked = jnp.take_along_axis(codes, order, axis=1)
  same = ranked[:, 1:] == ranked[:, :-1]
  return order, jnp.pad(same, ((0, 0), (1, 0)))


def _unranked(order, values):
  """Returns values of the sorted order in the order of the row."""
  return jnp.put_along_axis(
    jnp.zeros_like(order), order, values, axis=1, inplace=False
  )
