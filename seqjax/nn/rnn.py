"""Recurrent networks that read one position after the other."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import CausalMixer, carry_dtype
from seqjax.ops import recurrence
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class Elman(CausalMixer):
  """h_t = tanh(W x_t + U h_{t-1} + b), and h_t is the output (Elman, 1990)."""

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    self.weights = recurrence.ElmanWeights(
      *_kernels(self, num_gates=1),
      self.param(
        'bias', nn.initializers.zeros, (self.features,), self.param_dtype
      ),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B D']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    carry = recurrence.elman_step(_cast(self.weights, self.dtype), carry, x_t)
    return carry, carry.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    segments_lib.check(segments, *x.shape[:2])
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.elman(weights, carry, x, segments)
    return carry, states.astype(self.dtype)


class GRU(CausalMixer):
  """A gated recurrence with one state (Cho et al., 2014); see `gru_step`."""

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    zeros, size = nn.initializers.zeros, self.features
    self.weights = recurrence.GRUWeights(
      *_kernels(self, num_gates=3),
      self.param('bias', zeros, (3 * size,), self.param_dtype),
      self.param('candidate_bias', zeros, (size,), self.param_dtype),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B D']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    carry = recurrence.gru_step(_cast(self.weights, self.dtype), carry, x_t)
    return carry, carry.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    segments_lib.check(segments, *x.shape[:2])
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.gru(weights, carry, x, segments)
    return carry, states.astype(self.dtype)


class LSTM(CausalMixer):
  """A gated recurrence with a protected cell; see `lstm_step`.

  Attributes:
    forget_bias: where the forget gates' biases begin (Gers et al., 2000).
    max_lag: when given, chrono initialisation instead (Tallec & Ollivier,
      2018, eq. 16): b_f = log U(1, max_lag - 1), b_i = -b_f, so that memories
      last up to about max_lag positions from the start.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  forget_bias: float = 1.0
  max_lag: int | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.max_lag is not None and self.max_lag < 3:
      raise ValueError(
        'Chrono initialisation spreads memories over 1..max_lag - 1 and needs '
        f'max_lag of at least 3, but max_lag={self.max_lag} was given.'
      )

  def setup(self):
    self.weights = recurrence.LSTMWeights(
      *_kernels(self, num_gates=4),
      self.param(
        'bias', self._init_bias, (4 * self.features,), self.param_dtype
      ),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> recurrence.LSTMCarry:
    zeros = jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))
    return recurrence.LSTMCarry(cell=zeros, hidden=zeros)

  def step(self, carry, x_t):
    carry = recurrence.lstm_step(_cast(self.weights, self.dtype), carry, x_t)
    return carry, carry.hidden.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    segments_lib.check(segments, *x.shape[:2])
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.lstm(weights, carry, x, segments)
    return carry, states.astype(self.dtype)

  @nn.nowrap
  def _init_bias(self, key, shape, dtype):
    zeros = jnp.zeros((self.features,), dtype)
    if self.max_lag is None:
      forget, enter = zeros + self.forget_bias, zeros
    else:
      lags = jax.random.uniform(
        key, zeros.shape, dtype, minval=1, maxval=self.max_lag - 1
      )
      forget, enter = jnp.log(lags), -jnp.log(lags)
    return jnp.concatenate([enter, forget, zeros, zeros])


def _kernels(module: nn.Module, num_gates: int):
  """Input and recurrent kernels; each gate's recurrent block is orthogonal."""
  size, dtype = module.features, module.param_dtype
  orthogonal = nn.initializers.orthogonal()

  def init_recurrent(key, shape, dtype):
    keys = jax.random.split(key, num_gates)
    blocks = [orthogonal(k, (size, size), dtype) for k in keys]
    return jnp.concatenate(blocks, axis=1)

  shape = size, num_gates * size
  return (
    module.param('input', nn.initializers.lecun_normal(), shape, dtype),
    module.param('recurrent', init_recurrent, shape, dtype),
  )


def _cast(weights, dtype):
  return jax.tree.map(lambda w: w.astype(dtype), weights)
