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
