"""Matrix-valued linear recurrences: outer products gathered, or corrected.

Keys write values into a state S [K V], queries read it. Over a chunk of L
positions both recurrences are matrix products (`chunks`), so T positions take
T / L sequential steps.

What is not finite in a key, value or decay (or in the carry) makes NaN of all
that its head reads from there on in the segment; in a query, of what that query
reads. A matrix product would spread it further, since masked weights of zero
times NaN are NaN: so it is replaced by zero before, and NaN put back after.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import (
  algorithms,
  checks,
  chunks,
  finite,
  jla_kernels,
  over_time,
)
from seqjax.ops.matrix_parts import delta_rule_over_time, gated_outer_before
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments

ALGORITHMS = ('auto', 'plain', 'chunked')
# A CPU computes this many positions at once, which its cache can hold, where
# there are more than are computed as a whole: that compiles in less time.
_PART, _WHOLE = 32, 256


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
    log_decay: at most 0; one per head [B T H], or per key channel [B T H K].
    segments: padding holds the state, a start clears it.
    chunk: how many positions 'chunked' takes at once, of long rows at most 32
      on a CPU; an eighth as many where every channel has a decay, for then they
      take a tensor [L L K] a head.
    algorithm: 'plain' takes T sequential steps, 'chunked' T / chunk, both
      differentiable in every mode; 'auto' chooses 'chunked'. 'jla' calls the
      kernels of jax-linear-attention, in chunks of their own (extra `hopper`).

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
  if over_time.is_cut():
    carry = gated_outer_before(carry, *operands[1:], segments)
  length = chunk if log_decay.ndim == 3 else max(chunk // 8, 1)
  given = jnp.result_type(query, key, value)
  last, y = _gated_outer(carry, operands, segments, length, algorithm, given)
  return over_time.from_last(last), y


def _gated_outer(carry, operands, segments, length, algorithm, given):
  """Computes `gated_outer` of the positions of one device.

  Operands are of one dtype; queries, keys and values were `given` in another.
  """
  if algorithm == 'plain':
    return _scan(gated_outer_step, carry, operands, segments)
  carry, operands, reach = _without_flaws(carry, operands, segments)

  def in_chunks(carry, operands, segments):
    *operands, log_decay, piece = chunks.cut(operands, segments, length)
    decays = chunks.decays_of(log_decay, piece)
    return chunks.gated_chunks(carry, *operands, decays=decays)

  run = _in_parts(in_chunks, segments)
  if algorithm == 'jla':
    run = functools.partial(jla_kernels.gated_outer, given, segments)
  last, y = finite.shield(run, carry, operands, segments)
  return finite.put_back(reach, last, y, segments)


def delta_rule_step(
  carry: Float[Array, 'B H K V'],
  query_t: Float[Array, 'B H K'],
  key_t: Float[Array, 'B H K'],
  value_t: Float[Array, 'B H V'],
  beta_t: Float[Array, 'B H ...'],
  log_decay_t: Float[Array, 'B H ...'],
  removal_t: Float[Array, 'B H K'] | None = None,
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B H V']]:
  """S_t = D_t S_{t-1} + beta_t k_t (v_t - what that holds)^T.

  D_t is exp(log_decay_t), a number or a diagonal matrix; what the decayed state
  returns for k_t moves towards v_t by a share beta_t (of |k_t|^2). With a
  removal key r_t it is S_t = D_t S_{t-1} - (beta_t r_t) (S_{t-1}^T r_t)^T + k_t
  v_t^T. Read by y_t = S_t^T q_t.
  """
  carry, query_t, key_t, value_t, beta_t, log_decay_t, removal_t = _checked(
    'delta_rule_step',
    carry,
    query_t,
    key_t,
    value_t,
    beta=beta_t,
    log_decay=log_decay_t,
    removal=removal_t,
  )
  removal = [] if removal_t is None else [removal_t]
  query_t, key_t, value_t, beta_t, log_decay_t, *removal = _cast(
    carry.dtype,
    query_t,
    key_t,
    value_t,
    _per_channel(beta_t, key_t),
    _per_channel(log_decay_t, key_t),
    *removal,
  )
  flawed = _flawed(key_t, value_t, beta_t, *removal, log_decay_t)
  carry = finite.nan_where(flawed, carry)
  decayed = jnp.exp(log_decay_t)[..., None] * carry
  if removal:
    held = jnp.einsum('bhk,bhkv->bhv', *removal, carry)
    removed = (beta_t * removal[0])[..., None] * held[..., None, :]
    carry = decayed - removed + key_t[..., None] * value_t[..., None, :]
  else:
    held = jnp.einsum('bhk,bhkv->bhv', key_t, decayed)
    correction = (value_t - held)[..., None, :]
    carry = decayed + (beta_t * key_t)[..., None] * correction
  return carry, jnp.einsum('bhk,bhkv->bhv', query_t, carry)


def delta_rule(
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  beta: Float[Array, 'B T H ...'],
  log_decay: Float[Array, 'B T H ...'],
  segments: Segments | None = None,
  *,
  removal: Float[Array, 'B T H K'] | None = None,
  chunk: int = 64,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Takes `delta_rule_step` at every position.

  The gated delta rule (Yang et al., 2025, eq. 10); without decay the delta
  rule (Yang et al., 2024, section 2.2); with a decay per key channel that of
  Kimi Linear (Kimi Team, 2025, section 3); with removal keys and a rate per
  channel that of RWKV-7 (Peng et al., 2025, section 4.1). How a chunk of it is
  computed is told by `chunks.delta_chunks`.

  Args:
    carry: S_0; its dtype is the precision of states, sums and outputs.
    query: q_t.
    key: k_t, for a stable recurrence of norm at most 1.
    value: v_t.
    beta: the share corrected, in [0, 1], or to 2 for negative eigenvalues
      (Grazzi et al., 2025); one per head [B T H], or per key channel [B T H K].
    log_decay: at most 0; one per head [B T H], or per key channel [B T H K].
    segments: padding holds the state, a start clears it.
    removal: r_t, for a stable recurrence of norm at most 1; then k_t v_t^T is
      added whole, and beta_t r_t times what r_t reads from the state before any
      decay is taken away. None: what k_t reads is replaced.
    chunk: how many positions 'chunked' takes at once, of long rows at most 32
      on a CPU; an eighth as many where every channel has a decay, for then they
      take a tensor [L L K] a head.
    algorithm: 'plain' takes T sequential steps, 'chunked' T / chunk, both
      differentiable in every mode; 'auto' chooses 'chunked'. 'jla' calls the
      kernels of jax-linear-attention, in chunks of their own (extra `hopper`).

  Returns:
    The last state, and y at all positions (zero at padding).
  """
  check_algorithm(algorithm)
  checks.size('delta_rule', 'chunk', chunk)
  carry, query, key, value, beta, log_decay, removal = _checked(
    'delta_rule',
    carry,
    query,
    key,
    value,
    beta=beta,
    log_decay=log_decay,
    removal=removal,
  )
  segments = checks.segments('delta_rule', segments, *query.shape[:2])
  rates = _per_channel(beta, key), _per_channel(log_decay, key)
  removals = [] if removal is None else [removal]
  operands = _cast(carry.dtype, query, key, value, *rates, *removals)
  operands = [zero_padding(operand, segments) for operand in operands]
  length = chunk if log_decay.ndim == 3 else max(chunk // 8, 1)
  given = jnp.result_type(query, key, value)
  query, key, value, *others = operands

  def run(carry, value):
    operands = query, key, value, *others
    return _delta_rule(carry, operands, segments, length, algorithm, given)

  if over_time.is_cut():
    return delta_rule_over_time(run, carry, value, segments)
  return run(carry, value)


def _delta_rule(carry, operands, segments, length, algorithm, given):
  """Computes `delta_rule` of the positions of one device.

  Operands are of one dtype; queries, keys and values were `given` in another.
  """
  if algorithm == 'plain':
    return _scan(delta_rule_step, carry, operands, segments)
  query, key, value, beta, log_decay, *removals = operands
  operands = query, key, value, beta, *removals, log_decay
  carry, operands, reach = _without_flaws(carry, operands, segments)

  def in_chunks(carry, operands, segments):
    *operands, log_decay, piece = chunks.cut(operands, segments, length)
    decays = chunks.decays_of(log_decay, piece)
    return chunks.delta_chunks(carry, *operands, decays=decays, piece=piece)

  run = _in_parts(in_chunks, segments)
  if algorithm == 'jla':
    run = functools.partial(jla_kernels.delta_rule, given, segments)
  last, y = finite.shield(run, carry, operands, segments)
  return finite.put_back(reach, last, y, segments)


def _in_parts(compute, segments):
  """Makes `compute`, of states and outputs in chunks, run part by part."""

  def part(carry, operands, segments):
    last, y = compute(jax.lax.collapse(carry, 0, 2), operands, segments)
    y = chunks.join(y, *carry.shape[:2], operands[0].shape[1])
    return last.reshape(carry.shape), y

  def run(carry, *operands):
    num_positions = operands[0].shape[1]
    longest = num_positions
    if num_positions > _WHOLE:
      longest = algorithms.by_platform(cpu=_PART, accelerator=num_positions)
    return chunks.in_parts(part, carry, operands, segments, longest)

  return run


def check_algorithm(algorithm: str):
  """Raises ValueError unless it is one of ALGORITHMS, or 'jla'."""
  algorithms.check_algorithm(algorithm, (*ALGORITHMS, 'jla'))


def _checked(
  op, carry, query, key, value, *, log_decay, beta=None, removal=None
):
  """Returns the arrays, if they fit each other; of a step where it is one."""
  time = 'B' if op.endswith('_step') else 'B T'
  arguments = {
    'carry': (carry, 'B H K V', 'real'),
    'query': (query, f'{time} H K', 'real'),
    'key': (key, f'{time} H K', 'real'),
    'value': (value, f'{time} H V', 'real'),
    'beta': (beta, _rate_axes(time, beta), 'real'),
    'log_decay': (log_decay, _rate_axes(time, log_decay), 'real'),
    'removal': (removal, f'{time} H K', 'real'),
  }
  if beta is None:
    del arguments['beta'], arguments['removal']
  return checks.arrays(op, **arguments)


def _rate_axes(time, rate):
  """Axes of a rate: one per head, or one per key channel (or for all)."""
  shape = getattr(rate, 'shape', ())
  if len(shape) != len(time.split()) + 2:
    return f'{time} H'
  return f'{time} H {"1" if shape[-1] == 1 else "K"}'


def _flawed(*operands):
  """Marks where an operand is not finite; of the last, a decay, -inf is."""
  *others, log_decay = operands
  return finite.not_finite(*others, chunks.bounded(log_decay))


def _without_flaws(carry, operands, segments):
  """Replaces what is not finite by zero, and marks what it reaches.

  Operands are the query, others that enter the state, and the log decay.
  """
  query, *others = operands
  flaws = finite.Flawed(
    jnp.any(finite.not_finite(carry), axis=-1),
    finite.not_finite(query),
    _flawed(*others),
  )
  carry, query, others, reach = finite.repaired(
    flaws, carry, query, others, segments
  )
  return carry, [query, *others], reach


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


def _per_channel(rate, key):
  """Gives one rate per head an axis of key channels, of size 1."""
  return rate if rate.ndim == key.ndim else rate[..., None]


def _cast(dtype, *arrays):
  return [array.astype(dtype) for array in arrays]
