"""Chunks of positions of matrix-valued recurrences, as matrix products.

A decay between two positions is the exponential of a sum over the positions
between them (Dao & Gu, 2024, section 6, "segment sums"), never a quotient of
two long products: nothing overflows, nothing cancels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from seqjax.typing import Array


class Decays(NamedTuple):
  """Products of decays inside every chunk; zero from one segment to another.

  C is K where every key channel has a decay of its own, else 1.
  """

  between: Float[Array, 'N M L L C']  # of s+1..t
  since: Float[Array, 'N M L C']  # from the state before the chunk to t
  until: Float[Array, 'N M L C']  # from s to the end of the chunk
  through: Float[Array, 'N M C']  # of the whole chunk


def decays_of(
  log_decay: Float[Array, 'N M L C'], piece: Int[Array, 'N M L']
) -> Decays:
  # Constants would be folded when compiling, for seconds.
  log_decay, piece = jax.lax.optimization_barrier((log_decay, piece))
  log_decay = bounded(log_decay)
  zero = jnp.zeros((), log_decay.dtype)
  place = jnp.arange(log_decay.shape[-2])
  later = jax.lax.expand_dims(place[:, None] > place[None], (0, 1, 4))
  # Sums over s < r <= t, of terms of one sign: axes r and s, then t and s.
  terms = jnp.where(later, log_decay[..., None, :], zero)
  between = jnp.exp(_sums(terms, '...rsc->...tsc'))
  seen = jnp.tril(piece[..., None] == piece[..., None, :])
  between = jnp.where(seen[..., None], between, zero)

  since = jnp.exp(_sums(log_decay, '...rc->...tc'))
  since = jnp.where((piece == 0)[..., None], since, zero)
  return Decays(
    between, since, until=between[..., -1, :, :], through=since[..., -1, :]
  )


def _sums(terms, axes: str):
  """Sums to t over r <= t, by a product, which XLA computes faster."""
  length = terms.shape[-2]
  upto = jnp.tril(jnp.ones((length, length), terms.dtype))
  return jnp.einsum(f'tr,{axes}', upto, terms, precision='highest')


def scores(query, key, between):
  """q_t . k_s for all t and s of a chunk, decayed from s to t."""
  if between.shape[-1] == 1:
    return (query @ jnp.swapaxes(key, -1, -2)) * between[..., 0]
  products = query[..., :, None, :] * key[..., None, :, :] * between
  return jnp.sum(products, axis=-1)


def gated_chunks(
  state: Float[Array, 'M K V'],
  query: Float[Array, 'N M L K'],
  key: Float[Array, 'N M L K'],
  value: Float[Array, 'N M L V'],
  *,
  decays: Decays,
) -> tuple[Float[Array, 'M K V'], Float[Array, 'N M L V']]:
  """Returns the last state and the outputs of `gated_outer`, chunk by chunk.

  Of N chunks of L positions, for M heads of all rows: what a chunk writes is
  added to the decayed state before it, and read by the queries after it.
  """
  update = jnp.einsum('...sk,...sv->...kv', key * decays.until, value)

  def body(state, inputs):
    through, update = inputs
    return through[..., None] * state + update, state

  last, states = walk(body, state, (decays.through, update))
  y = scores(query, key, decays.between) @ value
  return last, y + (query * decays.since) @ states


def delta_chunks(
  state: Float[Array, 'M K V'],
  query: Float[Array, 'N M L K'],
  key: Float[Array, 'N M L K'],
  value: Float[Array, 'N M L V'],
  beta: Float[Array, 'N M L _'],
  removal: Float[Array, 'N M L K'] | None = None,
  *,
  decays: Decays,
  piece: Int[Array, 'N M L'],
) -> tuple[Float[Array, 'M K V'], Float[Array, 'N M L V']]:
  """Returns the last state and the outputs of the delta rule, chunk by chunk.

  Position t writes w_t u_t^T, w_t = beta_t k_t, where u_t = v_t minus what the
  decayed state holds for k_t. The u of a chunk solve one triangular system, u_t
  + sum_{s<t} (k_t . w_s) decay_{ts} u_s = v_t - what the state before the chunk
  holds for k_t, the UT transform of Yang et al. (2024, section 3.2); given
  them, the state gathers outer products as in `gated_outer`. With removal keys
  w_t = beta_t r_t, r_t reads the state before the decay of t, and k_t v_t^T is
  gathered beside: what it holds for r_t is part of the right-hand side.
  """
  if removal is None:
    writer, target = beta * key, value
    read = scores(key, writer, decays.between)
    since = key * decays.since
  else:
    writer = beta * removal
    read = _scores_before(removal, writer, decays.between, piece)
    target = -_scores_before(removal, key, decays.between, piece) @ value
    since = removal * _since_before(decays.since, piece)
  solved = unit_lower_inverse(read) @ jnp.concatenate([target, since], axis=-1)
  target, reader = jnp.split(solved, [value.shape[-1]], axis=-1)
  written = jnp.swapaxes(writer * decays.until, -1, -2)
  added = None
  if removal is not None:
    added = jnp.swapaxes(key * decays.until, -1, -2) @ value

  def body(state, inputs):
    through, target, reader, written, added = inputs
    correction = target - reader @ state
    new = through[..., None] * state + written @ correction
    return new if added is None else new + added, (state, correction)

  last, (states, corrections) = walk(
    body, state, (decays.through, target, reader, written, added)
  )
  y = scores(query, writer, decays.between) @ corrections
  y = y + (query * decays.since) @ states
  if removal is not None:
    y = y + scores(query, key, decays.between) @ value
  return last, y


def _scores_before(query, key, between, piece):
  """q_t . k_s for all s < t, decayed from s to t - 1: of the state before t.

  Queries one position earlier have the decays that are needed, so that none are
  divided.
  """
  earlier = scores(jnp.roll(query, -1, axis=-2), key, between)
  seen = jnp.tril(piece[..., None] == piece[..., None, :], k=-1)
  zero = jnp.zeros((), earlier.dtype)
  return jnp.where(seen, jnp.roll(earlier, 1, axis=-2), zero)


def _since_before(since, piece):
  """Decays from the state before the chunk to t - 1; zero after a start."""
  one = jnp.ones_like(since[..., :1, :])
  since = jnp.concatenate([one, since[..., :-1, :]], axis=-2)
  zero = jnp.zeros((), since.dtype)
  return jnp.where((piece == 0)[..., None], since, zero)


@jax.custom_jvp
def unit_lower_inverse(
  below: Float[Array, '*N L L'],
) -> Float[Array, '*N L L']:
  """Inverts I + A, where A is the part below the diagonal.

  Two inverted blocks of a diagonal make one of twice the size, [[P, 0], [C,
  Q]]^-1 = [[P', 0], [-Q' C P', Q']], so that log2 L such steps suffice; as
  stable as substitution, which a series of powers of A is not.
  """
  length = below.shape[-1]
  row, column = np.indices((length, length))
  levels = np.arange((length - 1).bit_length())[:, None, None]
  corners = (row > column) & ((row ^ column) >> levels == 1)

  def merge(inverse, corner):
    corner = jax.lax.expand_dims(corner, range(below.ndim - 2))
    corner = jnp.where(corner, below, jnp.zeros((), below.dtype))
    return inverse - _product(inverse, corner, inverse), None

  identity = jnp.broadcast_to(jnp.eye(length, dtype=below.dtype), below.shape)
  inverse, _ = jax.lax.scan(merge, identity, jnp.asarray(corners))
  return inverse


@unit_lower_inverse.defjvp
def _inverse_jvp(primals, tangents):
  """d (I + A)^-1 = -(I + A)^-1 dA (I + A)^-1, two products either way."""
  inverse, tangent = unit_lower_inverse(*primals), jnp.tril(*tangents, k=-1)
  return inverse, -_product(inverse, tangent, inverse)


def _product(left, middle, right):
  right = jnp.matmul(middle, right, precision='highest')
  return jnp.matmul(left, right, precision='highest')


def bounded(log_decay):
  """Bounds it from below: exp() is zero there, and nothing is infinite."""
  return jnp.maximum(log_decay, -1e4)


def cut(operands, segments, length):
  """Operands [B T H C] as chunks [N M L C], and the count of starts [N M L].

  Rows and heads are one axis M: XLA compiles products with several in nearly
  twice the time. The last chunk is filled up with zeros, which hold the state.
  Segments are counted anew in every chunk: 0 continues the state before it.
  """
  batch_size, num_positions, heads = operands[0].shape[:3]
  length = max(min(length, num_positions), 1)
  num_chunks = -(-num_positions // length)
  missing = num_chunks * length - num_positions

  def split(array):
    filled = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
    array = jnp.pad(array, filled)
    array = array.reshape(batch_size, num_chunks, length, *array.shape[2:])
    return jnp.moveaxis(array, 1, 0)

  def merge(array):
    return jax.lax.collapse(jnp.swapaxes(split(array), 2, 3), 1, 3)

  start = jnp.zeros((batch_size, num_positions), bool)
  if segments is not None:
    start = segments.start
  piece = jnp.cumsum(split(start), axis=-1, dtype=jnp.int32)
  return *map(merge, operands), jnp.repeat(piece, heads, axis=1)


def join(y, batch_size, heads, num_positions):
  """Chunks [N M L V] as outputs [B T H V], without what filled them up."""
  num_chunks, _, length, size = y.shape
  y = y.reshape(num_chunks, batch_size, heads, length, size)
  y = jnp.moveaxis(jnp.swapaxes(y, 2, 3), 0, 1)
  return jax.lax.collapse(y, 1, 3)[:, :num_positions]


def walk(body, state, chunks):
  """Scans over chunks, of which one alone is no loop to compile."""
  if jax.tree.leaves(chunks)[0].shape[0] != 1:
    return jax.lax.scan(body, state, chunks)
  state, made = body(state, jax.tree.map(lambda array: array[0], chunks))
  return state, jax.tree.map(lambda array: array[None], made)


def in_parts(part, carry, operands, segments, longest):
  """Calls `part(carry, operands, segments)` for parts of the positions in turn.

  Parts are equally long; the last is filled up with zeros, which hold the
  state. Derivatives keep the states between parts, and compute all else again.

  Args:
    part: returns the carry after a part, and its outputs [B L H V].
    carry: the one before the first part.
    operands: arrays [B T H C].
    segments: segments of the rows, or None.
    longest: the most positions of a part.

  Returns:
    The carry after the last part, and the outputs of all positions.
  """
  num_positions = operands[0].shape[1]
  num_parts = max(-(-num_positions // max(longest, 1)), 1)
  if num_parts == 1:
    return part(carry, operands, segments)
  length = -(-num_positions // num_parts)
  missing = num_parts * length - num_positions

  def split(array):
    filled = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
    array = jnp.pad(array, filled)
    shape = array.shape[0], num_parts, length, *array.shape[2:]
    return jnp.swapaxes(array.reshape(shape), 0, 1)

  def body(carry, here):
    return part(carry, *here)

  body = jax.checkpoint(body, prevent_cse=False)  # a loop merges nothing
  last, y = jax.lax.scan(body, carry, jax.tree.map(split, (operands, segments)))
  y = jax.lax.collapse(jnp.swapaxes(y, 0, 1), 1, 3)
  return last, y[:, :num_positions]
