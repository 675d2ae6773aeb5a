"""Diagonal state-space layers that are the same at every position.

Poles are -exp(log_rate) + i frequency, in continuous time, so that no state can
grow; complex ones stand for conjugate pairs, and real ones have no frequency.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact

from seqjax.errors import unknown
from seqjax.nn import initializers
from seqjax.nn.linear_rnn import LinearRecurrentMixer
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_step,
  check_unroll,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops import state_space as ops
from seqjax.ops.diagonal_system import (
  check_algorithm,
  diagonal_system,
  diagonal_system_step,
)
from seqjax.ops.state_space import DISCRETIZATIONS, from_state, to_state
from seqjax.typing import Array, Segments

S4D_POLES = {
  'lin': ops.s4d_lin,
  'inv': ops.s4d_inv,
  'real': ops.s4d_real,
}
S5_POLES = ('hippo', 'real')


class S4D(CausalMixer):
  """A linear system of its own for every feature (Gu et al., 2022).

  dh/dt = p h + x and y = C h + D x, read at steps dt that are learnt a feature:
  section 4 of "On the Parameterization and Initialization of Diagonal State
  Space Models", with B fixed at one, since C B is all that counts. The system
  alone: the activation and the mixing of features that follow it in the paper
  are left to the block.

  Attributes:
    algorithm: how `ops.diagonal_system` computes it; rows without segments by
      convolution, unless another is named.
    state_size: N, real numbers in each feature's state; 64 in the paper.
    initialization: where the poles begin, one of `S4D_POLES`; 'lin' and 'inv'
      are N/2 complex ones, 'real' are N real ones.
    discretization: 'zoh' or 'bilinear'.
  """

  algorithm: str = 'auto'
  state_size: int = 16
  initialization: str = 'lin'
  discretization: str = 'zoh'

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)
    _check_system(self, S4D_POLES)

  def setup(self):
    self.poles = _declare_poles(self, self._initial_poles, (self.features,))
    self.log_step = self.param(
      'log_step',
      initializers.log_uniform(1e-3, 1e-1),
      (self.features, 1),
      self.param_dtype,
    )
    self.output = self.param(
      'output',
      nn.initializers.normal(1 / math.sqrt(len(self.poles))),
      (len(self.poles), *self.poles[0].shape),
      self.param_dtype,
    )
    self.skip = self.param(
      'skip', nn.initializers.normal(1.0), (self.features,), self.param_dtype
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Inexact[Array, 'B D N']:
    initial = self._initial_poles
    shape = batch_size, self.features, *initial.shape
    return jnp.zeros(shape, _state_dtype(self.dtype, initial))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry, y_t = diagonal_system_step(carry, x_t, *self._system())
    return carry, _add_skip(y_t, self.skip, x_t, self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    carry, y = diagonal_system(
      carry, x, *self._system(), segments, algorithm=self.algorithm
    )
    y = _add_skip(y, self.skip, x, self.dtype)
    return carry, segments_lib.zero_padding(y, segments)

  @nn.nowrap
  def _system(self):
    """Decay, gain and output; a complex state counts for its conjugate too."""
    dtype = carry_dtype(self.dtype)
    discretize = DISCRETIZATIONS[self.discretization]
    decay, gain = discretize(
      _poles(self.poles, dtype), jnp.exp(self.log_step.astype(dtype))
    )
    output = self.output.astype(dtype)
    if len(output) == 1:
      return decay, gain, output[0]
    return decay, gain, 2 * jax.lax.complex(*output)

  @property
  def _initial_poles(self) -> Inexact[np.ndarray, 'N']:
    return S4D_POLES[self.initialization](self.state_size)


class S5(LinearRecurrentMixer):
  """One linear system for all features (Smith et al., 2023, section 3).

  dh/dt = p h + B x and y = C h + D x, each state read at steps of its own. The
  poles begin as those of HiPPO-N, B as a random real matrix in the basis of its
  eigenvectors, and C as a complex one, as in lindermanlab/S5 at 52fbd83; one
  block, where the paper has several on some tasks. Rates are learnt by their
  logarithm.

  Attributes:
    algorithm: how `linear_recurrence` computes it.
    state_size: N, real numbers in the state.
    initialization: 'hippo' has N/2 complex poles, 'real' the N real ones of
      S4D-Real.
    discretization: 'zoh' or 'bilinear'.
  """

  state_size: int = 64
  initialization: str = 'hippo'
  discretization: str = 'zoh'

  def __post_init__(self):
    super().__post_init__()
    _check_system(self, S5_POLES)

  def setup(self):
    initial, basis = self._initial_system
    size, lecun = self.state_size, nn.initializers.lecun_normal()

    def init_input(key):
      kernel = lecun(key, (self.features, size), self.param_dtype)
      return jnp.einsum('dn,pnm->pdm', kernel, _parts(basis.conj(), kernel))

    def init_output(key):
      kernel = lecun(key, (size, self.features), self.param_dtype)
      parts = _parts(basis, kernel)
      output = jnp.einsum('pnm,nd->pmd', parts, kernel)
      if len(parts) == 1:
        return output
      # The imaginary part of C, in the same basis.
      key, _ = jax.random.split(key)
      kernel = lecun(key, kernel.shape, self.param_dtype)
      real, imag = jnp.einsum('pnm,nd->pmd', parts, kernel)
      return output + jnp.stack([-imag, real])

    self.poles = _declare_poles(self, initial)
    self.log_step = self.param(
      'log_step',
      initializers.log_uniform(1e-3, 1e-1),
      initial.shape,
      self.param_dtype,
    )
    self.input = self.param('input', init_input)
    self.output = self.param('output', init_output)
    self.skip = self.param(
      'skip', nn.initializers.normal(1.0), (self.features,), self.param_dtype
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Inexact[Array, 'B N']:
    initial, _ = self._initial_system
    shape = batch_size, *initial.shape
    return jnp.zeros(shape, _state_dtype(self.dtype, initial))

  @nn.nowrap
  def coefficients(self, x):
    dtype = carry_dtype(self.dtype)
    discretize = DISCRETIZATIONS[self.discretization]
    decay, gain = discretize(
      _poles(self.poles, dtype), jnp.exp(self.log_step.astype(dtype))
    )
    drive = to_state(x, self.input.astype(self.dtype), dtype)
    drive = jnp.broadcast_to(gain, drive.shape) * drive
    return jnp.broadcast_to(decay, drive.shape), drive

  @nn.nowrap
  def read(self, states, x):
    y = from_state(states, self.output.astype(self.dtype))
    if jnp.iscomplexobj(states):
      y = 2 * y
    return _add_skip(y, self.skip, x, self.dtype)

  @property
  def _initial_system(self):
    """Poles, and the basis in which the system is diagonal."""
    if self.initialization == 'hippo':
      return ops.hippo(self.state_size)
    return ops.s4d_real(self.state_size), np.eye(self.state_size)


def _declare_poles(module, initial, leading=()):
  """Declares log_rate and, of complex poles, frequency, as parameters."""
  shape = *leading, *initial.shape

  def declare(name, value):
    init = nn.initializers.constant(value)
    return module.param(name, init, shape, module.param_dtype)

  log_rate = declare('log_rate', np.log(-initial.real))
  if np.isrealobj(initial):
    return (log_rate,)
  return log_rate, declare('frequency', initial.imag)


def _poles(parameters, dtype):
  log_rate, *frequency = (array.astype(dtype) for array in parameters)
  rate = -jnp.exp(log_rate)
  return jax.lax.complex(rate, *frequency) if frequency else rate


def _parts(matrix, like):
  """Its real part, and its imaginary part if it is complex, stacked."""
  parts = [matrix] if np.isrealobj(matrix) else [matrix.real, matrix.imag]
  return jnp.asarray(np.stack(parts), like.dtype)


def _state_dtype(dtype, initial):
  """Returns the dtype of states: complex where the poles are."""
  dtype = carry_dtype(dtype)
  if np.isrealobj(initial):
    return dtype
  return jnp.promote_types(dtype, jnp.complex64)


def _add_skip(y, skip, x, dtype):
  """Adds the skip: y + D x."""
  skip = jnp.broadcast_to(skip.astype(dtype), x.shape)
  return (y + skip * x).astype(dtype)


def _check_system(module, initializations):
  """Raises ValueError for names that are unknown, or half a pair of poles."""
  if module.initialization not in initializations:
    raise ValueError(
      unknown('initialization', module.initialization, initializations)
    )
  if module.discretization not in DISCRETIZATIONS:
    raise ValueError(
      unknown('discretization', module.discretization, DISCRETIZATIONS)
    )
  step = 1 if module.initialization == 'real' else 2
  if module.state_size < step or module.state_size % step:
    raise ValueError(
      f'{type(module).__name__} needs a positive state_size, and an even one '
      f'for pairs of complex poles, but state_size={module.state_size} was '
      f'given with initialization={module.initialization!r}.'
    )
