"""h_t = A_t h_{t-1} + b_t over matrices: sequential, or parallel over time."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.ops import checks, over_time
from seqjax.ops.linear_recurrence import Part, clear, resolved
from seqjax.typing import Array


def matrix_recurrence(
  matrix: Float[Array, 'B T N N'],
  drive: Float[Array, 'B T N K'],
  start: Bool[Array, 'B T'] | None = None,
  carry: Float[Array, 'B N K'] | None = None,
  *,
  algorithm: str = 'auto',
) -> Float[Array, 'B T N K']:
  """Solves h_t = A_t h_{t-1} + b_t for all t and K right-hand sides.

  Args:
    matrix: A_t.
    drive: b_t.
    start: where h_{t-1} counts as zero, whatever it is; None: nowhere.
    carry: h_0; None: zero.
    algorithm: as in `linear_recurrence`. 'associative' multiplies matrices,
      N^3 operations a position where 'scan' takes K N^2 one after the other.

  Returns:
    The states at all positions.
  """
  associative = resolved(algorithm) == 'associative'
  matrix, drive, start, state = checks.arrays(
    'matrix_recurrence',
    matrix=(matrix, 'B T N N', 'real'),
    drive=(drive, 'B T N M', 'real'),
    start=(start, 'B T', 'bool'),
    carry=(carry, 'B N M', 'real'),
  )
  solve = _matrix_associative if associative else _matrix_scan
  matrix = clear(matrix, start)
  if state is None:
    state = jnp.zeros((drive.shape[0], *drive.shape[2:]), drive.dtype)
  if over_time.is_cut() and drive.shape[1]:
    part = _composed(solve, matrix, drive, start)
    state = before_part(state, part)
  return solve(state, matrix, drive, start)


def before_part(state: Float[Array, '*B N K'], part: Part) -> Array:
  """Returns the state before the positions of this device, `part` as one.

  Args:
    state: the one before the first position of the whole.
    part: h -> A h + b, where no start forgets h; A is its `decay`.
  """
  start = None if part.start is None else jnp.ones_like(part.start)
  first = Part(jnp.zeros_like(part.decay), state, start)
  return over_time.prefix(first, part, compose).drive


def compose(earlier: Part, later: Part) -> Part:
  """Returns both as one; what a start forgets is not multiplied by zero."""
  matrix_1, drive_1, start_1 = earlier
  matrix_2, drive_2, start_2 = later
  start = None if start_1 is None else start_1 | start_2
  drive = matrix_2 @ clear(drive_1, start_2) + drive_2
  matrix = matrix_2 @ clear(matrix_1, start_2)
  return Part(clear(matrix, start), drive, start)


def _composed(solve, matrix, drive, start) -> Part:
  """Composes all positions; a state that begins as the identity becomes A.

  Apart from the drive, so that what is linear in that can be transposed.
  """
  batch_size, _, size, width = drive.shape
  zeros = jnp.zeros((batch_size, size, width), drive.dtype)
  identity = jnp.eye(size, dtype=drive.dtype)
  identity = jnp.broadcast_to(identity[None], (batch_size, size, size))
  through = solve(identity, matrix, jnp.zeros_like(matrix), start)[:, -1]
  added = solve(zeros, matrix, drive, start)[:, -1]
  start = None if start is None else jnp.any(start, axis=1)
  return Part(through, added, start)


def _matrix_scan(state, matrix, drive, start):
  def body(state, inputs):
    matrix_t, drive_t, start_t = inputs
    state = matrix_t @ clear(state, start_t) + drive_t
    return state, state

  inputs = matrix, drive, start
  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  _, states = jax.lax.scan(body, state, time_major)
  return jnp.swapaxes(states, 0, 1)


def _matrix_associative(state, matrix, drive, start):
  if drive.shape[1]:
    state = clear(state, None if start is None else start[:, 0])
    drive = drive.at[:, 0].add(matrix[:, 0] @ state)
  parts = Part(matrix, drive, start)
  _, states, _ = jax.lax.associative_scan(compose, parts, axis=1)
  return states
