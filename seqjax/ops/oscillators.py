"""Forced harmonic oscillators without friction, y'' = -A y + u, in steps.

Rusch & Rus (2025, section 2.2): with the velocity z = y', and everything in z_t
= z_{t-1} + dt (-A y + u_t) and y_t = y_{t-1} + dt z_t taken at t, which loses
energy ('im'); or with y taken before the step, which keeps it as long as dt^2 A
is below 4 ('imex'). Each is a recurrence over matrices [2 2].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Inexact

from seqjax.errors import unknown
from seqjax.ops import checks, over_time
from seqjax.ops.linear_recurrence import check_algorithm
from seqjax.ops.matrix_recurrence import matrix_recurrence
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments

DISCRETIZATIONS = ('im', 'imex')


def oscillators_step(
  carry: Inexact[Array, 'B 2 N'],
  force_t: Inexact[Array, 'B N'],
  stiffness: Float[Array, 'N'],
  step_size: Float[Array, 'N'],
  *,
  discretization: str = 'im',
) -> tuple[Inexact[Array, 'B 2 N'], Inexact[Array, 'B N']]:
  """Computes one position of `oscillators`."""
  carry, force_t, *system = _checked(
    'oscillators_step', 'B', carry, force_t, stiffness, step_size
  )
  matrix, gain = _system(*system, discretization)
  carry = jnp.einsum('nij,bjn->bin', matrix.astype(carry.dtype), carry)
  gain = jnp.broadcast_to(gain[..., 0].T, carry.shape)
  carry = carry + gain * force_t.astype(carry.dtype)[:, None]
  return carry, carry[:, 1]


def oscillators(
  carry: Inexact[Array, 'B 2 N'],
  force: Inexact[Array, 'B T N'],
  stiffness: Float[Array, 'N'],
  step_size: Float[Array, 'N'],
  segments: Segments | None = None,
  *,
  discretization: str = 'im',
  algorithm: str = 'auto',
) -> tuple[Inexact[Array, 'B 2 N'], Inexact[Array, 'B T N']]:
  """Moves N oscillators, each with a force of its own at every position.

  Args:
    carry: velocities and positions before; their dtype is that of the others.
    force: u_t.
    stiffness: A, at least 0.
    step_size: dt.
    segments: padding holds the state, a start clears it.
    discretization: 'im' or 'imex'.
    algorithm: as in `matrix_recurrence`.

  Returns:
    The last velocities and positions, and the positions after every force (at
    padding, zero).
  """
  check_algorithm(algorithm)
  op = 'oscillators'
  carry, force, *system = _checked(
    op, 'B T', carry, force, stiffness, step_size
  )
  batch_size, length, size = force.shape
  segments = checks.segments(op, segments, batch_size, length)
  matrix, gain = _system(*system, discretization)
  if length == 0:
    return carry, force.astype(carry.dtype)
  force = zero_padding(force.astype(carry.dtype), segments)
  drive = gain[None, None] * _real(force)[..., None, :]  # [B T N 2 parts]
  matrix = jnp.broadcast_to(matrix, (batch_size, length, *matrix.shape))
  start = None
  if segments is not None:
    start = jnp.repeat(segments.start, size, axis=0)
    valid = jax.lax.expand_dims(segments.valid, (2, 3, 4))
    identity = jnp.broadcast_to(jnp.eye(2, dtype=matrix.dtype), matrix.shape)
    matrix = jnp.where(valid, matrix, identity)

  def by_row(array):
    """Rows and oscillators as one axis."""
    return jax.lax.collapse(jnp.swapaxes(array, 1, 2), 0, 2)

  first = jax.lax.collapse(_real(jnp.swapaxes(carry, 1, 2)), 0, 2)
  states = matrix_recurrence(
    by_row(matrix), by_row(drive), start, first, algorithm=algorithm
  )
  states = states.reshape(batch_size, size, length, 2, 2)
  if jnp.isrealobj(carry):
    states = states[..., 0]
  else:
    states = jax.lax.complex(states[..., 0], states[..., 1])
  last = over_time.from_last(jnp.swapaxes(states[:, :, -1], 1, 2))
  return last, zero_padding(jnp.swapaxes(states[..., 1], 1, 2), segments)


def _system(stiffness, step_size, discretization):
  """Returns what moves (z, y), [N 2 2], and how a force does, [N 2 1]."""
  if discretization not in DISCRETIZATIONS:
    raise ValueError(unknown('discretization', discretization, DISCRETIZATIONS))
  one, pull = jnp.ones_like(step_size), step_size * stiffness
  if discretization == 'im':
    share = 1 / (1 + step_size * pull)
    rows = [[share, -pull * share], [step_size * share, share]]
    gain = [step_size * share, jnp.square(step_size) * share]
  else:
    rows = [[one, -pull], [step_size, 1 - step_size * pull]]
    gain = [step_size, jnp.square(step_size)]
  rows = [jnp.stack(row, axis=-1) for row in rows]
  return jnp.stack(rows, axis=-2), jnp.stack(gain, axis=-1)[..., None]


def _real(array):
  """Real and imaginary parts along a last axis."""
  return jnp.stack([array.real, array.imag], axis=-1)


def _checked(op, leading, carry, force, stiffness, step_size):
  """Returns the arrays, if they fit; the system in the carry's precision."""
  carry, force, stiffness, step_size = checks.arrays(
    op,
    carry=(carry, 'B 2 N', 'inexact'),
    force=(force, f'{leading} N', 'inexact'),
    stiffness=(stiffness, 'N', 'real'),
    step_size=(step_size, 'N', 'real'),
  )
  checks.real_into_real(op, carry, force=force)
  system = (array.astype(carry.real.dtype) for array in (stiffness, step_size))
  return carry, force, *system
