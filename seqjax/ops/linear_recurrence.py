"""h_t = a_t h_{t-1} + b_t: sequential, or parallel over time.

Over numbers, and over matrices. Both compose associatively. At a start the
state is replaced and never multiplied by zero, so that NaN and infinity stay in
their segment.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Inexact, PyTree, Shaped

from seqjax.ops import algorithms, checks
from seqjax.typing import Array, Segments

ALGORITHMS = ('auto', 'plain', 'scan', 'associative')
# The most positions per chunk whose states the backward pass computes again
# together: they should fit into a cache, and training S4D took as long with 4
# as with 32. As many positions are one chunk, which compiles in less time.
_CHUNK = 32


def linear_recurrence_step(
  carry: Inexact[Array, 'B *N'],
  decay_t: Inexact[Array, 'B *N'],
  drive_t: Inexact[Array, 'B *N'],
) -> Inexact[Array, 'B *N']:
  """h_t = decay_t * h_{t-1} + drive_t, in the precision of the carry."""
  carry, decay_t, drive_t = checks.arrays(
    'linear_recurrence_step',
    carry=(carry, 'B *N', 'inexact'),
    decay_t=(decay_t, 'B *N', 'inexact'),
    drive_t=(drive_t, 'B *N', 'inexact'),
  )
  checks.real_into_real(
    'linear_recurrence_step', carry, decay_t=decay_t, drive_t=drive_t
  )
  return decay_t.astype(carry.dtype) * carry + drive_t.astype(carry.dtype)


def linear_recurrence(
  carry: Inexact[Array, 'B *N'],
  decay: Inexact[Array, 'B T *N'],
  drive: Inexact[Array, 'B T *N'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Inexact[Array, 'B *N'], Inexact[Array, 'B T *N']]:
  """Solves h_t = decay_t * h_{t-1} + drive_t for all t, starting from carry.

  Args:
    carry: h_0; its dtype, real or complex, is that of every state.
    decay: a_t.
    drive: b_t.
    segments: padding holds the state (a=1, b=0), a start clears it (a=0).
    algorithm: 'plain' and 'scan' take T sequential steps; the former is
      differentiable in every mode, the latter has the reversed scan for its
      derivative: differentiable once in reverse, and in forward mode from
      there. 'associative' takes O(log T) parallel steps (Blelloch, 1990; Martin
      & Cundy, 2018), in every mode. 'auto' chooses 'scan' on CPU and
      'associative' elsewhere.

  Returns:
    The last state, and the states at all positions (at padding, the held one).
  """
  algorithm, op = resolved(algorithm), 'linear_recurrence'
  drive, decay, carry = checks.arrays(
    op,
    drive=(drive, 'B T *N', 'inexact'),
    decay=(decay, 'B T *N', 'inexact'),
    carry=(carry, 'B *N', 'inexact'),
  )
  checks.real_into_real(op, carry, decay=decay, drive=drive)
  segments = checks.segments(op, segments, *drive.shape[:2])
  decay, drive = decay.astype(carry.dtype), drive.astype(carry.dtype)
  if drive.shape[1] == 0:
    return carry, drive
  if algorithm == 'scan':
    states = _scan(carry, decay, drive, segments)
    return states[:, -1], states
  solve = _plain if algorithm == 'plain' else _associative
  return solve(carry, decay, drive, segments)


def linear_recurrence_outputs(
  carry: Inexact[Array, 'B *N'],
  inputs: PyTree[Shaped[Array, 'B T ...']],
  coefficients: Callable[..., tuple[Array, Array]],
  read: Callable[..., Array],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Inexact[Array, 'B *N'], Shaped[Array, 'B T ...']]:
  """Computes y_t = read(h_t, x_t), with a_t and b_t computed from x_t.

  For states much larger than inputs and outputs. With 'scan', each state is
  computed, read and overwritten while it is in the cache, and none is stored,
  as in the kernel of Gu & Dao (2024, section 3.3.2). The backward pass keeps
  only the states between chunks of positions, and computes the others again.

  Args:
    carry: h_0; its dtype is that of every state.
    inputs: x_t, a tree of arrays.
    coefficients: computes a_t and b_t of `linear_recurrence` from the inputs at
      one position, arrays [B ...], or at many, [B T ...].
    read: computes y_t from states and inputs at one position, or at many.
    segments: as in `linear_recurrence`.
    algorithm: as in `linear_recurrence`; 'scan' has derivatives in every mode.

  Returns:
    The last state, and y.
  """
  batch, length = jax.tree.leaves(inputs)[0].shape[:2]
  segments = checks.segments(
    'linear_recurrence_outputs', segments, batch, length
  )
  if resolved(algorithm) != 'scan' or length == 0:
    carry, states = linear_recurrence(
      carry, *coefficients(inputs), segments, algorithm=algorithm
    )
    return carry, read(states, inputs)

  def advance(state, here):
    x_t, masks = here
    state = _advance(state, *coefficients(x_t), masks)
    return state, read(state, x_t)

  @jax.checkpoint
  def advance_many(state, chunk):
    return jax.lax.scan(advance, state, chunk)

  inputs = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (inputs, segments))
  size = _chunk_size(length)
  whole = length - length % size

  def in_chunks(array):
    return array[:whole].reshape(whole // size, size, *array.shape[1:])

  if length <= size:
    carry, y = advance_many(carry, inputs)
    return carry, jnp.swapaxes(y, 0, 1)
  carry, y = jax.lax.scan(advance_many, carry, jax.tree.map(in_chunks, inputs))
  y = y.reshape(whole, *y.shape[2:])
  if whole < length:
    carry, rest = advance_many(carry, jax.tree.map(lambda a: a[whole:], inputs))
    y = jnp.concatenate([y, rest])
  return carry, jnp.swapaxes(y, 0, 1)


def _chunk_size(length: int) -> int:
  """Returns a size that leaves no rest, whose code would be compiled too."""
  even = (n for n in range(_CHUNK, 3, -1) if length % n == 0)
  return length if length <= _CHUNK else next(even, _CHUNK)


def gate(
  decay: Inexact[Array, '*T N'],
  drive: Inexact[Array, '*T N'],
  segments: Segments | None,
) -> tuple[Inexact[Array, '*T N'], Inexact[Array, '*T N']]:
  """Returns the coefficients with segments applied.

  At padding, decay is 1 and drive is 0; at a start, decay is 0, also where the
  start is padding. For many positions (segments [B T]) or for one ([B]).
  """
  if segments is None:
    return decay, drive
  start, valid = (_expand(mask, decay) for mask in segments)
  fixed = jnp.where(start, 0, 1).astype(decay.dtype)
  decay = jnp.where(valid & ~start, decay, fixed)
  return decay, jnp.where(valid, drive, jnp.zeros((), drive.dtype))


def _clear(
  state: Inexact[Array, 'B *N'], start: Bool[Array, '...'] | None
) -> Inexact[Array, 'B *N']:
  """Replaces states by zero at starts, where a product would keep NaN."""
  if start is None:
    return state
  return jnp.where(_expand(start, state), jnp.zeros((), state.dtype), state)


def _starts(segments: Segments | None) -> Bool[Array, '...'] | None:
  return None if segments is None else segments.start


def check_algorithm(algorithm: str):
  """Raises ValueError unless `algorithm` is one of ALGORITHMS."""
  algorithms.check_algorithm(algorithm, ALGORITHMS)


def resolved(algorithm: str) -> str:
  """Replaces 'auto' by the algorithm for this platform."""
  check_algorithm(algorithm)
  if algorithm != 'auto':
    return algorithm
  return algorithms.by_platform(cpu='scan', accelerator='associative')


def _plain(carry, decay, drive, segments):
  def body(state, inputs):
    decay_t, drive_t, start_t = inputs
    state = linear_recurrence_step(_clear(state, start_t), decay_t, drive_t)
    return state, state

  inputs = *gate(decay, drive, segments), _starts(segments)
  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  carry, states = jax.lax.scan(body, carry, time_major)
  return carry, jnp.swapaxes(states, 0, 1)


def _advance(state, decay_t, drive_t, masks):
  """Takes the step at one position, under its masks."""
  state = _clear(state, _starts(masks))
  return linear_recurrence_step(state, *gate(decay_t, drive_t, masks))


@jax.custom_vjp
def _scan(carry, decay, drive, segments):
  return _states(carry, decay, drive, segments)


def _states(carry, decay, drive, segments):
  """Returns all states; each step reads and writes its position in place."""

  def body(t, loop):
    state, states = loop
    state = _advance(state, *_at((decay, drive, segments), t))
    return state, _put(states, state, t)

  loop = carry, jnp.zeros_like(drive)
  _, states = jax.lax.fori_loop(0, drive.shape[1], body, loop)
  return states


def _scan_forward(carry, decay, drive, segments):
  states = _states(carry, decay, drive, segments)
  return states, (carry, decay, states, segments)


def _scan_backward(saved, gradient):
  """Gradients: l_t = g_t + a_{t+1} l_{t+1} of b_t, l_t h_{t-1} of a_t."""
  carry, decay, states, segments = saved
  last = decay.shape[1] - 1

  def body(i, loop):
    later, of_drive = loop
    decay_t, now, masks = _at((decay, gradient, segments), last - i)
    now = now + later
    decay_t, of_drive_t = gate(decay_t, now, masks)
    earlier = decay_t * _clear(now, _starts(masks))
    return earlier, _put(of_drive, of_drive_t, last - i)

  # Not written over the gradient: a loop that also reads it would copy it.
  loop = jnp.zeros_like(carry), jnp.zeros_like(gradient)
  of_carry, of_drive = jax.lax.fori_loop(0, last + 1, body, loop)
  earlier = jnp.concatenate([carry[:, None], states[:, :-1]], axis=1)
  earlier = _clear(earlier, _starts(segments))
  return of_carry, of_drive * earlier, of_drive, None


_scan.defvjp(_scan_forward, _scan_backward)


def _at(tree, t):
  return jax.tree.map(
    lambda a: jax.lax.dynamic_index_in_dim(a, t, axis=1, keepdims=False), tree
  )


def _expand(mask, like):
  return jax.lax.expand_dims(mask, range(mask.ndim, like.ndim))


def _put(array, value, t):
  return jax.lax.dynamic_update_index_in_dim(array, value, t, axis=1)


def _associative(carry, decay, drive, segments):
  decay, drive = gate(decay, drive, segments)
  start = _starts(segments)
  first = _clear(carry, None if start is None else start[:, 0])
  drive = drive.at[:, 0].add(decay[:, 0] * first)

  def compose(earlier, later):
    decay_1, drive_1, start_1 = earlier
    decay_2, drive_2, start_2 = later
    start = None if start_1 is None else start_1 | start_2
    drive = decay_2 * _clear(drive_1, start_2) + drive_2
    return _clear(decay_1 * decay_2, start), drive, start

  parts = decay, drive, start
  _, states, _ = jax.lax.associative_scan(compose, parts, axis=1)
  return states[:, -1], states


def matrix_recurrence(
  matrix: Float[Array, 'B T N N'],
  drive: Float[Array, 'B T N K'],
  start: Bool[Array, 'B T'] | None = None,
  *,
  algorithm: str = 'auto',
) -> Float[Array, 'B T N K']:
  """Solves h_t = A_t h_{t-1} + b_t for all t and K right-hand sides, h_0 = 0.

  Args:
    matrix: A_t.
    drive: b_t.
    start: where h_{t-1} counts as zero, whatever it is; None: nowhere.
    algorithm: as in `linear_recurrence`. 'associative' multiplies matrices,
      N^3 operations a position where 'scan' takes K N^2 one after the other.

  Returns:
    The states at all positions.
  """
  associative = resolved(algorithm) == 'associative'
  matrix, drive, start = checks.arrays(
    'matrix_recurrence',
    matrix=(matrix, 'B T N N', 'real'),
    drive=(drive, 'B T N M', 'real'),
    start=(start, 'B T', 'bool'),
  )
  solve = _matrix_associative if associative else _matrix_scan
  return solve(_clear(matrix, start), drive, start)


def _matrix_scan(matrix, drive, start):
  def body(state, inputs):
    matrix_t, drive_t, start_t = inputs
    state = matrix_t @ _clear(state, start_t) + drive_t
    return state, state

  inputs = matrix, drive, start
  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  state = jnp.zeros((drive.shape[0], *drive.shape[2:]), drive.dtype)
  _, states = jax.lax.scan(body, state, time_major)
  return jnp.swapaxes(states, 0, 1)


def _matrix_associative(matrix, drive, start):
  def compose(earlier, later):
    matrix_1, drive_1, start_1 = earlier
    matrix_2, drive_2, start_2 = later
    start = None if start_1 is None else start_1 | start_2
    drive = matrix_2 @ _clear(drive_1, start_2) + drive_2
    return _clear(matrix_2 @ matrix_1, start), drive, start

  parts = matrix, drive, start
  _, states, _ = jax.lax.associative_scan(compose, parts, axis=1)
  return states
