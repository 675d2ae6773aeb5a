"""A state-space layer that chooses what to keep by its input."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn import initializers
from seqjax.nn.convolved import ConvolvedMixer
from seqjax.nn.mixer import carry_dtype, check_sizes
from seqjax.ops.linear_recurrence import (
  check_algorithm,
  linear_recurrence,
  linear_recurrence_step,
)
from seqjax.typing import Array


class Mamba(ConvolvedMixer):
  """Selective state spaces (Gu & Dao, 2024, algorithm 2 and figure 3).

  u = silu(conv(W x)) has E = expand * D features; each drives N states,
  h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t and v_t = C_t h_t + D u_t, where
  dt_t = softplus(W_dt W_r u_t + b), B_t and C_t are projections of u_t. The
  output is W_o (v_t silu(W_z x_t)). The drive is dt B u, Euler's step, as in
  the authors' code, where the paper's eq. 4 has the zero-order hold.

  Attributes:
    algorithm: how `linear_recurrence` computes it.
    state_size: N, numbers in the state of each of the E features.
    expand: E / D.
    kernel_size: taps of the convolution.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  algorithm: str = 'auto'
  state_size: int = 16
  expand: int = 2
  kernel_size: int = 4

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)
    check_sizes(self, 'state_size', 'expand', 'kernel_size')

  _recur = staticmethod(linear_recurrence)

  @staticmethod
  def _recur_step(*arguments):
    state = linear_recurrence_step(*arguments)
    return state, state

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    inner, size, dtype = self._convolved, self.state_size, self.param_dtype
    # Uniform within +-1/sqrt(inputs), which is what the authors' code has.
    fan_in = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
    dense = functools.partial(nn.Dense, use_bias=False, **types)
    self.enter, self.leave = dense(2 * inner), dense(self.features)
    self.select = dense(self._rank + 2 * size)
    self.step_size = nn.Dense(
      inner, kernel_init=fan_in, bias_init=initializers.step_bias, **types
    )
    self._set_up_kernel(fan_in, bias=True)
    # -A = 1, 2, .. N, for every feature (S4D-Real).
    counts, ones = initializers.log_counts, nn.initializers.ones
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

  def _enter(self, x):
    return jnp.split(self.enter(x), 2, axis=-1)

  def _coefficients(self, u, gate):
    """exp(dt A) and dt B u, of [.. E N]; and C, of [.. N]."""
    dtype, size = carry_dtype(self.dtype), self.state_size
    ends = [self._rank, self._rank + size]
    low, write, read = jnp.split(self.select(u), ends, axis=-1)
    step = nn.softplus(self.step_size(low).astype(dtype))[..., None]
    rate = jnp.exp(self.log_rate.astype(dtype))
    decay = jnp.exp(-step * jnp.broadcast_to(rate, (*u.shape, size)))
    write = write.astype(dtype)[..., None, :]
    drive = step * u.astype(dtype)[..., None] * write
    return (decay, drive), (read.astype(dtype), u, gate)

  def _leave(self, states, rest):
    read, u, gate = rest
    v = jnp.einsum('...en,...n->...e', states, read).astype(self.dtype)
    skip = jnp.broadcast_to(self.skip.astype(self.dtype), u.shape)
    return self.leave((v + skip * u) * nn.silu(gate))
