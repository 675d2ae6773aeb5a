"""Softmax attention in blocks of queries and keys: memory O(T).

The softmax is built up block by block from its running maximum and sum (Milakov
& Gimelshein, 2018; Rabe & Staats, 2021; Dao et al., 2022, FlashAttention,
algorithms 1 and 4). The derivative computes the blocks' weights again from
the logarithm of that sum, so that no T x S array is ever held. Blocks in which
no query sees a key are skipped. Differentiable once in reverse, and in forward
mode from there.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from seqjax.typing import Array


class Places(NamedTuple):
  """Where queries or keys stand: position and piece (-1: nowhere)."""

  position: Int[Array, 'B T']
  piece: Int[Array, 'B T']


class Rule(NamedTuple):
  """Which keys of its piece a query sees, and how many of both are a block.

  Attributes:
    causal: none after it.
    window: none `window` or more positions before it; None: all.
    block: queries and keys a block.
  """

  causal: bool
  window: int | None
  block: int


def see(rule: Rule, query: Places, key: Places) -> Bool[Array, 'B T S']:
  """Which key every query sees."""
  distance = query.position[:, :, None] - key.position[:, None, :]
  visible = query.piece[:, :, None] == key.piece[:, None, :]
  visible &= (key.piece >= 0)[:, None, :]
  if rule.causal:
    visible &= distance >= 0
  if rule.window is not None:
    visible &= distance < rule.window
  return visible


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def blockwise_attention(
  rule: Rule,
  query: Float[Array, 'B G R T K'],
  key: Float[Array, 'B G S K'],
  value: Float[Array, 'B G S V'],
  slopes: Float[Array, 'G R'] | None,
  query_places: Places,
  key_places: Places,
) -> Float[Array, 'B G R T V']:
  """What each query reads; zeros where it sees nothing.

  Queries come scaled; T and S are multiples of the block; R query heads share
  a key head. `slopes` times the distance is subtracted from the logits; they
  are constants and get no gradient.
  """
  arguments = rule, query, key, value, slopes, query_places, key_places
  read, _ = _forward(*arguments)
  return read


def _forward(rule, query, key, value, slopes, query_places, key_places):
  """What is read, and the log-sum of each query's exponentials."""
  dtype = jnp.promote_types(query.dtype, jnp.float32)
  lowest = jnp.finfo(dtype).min
  cut = functools.partial(_cut, rule.block)
  begins, ends = _extent(_pairs(rule, query_places, key_places))

  def query_block(done, inputs):
    i, begin, end = inputs
    q, q_places = cut(query, i, 3), cut(query_places, i, 1)

    def key_block(j, carry):
      highest, total, read = carry
      k_places = cut(key_places, j, 1)
      logits = _logits(q, cut(key, j, 2), slopes, q_places, k_places)
      visible = see(rule, q_places, k_places)[:, None, None]
      logits = jnp.where(visible, logits, lowest)
      new = jnp.maximum(highest, jnp.max(logits, axis=-1, keepdims=True))
      weights = jnp.exp(logits - new)
      decay = jnp.exp(highest - new)
      read = read * decay + _product(
        'bgrts,bgsv->bgrtv', weights, cut(value, j, 2)
      )
      total = total * decay + jnp.sum(weights, axis=-1, keepdims=True)
      return new, total, read

    # Half of the lowest: exp() of what is not visible is zero in any row.
    highest = jnp.full((*q.shape[:-1], 1), lowest / 2, dtype)
    read = jnp.zeros((*q.shape[:-1], value.shape[-1]), dtype)
    highest, total, read = jax.lax.fori_loop(
      begin, end, key_block, (highest, jnp.zeros_like(highest), read)
    )
    total = jnp.where(total > 0, total, jnp.ones((), dtype))
    new = (read / total).astype(value.dtype), highest + jnp.log(total)
    return _paste(rule.block, done, new, i, 3), None

  count = jnp.arange(len(begins), dtype=begins.dtype)
  shape = query.shape[:-1]
  done = (
    jnp.zeros((*shape, value.shape[-1]), value.dtype),
    jnp.zeros((*shape, 1), dtype),
  )
  done, _ = jax.lax.scan(query_block, done, (count, begins, ends))
  return done


def _save(rule, query, key, value, slopes, query_places, key_places):
  arguments = query, key, value, slopes, query_places, key_places
  read, log_sum = _forward(rule, *arguments)
  return read, (*arguments, read, log_sum)


def _backward(rule, saved, gradient):
  """Over blocks of keys, and for each over those of queries that see it."""
  query, key, value, slopes, query_places, key_places, read, log_sum = saved
  dtype = log_sum.dtype
  cut = functools.partial(_cut, rule.block)
  paste = functools.partial(_paste, rule.block)
  begins, ends = _extent(_pairs(rule, query_places, key_places).T)
  mean = jnp.sum(
    gradient.astype(dtype) * read.astype(dtype), axis=-1, keepdims=True
  )

  def key_block(done, inputs):
    of_query, *of_block = done
    j, begin, end = inputs
    k, v, k_places = cut(key, j, 2), cut(value, j, 2), cut(key_places, j, 1)

    def query_block(i, carry):
      of_query, of_key, of_value = carry
      q, q_places, g = (
        cut(query, i, 3),
        cut(query_places, i, 1),
        cut(gradient, i, 3),
      )
      logits = _logits(q, k, slopes, q_places, k_places)
      weights = jnp.where(
        see(rule, q_places, k_places)[:, None, None],
        jnp.exp(logits - cut(log_sum, i, 3)),
        jnp.zeros((), dtype),
      )
      of_value = of_value + _product('bgrts,bgrtv->bgsv', weights, g)
      of_weights = _product('bgrtv,bgsv->bgrts', g, v)
      of_logits = weights * (of_weights - cut(mean, i, 3))
      of_key = of_key + _product('bgrts,bgrtk->bgsk', of_logits, q)
      more = _product('bgrts,bgsk->bgrtk', of_logits, k)
      more = cut(of_query, i, 3) + more
      return paste(of_query, more, i, 3), of_key, of_value

    zeros = (jnp.zeros(a.shape, dtype) for a in (k, v))
    of_query, of_key, of_value = jax.lax.fori_loop(
      begin, end, query_block, (of_query, *zeros)
    )
    new = of_key.astype(key.dtype), of_value.astype(value.dtype)
    return (of_query, *paste(tuple(of_block), new, j, 2)), None

  count = jnp.arange(len(begins), dtype=begins.dtype)
  done = jnp.zeros(query.shape, dtype), *map(jnp.zeros_like, (key, value))
  (of_query, of_key, of_value), _ = jax.lax.scan(
    key_block, done, (count, begins, ends)
  )
  of_slopes = None if slopes is None else jnp.zeros_like(slopes)
  return (
    of_query.astype(query.dtype),
    of_key,
    of_value,
    of_slopes,
    None,
    None,
  )


blockwise_attention.defvjp(_save, _backward)


def _logits(query, key, slopes, query_places, key_places):
  logits = _product('bgrtk,bgsk->bgrts', query, key)
  if slopes is None:
    return logits
  distance = query_places.position[:, :, None] - key_places.position[:, None, :]
  slopes = slopes.astype(logits.dtype)[None, :, :, None, None]
  distance = jnp.abs(distance)[:, None, None].astype(logits.dtype)
  return logits - slopes * distance


def _product(formula: str, a, b):
  """An einsum in the precision of b, accumulated in at least float32."""
  return jnp.einsum(
    formula,
    a.astype(b.dtype),
    b,
    preferred_element_type=jnp.promote_types(b.dtype, jnp.float32),
  )


def _pairs(rule, query_places, key_places) -> Bool[Array, 'N M']:
  """Whether a query of block n can see a key of block m, in any row."""

  def bounds(places):
    nowhere = places.piece < 0
    most = jnp.iinfo(jnp.int32).max // 2
    blocks = jax.tree.map(
      lambda a: a.reshape(len(a), -1, rule.block), (nowhere, *places)
    )
    nowhere, *values = blocks
    least = [jnp.where(nowhere, most, a).min(axis=2) for a in values]
    last = [jnp.where(nowhere, -most, a).max(axis=2) for a in values]
    least = Places(*(a[:, :, None] for a in least))
    return least, Places(*(a[:, :, None] for a in last))

  first_query, last_query = bounds(query_places)
  first_key, last_key = jax.tree.map(
    lambda a: jnp.swapaxes(a, 1, 2), bounds(key_places)
  )
  seen = (last_query.piece >= first_key.piece) & (
    first_query.piece <= last_key.piece
  )
  if rule.causal:
    seen &= last_query.position >= first_key.position
  if rule.window is not None:
    seen &= first_query.position - last_key.position < rule.window
  return jnp.any(seen, axis=0)


def _extent(
  pairs: Bool[Array, 'N M'],
) -> tuple[Int[Array, 'N'], Int[Array, 'N']]:
  """For every n the first m that is true, and one beyond the last."""
  any_, width = jnp.any(pairs, axis=1), pairs.shape[1]
  first = jnp.argmax(pairs, axis=1).astype(jnp.int32)
  last = width - jnp.argmax(pairs[:, ::-1], axis=1).astype(jnp.int32)
  return jnp.where(any_, first, 0), jnp.where(any_, last, 0)


def _cut(size: int, tree, i, axis: int):
  """Block i of every array."""
  return jax.tree.map(
    lambda a: jax.lax.dynamic_slice_in_dim(a, i * size, size, axis), tree
  )


def _paste(size: int, tree, blocks, i, axis: int):
  """Every array with its block i replaced."""
  return jax.tree.map(
    lambda a, new: jax.lax.dynamic_update_slice_in_dim(a, new, i * size, axis),
    tree,
    blocks,
  )
