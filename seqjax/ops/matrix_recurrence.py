"""h_t = A_t h_{t-1} + b_t over matrices: sequential, or parallel over time."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.ops import checks, over_time
from seqjax.ops.linear_recurrence import clear, resolved
from seqjax.typing import Array


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
  over_time.check_whole('matrix_recurrence')
  associative = resolved(algorithm) == 'associative'
  matrix, drive, start = checks.arrays(
    'matrix_recurrence',
    matrix=(matrix, 'B T N N', 'real'),
    drive=(drive, 'B T N M', 'real'),
    start=(start, 'B T', 'bool'),
  )
  solve = _matrix_associative if associative else _matrix_scan
  return solve(clear(matrix, start), drive, start)


def _matrix_scan(matrix, drive, start):
  def body(state, inputs):
    matrix_t, drive_t, start_t = inputs
    state = matrix_t @ clear(state, start_t) + drive_t
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
    drive = matrix_2 @ clear(drive_1, start_2) + drive_2
    return clear(matrix_2 @ matrix_1, start), drive, start

  parts = matrix, drive, start
  _, states, _ = jax.lax.associative_scan(compose, parts, axis=1)
  return states
