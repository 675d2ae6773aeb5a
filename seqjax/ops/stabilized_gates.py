"""Exponential gates of states that are kept divided by a running maximum.

The exponents obey a linear recurrence in which the sum is a maximum and the
product a sum, so that they compose associatively too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import checks, over_time
from seqjax.ops.linear_recurrence import resolved
from seqjax.typing import Array, Segments


class StabilizedGates(NamedTuple):
  """m_t, and log f_t + m_{t-1} - m_t and log i_t - m_t, neither above 0.

  They are the gates of a state that is kept divided by exp(m_t).
  """

  maximum: Float[Array, 'B *T H']
  log_forget: Float[Array, 'B *T H']
  log_input: Float[Array, 'B *T H']


def stabilized_gates_step(
  maximum: Float[Array, 'B H'],
  log_forget_t: Float[Array, 'B H'],
  log_input_t: Float[Array, 'B H'],
) -> StabilizedGates:
  """m_t = max(log f_t + m_{t-1}, log i_t) (Beck et al., 2024, eqs. 15-17)."""
  maximum, log_forget_t, log_input_t = checks.arrays(
    'stabilized_gates_step',
    maximum=(maximum, 'B H', 'real'),
    log_forget_t=(log_forget_t, 'B H', 'real'),
    log_input_t=(log_input_t, 'B H', 'real'),
  )
  kept = log_forget_t.astype(maximum.dtype) + maximum
  enter = log_input_t.astype(maximum.dtype)
  new = jnp.maximum(kept, enter)
  return StabilizedGates(new, kept - new, enter - new)


def stabilized_gates(
  maximum: Float[Array, 'B H'],
  log_forget: Float[Array, 'B T H'],
  log_input: Float[Array, 'B T H'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H'], StabilizedGates]:
  """Takes `stabilized_gates_step` at every position.

  Args:
    maximum: m_0; its dtype is the precision of everything returned.
    log_forget: log f_t.
    log_input: log i_t.
    segments: padding holds m and has gates of 0, a start sets m to 0.
    algorithm: as in `linear_recurrence`, for sums and maxima compose like
      products and sums.

  Returns:
    The last m, and m and the gates at all positions.
  """
  associative, op = resolved(algorithm) == 'associative', 'stabilized_gates'
  maximum, log_forget, log_input = checks.arrays(
    op,
    maximum=(maximum, 'B H', 'real'),
    log_forget=(log_forget, 'B T H', 'real'),
    log_input=(log_input, 'B T H', 'real'),
  )
  segments = checks.segments(op, segments, *log_input.shape[:2])
  if segments is None:
    valid = jnp.ones(log_input.shape[:2], bool)
    segments = Segments(jnp.zeros_like(valid), valid)
  start, valid = segments.start[..., None], segments.valid[..., None]
  zero = jnp.zeros((), maximum.dtype)
  forget = jnp.where(valid, log_forget.astype(maximum.dtype), zero)
  enter = jnp.where(valid, log_input.astype(maximum.dtype), -jnp.inf)

  # What a start keeps, log f_t + 0, enters; nothing before it does.
  enters = jnp.where(start, jnp.maximum(forget, enter), enter)
  run = _maxima_associative if associative else _maxima_scan
  if over_time.is_cut() and forget.shape[1]:
    lowest = jnp.full_like(maximum, -jnp.inf)
    part = run(lowest, forget, enters, start)[:, -1]
    part = jnp.sum(forget, axis=1), part, jnp.any(start, axis=1)
    maximum = _maximum_before(maximum, part)
  maxima = run(maximum, forget, enters, start)

  held = jnp.concatenate([maximum[:, None], maxima], axis=1)
  kept = forget + jnp.where(start, zero, held[:, :-1])
  gates = StabilizedGates(
    maxima,
    jnp.where(valid, kept - maxima, zero),
    jnp.where(valid, enter - maxima, zero),
  )
  return over_time.from_last(held[:, -1]), gates


def _maxima_scan(maximum, keeps, enters, start):
  def body(maximum, inputs):
    maximum = _later_maximum(maximum, *inputs)
    return maximum, maximum

  inputs = keeps, enters, start
  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  _, maxima = jax.lax.scan(body, maximum, time_major)
  return jnp.swapaxes(maxima, 0, 1)


def _later_maximum(maximum, keep, enter, start):
  """max(keep + maximum, enter), and what enters alone at a start."""
  return jnp.where(start, enter, jnp.maximum(keep + maximum, enter))


def _maximum_before(maximum, part):
  """Returns m before the positions of this device, `part` as one."""
  first = jnp.zeros_like(maximum), maximum, jnp.ones_like(part[-1])
  _, before, _ = over_time.prefix(first, part, _compose)
  return before


def _compose(earlier, later):
  keep_1, enter_1, start_1 = earlier
  keep_2, enter_2, start_2 = later
  enter = _later_maximum(enter_1, keep_2, enter_2, start_2)
  return keep_1 + keep_2, enter, start_1 | start_2


def _maxima_associative(maximum, keeps, enters, start):
  if enters.shape[1] == 0:
    return enters
  first = _later_maximum(maximum, keeps[:, 0], enters[:, 0], start[:, 0])
  enters = enters.at[:, 0].set(first)

  parts = keeps, enters, start
  _, maxima, _ = jax.lax.associative_scan(_compose, parts, axis=1)
  return maxima
