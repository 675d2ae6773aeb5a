"""Diagonal state-space systems: their poles, steps in time, in- and outputs.

In continuous time dh/dt = p h + u, state by state; read at steps of a given
size, h_t = decay h_{t-1} + gain u_t. Poles begin as in section 4 of Gu et al.
(2022, "On the Parameterization and Initialization of Diagonal State Space
Models"). A real system of N states has conjugate pairs of poles: of each pair
the one above the real axis is kept, N/2 in all, and twice the real part of what
it gives is what both give.

Kernels into and out of a state that may be complex are stored as real matrices:
their first axis holds the real part, and the imaginary part if there is one.
Parameters stay real, and so does every matrix product.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, Inexact

from seqjax.ops import checks
from seqjax.ops.linear_recurrence import (
  linear_recurrence_outputs,
  linear_recurrence_step,
)
from seqjax.typing import Array, Segments


def s4d_lin(state_size: int) -> Complex[np.ndarray, 'M']:
  """p_n = -1/2 + i pi n."""
  checks.size('s4d_lin', 'state_size', state_size)
  n = np.arange(state_size // 2)
  return -0.5 + 1j * np.pi * n


def s4d_inv(state_size: int) -> Complex[np.ndarray, 'M']:
  """p_n = -1/2 + i N/pi (N / (2n + 1) - 1)."""
  checks.size('s4d_inv', 'state_size', state_size)
  n = np.arange(state_size // 2)
  frequency = state_size / np.pi * (state_size / (2 * n + 1) - 1)
  return -0.5 + 1j * frequency


def s4d_real(state_size: int) -> Float[np.ndarray, 'N']:
  """p_n = -(n + 1), without oscillation."""
  checks.size('s4d_real', 'state_size', state_size)
  return -(np.arange(state_size) + 1.0)


def hippo_matrix(state_size: int) -> Float[np.ndarray, 'N N']:
  """HiPPO-N, the normal part of HiPPO-LegS.

  -1/2 on the diagonal, and -+ sqrt((n + 1/2) (k + 1/2)) below and above it.
  """
  checks.size('hippo_matrix', 'state_size', state_size)
  root = np.sqrt(np.arange(state_size) + 0.5)
  product = np.outer(root, root)
  skew = np.triu(product, 1) - np.tril(product, -1)
  return skew - 0.5 * np.eye(state_size)


@functools.cache
def hippo(
  state_size: int,
) -> tuple[Complex[np.ndarray, 'M'], Complex[np.ndarray, 'N M']]:
  """Returns the upper poles of `hippo_matrix`, and their unit eigenvectors."""
  skew = hippo_matrix(state_size) + 0.5 * np.eye(state_size)
  frequency, vectors = np.linalg.eigh(-1j * skew)
  upper = slice(state_size // 2, None)
  return -0.5 + 1j * frequency[upper], vectors[:, upper]


def zero_order_hold(
  pole: Inexact[Array, '*N'], step_size: Float[Array, '*#N']
) -> tuple[Inexact[Array, '*N'], Inexact[Array, '*N']]:
  """decay = exp(p dt) and gain = (exp(p dt) - 1) / p: u constant in a step.

  Gu et al. (2022, section 3.1). Exact at p dt = 0 and near it, gradients too.
  """
  rotation = pole * step_size
  return jnp.exp(rotation), step_size * _relative_growth(rotation)


def bilinear(
  pole: Inexact[Array, '*N'], step_size: Float[Array, '*#N']
) -> tuple[Inexact[Array, '*N'], Inexact[Array, '*N']]:
  """decay = (1 + p dt/2) / (1 - p dt/2) and gain = dt / (1 - p dt/2).

  The trapezoid rule (Tustin), from the same section.
  """
  half = pole * step_size / 2
  return (1 + half) / (1 - half), step_size / (1 - half)


DISCRETIZATIONS = {'zoh': zero_order_hold, 'bilinear': bilinear}


def _relative_growth(z: Inexact[Array, '*N']) -> Inexact[Array, '*N']:
  """(exp(z) - 1) / z, by its Taylor series where the quotient loses digits."""
  small = jnp.abs(z) < 0.5
  nonzero = jnp.where(small, jnp.ones_like(z), z)
  near = jnp.where(small, z, jnp.zeros_like(z))
  series = jnp.zeros_like(z)
  for order in reversed(range(14)):
    series = series * near + 1 / math.factorial(order + 1)
  return jnp.where(small, series, jnp.expm1(nonzero) / nonzero)


def to_state(
  x: Float[Array, '*B D'], kernel: Float[Array, 'P D N'], dtype: jnp.dtype
) -> Inexact[Array, '*B N']:
  """x W, accumulated in the real `dtype`; complex where the kernel is."""
  (x,) = checks.arrays('to_state', x=(x, '*D', 'real'))
  sizes = {'D': x.shape[-1]}
  (kernel,) = checks.arrays('to_state', sizes, kernel=(kernel, 'P D N', 'real'))
  parts = [
    jnp.matmul(x.astype(kernel.dtype), part, preferred_element_type=dtype)
    for part in kernel
  ]
  return jax.lax.complex(*parts) if len(parts) == 2 else parts[0]


def from_state(
  states: Inexact[Array, '*B N'], kernel: Float[Array, 'P N D']
) -> Float[Array, '*B D']:
  """Re(h W), in the precision of the states."""
  (states,) = checks.arrays('from_state', states=(states, '*N', 'inexact'))
  sizes = {'N': states.shape[-1], 'P': 1 + jnp.iscomplexobj(states)}
  (kernel,) = checks.arrays(
    'from_state', sizes, kernel=(kernel, 'P N D', 'real')
  )

  def read(part, weight):
    return jnp.matmul(
      part.astype(kernel.dtype), weight, preferred_element_type=part.dtype
    )

  if len(kernel) == 1:
    return read(states, kernel[0])
  return read(states.real, kernel[0]) - read(states.imag, kernel[1])


def selective_scan(
  carry: Float[Array, 'B E N'],
  u: Float[Array, 'B T E'],
  step_size: Float[Array, 'B T E'],
  rate: Float[Array, 'E N'],
  write: Float[Array, 'B T N'],
  read: Float[Array, 'B T N'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B E N'], Float[Array, 'B T E']]:
  """h_t = exp(-rate dt_t) h_{t-1} + dt_t u_t B_t and v_t = h_t C_t.

  Gu & Dao (2024, algorithm 2), where rate is -A.

  Args:
    carry: h_0; its dtype is that of every state and of v.
    u: the inputs.
    step_size: dt.
    rate: how fast states decay, positive.
    write: B.
    read: C.
    segments: padding holds the state, a start clears it.
    algorithm: as in `linear_recurrence_outputs`.

  Returns:
    The last state, and v.
  """
  carry, rate, inputs = _checked(
    'selective_scan', 'B T', carry, u, step_size, rate, write, read
  )
  segments = checks.segments('selective_scan', segments, *u.shape[:2])
  return linear_recurrence_outputs(
    carry,
    inputs,
    functools.partial(_selected, rate),
    _read_selected,
    segments,
    algorithm=algorithm,
  )


def selective_scan_step(
  carry: Float[Array, 'B E N'],
  u_t: Float[Array, 'B E'],
  step_size_t: Float[Array, 'B E'],
  rate: Float[Array, 'E N'],
  write_t: Float[Array, 'B N'],
  read_t: Float[Array, 'B N'],
) -> tuple[Float[Array, 'B E N'], Float[Array, 'B E']]:
  """One position of `selective_scan`."""
  carry, rate, inputs = _checked(
    'selective_scan_step',
    'B',
    *(carry, u_t, step_size_t, rate, write_t, read_t),
    suffix='_t',
  )
  carry = linear_recurrence_step(carry, *_selected(rate, inputs))
  return carry, _read_selected(carry, inputs)


def _checked(op, leading, carry, u, step, rate, write, read, suffix=''):
  """The carry, the rates and all inputs, in the precision of the carry."""
  *inputs, rate, carry = checks.arrays(
    op,
    **{
      f'u{suffix}': (u, f'{leading} E', 'real'),
      f'step_size{suffix}': (step, f'{leading} E', 'real'),
      f'write{suffix}': (write, f'{leading} N', 'real'),
      f'read{suffix}': (read, f'{leading} N', 'real'),
    },
    rate=(rate, 'E N', 'real'),
    carry=(carry, 'B E N', 'real'),
  )
  inputs = tuple(array.astype(carry.dtype) for array in inputs)
  return carry, rate.astype(carry.dtype), inputs


def _selected(rate, inputs):
  """exp(-rate dt) and dt u B."""
  u, step_size, write, _ = inputs
  shape = *u.shape, rate.shape[-1]
  decay = jnp.exp(-step_size[..., None] * jnp.broadcast_to(rate, shape))
  return decay, (step_size * u)[..., None] * write[..., None, :]


def _read_selected(states, inputs):
  *_, read = inputs
  return jnp.sum(states * read[..., None, :], axis=-1)
