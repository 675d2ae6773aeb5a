"""Attention without softmax: a matrix a head gathers k_t v_t^T and forgets."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.nn.layers import NORM_EPSILON, RecomputedRMSNorm
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_heads,
  check_sizes,
  check_step,
  check_unroll,
  choose_heads,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_attention import (
  check_algorithm,
  gated_outer,
  gated_outer_step,
)
from seqjax.ops.positions import rotate
from seqjax.typing import Array, Segments

NORMS = ('rms', 'layer')


def check_norm(kind: str):
  """Raises ValueError unless `kind` is one of NORMS."""
  if kind not in NORMS:
    raise ValueError(unknown('norm', kind, NORMS))


class MatrixStateMixer(CausalMixer):
  """Heads with a state [K V] each, and the projections into and out of them.

  A subclass has the field `key_size`, or says K as `_key_size`; and the field
  `expand`, H V / D, if it is not one.

  Attributes:
    algorithm: how the op of `ops.linear_attention` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
  """

  algorithm: str = 'auto'
  num_heads: int | None = None

  expand = 1

  def __post_init__(self):
    choose_heads(self)
    super().__post_init__()
    check_algorithm(self.algorithm)
    check_heads(self)
    check_sizes(self, 'key_size', 'state_size', 'expand', 'kernel_size', 'rank')

  @property
  def _value_size(self) -> int:
    return self.expand * self.features // self.num_heads

  @property
  def _key_size(self) -> int:
    if self.key_size is None:
      return self.features // self.num_heads
    return self.key_size

  @nn.nowrap
  def _dense(self, size: int, **options) -> nn.Dense:
    return nn.Dense(size, **self._types, **{'use_bias': False} | options)

  @nn.nowrap
  def _split(self, size: int, **options) -> nn.DenseGeneral:
    """Features [.. D] to heads [.. H `size`]."""
    shape = self.num_heads, size
    options = {'use_bias': False} | options
    return nn.DenseGeneral(shape, **self._types, **options)

  @nn.nowrap
  def _merge(self) -> nn.DenseGeneral:
    """Heads [.. H V] to features [.. D]."""
    return nn.DenseGeneral(
      self.features, axis=(-2, -1), use_bias=False, **self._types
    )

  @nn.nowrap
  def _head_norm(self) -> nn.Module:
    """Normalizes every head [V] for itself, by the norm that `norm` names."""
    if self.norm_kind == 'rms':  # one scale for all heads
      return RecomputedRMSNorm(epsilon=NORM_EPSILON, **self._types)
    return nn.LayerNorm(
      epsilon=NORM_EPSILON,
      reduction_axes=-1,
      feature_axes=(-2, -1),
      use_fast_variance=False,
      **self._types,
    )

  @nn.nowrap
  def _zero_state(self, batch_size: int) -> Float[Array, 'B H K V']:
    shape = batch_size, self.num_heads, self._key_size, self._value_size
    return jnp.zeros(shape, carry_dtype(self.dtype))


def with_ones(value: Float[Array, '*B V']) -> Float[Array, '*B V+1']:
  """Values with a last entry of one, which gathers the keys themselves."""
  ones = jnp.ones((*value.shape[:-1], 1), value.dtype)
  return jnp.concatenate([value, ones], axis=-1)


def with_normalizer(
  state: Float[Array, 'B H K V'], normalizer: Float[Array, 'B H K']
) -> Float[Array, 'B H K V+1']:
  """Returns the state that values with a one would have written."""
  return jnp.concatenate([state, normalizer[..., None]], axis=-1)


class LinearAttentionCarry(NamedTuple):
  """Sums over the segment of phi(k_t) v_t^T, and of phi(k_t)."""

  state: Float[Array, 'B H K V']
  normalizer: Float[Array, 'B H K']


class LinearAttention(MatrixStateMixer):
  """y_t = S_t^T phi(q_t) / (z_t . phi(q_t)), with phi(x) = elu(x) + 1.

  S_t = S_{t-1} + phi(k_t) v_t^T and z_t = z_{t-1} + phi(k_t) (Katharopoulos et
  al., 2020, eqs. 7 and 16 to 20); heads are merged by W_o. The denominator is
  at least 1e-6, as in the authors' code.

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    key_size: numbers in a key; None: as many as in a value, D / H.
  """

  key_size: int | None = None

  def setup(self):
    self.query, self.key = (self._split(self._key_size) for _ in range(2))
    self.value, self.out = self._split(self._value_size), self._merge()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> LinearAttentionCarry:
    state = self._zero_state(batch_size)
    return LinearAttentionCarry(state, jnp.zeros_like(state[..., 0]))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    state, y_t = gated_outer_step(
      with_normalizer(*carry), *self._coefficients(x_t)
    )
    return self._unpack(state), self._read(y_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    state, y = gated_outer(
      with_normalizer(*carry),
      *self._coefficients(x),
      segments,
      algorithm=self.algorithm,
    )
    y = segments_lib.zero_padding(self._read(y), segments)
    return self._unpack(state), y

  @nn.nowrap
  def _coefficients(self, x):
    """phi(q_t), phi(k_t), v_t with a one, and no decay."""
    query, key = nn.elu(self.query(x)) + 1, nn.elu(self.key(x)) + 1
    no_decay = jnp.zeros_like(key[..., 0])
    return query, key, with_ones(self.value(x)), no_decay

  @nn.nowrap
  def _unpack(self, state):
    return LinearAttentionCarry(state[..., :-1], state[..., -1])

  @nn.nowrap
  def _read(self, y):
    y, normalizer = y[..., :-1], y[..., -1:]
    return self.out((y / (normalizer + 1e-6)).astype(self.dtype))


class RetentionCarry(NamedTuple):
  """The state, and how many valid positions the segment has had."""

  state: Float[Array, 'B H K V']
  count: Int[Array, 'B']


class Retention(MatrixStateMixer):
  """S_t = gamma_h S_{t-1} + k_t v_t^T with gamma_h = 1 - 2^(-5 - h).

  Queries and keys turn with the position (Sun et al., 2023, eqs. 3, 5 and 6;
  by pairs of halves and with rotary frequencies), k_t is divided by sqrt(K),
  and the output is W_o (silu(W_g x_t) * norm(S_t^T q_t)), every head normalised
  for itself (eq. 8).

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where keys
      of D / 2H numbers would not come out whole.
    key_size: numbers in a key, even; None: D / H.
    expand: H V / D; 2 as in the paper and in fla-org/flash-linear-attention.
    norm_kind: 'rms', as in that code, or 'layer', as in the paper.
  """

  key_size: int | None = None
  expand: int = 2
  norm_kind: str = 'rms'

  def __post_init__(self):
    choose_heads(self, even=self.key_size is None)
    super().__post_init__()
    check_norm(self.norm_kind)
    if self._key_size % 2:
      raise ValueError(
        'Retention turns pairs of entries and needs an even key_size, but it '
        f'is {self._key_size}; set key_size, or change features or num_heads.'
      )

  def setup(self):
    self.query, self.key = (self._split(self._key_size) for _ in range(2))
    self.value, self.gate = (self._split(self._value_size) for _ in range(2))
    self.norm, self.out = self._head_norm(), self._merge()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> RetentionCarry:
    count = jnp.zeros((batch_size,), jnp.int32)
    return RetentionCarry(self._zero_state(batch_size), count)

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    place, x = carry.count[:, None], x_t[:, None]
    coefficients = (array[:, 0] for array in self._coefficients(x, place))
    state, y_t = gated_outer_step(carry.state, *coefficients)
    return RetentionCarry(state, carry.count + 1), self._read(y_t, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    count, places = segments_lib.positions(carry.count, segments, x.shape[1])
    state, y = gated_outer(
      carry.state,
      *self._coefficients(x, places),
      segments,
      algorithm=self.algorithm,
    )
    y = segments_lib.zero_padding(self._read(y, x), segments)
    return RetentionCarry(state, count), y

  @nn.nowrap
  def _coefficients(self, x, places):
    """q_t and k_t, turned, v_t, and log gamma at every position."""
    query, key = rotate(self.query(x), places), rotate(self.key(x), places)
    log_decay = np.log1p(-(2.0 ** (-5 - np.arange(self.num_heads))))
    log_decay = jnp.asarray(log_decay, carry_dtype(self.dtype))
    log_decay = jnp.broadcast_to(log_decay, key.shape[:-1])
    return query, key * self._key_size**-0.5, self.value(x), log_decay

  @nn.nowrap
  def _read(self, y, x):
    return self.out(nn.silu(self.gate(x)) * self.norm(y))


class GLA(MatrixStateMixer):
  """S_t = diag(alpha_t) S_{t-1} + k_t v_t^T: every key channel has its decay.

  Gated linear attention (Yang et al., 2024, section 4.4): alpha_t is the 16th
  root of sigmoid(W_2 W_1 x_t + b), q_t is divided by sqrt(K), and the output
  is W_o (silu(W_r x_t) * norm(S_t^T q_t)), every head normalised for itself. As
  in fla-org/flash-linear-attention at 0c4ada1 the gate has no bias b_r, and the
  norm is RMS; the paper has the former and a layer norm.

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    key_size: numbers in a key; None: half as many as in a value, D / 2H.
    rank: of the map from inputs to decays.
    norm_kind: 'rms' (the code) or 'layer' (the paper).
  """

  key_size: int | None = None
  rank: int = 16
  norm_kind: str = 'rms'

  def __post_init__(self):
    super().__post_init__()
    check_norm(self.norm_kind)

  def setup(self):
    self.query, self.key = (self._split(self._key_size) for _ in range(2))
    self.value = self._split(self._value_size)
    self.gate = self._split(self._value_size)
    self.narrow = self._dense(self.rank)
    self.decay = self._split(self._key_size, use_bias=True)
    self.norm, self.out = self._head_norm(), self._merge()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B H K V']:
    return self._zero_state(batch_size)

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry, y_t = gated_outer_step(carry, *self._coefficients(x_t))
    return carry, self._read(y_t, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    carry, y = gated_outer(
      carry, *self._coefficients(x), segments, algorithm=self.algorithm
    )
    return carry, segments_lib.zero_padding(self._read(y, x), segments)

  @property
  def _key_size(self) -> int:
    return self.key_size or (self._value_size + 1) // 2

  @nn.nowrap
  def _coefficients(self, x):
    """q_t, k_t, v_t and log alpha_t."""
    query = self.query(x) * self._key_size**-0.5
    logit = self.decay(self.narrow(x)).astype(carry_dtype(self.dtype))
    return query, self.key(x), self.value(x), nn.log_sigmoid(logit) / 16

  @nn.nowrap
  def _read(self, y, x):
    return self.out(nn.silu(self.gate(x)) * self.norm(y))
