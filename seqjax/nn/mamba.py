"""State-space layers that convolve briefly, then choose what to keep."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.initializers import (
  log_counts,
  log_of_uniform,
  step_bias,
  uniform_within,
)
from seqjax.nn.layers import NORM_EPSILON, RecomputedRMSNorm
from seqjax.nn.linear_attention import MatrixStateMixer
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_sizes,
  check_step,
  check_unroll,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.convolution import (
  add_bias,
  depthwise_convolution,
  depthwise_convolution_step,
)
from seqjax.ops.linear_attention import gated_outer, gated_outer_step
from seqjax.ops.linear_recurrence import check_algorithm
from seqjax.ops.state_space import selective_scan, selective_scan_step
from seqjax.typing import Array, Segments

# Uniform within +-1/sqrt(inputs), which is what the authors' code has.
_FAN_IN = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


class ConvolvedCarry(NamedTuple):
  """The last inputs of the convolution, and the state of the recurrence."""

  window: Float[Array, 'B W E']
  state: Float[Array, 'B *N']


class ConvolvedMixer(CausalMixer):
  """u = silu(conv(W x) + b), a recurrence with coefficients of u, an output.

  A subclass has the field `kernel_size`, calls `_set_up_kernel`, and says the
  rest:

    _convolved, _zero_state: how many features u has, and the state's zeros;
    _recur, _recur_step: static methods, an op for many positions and for one;
    _enter(x): what is convolved, and what else is needed of x;
    _coefficients(u, rest): what the op takes, and what is needed after it;
    _output(states, rest): the output.

  Attributes:
    algorithm: how the op computes it.
  """

  algorithm: str = 'auto'

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> ConvolvedCarry:
    shape = batch_size, self.kernel_size - 1, self._convolved
    window = jnp.zeros(shape, carry_dtype(self.dtype))
    return ConvolvedCarry(window, self._zero_state(batch_size))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    convolve, recur = depthwise_convolution_step, self._recur_step
    return self._run(convolve, recur, carry, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    convolve = functools.partial(depthwise_convolution, segments=segments)
    recur = functools.partial(
      self._recur, segments=segments, algorithm=self.algorithm
    )
    carry, y = self._run(convolve, recur, carry, x)
    return carry, segments_lib.zero_padding(y, segments)

  @nn.nowrap
  def _set_up_kernel(self, init: Callable, *, bias: bool):
    shape, dtype = (self.kernel_size, self._convolved), self.param_dtype
    self.kernel = self.param('kernel', init, shape, dtype)
    uniform = uniform_within(self.kernel_size**-0.5)
    self.bias = self.param('bias', uniform, shape[1:], dtype) if bias else None

  @nn.nowrap
  def _run(self, convolve, recur, carry, x):
    """Runs the layer, given the ops for one position or many."""
    u, rest = self._enter(x)
    window, u = convolve(carry.window, u, self.kernel.astype(self.dtype))
    coefficients, rest = self._coefficients(self._activate(u), rest)
    state, states = recur(carry.state, *coefficients)
    return ConvolvedCarry(window, state), self._output(states, rest)

  @nn.nowrap
  def _activate(self, u):
    u = u.astype(self.dtype)
    if self.bias is not None:
      u = add_bias(u, self.bias.astype(self.dtype))
    return nn.silu(u)


class Mamba(ConvolvedMixer):
  """Selective state spaces (Gu & Dao, 2024, algorithm 2 and figure 3).

  u = silu(conv(W x)) has E = expand * D features; each drives N states,
  h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t and v_t = C_t h_t + D u_t, where
  dt_t = softplus(W_dt W_r u_t + b), B_t and C_t are projections of u_t. The
  output is W_o (v_t silu(W_z x_t)). The drive is dt B u, Euler's step, as in
  the authors' code, where the paper's eq. 4 has the zero-order hold.

  Attributes:
    algorithm: how `selective_scan` computes it.
    state_size: N, numbers in the state of each of the E features.
    expand: E / D.
    kernel_size: taps of the convolution.
  """

  state_size: int = 16
  expand: int = 2
  kernel_size: int = 4

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)
    check_sizes(self, 'state_size', 'expand', 'kernel_size')

  _recur = staticmethod(selective_scan)
  _recur_step = staticmethod(selective_scan_step)

  def setup(self):
    inner, size, dtype = self._convolved, self.state_size, self.param_dtype
    dense = functools.partial(nn.Dense, use_bias=False, **self._types)
    self.enter, self.out = dense(2 * inner), dense(self.features)
    self.select = dense(self._rank + 2 * size)
    self.step_size = nn.Dense(
      inner, kernel_init=_FAN_IN, bias_init=step_bias, **self._types
    )
    self._set_up_kernel(_FAN_IN, bias=True)
    # -A = 1, 2, .. N, for every feature (S4D-Real).
    counts, ones = log_counts, nn.initializers.ones
    self.log_rate = self.param('log_rate', counts, (inner, size), dtype)
    self.skip = self.param('skip', ones, (inner,), dtype)

  @property
  def _convolved(self) -> int:
    return self.expand * self.features

  @property
  def _rank(self) -> int:
    return math.ceil(self.features / 16)

  @nn.nowrap
  def _zero_state(self, batch_size: int) -> Float[Array, 'B E N']:
    shape = batch_size, self._convolved, self.state_size
    return jnp.zeros(shape, carry_dtype(self.dtype))

  @nn.nowrap
  def _enter(self, x):
    return jnp.split(self.enter(x), 2, axis=-1)

  @nn.nowrap
  def _coefficients(self, u, gate):
    """Returns the inputs of `selective_scan`, and u with the gate."""
    dtype, size = carry_dtype(self.dtype), self.state_size
    ends = [self._rank, self._rank + size]
    low, write, read = jnp.split(self.select(u), ends, axis=-1)
    step = nn.softplus(self.step_size(low).astype(dtype))
    rate = jnp.exp(self.log_rate.astype(dtype))
    return (u, step, rate, write, read), (u, gate)

  @nn.nowrap
  def _output(self, v, rest):
    u, gate = rest
    skip = jnp.broadcast_to(self.skip.astype(self.dtype), u.shape)
    return self.out((v.astype(self.dtype) + skip * u) * nn.silu(gate))


class SelectiveDecay(nn.Module):
  """dt_t = softplus(x_t + b) and log a_t = -exp(r) dt_t, a head each.

  dt is log-uniform in 0.001..0.1 at first, exp(r) uniform in slowest..16, as in
  state-spaces/mamba (from 1) and fla-org/flash-linear-attention (from 0).
  """

  slowest: float = 1.0
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B *T H']
  ) -> tuple[Float[Array, 'B *T H'], Float[Array, 'B *T H']]:
    dtype, shape = carry_dtype(self.dtype), x.shape[-1:]
    bias = self.param('bias', step_bias, shape, self.param_dtype)
    log_rate = self.param(
      'log_rate', log_of_uniform(self.slowest, 16.0), shape, self.param_dtype
    )
    step = nn.softplus(add_bias(x, bias.astype(dtype)))
    rate = jnp.broadcast_to(jnp.exp(log_rate.astype(dtype)), step.shape)
    return step, -rate * step


class Mamba2(ConvolvedMixer, MatrixStateMixer):
  """S_t = exp(-rate dt_t) S_{t-1} + dt_t B_t u_t^T, v_t = S_t^T C_t + D u_t.

  Dao & Gu (2024, section 7.1 and figure 6): u, B and C are silu(conv(W x)), B
  and C of K numbers that the heads of a group share, u of V = expand * D / H a
  head, and the output is W_o norm(v_t * silu(W_z x_t)), an RMS norm over the
  heads of a group. Rates, convolution and norm begin as in the authors' code
  (state-spaces/mamba at 20ddb82, `mamba2_simple.py`).

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    state_size: K, the rows of each head's state.
    expand: H V / D.
    kernel_size: taps of the convolution.
    num_groups: how many groups of heads have a B and a C of their own.
  """

  state_size: int = 16
  expand: int = 2
  kernel_size: int = 4
  num_groups: int = 1

  _recur = staticmethod(gated_outer)
  _recur_step = staticmethod(gated_outer_step)

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'num_groups')
    if self.num_heads % self.num_groups:
      raise ValueError(
        'Mamba2 shares B and C evenly among heads, but '
        f'num_heads={self.num_heads} is not a multiple of '
        f'num_groups={self.num_groups}.'
      )

  def setup(self):
    self.enter = self._dense(self._inner + self._convolved + self.num_heads)
    self.decay = SelectiveDecay(**self._types)
    self.norm = RecomputedRMSNorm(
      epsilon=NORM_EPSILON,
      reduction_axes=-1,
      feature_axes=(-2, -1),
      **self._types,
    )
    self.out = self._dense(self.features)
    self._set_up_kernel(_FAN_IN, bias=True)
    ones = nn.initializers.ones
    self.skip = self.param('skip', ones, (self.num_heads,), self.param_dtype)

  @property
  def _inner(self) -> int:
    return self.expand * self.features

  @property
  def _convolved(self) -> int:
    return self._inner + 2 * self.num_groups * self.state_size

  @property
  def _value_size(self) -> int:
    return self._inner // self.num_heads

  @property
  def _key_size(self) -> int:
    return self.state_size

  @nn.nowrap
  def _enter(self, x):
    ends = [self._inner, self._inner + self._convolved]
    gate, u, logit = jnp.split(self.enter(x), ends, axis=-1)
    return u, (gate, logit)

  @nn.nowrap
  def _coefficients(self, u, rest):
    """C, B, dt u and log decay, for every head; u and the gate."""
    gate, logit = rest
    ends = [self._inner, self._inner + self.num_groups * self.state_size]
    value, key, query = jnp.split(u, ends, axis=-1)
    value = value.reshape(*logit.shape, self._value_size)
    step, log_decay = self.decay(logit)
    key, query = (self._for_heads(a) for a in (key, query))
    return (query, key, step[..., None] * value, log_decay), (value, gate)

  @nn.nowrap
  def _output(self, states, rest):
    value, gate = rest
    skip = self.skip.astype(self.dtype)[:, None]
    y = states.astype(self.dtype) + jnp.broadcast_to(skip, value.shape) * value
    y = y.reshape(gate.shape) * nn.silu(gate)
    size = self._inner // self.num_groups
    grouped = *gate.shape[:-1], self.num_groups, size
    return self.out(self.norm(y.reshape(grouped)).reshape(gate.shape))

  @nn.nowrap
  def _for_heads(self, x):
    """Gives every head the K numbers of its group."""
    x = x.reshape(*x.shape[:-1], self.num_groups, self.state_size)
    return jnp.repeat(x, self.num_heads // self.num_groups, axis=-2)
