"""Recurrent networks that read one position after the other."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import unknown
from seqjax.nn import initializers
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_heads,
  check_sizes,
  check_step,
  check_unroll,
  choose_heads,
  input_width,
)
from seqjax.ops import recurrence
from seqjax.typing import Array, Segments

INITIALIZATIONS = {
  'orthogonal': nn.initializers.orthogonal(),
  'identity': initializers.identity,
  'spectral': initializers.spectral,
}
_LECUN = nn.initializers.lecun_normal()
_ORTHOGONAL = initializers.side_by_side(nn.initializers.orthogonal())

SLSTM_INITIALIZATIONS = {
  'zeros': nn.initializers.zeros,
  'orthogonal': _ORTHOGONAL,
}


class RecurrentMixer(CausalMixer):
  """A recurrence that may read inputs of another width than its states.

  Attributes:
    input_features: the number of features of the inputs; None: `features`,
      which are those of the outputs, as blocks need it.
  """

  input_features: int | None = None

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'input_features')


class Elman(RecurrentMixer):
  """h_t = tanh(W x_t + U h_{t-1} + b), and h_t is the output (Elman, 1990).

  The hidden layer of the paper's figure 2; its output weights are left to what
  reads h. See `elman_step`.

  Attributes:
    activation: 'tanh' or 'relu'.
    initialization: how U begins, times `spectral_radius`: 'orthogonal',
      'identity' (with relu: Le et al., 2015) or 'spectral', a Gaussian matrix
      divided by its spectral radius.
    spectral_radius: the largest absolute eigenvalue of U at first.
    algorithm: how `ops.recurrence` computes whole sequences.
  """

  activation: str = 'tanh'
  initialization: str = 'orthogonal'
  spectral_radius: float = 1.0
  algorithm: str = 'auto'

  def __post_init__(self):
    super().__post_init__()
    recurrence.check_algorithm(self.algorithm)
    recurrence.check_activation(self.activation)
    if self.initialization not in INITIALIZATIONS:
      raise ValueError(
        unknown('initialization', self.initialization, INITIALIZATIONS)
      )
    if not 0 < self.spectral_radius < math.inf:
      raise ValueError(
        'Elman needs a spectral_radius above 0 and finite, but '
        f'spectral_radius={self.spectral_radius} was given.'
      )

  def setup(self):
    self.weights = recurrence.ElmanWeights(
      *_kernels(self, 1, self._init_recurrent),
      self.param(
        'bias', nn.initializers.zeros, (self.features,), self.param_dtype
      ),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B D']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry = recurrence.elman_step(
      _cast(self.weights, self.dtype), carry, x_t, activation=self.activation
    )
    return carry, carry.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.elman(
      weights,
      carry,
      x,
      segments,
      activation=self.activation,
      algorithm=self.algorithm,
    )
    return carry, states.astype(self.dtype)

  @nn.nowrap
  def _init_recurrent(self, key, shape, dtype):
    init = initializers.side_by_side(INITIALIZATIONS[self.initialization])
    return self.spectral_radius * init(key, shape, dtype)


class GRU(RecurrentMixer):
  """A gated recurrence with one state (Cho et al., 2014); see `gru_step`.

  Attributes:
    max_lag: when given, chrono initialisation, as `LSTM` has it: the biases of
      the gates that keep the state begin at log U(1, max_lag - 1), so that
      memories last up to about max_lag positions from the start.
    algorithm: how `ops.recurrence` computes whole sequences.
  """

  max_lag: int | None = None
  algorithm: str = 'auto'

  def __post_init__(self):
    super().__post_init__()
    recurrence.check_algorithm(self.algorithm)
    _check_max_lag(self.max_lag)

  def setup(self):
    zeros, size = nn.initializers.zeros, self.features
    self.weights = recurrence.GRUWeights(
      *_kernels(self, num_gates=3),
      self.param('bias', self._init_bias, (3 * size,), self.param_dtype),
      self.param('candidate_bias', zeros, (size,), self.param_dtype),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B D']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry = recurrence.gru_step(_cast(self.weights, self.dtype), carry, x_t)
    return carry, carry.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.gru(
      weights, carry, x, segments, algorithm=self.algorithm
    )
    return carry, states.astype(self.dtype)

  @nn.nowrap
  def _init_bias(self, key, shape, dtype):
    if self.max_lag is None:
      return jnp.zeros(shape, dtype)
    zeros = jnp.zeros((self.features,), dtype)
    kept = _chrono_bias(key, zeros.shape, dtype, self.max_lag)
    return jnp.concatenate([zeros, kept, zeros])


class LSTM(RecurrentMixer):
  """c_t = f_t c_{t-1} + i_t g_t and h_t = o_t tanh(c_t), and h_t is the output.

  Hochreiter & Schmidhuber (1997, section 4), with tanh for both squashing
  functions and the forget gates of Gers et al. (2000); see `lstm_step`.

  Attributes:
    forget_bias: where the forget gates' biases begin (Gers et al., 2000).
    max_lag: when given, chrono initialisation instead (Tallec & Ollivier,
      2018, eq. 16): b_f = log U(1, max_lag - 1), b_i = -b_f, so that memories
      last up to about max_lag positions from the start.
    algorithm: how `ops.recurrence` computes whole sequences.
  """

  forget_bias: float = 1.0
  max_lag: int | None = None
  algorithm: str = 'auto'

  def __post_init__(self):
    super().__post_init__()
    recurrence.check_algorithm(self.algorithm)
    _check_finite(self, 'forget_bias')
    _check_max_lag(self.max_lag)

  def setup(self):
    self.weights = recurrence.LSTMWeights(
      *_kernels(self, num_gates=4),
      self.param(
        'bias', self._init_bias, (4 * self.features,), self.param_dtype
      ),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> recurrence.LSTMCarry:
    shape, dtype = (batch_size, self.features), carry_dtype(self.dtype)
    return recurrence.LSTMCarry(*(jnp.zeros(shape, dtype) for _ in range(2)))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry = recurrence.lstm_step(_cast(self.weights, self.dtype), carry, x_t)
    return carry, carry.hidden.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.lstm(
      weights, carry, x, segments, algorithm=self.algorithm
    )
    return carry, states.astype(self.dtype)

  @nn.nowrap
  def _init_bias(self, key, shape, dtype):
    zeros = jnp.zeros((self.features,), dtype)
    if self.max_lag is None:
      forget, enter = zeros + self.forget_bias, zeros
    else:
      forget = _chrono_bias(key, zeros.shape, dtype, self.max_lag)
      enter = -forget
    return jnp.concatenate([enter, forget, zeros, zeros])


class SLSTM(RecurrentMixer):
  """An LSTM with exponential gates and a normaliser; see `slstm_step`.

  The recurrence alone: the convolution, the norm and the projections around it
  belong to the paper's block (Beck et al., 2024, figure 10). Recurrent kernels
  and biases begin as in the authors' code (NX-AI/xlstm at 18d6ded).

  Attributes:
    num_heads: recurrent kernels are blocks on a diagonal, one per head; None:
      2, or 1 where the features do not split evenly.
    forget_gate: 'sigmoid' or 'exponential'.
    forget_bias: where the forget gates' biases begin; None: spread over every
      head from 5 to -7, by `initializers.spread_forget_bias`.
    initialization: how recurrent kernels begin: 'zeros' or 'orthogonal'.
    algorithm: how `ops.recurrence` computes whole sequences.
  """

  num_heads: int | None = None
  forget_gate: str = 'sigmoid'
  forget_bias: float | None = None
  initialization: str = 'zeros'
  algorithm: str = 'auto'

  def __post_init__(self):
    choose_heads(self)
    super().__post_init__()
    recurrence.check_algorithm(self.algorithm, recurrence.SLSTM_ALGORITHMS)
    recurrence.check_forget_gate(self.forget_gate)
    if self.forget_bias is not None:
      _check_finite(self, 'forget_bias')
    if self.initialization not in SLSTM_INITIALIZATIONS:
      raise ValueError(
        unknown('initialization', self.initialization, SLSTM_INITIALIZATIONS)
      )
    check_heads(self)

  def setup(self):
    size, dtype = self.features, self.param_dtype
    head_size = size // self.num_heads
    recurrent_shape = self.num_heads, head_size, 4 * head_size
    self.weights = recurrence.SLSTMWeights(
      self.param('input', _LECUN, (input_width(self), 4 * size), dtype),
      self.param(
        'recurrent',
        SLSTM_INITIALIZATIONS[self.initialization],
        recurrent_shape,
        dtype,
      ),
      self.param('bias', self._init_bias, (4 * size,), dtype),
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> recurrence.SLSTMCarry:
    shape, dtype = (batch_size, self.features), carry_dtype(self.dtype)
    return recurrence.SLSTMCarry(*(jnp.zeros(shape, dtype) for _ in range(4)))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry = recurrence.slstm_step(
      _cast(self.weights, self.dtype), carry, x_t, forget_gate=self.forget_gate
    )
    return carry, carry.hidden.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    weights = _cast(self.weights, self.dtype)
    carry, states = recurrence.slstm(
      weights,
      carry,
      x,
      segments,
      forget_gate=self.forget_gate,
      algorithm=self.algorithm,
    )
    return carry, states.astype(self.dtype)

  @nn.nowrap
  def _init_bias(self, key, shape, dtype):
    enter, forget, new, out = jnp.zeros((4, self.features), dtype)
    if self.forget_bias is None:
      spread = initializers.spread_forget_bias(self.features // self.num_heads)
      forget = spread(key, forget.shape, dtype)
    else:
      forget = forget + self.forget_bias
    return jnp.concatenate([enter, forget, new, out])


def _kernels(
  module: nn.Module, num_gates: int, init_recurrent: Callable = _ORTHOGONAL
):
  """Declares both kernels; each gate's recurrent block is its own."""
  size, dtype = module.features, module.param_dtype
  width = num_gates * size
  return (
    module.param('input', _LECUN, (input_width(module), width), dtype),
    module.param('recurrent', init_recurrent, (size, width), dtype),
  )


def _chrono_bias(
  key: jax.Array, shape: tuple[int, ...], dtype: Any, max_lag: int
) -> Float[Array, 'D']:
  """Draws log U(1, max_lag - 1) (Tallec & Ollivier, 2018, eq. 16)."""
  lags = jax.random.uniform(key, shape, dtype, minval=1, maxval=max_lag - 1)
  return jnp.log(lags)


def _check_max_lag(max_lag: int | None):
  """Raises ValueError for a range of lags that is empty."""
  if max_lag is not None and max_lag < 3:
    raise ValueError(
      'Chrono initialisation spreads memories over 1..max_lag - 1 and needs '
      f'max_lag of at least 3, but max_lag={max_lag} was given.'
    )


def _check_finite(module: nn.Module, name: str):
  """Raises ValueError for infinities and what is no number."""
  value = getattr(module, name)
  if not math.isfinite(value):
    raise ValueError(
      f'{type(module).__name__} needs a finite {name}, but {name}={value} was '
      'given.'
    )


def _cast(weights, dtype):
  return jax.tree.map(lambda w: w.astype(dtype), weights)
