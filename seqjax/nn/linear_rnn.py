"""Recurrences that are linear in their state, so that time parallelises."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Complex, Float, Inexact, Int

from seqjax.errors import unknown
from seqjax.nn import initializers
from seqjax.nn.layers import BlockDense
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_sizes,
  check_step,
  check_unroll,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_recurrence import (
  check_algorithm,
  linear_recurrence,
  linear_recurrence_step,
)
from seqjax.ops.state_space import from_state, to_state
from seqjax.typing import Array, Segments


class LinearRecurrentMixer(CausalMixer):
  """A mixer whose state obeys h_t = a_t h_{t-1} + b_t, number by number.

  A subclass defines `coefficients`, `read` where states are no outputs, and
  `initialize_carry` where the state is not as wide as the features; the first
  two are given one position [B D] or many [B T D].

  Attributes:
    algorithm: how `linear_recurrence` computes it.
  """

  algorithm: str = 'auto'

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Inexact[Array, 'B *N']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry = linear_recurrence_step(carry, *self.coefficients(x_t))
    return carry, self.read(carry, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    carry, states = linear_recurrence(
      carry, *self.coefficients(x), segments, algorithm=self.algorithm
    )
    return carry, segments_lib.zero_padding(self.read(states, x), segments)

  @nn.nowrap
  def coefficients(self, x):
    """a_t and b_t, of the input alone."""
    raise NotImplementedError(f'{type(self).__name__} has no coefficients.')

  @nn.nowrap
  def read(self, states, x):
    """Computes the outputs from states and inputs at the same positions."""
    return states.astype(self.dtype)

  @nn.nowrap
  def _dense(self) -> nn.Dense:
    return nn.Dense(self.features, **self._types)


class MinGRU(LinearRecurrentMixer):
  """h_t = (1 - z_t) h_{t-1} + z_t n_t with gates of the input alone.

  z_t = sigmoid(W_z x_t + b_z), n_t = W_n x_t + b_n (Feng et al., 2024, "Were
  RNNs all we needed?", section 3.1.2).

  Attributes:
    algorithm: how `linear_recurrence` computes it.
  """

  def setup(self):
    self.update_gate, self.candidate = self._dense(), self._dense()

  @nn.nowrap
  def coefficients(self, x):
    """1 - z_t (as a sigmoid, exact where z_t is near 1) and z_t n_t."""
    logit = self.update_gate(x).astype(carry_dtype(self.dtype))
    return nn.sigmoid(-logit), nn.sigmoid(logit) * self.candidate(x)


class MinLSTM(LinearRecurrentMixer):
  """h_t = f'_t h_{t-1} + i'_t n_t with gates of the input alone.

  f' = f / (f + i) and i' = i / (f + i), so that the scale of h does not depend
  on the length; f_t, i_t = sigmoid(W x_t + b) and n_t = W_n x_t + b_n (Feng et
  al., 2024, section 3.2.3).

  Attributes:
    algorithm: how `linear_recurrence` computes it.
  """

  def setup(self):
    self.forget_gate, self.input_gate = self._dense(), self._dense()
    self.candidate = self._dense()

  @nn.nowrap
  def coefficients(self, x):
    """f / (f + i) = sigmoid(log f - log i), which stays finite as both go."""
    dtype = carry_dtype(self.dtype)
    forget = nn.log_sigmoid(self.forget_gate(x).astype(dtype))
    logit = forget - nn.log_sigmoid(self.input_gate(x).astype(dtype))
    return nn.sigmoid(logit), nn.sigmoid(-logit) * self.candidate(x)


class LRU(LinearRecurrentMixer):
  """h_t = lambda h_{t-1} + gamma B x_t, a complex h;  y_t = Re(C h_t) + D x_t.

  lambda = exp(-exp(nu) + i exp(theta)) begins uniform on a ring, and gamma as
  sqrt(1 - |lambda|^2); its logarithm is learnt (Orvieto et al., 2023,
  "Resurrecting recurrent neural networks for long sequences", section 3).

  Attributes:
    algorithm: how `linear_recurrence` computes it.
    state_size: N, complex numbers in the state.
    r_min: where the ring of |lambda| begins.
    r_max: where it ends.
    max_phase: the phases of lambda begin uniform in 0..max_phase.
  """

  state_size: int = 64
  r_min: float = 0.0
  r_max: float = 1.0
  max_phase: float = 2 * math.pi

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'state_size')
    if not 0 < self.max_phase < math.inf:
      raise ValueError(
        'LRU needs a max_phase above 0 and finite, but '
        f'max_phase={self.max_phase} was given.'
      )
    if not 0 <= self.r_min < self.r_max <= 1:
      raise ValueError(
        'LRU needs a ring within the unit circle, 0 <= r_min < r_max <= 1, but '
        f'r_min={self.r_min} and r_max={self.r_max} were given.'
      )

  def setup(self):
    size, width, dtype = self.state_size, self.features, self.param_dtype
    init_nu, init_theta = initializers.ring(
      self.r_min, self.r_max, self.max_phase
    )
    normal = nn.initializers.normal
    init_input, init_output = (
      normal(1 / math.sqrt(2 * width)),
      normal(1 / math.sqrt(size)),
    )
    self.nu = self.param('nu', init_nu, (size,), dtype)
    self.theta = self.param('theta', init_theta, (size,), dtype)
    self.log_gamma = self.param('log_gamma', self._init_log_gamma)
    self.input = self.param('input', init_input, (2, width, size), dtype)
    self.output = self.param('output', init_output, (2, size, width), dtype)
    self.skip = self.param('skip', normal(1.0), (width,), dtype)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Complex[Array, 'B N']:
    dtype = jnp.promote_types(self.dtype, jnp.complex64)
    return jnp.zeros((batch_size, self.state_size), dtype)

  @nn.nowrap
  def coefficients(self, x):
    real = carry_dtype(self.dtype)
    nu, theta = self.nu.astype(real), self.theta.astype(real)
    decay = jnp.exp(jax.lax.complex(-jnp.exp(nu), jnp.exp(theta)))
    drive = to_state(x, self.input.astype(self.dtype), real)
    gamma = jnp.exp(self.log_gamma.astype(real))
    drive = jnp.broadcast_to(gamma, drive.shape) * drive
    return jnp.broadcast_to(decay, drive.shape), drive

  @nn.nowrap
  def read(self, states, x):
    y = from_state(states, self.output.astype(self.dtype))
    skip = jnp.broadcast_to(self.skip.astype(self.dtype), x.shape)
    return (y + skip * x).astype(self.dtype)

  @nn.nowrap
  def _init_log_gamma(self, key):
    """log sqrt(1 - |lambda|^2), which keeps the state's variance at one."""
    nu = self.nu.astype(carry_dtype(self.param_dtype))
    log_gamma = jnp.log(-jnp.expm1(-2 * jnp.exp(nu))) / 2
    return log_gamma.astype(self.param_dtype)


class RGLRUCarry(NamedTuple):
  """The state, and how many valid positions the segment has had."""

  state: Float[Array, 'B D']
  count: Int[Array, 'B']


RGLRU_DECAYS = {
  'recurrentgemma': initializers.ring_logit,
  'griffin': initializers.griffin_logit,
}


class RGLRU(LinearRecurrentMixer):
  """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) i_t x_t, the recurrence of Griffin.

  a_t = a^(8 r_t) with a = sigmoid(Lambda), and r_t, i_t = sigmoid(W x_t + b)
  (De et al., 2024, section 2.4). At a segment's first position the root is left
  out, and a begins with a^2 uniform in 0.9^2..0.999^2: both as in the authors'
  code (google-deepmind/recurrentgemma at 2a3dde4, `jax/layers.py`), and unlike
  their paper, which has the root everywhere, and a^8 uniform in 0.9..0.999. The
  layer alone: the convolution before it and the gate beside it belong to the
  paper's block. W is dense, as in the paper's equations, where the code has
  blocks on a diagonal, one per head.

  Attributes:
    algorithm: how `linear_recurrence` computes it.
    initialization: how a begins: 'recurrentgemma' (the code) or 'griffin' (the
      paper).
    scale_first: whether the root is there at a segment's first position too, as
      in the paper.
    num_blocks: blocks on the diagonal of the gates' kernels; 1: dense kernels.
  """

  initialization: str = 'recurrentgemma'
  scale_first: bool = False
  num_blocks: int = 1

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'num_blocks')
    if self.features % self.num_blocks:
      raise ValueError(
        'RGLRU splits features evenly into blocks, but '
        f'features={self.features} is not a multiple of '
        f'num_blocks={self.num_blocks}.'
      )
    if self.initialization not in RGLRU_DECAYS:
      raise ValueError(
        unknown('initialization', self.initialization, RGLRU_DECAYS)
      )

  def setup(self):
    self.recurrence_gate, self.input_gate = self._gate(), self._gate()
    self.logit = self.param(
      'logit',
      RGLRU_DECAYS[self.initialization],
      (self.features,),
      self.param_dtype,
    )

  @nn.nowrap
  def _gate(self) -> nn.Module:
    if self.num_blocks == 1:
      return self._dense()
    return BlockDense(self.num_blocks, **self._types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> RGLRUCarry:
    count = jnp.zeros((batch_size,), jnp.int32)
    return RGLRUCarry(super().initialize_carry(batch_size), count)

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    coefficients = self.coefficients(x_t, carry.count == 0)
    state = linear_recurrence_step(carry.state, *coefficients)
    return RGLRUCarry(state, carry.count + 1), self.read(state, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    count, places = segments_lib.positions(carry.count, segments, x.shape[1])
    state, states = linear_recurrence(
      carry.state,
      *self.coefficients(x, places == 0),
      segments,
      algorithm=self.algorithm,
    )
    y = segments_lib.zero_padding(self.read(states, x), segments)
    return RGLRUCarry(state, count), y

  @nn.nowrap
  def coefficients(self, x, first):
    """a_t and the drive, given which positions are a segment's first."""
    dtype = carry_dtype(self.dtype)
    rate = 8 * nn.softplus(-self.logit.astype(dtype))
    gate = nn.sigmoid(self.recurrence_gate(x).astype(dtype))
    log_decay = -jnp.broadcast_to(rate, gate.shape) * gate
    # The bound is far below what matters: it keeps the slope of the root from
    # being infinite where a decay is exactly 1.
    power = jnp.maximum(-jnp.expm1(2 * log_decay), jnp.finfo(dtype).tiny)
    gated = nn.sigmoid(self.input_gate(x)) * x
    scale = jnp.sqrt(power)
    if not self.scale_first:
      scale = jnp.where(first[..., None], jnp.ones((), dtype), scale)
    return jnp.exp(log_decay), scale * gated
