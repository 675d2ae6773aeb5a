"""Softmax attention in blocks of queries and keys: memory O(T).

The softmax is built up block by block from its running maximum and sum (Milakov
& Gimelshein, 2018; Rabe & Staats, 2021; Dao et al., 2022, FlashAttention,
algorithms 1 and 4). The derivative computes the blocks' weights again from
the logarithm of that sum, so that no T x S array is ever held. Blocks in which
no query sees a key are skipped, and no mask is made where all see all.
Differentiable once in reverse, and in forward mode from there.

Queries and keys of NaN, and none but those, are not finite. They make NaN of
the rows that see them, while masks keep them from others; in the derivative
zeros stand for them, and for those rows. Zeros also stand for gradients of rows
that are not finite, and NaN is put back where they are seen.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from seqjax.ops import finite
from seqjax.typing import Array


class Places(NamedTuple):
  """Positions of queries or keys, and their segments (-1: none)."""

  position: Int[Array, 'B T']
  piece: Int[Array, 'B T']


class LogForget(NamedTuple):
  """Sums of the logarithms of forget gates, each position's own included.

  Of both the origin is the same, and any: a logit gets the difference, the sum
  over the positions after the key, up to the query.
  """

  query: Float[Array, 'B T H']
  key: Float[Array, 'B S H']


class Rule(NamedTuple):
  """The keys of its segment that a query sees, and the size of a block.

  Attributes:
    causal: none after it.
    window: none `window` or more positions away; None: all.
    block: queries and keys a block.
  """

  causal: bool
  window: int | None
  block: int


def see(
  rule: Rule, query: Places, key: Places, *, keys_first: bool = False
) -> Bool[Array, 'B T S']:
  """Marks the keys that every query sees.

  [B S T] if keys are to be first: turned later, it would be read by strides.
  """
  of_query, of_key = _axes(keys_first)
  distance = of_query(query.position) - of_key(key.position)
  visible = of_query(query.piece) == of_key(key.piece)
  visible &= of_key(key.piece >= 0)
  if rule.causal:
    visible &= distance >= 0
  if rule.window is not None:
    visible &= distance < rule.window
    if not rule.causal:
      visible &= distance > -rule.window
  return visible


def _axes(keys_first: bool):
  """Returns two functions that give queries, and keys, their axis of pairs."""
  axes = (1, 2) if keys_first else (2, 1)
  return (functools.partial(jnp.expand_dims, axis=axis) for axis in axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def blockwise_attention(
  rule: Rule,
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B S G K'],
  value: Float[Array, 'B S G V'],
  slopes: Float[Array, 'G R'] | None,
  log_forget: LogForget | None,
  query_places: Places,
  key_places: Places,
) -> Float[Array, 'B T H V']:
  """Reads values for each query; zeros where it sees nothing.

  T and S are multiples of the block; R = H / G consecutive heads share a key
  head. What is not finite is NaN: a whole query, or a whole key and a value of
  zero. `slopes` times the distance is subtracted from the logits; they are
  constants and get no gradient. Nor do the sums of queries, which all logits of
  a query have in common, so that no weight depends on them.
  """
  places = query_places, key_places
  read, _ = forward(rule, query, key, value, slopes, log_forget, *places)
  return read


def forward(
  rule, query, key, value, slopes, log_forget, query_places, key_places
):
  """Returns what is read, and the log-sum [B H T] of the exponentials."""
  dtype = jnp.promote_types(query.dtype, jnp.float32)
  rows = functools.partial(_rows, key.shape[2])
  mask = functools.partial(_mask, rule, slopes)
  cut = functools.partial(_cut, rule.block)
  paste = functools.partial(_paste, rule.block)
  some, every = _pairs(rule, query_places, key_places)
  sums = log_forget or LogForget(None, None)

  # One block of logits exists at a time. With 4 heads of 64, a batch of 4 and
  # 4,096 positions, forward and backward take 161 MiB of temporary memory,
  # where the plain algorithm takes 4,161 MiB.
  def query_block(done, inputs):
    i, (begin, end), every = inputs
    q, q_places, q_sums = cut((query, query_places, sums.query), i)
    q = rows(q) * query.shape[-1] ** -0.5

    def key_block(j, carry):
      highest, total, read = carry
      k, v, k_places, k_sums = cut((key, value, key_places, sums.key), j)
      k, v = jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2)
      logits = _product('bgqk,bgsk->bgqs', q, k)
      logits = mask(logits, q_sums, k_sums, q_places, k_places, every[j])
      # The running softmax: what was read so far is scaled to the new maximum.
      new = jnp.maximum(highest, jnp.max(logits, axis=-1, keepdims=True))
      weights = jnp.exp(logits - new)
      decay = jnp.exp(highest - new)
      read = read * decay + _product('bgqs,bgsv->bgqv', weights, v)
      total = total * decay + jnp.sum(weights, axis=-1, keepdims=True)
      return new, total, read

    # Half of the lowest: exp() of what is not visible is zero in any row.
    highest = jnp.full((*q.shape[:-1], 1), jnp.finfo(dtype).min / 2, dtype)
    read = jnp.zeros((*q.shape[:-1], value.shape[-1]), dtype)
    highest, total, read = jax.lax.fori_loop(
      begin, end, key_block, (highest, jnp.zeros_like(highest), read)
    )
    total = jnp.where(total == 0, jnp.ones((), dtype), total)
    read = _positions(rule.block, (read / total).astype(value.dtype))
    log_sum = (highest + jnp.log(total)).reshape(
      len(q), query.shape[2], rule.block
    )
    reads, log_sums = done
    return (paste(reads, read, i), paste(log_sums, log_sum, i, axis=2)), None

  batch_size, length, heads = query.shape[:3]
  done = (
    jnp.zeros((*query.shape[:-1], value.shape[-1]), value.dtype),
    jnp.zeros((batch_size, heads, length), dtype),
  )
  count = jnp.arange(len(some), dtype=jnp.int32)
  done, _ = jax.lax.scan(query_block, done, (count, _extent(some), every))
  return done


def _save(rule, query, key, value, slopes, log_forget, *places):
  arguments = query, key, value, slopes, log_forget, *places
  read, log_sum = forward(rule, *arguments)
  return read, (*arguments, read, log_sum)


def backward(rule, saved, gradient):
  """Loops over blocks of keys, and over those of queries that see each.

  Keys come before queries in what both have an axis of: of five products only
  the last then has an operand to turn, at which XLA is slow inside a product.
  """
  query, key, value, slopes, log_forget, *places, read, log_sum = saved
  query_places, key_places = places
  dtype = log_sum.dtype
  scale = query.shape[-1] ** -0.5
  rows = functools.partial(_rows, key.shape[2])
  mask = functools.partial(_mask, rule, slopes)
  positions = functools.partial(_positions, rule.block)
  cut = functools.partial(_cut, rule.block)
  paste = functools.partial(_paste, rule.block)
  some, every = _pairs(rule, query_places, key_places)
  sums = log_forget or LogForget(None, None)
  mean = jnp.sum(gradient.astype(dtype) * read.astype(dtype), axis=-1)
  mean = jnp.swapaxes(mean, 1, 2)
  # Rows that read NaN, or whose gradient is not finite, get weights of zero,
  # and no product sees their numbers.
  lost = ~jnp.isfinite(log_sum)
  spoilt = jnp.any(~jnp.isfinite(mean) & ~lost, axis=1)
  seen = _seen(rule, spoilt, query_places, key_places)
  lost |= spoilt[:, None]
  of_rows = (
    jnp.where(lost, jnp.finfo(dtype).max, log_sum),
    finite.zero_where(lost, mean),
  )
  query, key = (jnp.where(jnp.isnan(a), 0, a) for a in (query, key))
  lost = jnp.swapaxes(lost, 1, 2)
  query, gradient = (finite.zero_where(lost, a) for a in (query, gradient))

  def key_block(done, inputs):
    of_query, *of_block = done
    j, (begin, end), every = inputs
    k, v, k_places, k_sums = cut((key, value, key_places, sums.key), j)
    k, v = jnp.swapaxes(k, 1, 2) * scale, jnp.swapaxes(v, 1, 2)

    def query_block(i, carry):
      of_query, of_key, of_value, of_sums = carry
      q, g = map(rows, cut((query, gradient), i))
      log_sum, mean = (
        a.reshape(*q.shape[:2], 1, q.shape[2]) for a in cut(of_rows, i, axis=2)
      )
      q_places, q_sums = cut((query_places, sums.query), i)
      logits = _product('bgsk,bgqk->bgsq', k, q)
      logits = mask(
        logits, q_sums, k_sums, q_places, k_places, every[i], keys_first=True
      )
      # Computed again from the saved log-sum, not stored: T x S numbers.
      weights = jnp.exp(logits - log_sum)
      of_value = of_value + _product('bgsq,bgqv->bgsv', weights, g)
      of_weights = _product('bgsv,bgqv->bgsq', v, g)
      of_logits = weights * (of_weights - mean)
      of_key = of_key + _product('bgsq,bgqk->bgsk', of_logits, q)
      if of_sums is not None:
        split = *of_sums.shape, rule.block
        of_sums = of_sums - jnp.sum(of_logits.reshape(split), axis=-1)
      of_logits = jax.lax.optimization_barrier(jnp.swapaxes(of_logits, 2, 3))
      more = positions(_product('bgqs,bgsk->bgqk', of_logits, k))
      of_query = paste(of_query, cut(of_query, i) + more, i)
      return of_query, of_key, of_value, of_sums

    zeros = [jnp.zeros(a.shape, dtype) for a in (k, v)]
    shared = query.shape[2] // key.shape[2]
    zeros.append(
      None if k_sums is None else jnp.zeros((*k.shape[:3], shared), dtype)
    )
    of_query, of_key, of_value, of_sums = jax.lax.fori_loop(
      begin, end, query_block, (of_query, *zeros)
    )
    new = (of_key * scale).astype(key.dtype), of_value.astype(value.dtype)
    new = tuple(jnp.swapaxes(a, 1, 2) for a in new)
    if of_sums is not None:
      of_sums = jnp.swapaxes(of_sums, 1, 2).reshape(k_sums.shape)
      of_sums = of_sums.astype(k_sums.dtype)
    return (of_query, *paste(tuple(of_block), (*new, of_sums), j)), None

  count = jnp.arange(some.shape[1], dtype=jnp.int32)
  zeros = jax.tree.map(jnp.zeros_like, (key, value, sums.key))
  done = jnp.zeros(query.shape, dtype), *zeros
  (of_query, *of_keys), _ = jax.lax.scan(
    key_block, done, (count, _extent(some.T), every.T)
  )
  of_query = finite.nan_where(spoilt, of_query.astype(query.dtype))
  of_key, of_value, of_sums = (
    a if a is None else finite.nan_where(seen, a) for a in of_keys
  )
  of_slopes = None if slopes is None else jnp.zeros_like(slopes)
  of_forget = log_forget
  if log_forget is not None:
    of_forget = LogForget(jnp.zeros_like(log_forget.query), of_sums)
  return of_query, of_key, of_value, of_slopes, of_forget, None, None


blockwise_attention.defvjp(_save, backward)


def _mask(
  rule,
  slopes,
  logits,
  query_sums,
  key_sums,
  query_places,
  key_places,
  every,
  *,
  keys_first=False,
):
  """Logits [B G R*C S] of a block; the lowest where a key is not seen.

  Or [B G S R*C]. `every` says that all queries see all keys.
  """
  joined, block = logits.shape, rule.block
  shared = joined[-1 if keys_first else -2] // block
  split = (block, shared, block) if keys_first else (shared, block, block)
  logits = logits.reshape(*joined[:2], *split)
  heads = (1, 3) if keys_first else (1, 2)  # the axes of G and R
  if slopes is not None:
    of_query, of_key = _axes(keys_first)
    distance = of_query(query_places.position) - of_key(key_places.position)
    distance = jnp.expand_dims(jnp.abs(distance).astype(logits.dtype), heads)
    others = [axis for axis in range(logits.ndim) if axis not in heads]
    logits -= jnp.expand_dims(slopes.astype(logits.dtype), others) * distance
  if query_sums is not None:
    of_query, of_key = (
      by_group(a.astype(logits.dtype), logits.shape[1])
      for a in (query_sums, key_sums)
    )
    if keys_first:
      logits += of_query[:, :, None] - jnp.swapaxes(of_key, 2, 3)[..., None]
    else:
      logits += of_query[..., None] - of_key[..., None, :]
  # Most blocks below the diagonal are seen whole, and need no comparison of
  # positions.
  visible = jax.lax.cond(
    every,
    lambda: jnp.ones((joined[0], block, block), bool),
    lambda: see(rule, query_places, key_places, keys_first=keys_first),
  )
  lowest = jnp.finfo(logits.dtype).min
  visible = jnp.expand_dims(visible, heads)
  return jnp.where(visible, logits, lowest).reshape(joined)


def by_group(
  sums: Float[Array, 'B T H'], groups: int
) -> Float[Array, 'B G _ T']:
  """Returns the numbers of heads with those that share a key head together."""
  sums = sums.reshape(*sums.shape[:2], groups, sums.shape[2] // groups)
  return jnp.transpose(sums, (0, 2, 3, 1))


def _rows(
  groups: int, block: Shaped[Array, 'B C H *D']
) -> Shaped[Array, 'B G _ *D']:
  """Queries of a block as rows, R * C, of one matrix for each key head."""
  batch_size, positions, heads, *shape = block.shape
  block = block.reshape(batch_size, positions, groups, heads // groups, *shape)
  return jax.lax.collapse(jnp.moveaxis(block, 1, 3), 2, 4)


def _positions(
  positions: int, rows: Shaped[Array, 'B G _ *D']
) -> Shaped[Array, 'B C H *D']:
  """Inverts `_rows`."""
  batch_size, groups, count, *shape = rows.shape
  split = batch_size, groups, count // positions, positions
  rows = rows.reshape(*split, *shape)
  return jax.lax.collapse(jnp.moveaxis(rows, 3, 1), 2, 4)


def _product(formula: str, a, b):
  """Computes an einsum in the precision of b, summed in at least float32."""
  return jnp.einsum(
    formula,
    a.astype(b.dtype),
    b,
    preferred_element_type=jnp.promote_types(b.dtype, jnp.float32),
  )


def _pairs(
  rule, query_places, key_places
) -> tuple[Bool[Array, 'N M'], Bool[Array, 'N M']]:
  """Marks where a query of block n may see a key of block m, in any row.

  And whether every query sees every key, in all rows.
  """
  query, key = (_bounds(rule, places) for places in (query_places, key_places))
  low, high, filled = (
    jax.tree.map(lambda a: a[:, :, None], bound) for bound in query
  )
  first, last, whole = (
    jax.tree.map(lambda a: a[:, None, :], bound) for bound in key
  )
  some = (high.piece >= first.piece) & (low.piece <= last.piece)
  every = (low.piece == last.piece) & (high.piece == first.piece)
  every &= filled & whole
  if rule.causal:
    some &= high.position >= first.position
    every &= low.position >= last.position
  if rule.window is not None:
    some &= low.position - last.position < rule.window
    every &= high.position - first.position < rule.window
    if not rule.causal:
      some &= first.position - high.position < rule.window
      every &= last.position - low.position < rule.window
  return jnp.any(some, axis=0), jnp.all(every, axis=0)


def _bounds(rule, places) -> tuple[Places, Places, Bool[Array, 'B N']]:
  """Finds least and greatest of each block, and if all of it is somewhere."""
  # Constants, of one segment, would be folded when compiling, for a second.
  places = jax.lax.optimization_barrier(places)
  blocks = Places(*(a.reshape(len(a), -1, rule.block) for a in places))
  somewhere = blocks.piece >= 0
  beyond = jnp.iinfo(jnp.int32).max // 2
  return (
    Places(*(jnp.where(somewhere, a, beyond).min(axis=2) for a in blocks)),
    Places(*(jnp.where(somewhere, a, -beyond).max(axis=2) for a in blocks)),
    jnp.all(somewhere, axis=2),
  )


def _seen(
  rule: Rule, marked: Bool[Array, 'B T'], query: Places, key: Places
) -> Bool[Array, 'B S']:
  """Marks the keys that marked queries see, in the time of their blocks."""
  cut = functools.partial(_cut, rule.block)
  blocks = jnp.any(marked.reshape(len(marked), -1, rule.block), axis=(0, 2))
  order = jnp.argsort(~blocks, stable=True)

  def add(i, seen):
    here, places = cut((marked, query), order[i])
    visible = see(rule, places, key)
    return seen | jnp.any(visible & here[..., None], axis=1)

  count = jnp.sum(blocks, dtype=jnp.int32)
  return jax.lax.fori_loop(0, count, add, jnp.zeros(key.piece.shape, bool))


def _extent(
  pairs: Bool[Array, 'N M'],
) -> tuple[Int[Array, 'N'], Int[Array, 'N']]:
  """Finds for every n the first m that is true, and one beyond the last."""
  any_, width = jnp.any(pairs, axis=1), pairs.shape[1]
  first = jnp.argmax(pairs, axis=1).astype(jnp.int32)
  last = width - jnp.argmax(pairs[:, ::-1], axis=1).astype(jnp.int32)
  return jnp.where(any_, first, 0), jnp.where(any_, last, 0)


def _cut(size: int, tree, i, axis: int = 1):
  """Takes block i of every array, along positions."""
  return jax.tree.map(
    lambda a: jax.lax.dynamic_slice_in_dim(a, i * size, size, axis), tree
  )


def _paste(size: int, tree, blocks, i, axis: int = 1):
  """Replaces block i of every array."""
  return jax.tree.map(
    lambda a, new: jax.lax.dynamic_update_slice_in_dim(a, new, i * size, axis),
    tree,
    blocks,
  )
