"""Associative memories that correct what they hold instead of adding to it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.initializers import log_of_uniform, step_bias
from seqjax.nn.layers import NORM_EPSILON, RecomputedRMSNorm
from seqjax.nn.linear_attention import MatrixStateMixer
from seqjax.nn.mamba import ConvolvedMixer, SelectiveDecay
from seqjax.nn.mixer import carry_dtype, check_sizes
from seqjax.ops.delta_product import delta_product, delta_product_step
from seqjax.ops.linear_attention import delta_rule, delta_rule_step
from seqjax.typing import Array


class DeltaNet(ConvolvedMixer, MatrixStateMixer):
  """S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T, y_t = S_t^T q_t.

  Yang et al. (2024, sections 2.2 and 3.3): q, k and v are silu(conv(W x)), q
  and k then of norm 1, q divided by sqrt(K), beta_t = sigmoid(W_b x_t), and the
  output is W_o norm(y_t), an RMS norm of every head. The division is that of
  fla-org/flash-linear-attention, and not in the paper.

  Attributes:
    algorithm: how `delta_rule` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    key_size: numbers in a key; None: D / H.
    kernel_size: taps of the convolution; 1 sees the present alone.
    negative_eigenvalues: doubles beta, so that I - beta k k^T may also reflect
      (Grazzi et al., 2025).
  """

  key_size: int | None = None
  kernel_size: int = 4
  negative_eigenvalues: bool = False

  num_steps = 1

  _recur = staticmethod(delta_rule)
  _recur_step = staticmethod(delta_rule_step)

  def setup(self):
    self.enter = self._dense(self._convolved)
    self._set_up_kernel(nn.initializers.lecun_normal(), bias=False)
    self.beta = self._dense(self.num_steps * self.num_heads)
    self.norm = RecomputedRMSNorm(epsilon=NORM_EPSILON, **self._types)
    self.out = self._merge()

  @property
  def _convolved(self) -> int:
    written = self.num_steps * (self._key_size + self._value_size)
    return self.num_heads * (self._key_size + written)

  @nn.nowrap
  def _enter(self, x):
    return self.enter(x), x

  @nn.nowrap
  def _coefficients(self, u, x):
    """q_t, k_t, v_t, beta_t and the logarithm of the decay; and x."""
    size = 2 * self._key_size + self._value_size
    u = u.reshape(*u.shape[:-1], self.num_heads, size)
    ends = [self._key_size, 2 * self._key_size]
    query, key, value = jnp.split(u, ends, axis=-1)
    beta = nn.sigmoid(self.beta(x)) * (1 + self.negative_eigenvalues)
    query = _unit(query) * self._key_size**-0.5
    return (query, _unit(key), value, beta, self._log_decay(x)), x

  @nn.nowrap
  def _log_decay(self, x):
    return jnp.zeros((*x.shape[:-1], self.num_heads), x.dtype)

  @nn.nowrap
  def _output(self, states, x):
    return self.out(self.norm(states))


class GatedDeltaNet(DeltaNet):
  """S_t = a_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T.

  Yang et al. (2025, eq. 10 and section 3.4): DeltaNet with Mamba-2's decay a_t
  of the input, and an output W_o (norm(y_t) * silu(W_g x_t)). Other options are
  those of `DeltaNet`.

  Attributes:
    expand: H V / D; values are twice as wide as keys in fla-org's
      flash-linear-attention at 0243cc4.
  """

  expand: int = 2

  def setup(self):
    super().setup()
    self.log_decay = self._dense(self.num_heads)
    self.selective_decay = SelectiveDecay(slowest=0.0, **self._types)
    self.gate = self._split(self._value_size)

  @nn.nowrap
  def _log_decay(self, x):
    _, log_decay = self.selective_decay(self.log_decay(x))
    return log_decay

  @nn.nowrap
  def _output(self, states, x):
    return self.out(self.norm(states) * nn.silu(self.gate(x)))


class DeltaProduct(GatedDeltaNet):
  """Several steps of the delta rule per position, after one decay.

  Siems et al. (2025, section 3): S_t = A_tP .. A_t1 a_t S_{t-1} + what the
  steps write, with A_ti = I - beta_ti k_ti k_ti^T, so that a state can turn
  where `GatedDeltaNet` reflects it. Each step has a key, a value and a beta of
  its own, the query is one. Their gated variant, as in
  fla-org/flash-linear-attention at bc3b101. Other options are those of
  `GatedDeltaNet`.

  Attributes:
    num_steps: P, steps per position.
    negative_eigenvalues: doubles beta, as in that code.
  """

  num_steps: int = 2
  negative_eigenvalues: bool = True

  _recur = staticmethod(delta_product)
  _recur_step = staticmethod(delta_product_step)

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'num_steps')

  @nn.nowrap
  def _coefficients(self, u, x):
    """q_t, k_ti, v_ti, beta_ti and the logarithm of the decay; and x."""
    size = self._convolved // self.num_heads
    u = u.reshape(*u.shape[:-1], self.num_heads, size)
    ends = [self._key_size, (1 + self.num_steps) * self._key_size]
    query, key, value = jnp.split(u, ends, axis=-1)
    key = self._by_step(key, self._key_size)
    value = self._by_step(value, self._value_size)
    beta = nn.sigmoid(self.beta(x)) * (1 + self.negative_eigenvalues)
    beta = beta.reshape(*x.shape[:-1], self.num_steps, self.num_heads)
    query = _unit(query) * self._key_size**-0.5
    return (query, _unit(key), value, beta, self._log_decay(x)), x

  @nn.nowrap
  def _by_step(self, written, size):
    """Returns [.. H P*size] as [.. P H size]."""
    written = written.reshape(*written.shape[:-1], self.num_steps, size)
    return jnp.moveaxis(written, -2, -3)


class ChannelDecay(nn.Module):
  """log a_t = -exp(r_h) softplus(x_t + b), of every key channel of every head.

  Rates exp(r) begin uniform in 1..16, softplus(b) log-uniform in 0.001..0.1.
  """

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'B *T H K']) -> Float[Array, 'B *T H K']:
    dtype, shape = carry_dtype(self.dtype), x.shape[-2:]
    bias = self.param('bias', step_bias, shape, self.param_dtype)
    log_rate = self.param(
      'log_rate', log_of_uniform(1.0, 16.0), shape[:1], self.param_dtype
    )
    bias = jnp.broadcast_to(bias.astype(dtype), x.shape)
    rate = jnp.exp(log_rate.astype(dtype))[:, None]
    return -jnp.broadcast_to(rate, x.shape) * nn.softplus(x + bias)


class KDA(DeltaNet):
  """S_t = (I - beta_t k_t k_t^T) diag(a_t) S_{t-1} + beta_t k_t v_t^T.

  Kimi delta attention (Kimi Team, 2025, section 3): DeltaNet with a decay a_t
  for every key channel, log a_t = -exp(r_h) softplus(W_2 W_1 x_t + b), and an
  output W_o (norm(y_t) * sigmoid(V_2 V_1 x_t + c)). The ranks of both maps are
  the size of a value. As in fla-org/flash-linear-attention at bc3b101, whose
  heads have 128 numbers. Other options are those of `DeltaNet`.

  Attributes:
    expand: H V / D.
  """

  expand: int = 1

  def setup(self):
    super().setup()
    self.decay_narrow = self._dense(self._value_size)
    self.decay = self._split(self._key_size)
    self.channel_decay = ChannelDecay(**self._types)
    self.gate_narrow = self._dense(self._value_size)
    self.gate = self._split(self._value_size, use_bias=True)

  @nn.nowrap
  def _log_decay(self, x):
    return self.channel_decay(self.decay(self.decay_narrow(x)))

  @nn.nowrap
  def _output(self, states, x):
    gate = nn.sigmoid(self.gate(self.gate_narrow(x)))
    return self.out(self.norm(states) * gate)


def _unit(x):
  """Divides by the norm; zero stays zero, with a gradient."""
  squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(squares + 1e-6)
