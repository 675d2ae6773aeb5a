"""h_t = a_t h_{t-1} + b_t: sequential, or parallel over time.

The pairs (a, b) compose associatively. At a start the state is replaced and
never multiplied by zero, so that NaN and infinity stay in their segment, also
where the positions are cut over devices.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Inexact, PyTree, Shaped

from seqjax.ops import algorithms, checks, over_time
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
  algorithm = resolved(algorithm)
  carry, decay, drive, segments = _checked(carry, decay, drive, segments)
  if over_time.is_cut() and drive.shape[1]:
    carry = before_part(carry, _composed(decay, drive, segments))
  carry, states = _solve(algorithm, carry, decay, drive, segments)
  return over_time.from_last(carry), states


def _checked(carry, decay, drive, segments):
  """Returns the arguments in the dtype of the carry, if they fit each other."""
  op = 'linear_recurrence'
  drive, decay, carry = checks.arrays(
    op,
    drive=(drive, 'B T *N', 'inexact'),
    decay=(decay, 'B T *N', 'inexact'),
    carry=(carry, 'B *N', 'inexact'),
  )
  checks.real_into_real(op, carry, decay=decay, drive=drive)
  segments = checks.segments(op, segments, *drive.shape[:2])
  return carry, decay.astype(carry.dtype), drive.astype(carry.dtype), segments


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

  if over_time.is_cut():
    part = _composed_by_scan(carry, inputs, coefficients, segments)
    carry = before_part(carry, part)
  carry, y = outputs_of_part(
    carry, inputs, coefficients, read, segments, algorithm
  )
  return over_time.from_last(carry), y


def outputs_of_part(carry, inputs, coefficients, read, segments, algorithm):
  """Computes `linear_recurrence_outputs` of the positions of one device."""
  algorithm = resolved(algorithm)
  if algorithm != 'scan':
    arguments = _checked(carry, *coefficients(inputs), segments)
    carry, states = _solve(algorithm, *arguments)
    return carry, read(states, inputs)

  def advance(state, here):
    x_t, masks = here
    state = _advance(state, *coefficients(x_t), masks)
    return state, read(state, x_t)

  return _scan_chunks(advance, carry, (inputs, segments))


def _scan_chunks(advance, carry, inputs):
  """Scans positions, and computes those of a chunk again for gradients."""

  @jax.checkpoint
  def advance_many(state, chunk):
    return jax.lax.scan(advance, state, chunk)

  inputs = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  length = len(jax.tree.leaves(inputs)[0])
  size = _chunk_size(length)
  whole = length - length % size

  def in_chunks(array):
    return array[:whole].reshape(whole // size, size, *array.shape[1:])

  def joined(array):
    return array.reshape(whole, *array.shape[2:])

  if length <= size:
    carry, y = advance_many(carry, inputs)
  else:
    chunks = jax.tree.map(in_chunks, inputs)
    carry, y = jax.lax.scan(advance_many, carry, chunks)
    y = jax.tree.map(joined, y)
  if whole < length:
    carry, rest = advance_many(carry, jax.tree.map(lambda a: a[whole:], inputs))
    y = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), y, rest)
  return carry, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), y)


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


def clear(
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


def _solve(algorithm, carry, decay, drive, segments):
  """Returns the last state and all of them, of one device's positions."""
  if drive.shape[1] == 0:
    return carry, drive
  if algorithm == 'scan':
    states = _scan(carry, decay, drive, segments)
    return states[:, -1], states
  solve = _plain if algorithm == 'plain' else _associative
  return solve(carry, decay, drive, segments)


def _plain(carry, decay, drive, segments):
  def body(state, inputs):
    decay_t, drive_t, start_t = inputs
    state = linear_recurrence_step(clear(state, start_t), decay_t, drive_t)
    return state, state

  inputs = *gate(decay, drive, segments), _starts(segments)
  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  carry, states = jax.lax.scan(body, carry, time_major)
  return carry, jnp.swapaxes(states, 0, 1)


def _advance(state, decay_t, drive_t, masks):
  """Takes the step at one position, under its masks."""
  state = clear(state, _starts(masks))
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
    earlier = decay_t * clear(now, _starts(masks))
    return earlier, _put(of_drive, of_drive_t, last - i)

  # Not written over the gradient: a loop that also reads it would copy it.
  loop = jnp.zeros_like(carry), jnp.zeros_like(gradient)
  of_carry, of_drive = jax.lax.fori_loop(0, last + 1, body, loop)
  earlier = jnp.concatenate([carry[:, None], states[:, :-1]], axis=1)
  earlier = clear(earlier, _starts(segments))
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
  first = clear(carry, None if start is None else start[:, 0])
  drive = drive.at[:, 0].add(decay[:, 0] * first)

  parts = Part(decay, drive, start)
  _, states, _ = jax.lax.associative_scan(_compose, parts, axis=1)
  return states[:, -1], states


class Part(NamedTuple):
  """Some positions as one: h -> decay h + drive, where no start forgets h."""

  decay: Inexact[Array, 'B *#N']
  drive: Inexact[Array, 'B *N']
  start: Bool[Array, 'B'] | None


def before_part(
  carry: Inexact[Array, 'B *N'], part: Part
) -> Inexact[Array, 'B *N']:
  """Returns the state before the positions of this device, `part` as one."""
  start = None if part.start is None else jnp.ones_like(part.start)
  first = Part(jnp.ones_like(part.decay), carry, start)
  return over_time.prefix(first, part, _compose).drive


def _compose(earlier: Part, later: Part) -> Part:
  decay_1, drive_1, start_1 = earlier
  decay_2, drive_2, start_2 = later
  start = None if start_1 is None else start_1 | start_2
  drive = decay_2 * clear(drive_1, start_2) + drive_2
  return Part(clear(decay_1 * decay_2, start), drive, start)


def _composed(decay, drive, segments) -> Part:
  """Composes neighbours until one part is left: T compositions in all."""
  parts = Part(*gate(decay, drive, segments), _starts(segments))
  while (length := parts.drive.shape[1]) > 1:
    even = length - length % 2
    earlier, later, rest = (
      jax.tree.map(lambda a: a[:, cut], parts)  # noqa: B023
      for cut in (slice(0, even, 2), slice(1, even, 2), slice(even, None))
    )
    parts = jax.tree.map(
      lambda a, b: jnp.concatenate([a, b], axis=1),
      _compose(earlier, later),
      rest,
    )
  return jax.tree.map(lambda a: a[:, 0], parts)


def _composed_by_scan(carry, inputs, coefficients, segments) -> Part:
  """Composes one position after the other, and holds no others."""

  def advance(part, here):
    x_t, masks = here
    decay, drive = (a.astype(carry.dtype) for a in coefficients(x_t))
    later = Part(*gate(decay, drive, masks), _starts(masks))
    return _compose(part, later), None

  start = None if segments is None else jnp.zeros(len(carry), bool)
  nothing = Part(jnp.ones_like(carry), jnp.zeros_like(carry), start)
  part, _ = _scan_chunks(advance, nothing, (inputs, segments))
  return part
