"""RWKV-7: an associative memory that removes at one key and adds at another."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from seqjax.nn.initializers import uniform_within, wide
from seqjax.nn.linear_attention import MatrixStateMixer
from seqjax.nn.mixer import carry_dtype, check_sizes, check_step, check_unroll
from seqjax.ops import segments as segments_lib
from seqjax.ops.convolution import (
  depthwise_convolution,
  depthwise_convolution_step,
)
from seqjax.ops.linear_attention import delta_rule, delta_rule_step
from seqjax.typing import Array, Segments

# What the six maps of the inputs are for, and the power by which their share of
# the position before begins, 1 - (n / D)^power for feature n.
SHIFTS = {
  'receptance': 0.2,
  'decay': 0.9,
  'key': 0.7,
  'value': 0.7,
  'rate': 0.9,
  'gate': 0.2,
}


class RWKV7Carry(NamedTuple):
  """The input of the position before, and the state."""

  window: Float[Array, 'B 1 D']
  state: Float[Array, 'B H K V']


class RWKV7(MatrixStateMixer):
  """S_t = (diag(w_t) - (a_t * r_t) r_t^T) S_{t-1} + k_t v_t^T.

  The time mixing of Peng et al. (2025, section 4.1). Each of six maps reads x_t
  + mu * (x_{t-1} - x_t), with a mu of its own. Keys k_t = W_k x; removal keys
  r_t = k_t * xi of norm 1; the rate a_t = sigmoid(A_2 A_1 x + b); the decay w_t
  = exp(-exp(-1/2) sigmoid(D_2 tanh(D_1 x) + d)); what is added has the key k_t
  * (1 + alpha (a_t - 1)). The output is W_o (g_t * (norm(S_t^T q_t) + (q_t .
  (rho * k_t)) v_t)) with g_t = G_2 sigmoid(G_1 x), a layer norm of every head
  and epsilon 1e-5 V. As in the authors' code (BlinkDL/RWKV-LM at 118e451,
  `train_temp/src/model.py`), where parameters begin as here for the first
  layer; but W_o begins at zero there, which would hide a layer that stands
  alone. What that code has beside, a share of the first layer's values in those
  of later ones, a layer alone cannot have.

  Attributes:
    algorithm: how `delta_rule` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    rank: of the maps to decays and rates; None: the authors' 2.5 sqrt(D), in
      multiples of 32 and at least that.
    gate_rank: of the map to gates; None: their 5 sqrt(D), likewise.
  """

  rank: int | None = None
  gate_rank: int | None = None

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'gate_rank')

  def setup(self):
    size, dtype = self.features, self.param_dtype
    inverse = size**-0.5
    rank = self.rank or _suggested(2.5, size)
    gate_rank = self.gate_rank or _suggested(5.0, size)
    self.shift = self.param('shift', _shares, (len(SHIFTS), size), dtype)
    self.receptance = self._wide(0.5 * inverse)
    self.key = self._wide(0.05 * inverse)
    self.value = self._wide(0.5 * inverse)
    zeros = nn.initializers.zeros
    narrow = {'kernel_init': zeros}
    self.decay_narrow = self._dense(rank, **narrow)
    self.decay = self._widen(rank, bias_init=self._first_decay)
    self.rate_narrow = self._dense(rank, **narrow)
    self.rate = self._widen(rank, bias_init=self._first_rate)
    self.gate_narrow = self._dense(gate_rank, **narrow)
    self.gate = self._widen(gate_rank, use_bias=False)
    heads = self.num_heads, self._key_size
    constant = nn.initializers.constant
    self.removal_scale = self.param(
      'removal_scale', _first_removal, heads, dtype
    )
    self.rate_scale = self.param('rate_scale', constant(1.02), heads, dtype)
    self.bonus = self.param('bonus', constant(-0.04), heads, dtype)
    self.norm = nn.LayerNorm(
      epsilon=1e-5 * self._value_size,
      reduction_axes=-1,
      feature_axes=(-2, -1),
      use_fast_variance=False,
      **self._types,
    )
    self.out = self._merge()

  @property
  def _key_size(self) -> int:
    return self.features // self.num_heads

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> RWKV7Carry:
    window = jnp.zeros((batch_size, 1, self.features), carry_dtype(self.dtype))
    return RWKV7Carry(window, self._zero_state(batch_size))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    window, before = depthwise_convolution_step(
      carry.window, x_t, self._previous
    )
    coefficients, removal, rest = self._coefficients(x_t, before)
    state, y_t = delta_rule_step(carry.state, *coefficients, removal)
    return RWKV7Carry(window, state), self._read(y_t, *rest)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    window, before = depthwise_convolution(
      carry.window, x, self._previous, segments
    )
    coefficients, removal, rest = self._coefficients(x, before)
    state, y = delta_rule(
      carry.state,
      *coefficients,
      segments,
      removal=removal,
      algorithm=self.algorithm,
    )
    y = segments_lib.zero_padding(self._read(y, *rest), segments)
    return RWKV7Carry(window, state), y

  @property
  def _previous(self) -> Float[Array, '2 D']:
    """The taps that read the position before."""
    taps = np.repeat([[0.0], [1.0]], self.features, axis=1)
    return jnp.asarray(taps, self.dtype)

  @nn.nowrap
  def _coefficients(self, x, before):
    """q, k, v, a and log w; removal keys; and what the output needs."""
    x = x.astype(self.dtype)
    difference = before.astype(self.dtype) - x
    shares = self.shift.astype(self.dtype)
    for_query, for_decay, for_key, for_value, for_rate, for_gate = (
      x + jnp.broadcast_to(share, x.shape) * difference for share in shares
    )
    dtype = carry_dtype(self.dtype)
    query, key = self.receptance(for_query), self.key(for_key)
    value = self.value(for_value)
    logit = self.decay(jnp.tanh(self.decay_narrow(for_decay))).astype(dtype)
    rate = nn.sigmoid(self.rate(self.rate_narrow(for_rate)).astype(dtype))
    gate = self.gate(nn.sigmoid(self.gate_narrow(for_gate)))
    key = key.astype(dtype)
    removal = _unit(key * self._all(self.removal_scale, key))
    key = key * (1 + self._all(self.rate_scale, key) * (rate - 1))
    log_decay = -np.exp(-0.5).astype(dtype) * nn.sigmoid(logit)
    bonus = query * key * self._all(self.bonus, key)
    rest = jnp.sum(bonus, axis=-1, keepdims=True) * value, gate
    return (query, key, value, rate, log_decay), removal, rest

  @nn.nowrap
  def _read(self, y, bonus, gate):
    y = self.norm(y) + bonus.astype(self.dtype)
    return self.out(y * gate)

  @nn.nowrap
  def _all(self, parameter, like):
    """Gives every position a parameter of the heads."""
    return jnp.broadcast_to(parameter.astype(like.dtype), like.shape)

  @nn.nowrap
  def _wide(self, limit: float) -> nn.DenseGeneral:
    return self._split(self._key_size, kernel_init=uniform_within(limit))

  @nn.nowrap
  def _widen(self, rank: int, **options) -> nn.DenseGeneral:
    scale = 0.1 * max(1.0, rank / self.features) ** 0.5
    init = nn.initializers.orthogonal(scale)
    options = {'use_bias': True, 'kernel_init': wide(init)} | options
    return self._split(self._key_size, **options)

  @nn.nowrap
  def _first_decay(self, key, shape, dtype):
    """From slow to fast over the features, and in every head anew."""
    place = _places(self.features)
    zigzag = _zigzag(self.features, self._key_size)
    return jnp.asarray(-6 + 6 * place + 0.5 + 2.5 * zigzag, dtype)

  @nn.nowrap
  def _first_rate(self, key, shape, dtype):
    zigzag = _zigzag(self.features, self._key_size)
    linear = _places(self.features) - 0.5
    return jnp.asarray(-0.19 + 0.3 * zigzag + 0.4 * linear, dtype)


def _suggested(factor: float, features: int) -> int:
  return max(32, round(factor * features**0.5 / 32) * 32)


def _places(size: int) -> np.ndarray:
  """Numbers from 0 to 1."""
  return np.arange(size) / max(size - 1, 1)


def _zigzag(size: int, head_size: int) -> np.ndarray:
  """Signed squares of numbers from -1 to 1, in every head."""
  place = 2 * _places(head_size) - (head_size > 1)
  return np.tile(place * np.abs(place), size // head_size)


def _shares(key, shape, dtype):
  """Shares of the position before, a row for each of SHIFTS."""
  place = np.arange(shape[1]) / shape[1]
  rows = [1 - place**power for power in SHIFTS.values()]
  return jnp.asarray(np.stack(rows), dtype)


def _first_removal(key, shape, dtype):
  linear = _places(shape[0] * shape[1]) - 0.5
  return jnp.asarray((0.71 - 0.1 * linear).reshape(shape), dtype)


def _unit(x):
  """Divides by the norm, of at least 1e-6, so that zero has a gradient."""
  squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))
