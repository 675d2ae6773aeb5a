"""Matrix-valued linear recurrences: outer products gathered, or corrected.

Keys write values into a state S [K V], queries read it. Over a chunk of L
positions both recurrences are matrix products, so T positions take T / L
sequential steps. A decay between two positions is the exponential of a sum
over the positions between them (Dao & Gu, 2024, section 6, "segment sums"),
never a quotient of two long products: nothing overflows, nothing cancels.

What is not finite in a key, value or decay (or in the carry) makes NaN of all
that its head reads from there on in the segment; in a query, of what that query
reads. A matrix product would spread it further, since masked weights of zero
times NaN are NaN: so it is replaced by zero before, and NaN put back after.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from seqjax.ops import algorithms, checks, finite
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments

ALGORITHMS = ('auto', 'plain', 'chunked')


def gated_outer_step(
  carry: Float[Array, 'B H K V'],
  query_t: Float[Array, 'B H K'],
  key_t: Float[Array, 'B H K'],
  value_t: Float[Array, 'B H V'],
  log_decay_t: Float[Array, 'B H *C'],
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B H V']]:
  """S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T, read by y_t = S_t^T q_t."""
  carry, query_t, key_t, value_t, log_decay_t = _checked(
    'gated_outer_step', carry, query_t, key_t, value_t, log_decay=log_decay_t
  )
  query_t, key_t, value_t, log_decay_t = _cast(
    carry.dtype, query_t, key_t, value_t, _per_channel(log_decay_t, key_t)
  )
  carry = finite.nan_where(_flawed(key_t, value_t, log_decay_t), carry)
  decayed = jnp.exp(log_decay_t)[..., None] * carry
  carry = decayed + key_t[..., None] * value_t[..., None, :]
  return carry, jnp.einsum('bhk,bhkv->bhv', query_t, carry)


def gated_outer(
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  log_decay: Float[Array, 'B T H *C'],
  segments: Segments | None = None,
  *,
  chunk: int = 64,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Takes `gated_outer_step` at every position.

  Linear attention with gates (Yang et al., 2024, eq. 3); with one decay a head
  the state-space dual (Dao & Gu, 2024, section 6).

  Args:
    carry: S_0; its dtype is the precision of states, sums and outputs.
    query: q_t.
    key: k_t.
    value: v_t.
    log_decay: at most 0; one a head [B T H], or one a key channel [B T H K].
    segments: padding holds the state, a start clears it.
    chunk: how many positions 'chunked' takes at once; an eighth as many where
      every channel has a decay, for then they take a tensor [L L K] a head.
    algorithm: 'plain' takes T sequential steps, 'chunked' T / chunk, both
      differentiable in every mode; 'auto' chooses 'chunked'.

  Returns:
    The last state, and y at all positions (zero at padding).
  """
  check_algorithm(algorithm)
  checks.size('gated_outer', 'chunk', chunk)
  carry, query, key, value, log_decay = _checked(
    'gated_outer', carry, query, key, value, log_decay=log_decay
  )
  segments = checks.segments('gated_outer', segments, *query.shape[:2])
  operands = _cast(carry.dtype, query, key, value, _per_channel(log_decay, key))
  operands = [zero_padding(operand, segments) for operand in operands]
  if algorithm == 'plain':
    return _scan(gated_outer_step, carry, operands, segments)
  length = chunk if log_decay.ndim == 3 else max(chunk // 8, 1)
  num_positions = query.shape[1]
  carry, operands, reach = _without_flaws(carry, operands, segments)
  query, key, value, log_decay, piece = _cut(operands, segments, length)
  decays = _decays(log_decay, piece)
  update = jnp.einsum('...sk,...sv->...kv', key * decays.until, value)

  def body(state, inputs):
    through, update = inputs
    return through[..., None] * state + update, state

  last, states = jax.lax.scan(
    body, jax.lax.collapse(carry, 0, 2), (decays.through, update)
  )
  y = _scores(query, key, decays.between) @ value
  y = y + (query * decays.since) @ states
  y = _join(y, *carry.shape[:2], num_positions)
  return finite.put_back(reach, last.reshape(carry.shape), y, segments)


def delta_rule_step(
  carry: Float[Array, 'B H K V'],
  query_t: Float[Array, 'B H K'],
  key_t: Float[Array, 'B H K'],
  value_t: Float[Array, 'B H V'],
  beta_t: Float[Array, 'B H'],
  log_decay_t: Float[Array, 'B H'],
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B H V']]:
  """S_t = exp(log_decay_t) S_{t-1} + beta_t k_t (v_t - what that holds)^T.

  Which is exp(log_decay_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T:
  what the decayed state returns for k_t moves towards v_t by a share beta_t
  (of |k_t|^2). Read by y_t = S_t^T q_t.
  """
  carry, query_t, key_t, value_t, beta_t, log_decay_t = _checked(
    'delta_rule_step',
    carry,
    query_t,
    key_t,
    value_t,
    beta=beta_t,
    log_decay=log_decay_t,
  )
  query_t, key_t, value_t, beta_t, log_decay_t = _cast(
    carry.dtype, query_t, key_t, value_t, beta_t, log_decay_t
  )
  flawed = _flawed(key_t, value_t, beta_t[..., None], log_decay_t[..., None])
  carry = finite.nan_where(flawed, carry)
  decayed = jnp.exp(log_decay_t)[..., None, None] * carry
  held = jnp.einsum('bhk,bhkv->bhv', key_t, decayed)
  correction = beta_t[..., None] * (value_t - held)
  carry = decayed + key_t[..., None] * correction[..., None, :]
  return carry, jnp.einsum('bhk,bhkv->bhv', query_t, carry)


def delta_rule(
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  beta: Float[Array, 'B T H'],
  log_decay: Float[Array, 'B T H'],
  segments: Segments | None = None,
  *,
  chunk: int = 64,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Takes `delta_rule_step` at every position.

  The gated delta rule (Yang et al., 2025, eq. 10); without decay the delta
  rule (Yang et al., 2024, section 2.2). The corrections u_t of a chunk solve
  one triangular system, u_t + beta_t sum_{s<t} decay_{ts} (k_t . k_s) u_s =
  beta_t (v_t - what the decayed state before the chunk holds for k_t), the UT
  transform of Yang et al. (2024, section 3.2); given them, the state gathers
  outer products k_t u_t^T as in `gated_outer`.

  Args:
    carry: S_0; its dtype is the precision of states, sums and outputs.
    query: q_t.
    key: k_t, for a stable recurrence of norm at most 1.
    value: v_t.
    beta: the share corrected, in [0, 1], or to 2 for negative eigenvalues
      (Grazzi et al., 2025).
    log_decay: at most 0, one a head.
    segments: padding holds the state, a start clears it.
    chunk: how many positions 'chunked' takes at once.
    algorithm: 'plain' takes T sequential steps, 'chunked' T / chunk, both
      differentiable in every mode; 'auto' chooses 'chunked'.

  Returns:
    The last state, and y at all positions (zero at padding).
  """
  check_algorithm(algorithm)
  checks.size('delta_rule', 'chunk', chunk)
  carry, query, key, value, beta, log_decay = _checked(
    'delta_rule', carry, query, key, value, beta=beta, log_decay=log_decay
  )
  segments = checks.segments('delta_rule', segments, *query.shape[:2])
  operands = _cast(carry.dtype, query, key, value, beta, log_decay)
  operands = [zero_padding(operand, segments) for operand in operands]
  if algorithm == 'plain':
    return _scan(delta_rule_step, carry, operands, segments)
  num_positions = query.shape[1]
  *operands, beta, log_decay = operands
  operands += [beta[..., None], log_decay[..., None]]
  carry, operands, reach = _without_flaws(carry, operands, segments)
  query, key, value, beta, log_decay, piece = _cut(operands, segments, chunk)
  decays = _decays(log_decay, piece)
  solved = _unit_lower_inverse(beta * _scores(key, key, decays.between)) @ (
    beta * jnp.concatenate([value, key * decays.since], axis=-1)
  )
  target, reader = jnp.split(solved, [value.shape[-1]], axis=-1)
  writer = jnp.swapaxes(key * decays.until, -1, -2)

  def body(state, inputs):
    through, target, reader, writer = inputs
    correction = target - reader @ state
    new = through[..., None] * state + writer @ correction
    return new, (state, correction)

  last, (states, corrections) = jax.lax.scan(
    body,
    jax.lax.collapse(carry, 0, 2),
    (decays.through, target, reader, writer),
  )
  y = _scores(query, key, decays.between) @ corrections
  y = y + (query * decays.since) @ states
  y = _join(y, *carry.shape[:2], num_positions)
  return finite.put_back(reach, last.reshape(carry.shape), y, segments)


def check_algorithm(algorithm: str):
  """Raises ValueError unless `algorithm` is one of ALGORITHMS."""
  algorithms.check_algorithm(algorithm, ALGORITHMS)


def _checked(op, carry, query, key, value, *, log_decay, beta=None):
  """Returns the arrays, if they fit each other; of a step where it is one."""
  time = 'B' if op.endswith('_step') else 'B T'
  shape = getattr(log_decay, 'shape', ())
  channels = beta is None and len(shape) == len(time.split()) + 2
  single = channels and shape[-1] == 1
  decay = f'{time} H{" 1" if single else " K" if channels else ""}'
  arguments = {
    'carry': (carry, 'B H K V', 'real'),
    'query': (query, f'{time} H K', 'real'),
    'key': (key, f'{time} H K', 'real'),
    'value': (value, f'{time} H V', 'real'),
    'beta': (beta, f'{time} H', 'real'),
    'log_decay': (log_decay, decay, 'real'),
  }
  if beta is None:
    del arguments['beta']
  return checks.arrays(op, **arguments)


class _Decays(NamedTuple):
  """Products of decays inside every chunk; zero from one piece to another.

  C is K where every key channel has a decay of its own, else 1.
  """

  between: Float[Array, 'N M L L C']  # of s+1..t
  since: Float[Array, 'N M L C']  # from the state before the chunk to t
  until: Float[Array, 'N M L C']  # from s to the end of the chunk
  through: Float[Array, 'N M C']  # of the whole chunk


def _decays(
  log_decay: Float[Array, 'N M L C'], piece: Int[Array, 'N M L']
) -> _Decays:
  # Constants would be folded when compiling, for seconds.
  log_decay, piece = jax.lax.optimization_barrier((log_decay, piece))
  log_decay = _bounded(log_decay)
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
  return _Decays(
    between, since, until=between[..., -1, :, :], through=since[..., -1, :]
  )


def _sums(terms, axes: str):
  """Sums to t over r <= t, by a product, which XLA computes faster."""
  length = terms.shape[-2]
  upto = jnp.tril(jnp.ones((length, length), terms.dtype))
  return jnp.einsum(f'tr,{axes}', upto, terms, precision='highest')


def _scores(query, key, between):
  """q_t . k_s for all t and s of a chunk, decayed from s to t."""
  if between.shape[-1] == 1:
    return (query @ jnp.swapaxes(key, -1, -2)) * between[..., 0]
  products = query[..., :, None, :] * key[..., None, :, :] * between
  return jnp.sum(products, axis=-1)


@jax.custom_jvp
def _unit_lower_inverse(
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


@_unit_lower_inverse.defjvp
def _unit_lower_inverse_jvp(primals, tangents):
  """d (I + A)^-1 = -(I + A)^-1 dA (I + A)^-1, two products either way."""
  inverse, tangent = _unit_lower_inverse(*primals), jnp.tril(*tangents, k=-1)
  return inverse, -_product(inverse, tangent, inverse)


def _product(left, middle, right):
  right = jnp.matmul(middle, right, precision='highest')
  return jnp.matmul(left, right, precision='highest')


def _bounded(log_decay):
  """Bounds it from below: exp() is zero there, and nothing is infinite."""
  return jnp.maximum(log_decay, -1e4)


def _flawed(*operands):
  """Marks where an operand is not finite; of the last, a decay, -inf is."""
  *others, log_decay = operands
  return finite.flawed(*others, _bounded(log_decay))


def _without_flaws(carry, operands, segments):
  """Replaces what is not finite by zero, and marks what it reaches.

  Operands are the query, others that enter the state, and the log decay.
  """
  query, *others = operands
  flawed, unread = _flawed(*others), finite.flawed(query)
  before = jnp.any(finite.flawed(carry), axis=-1)
  reach = finite.reach(before, flawed, segments)
  others = [finite.zero_where(flawed, operand) for operand in others]
  operands = [finite.zero_where(unread, query), *others]
  reach = reach._replace(outputs=reach.outputs | unread)
  return finite.zero_where(before, carry), operands, reach


def _scan(step, carry, operands, segments):
  """Takes the step at every position; operands of zero hold the state."""
  if segments is None:
    start = jnp.zeros(operands[0].shape[:2], bool)
  else:
    start = segments.start

  def body(state, inputs):
    start_t, *operands_t = inputs
    clear = start_t[:, None, None, None]
    state = jnp.where(clear, jnp.zeros((), state.dtype), state)
    return step(state, *operands_t)

  before = jnp.any(finite.flawed(carry), axis=-1)
  carry = finite.nan_where(before, carry)
  inputs = [jnp.swapaxes(array, 0, 1) for array in (start, *operands)]
  carry, y = jax.lax.scan(body, carry, inputs)
  return carry, zero_padding(jnp.swapaxes(y, 0, 1), segments)


def _cut(operands, segments, length):
  """Operands [B T H C] as chunks [N M L C], and the count of starts [N M L].

  Rows and heads are one axis M: XLA compiles products with several in nearly
  twice the time. The last chunk is filled up with zeros, which hold the state.
  Pieces are counted anew in every chunk: 0 continues the state before it.
  """
  batch_size, num_positions, heads = operands[0].shape[:3]
  length = max(min(length, num_positions), 1)
  num_chunks = -(-num_positions // length)
  missing = num_chunks * length - num_positions

  def cut(array):
    filled = [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2)
    array = jnp.pad(array, filled)
    array = array.reshape(batch_size, num_chunks, length, *array.shape[2:])
    return jnp.moveaxis(array, 1, 0)

  def merge(array):
    return jax.lax.collapse(jnp.swapaxes(cut(array), 2, 3), 1, 3)

  start = jnp.zeros((batch_size, num_positions), bool)
  if segments is not None:
    start = segments.start
  piece = jnp.cumsum(cut(start), axis=-1, dtype=jnp.int32)
  return *map(merge, operands), jnp.repeat(piece, heads, axis=1)


def _join(y, batch_size, heads, num_positions):
  """Chunks [N M L V] as outputs [B T H V], without what filled them up."""
  num_chunks, _, length, size = y.shape
  y = y.reshape(num_chunks, batch_size, heads, length, size)
  y = jnp.moveaxis(jnp.swapaxes(y, 2, 3), 0, 1)
  return jax.lax.collapse(y, 1, 3)[:, :num_positions]


def _per_channel(log_decay, key):
  """Gives one decay per head an axis of key channels, of size 1."""
  return log_decay if log_decay.ndim == key.ndim else log_decay[..., None]


def _cast(dtype, *arrays):
  return [array.astype(dtype) for array in arrays]
