"""A state-space layer with one decay a head, so that matmuls compute it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.convolved import ConvolvedMixer
from seqjax.nn.initializers import log_uniform, step_bias
from seqjax.nn.layers import RMSNorm
from seqjax.nn.matrix_state import MatrixStateMixer
from seqjax.nn.mixer import carry_dtype
from seqjax.ops.convolution import add_bias
from seqjax.ops.linear_attention import gated_outer, gated_outer_step
from seqjax.typing import Array


class SelectiveDecay(nn.Module):
  """dt_t = softplus(x_t + b) and log a_t = -exp(r) dt_t, a head each.

  dt is log-uniform in 0.001..0.1 at first, exp(r) in 1..16.
  """

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B *T H']
  ) -> tuple[Float[Array, 'B *T H'], Float[Array, 'B *T H']]:
    dtype, shape = carry_dtype(self.dtype), x.shape[-1:]
    bias = self.param('bias', step_bias, shape, self.param_dtype)
    log_rate = self.param(
      'log_rate', log_uniform(1.0, 16.0), shape, self.param_dtype
    )
    step = nn.softplus(add_bias(x, bias.astype(dtype)))
    rate = jnp.broadcast_to(jnp.exp(log_rate.astype(dtype)), step.shape)
    return step, -rate * step


class Mamba2(ConvolvedMixer, MatrixStateMixer):
  """S_t = exp(-rate dt_t) S_{t-1} + dt_t B_t u_t^T, v_t = S_t^T C_t + D u_t.

  Dao & Gu (2024, section 7.1 and figure 6): u, B and C are silu(conv(W x)), B
  and C of K numbers that all heads share, u of V = expand * D / H a head, and
  the output is W_o norm(v_t * silu(W_z x_t)), an RMS norm over all heads.

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features.
    state_size: K, the rows of each head's state.
    expand: H V / D.
    kernel_size: taps of the convolution.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  algorithm: str = 'auto'
  num_heads: int = 2
  state_size: int = 16
  expand: int = 2
  kernel_size: int = 4

  _recur = staticmethod(gated_outer)
  _recur_step = staticmethod(gated_outer_step)

  def setup(self):
    self.enter = self._dense(self._inner + self._convolved + self.num_heads)
    self.decay = SelectiveDecay(**self._types)
    self.norm, self.out = RMSNorm(**self._types), self._dense(self.features)
    self._set_up_kernel(nn.initializers.lecun_normal(), bias=True)
    ones = nn.initializers.ones
    self.skip = self.param('skip', ones, (self.num_heads,), self.param_dtype)

  @property
  def _inner(self) -> int:
    return self.expand * self.features

  @property
  def _convolved(self) -> int:
    return self._inner + 2 * self.state_size

  @property
  def _value_size(self) -> int:
    return self._inner // self.num_heads

  @property
  def _key_size(self) -> int:
    return self.state_size

  def _enter(self, x):
    ends = [self._inner, self._inner + self._convolved]
    gate, u, logit = jnp.split(self.enter(x), ends, axis=-1)
    return u, (gate, logit)

  def _coefficients(self, u, rest):
    """C, B, dt u and log decay, for every head; u and the gate."""
    gate, logit = rest
    ends = [self._inner, self._inner + self.state_size]
    value, key, query = jnp.split(u, ends, axis=-1)
    value = value.reshape(*logit.shape, self._value_size)
    step, log_decay = self.decay(logit)
    key, query = (
      jnp.broadcast_to(a[..., None, :], (*logit.shape, self.state_size))
      for a in (key, query)
    )
    return (query, key, step[..., None] * value, log_decay), (value, gate)

  def _leave(self, states, rest):
    value, gate = rest
    skip = self.skip.astype(self.dtype)[:, None]
    y = states.astype(self.dtype) + jnp.broadcast_to(skip, value.shape) * value
    return self.out(self.norm(y.reshape(gate.shape) * nn.silu(gate)))
