"""h_t = a_t h_{t-1} + b_t, elementwise: sequential, or parallel over time."""

import jax
import jax.numpy as jnp
from jaxtyping import Inexact

from seqjax.errors import unknown
from seqjax.typing import Array, Segments

ALGORITHMS = ('auto', 'plain', 'scan', 'associative')


def linear_recurrence_step(
  carry: Inexact[Array, 'B *N'],
  decay_t: Inexact[Array, 'B *N'],
  drive_t: Inexact[Array, 'B *N'],
) -> Inexact[Array, 'B *N']:
  """h_t = decay_t * h_{t-1} + drive_t, in the precision of the carry."""
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
  check_algorithm(algorithm)
  decay, drive = decay.astype(carry.dtype), drive.astype(carry.dtype)
  if drive.shape[1] == 0:
    return carry, drive
  if algorithm == 'auto':
    on_cpu = jax.default_backend() == 'cpu'
    algorithm = 'scan' if on_cpu else 'associative'
  if algorithm == 'scan':
    states = _scan(carry, decay, drive, segments)
    return states[:, -1], states
  solve = _plain if algorithm == 'plain' else _associative
  return solve(carry, *gate(decay, drive, segments))


def gate(
  decay: Inexact[Array, '*T N'],
  drive: Inexact[Array, '*T N'],
  segments: Segments | None,
) -> tuple[Inexact[Array, '*T N'], Inexact[Array, '*T N']]:
  """Coefficients under segments: 1 and 0 at padding, then 0 decay at starts.

  Of many positions, with segments [B T], or of one, with [B].
  """
  if segments is None:
    return decay, drive
  start, valid = (_expand(mask, decay) for mask in segments)
  decay = jnp.where(valid, decay, jnp.ones((), decay.dtype))
  decay = jnp.where(start, jnp.zeros((), decay.dtype), decay)
  return decay, jnp.where(valid, drive, jnp.zeros((), drive.dtype))


def check_algorithm(algorithm: str):
  """Raises ValueError unless `algorithm` is one of ALGORITHMS."""
  if algorithm not in ALGORITHMS:
    raise ValueError(unknown('algorithm', algorithm, ALGORITHMS))


def _plain(carry, decay, drive):
  time_major = jnp.swapaxes(decay, 0, 1), jnp.swapaxes(drive, 0, 1)
  carry, states = jax.lax.scan(_body, carry, time_major)
  return carry, jnp.swapaxes(states, 0, 1)


def _body(state, coefficients):
  state = linear_recurrence_step(state, *coefficients)
  return state, state


@jax.custom_vjp
def _scan(carry, decay, drive, segments):
  return _walk(carry, decay, drive, segments)


def _walk(carry, decay, drive, segments):
  """All states; every step reads and writes its position where it lies."""

  def body(t, loop):
    state, states = loop
    decay_t, drive_t, masks = _at((decay, drive, segments), t)
    state = linear_recurrence_step(state, *gate(decay_t, drive_t, masks))
    return state, _put(states, state, t)

  loop = carry, jnp.zeros_like(drive)
  _, states = jax.lax.fori_loop(0, drive.shape[1], body, loop)
  return states


def _scan_forward(carry, decay, drive, segments):
  states = _walk(carry, decay, drive, segments)
  return states, (carry, decay, states, segments)


def _scan_backward(saved, gradient):
  """l_t = g_t + a_{t+1} l_{t+1}: that of b_t; and l_t h_{t-1}: that of a_t."""
  carry, decay, states, segments = saved
  last = decay.shape[1] - 1

  def body(i, loop):
    later, of_drive = loop
    decay_t, now, masks = _at((decay, gradient, segments), last - i)
    now = now + later
    decay_t, of_drive_t = gate(decay_t, now, masks)
    return decay_t * now, _put(of_drive, of_drive_t, last - i)

  # Not written over the gradient: a loop that also reads it would copy it.
  loop = jnp.zeros_like(carry), jnp.zeros_like(gradient)
  of_carry, of_drive = jax.lax.fori_loop(0, last + 1, body, loop)
  earlier = jnp.concatenate([carry[:, None], states[:, :-1]], axis=1)
  if segments is not None:
    start = _expand(segments.start, earlier)
    earlier = jnp.where(start, jnp.zeros((), earlier.dtype), earlier)
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


def _associative(carry, decay, drive):
  drive = drive.at[:, 0].add(decay[:, 0] * carry)

  def compose(earlier, later):
    decay_1, drive_1 = earlier
    decay_2, drive_2 = later
    return decay_1 * decay_2, decay_2 * drive_1 + drive_2

  _, states = jax.lax.associative_scan(compose, (decay, drive), axis=1)
  return states[:, -1], states
