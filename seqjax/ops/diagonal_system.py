"""Diagonal linear systems whose coefficients are the same at every position.

The outputs of such a system are a convolution of its inputs (Gu et al., 2022,
"On the Parameterization and Initialization of Diagonal State Space Models",
eq. 3). Here it is computed in chunks of positions: inside a chunk by a product
with a Toeplitz matrix, and from chunk to chunk by the states at their ends.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Inexact

from seqjax.ops import algorithms, checks, finite, over_time
from seqjax.ops import linear_recurrence as recurrence
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments

ALGORITHMS = (*recurrence.ALGORITHMS, 'convolution')
# Positions per chunk. Inside its chunk a position costs as many multiplications
# as the chunk is long; between chunks, twice as many as it has numbers in its
# states. On a CPU, 16, 32 and 64 take .45, .52 and .72 of the time of 'scan' at
# 32 rows of 66 positions, width 736, and .56, .37 and .31 at 16 rows of 1,024
# positions, width 64 (values and gradients, 16 numbers per state).
_CHUNK = 32


def diagonal_system(
  carry: Inexact[Array, 'B D N'],
  x: Float[Array, 'B T D'],
  decay: Inexact[Array, 'D N'],
  gain: Inexact[Array, 'D N'],
  output: Inexact[Array, 'D N'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Inexact[Array, 'B D N'], Float[Array, 'B T D']]:
  """h_t = decay h_{t-1} + gain x_t and y_t = Re(sum_n output_n h_tn).

  Args:
    carry: h_0; its dtype, real or complex, is that of every state, and its
      precision that of y.
    x: the inputs, one number per feature.
    decay: the factor of each state at a step.
    gain: the weight by which an input enters each state.
    output: the weight by which each state is read.
    segments: padding holds the state, a start clears it.
    algorithm: as in `linear_recurrence_outputs`, or 'convolution', for rows
      without segments, which is the one that 'auto' takes for them:
      differentiable in every mode.

  Returns:
    The last state, and y, zero at padding. All that follows an input or a state
    that is not finite is NaN in its row and segment, in all features.

  Raises:
    ValueError: an array does not fit, or a convolution is given segments.
  """
  check_algorithm(algorithm)
  op = 'diagonal_system'
  carry, x, *system = _checked(op, 'B T', carry, decay, gain, output, x=x)
  if algorithm == 'convolution' and segments is not None:
    raise ValueError(
      "algorithm='convolution' computes rows of one segment without padding, "
      "but segments were given; use 'auto', which takes another for them."
    )
  segments = checks.segments(op, segments, *x.shape[:2])
  if over_time.is_cut():
    last, _ = _solve(algorithm, jnp.zeros_like(carry), x, system, segments)
    part = _decay_of_part(system[0], segments, x), last, _start(segments)
    carry = recurrence.before_part(carry, recurrence.Part(*part))
  carry, y = _solve(algorithm, carry, x, system, segments)
  return over_time.from_last(carry), y


def _solve(algorithm, carry, x, system, segments):
  """Solves the system at the positions of one device."""
  carry, x, reach = _finite(carry, x, segments)
  if x.shape[1] == 0:
    y = x
  elif segments is None and algorithm in ('auto', 'convolution'):
    carry, y = _convolution(carry, x, *system)
  else:
    carry, y = recurrence.outputs_of_part(
      carry,
      x,
      functools.partial(_coefficients, *system[:2]),
      functools.partial(_read, system[2]),
      segments,
      algorithm,
    )
  y = finite.nan_where(reach.outputs, y)
  return finite.nan_where(reach.last, carry), zero_padding(y, segments)


def _decay_of_part(decay, segments, x) -> Inexact[Array, 'B D N']:
  """Returns the decay over all valid positions, by squaring it repeatedly."""
  batch_size, length = x.shape[:2]
  count = jnp.full((batch_size,), length, jnp.int32)
  if segments is not None:
    count = jnp.sum(segments.valid, axis=1, dtype=jnp.int32)
  product = jnp.ones((batch_size, *decay.shape), decay.dtype)
  for bit in range(length.bit_length()):
    odd = (count >> bit & 1 == 1)[:, None, None]
    product = jnp.where(odd, product * decay[None], product)
    decay = decay * decay
  return product


def _start(segments) -> Bool[Array, 'B'] | None:
  return None if segments is None else jnp.any(segments.start, axis=1)


def diagonal_system_step(
  carry: Inexact[Array, 'B D N'],
  x_t: Float[Array, 'B D'],
  decay: Inexact[Array, 'D N'],
  gain: Inexact[Array, 'D N'],
  output: Inexact[Array, 'D N'],
) -> tuple[Inexact[Array, 'B D N'], Float[Array, 'B D']]:
  """Computes one position of `diagonal_system`."""
  op = 'diagonal_system_step'
  carry, x_t, decay, gain, output = _checked(
    op, 'B', carry, decay, gain, output, x_t=x_t
  )
  carry, x, reach = _finite(carry, x_t[:, None], None)
  carry = recurrence.linear_recurrence_step(
    carry, *_coefficients(decay, gain, x[:, 0])
  )
  carry = finite.nan_where(reach.last, carry)
  return carry, finite.nan_where(reach.last, _read(output, carry, x_t))


def _checked(op, leading, carry, decay, gain, output, **inputs):
  """Returns the carry, the inputs and the system, in the carry's precision."""
  ((name, x),) = inputs.items()
  x, decay, gain, output, carry = checks.arrays(
    op,
    **{name: (x, f'{leading} D', 'real')},
    decay=(decay, 'D N', 'inexact'),
    gain=(gain, 'D N', 'inexact'),
    output=(output, 'D N', 'inexact'),
    carry=(carry, 'B D N', 'inexact'),
  )
  system = {'decay': decay, 'gain': gain, 'output': output}
  checks.real_into_real(op, carry, **system)
  system = (array.astype(carry.dtype) for array in system.values())
  return carry, x.astype(carry.real.dtype), *system


def check_algorithm(algorithm: str):
  """Raises ValueError unless `algorithm` is one of ALGORITHMS."""
  algorithms.check_algorithm(algorithm, ALGORITHMS)


def _coefficients(decay, gain, x):
  """a_t and b_t of `linear_recurrence`, at one position or at many."""
  shape = *x.shape, decay.shape[-1]
  drive = jnp.broadcast_to(gain, shape) * x[..., None]
  return jnp.broadcast_to(decay, shape), drive


def _read(output, states, _):
  output = jnp.broadcast_to(output, states.shape)
  if jnp.isrealobj(states):
    return jnp.sum(output * states, axis=-1)
  return jnp.sum(output.real * states.real - output.imag * states.imag, axis=-1)


def _convolution(carry, x, decay, gain, output):
  """Solves the system chunk by chunk, all products being real.

  The last chunk is filled up with zeros, and its last state, after the rest of
  the positions that it holds, is computed apart.
  """
  batch, length, features = x.shape
  size = min(_CHUNK, length)
  num_chunks = -(-length // size)
  rest = length - (num_chunks - 1) * size
  missing = num_chunks * size - length
  chunks = jnp.pad(x, ((0, 0), (0, missing), (0, 0)))
  chunks = chunks.reshape(batch, num_chunks, size, features)
  powers = _powers(decay, size + 1)

  write = jnp.flip(
    gain[None] * powers[:size], axis=0
  )  # from s to the chunk's end
  ends = _enter(write, chunks[:, :-1])
  through = jnp.broadcast_to(powers[size], ends.shape)
  # Not 'scan', which has no forward mode.
  algorithm = algorithms.by_platform(cpu='plain', accelerator='associative')
  begin, states = recurrence.linear_recurrence(
    carry, through, ends, algorithm=algorithm
  )
  last = _enter(write[size - rest :], chunks[:, -1:, :rest])[:, 0]
  last = last + powers[rest][None] * begin

  kernel = (output * gain)[None] * powers[:size]
  y = _product(
    'dts,bmsd->bmtd', _toeplitz(jnp.sum(kernel.real, axis=-1).T), chunks
  )
  states = jnp.concatenate([carry[:, None], states], axis=1)
  read = _parts(output[None] * powers[1:], sign=-1)
  y = y + _product('ptdn,pbmdn->bmtd', read, _parts(states))
  y = y.reshape(batch, num_chunks * size, features)[:, :length]
  return last, y


def _finite(carry, x, segments):
  """Replaces rows that are not finite by zero, and marks what they reach."""
  parts = (carry,) if jnp.isrealobj(carry) else (carry.real, carry.imag)
  before = jnp.any(finite.flawed(*parts), axis=-1)
  x = zero_padding(x, segments)
  flaws = finite.flawed(x)
  reach = finite.reach(before[:, None], flaws[..., None], segments)
  carry, x = finite.zero_where(before, carry), finite.zero_where(flaws, x)
  return carry, x, finite.Reach(reach.outputs[..., 0], reach.last[:, 0])


def _enter(write, chunks):
  """Sums what the positions of each chunk leave in the state at its end."""
  parts = _product('psdn,bmsd->pbmdn', _parts(write), chunks)
  return jax.lax.complex(*parts) if len(parts) == 2 else parts[0]


def _parts(array, sign: int = 1):
  """The real part and, of complex arrays, the imaginary one times a sign."""
  if jnp.isrealobj(array):
    return array[None]
  return jnp.stack([array.real, sign * array.imag])


def _powers(decay: Inexact[Array, 'D N'], count: int):
  """decay^0, decay^1, ..., by doubling: [count D N]."""
  powers, factor = jnp.ones_like(decay)[None], decay
  while len(powers) < count:
    powers = jnp.concatenate([powers, powers * factor[None]])
    factor = factor * factor
  return powers[:count]


def _toeplitz(kernel: Float[Array, 'D L']) -> Float[Array, 'D L L']:
  """Puts k_{t-s} at (t, s), and zero where s > t.

  By writing one row again and again into rows that are one shorter, each of
  which so begins one place further to the right: its gradient is no scatter.
  """
  features, size = kernel.shape
  row = jnp.pad(jnp.flip(kernel, axis=-1), ((0, 0), (0, size)))
  rows = jnp.tile(row, (1, size))[:, : size * (2 * size - 1)]
  rows = rows.reshape(features, size, 2 * size - 1)
  return rows[:, :, size - 1 :]


def _product(axes: str, left, right):
  return jnp.einsum(axes, left, right, precision='highest')
