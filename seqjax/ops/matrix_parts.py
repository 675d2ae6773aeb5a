"""Recurrences of matrices whose positions are cut over devices.

What the positions of one device do to a state S [K V] is a linear map of it and
a matrix that is added, and such pairs compose (`over_time.prefix`). What is not
finite travels in the state as NaN, and stays in its head and its segment.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.ops import chunks, finite, matrix_recurrence, over_time
from seqjax.ops.linear_recurrence import Part, before_part, clear
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments


def gated_outer_before(
  carry: Float[Array, 'B H K V'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  log_decay: Float[Array, 'B T H C'],
  segments: Segments | None,
) -> Float[Array, 'B H K V']:
  """Returns the state of `gated_outer` before this device's positions.

  They multiply the state by their decays, and add sum_s decay_{s..T} k_s v_s^T:
  one matrix product, for which no state between them is needed.
  """
  log_decay = chunks.bounded(log_decay)
  flawed = finite.flawed(key, value, log_decay)
  reach = finite.reach(jnp.zeros_like(flawed[:, 0]), flawed, segments)
  operands = [finite.zero_where(flawed, a) for a in (key, value, log_decay)]
  start = None if segments is None else segments.start

  def write(zeros, nothing, key, value, log_decay):
    written = key * jnp.exp(_sums_after(log_decay, start))
    return zeros + jnp.einsum('bthk,bthv->bhkv', written, value), nothing

  added, _ = finite.shield(
    write, jnp.zeros_like(carry), [key[..., :0], *operands], segments
  )
  added = finite.nan_where(reach.last, added)
  decay = jnp.exp(jnp.sum(operands[-1], axis=1))[..., None]
  # A start replaces the state: a product with zero would keep gradients of NaN.
  decay = clear(decay, _any(start))
  return before_part(carry, Part(decay, added, _any(start)))


def delta_rule_over_time(
  run: Callable[..., tuple[Array, Array]],
  carry: Float[Array, 'B H K V'],
  value: Float[Array, 'B T H V'],
  segments: Segments | None,
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Computes the delta rule of whole rows from that of each device's positions.

  K more columns of values, of zeros in a state that begins as the identity,
  become the product of the positions' transitions, and what queries read of
  them is what they read of any state before.

  Args:
    run: (carry, value) -> last state and outputs, of this device's positions.
    carry: the state before the first position of the whole.
    value: the values of this device.
    segments: segments of this device's positions.

  Returns:
    The last state of the whole, and the outputs of this device.
  """
  size, width = carry.shape[-2:]
  start = None if segments is None else segments.start
  identity = jnp.broadcast_to(
    jnp.eye(size, dtype=carry.dtype), (*carry.shape[:-1], size)
  )
  zeros = jnp.zeros((*value.shape[:-1], size), value.dtype)
  last, y = run(
    jnp.concatenate([jnp.zeros_like(carry), identity], axis=-1),
    jnp.concatenate([value, zeros], axis=-1),
  )
  added, through = jnp.split(last, [width], axis=-1)
  y, reader = jnp.split(y, [width], axis=-1)
  part = Part(through, added, _any(start))
  before = matrix_recurrence.before_part(carry, part)
  last = through @ clear(before, part.start) + added
  y = _add_reading(y, reader, before, start)
  return over_time.from_last(last), zero_padding(y, segments)


def _add_reading(y, reader, before, start):
  """Adds to outputs what they read of the state before, until a start."""
  passed = jnp.ones(y.shape[:2], bool)
  if start is not None:
    passed = jnp.cumsum(start, axis=1, dtype=jnp.int32) == 0
  lost = jnp.any(finite.flawed(before), axis=-1)
  reader = finite.zero_where(finite.flawed(reader) | ~passed[..., None], reader)
  read = jnp.einsum('bthk,bhkv->bthv', reader, finite.zero_where(lost, before))
  y = y + finite.zero_where(~passed, read)
  return finite.nan_where(lost[:, None] & passed[..., None], y)


def _sums_after(
  log_decay: Float[Array, 'B T H C'], start: Bool[Array, 'B T'] | None
) -> Float[Array, 'B T H C']:
  """Sums over the positions after each; -infinity where one is a start.

  Summed from the end, and not as a difference of two sums, which would cancel.
  """

  def after(array):
    sums = jax.lax.cumsum(array, axis=1, reverse=True)[:, 1:]
    return jnp.concatenate([sums, jnp.zeros_like(array[:, :1])], axis=1)

  sums = after(log_decay)
  if start is None:
    return sums
  forgotten = after(start.astype(jnp.int32)) > 0
  return jnp.where(forgotten[..., None, None], -jnp.inf, sums)


def _any(start: Bool[Array, 'B T'] | None) -> Bool[Array, 'B'] | None:
  return None if start is None else jnp.any(start, axis=1)
