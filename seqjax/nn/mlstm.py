"""The LSTM with a matrix for a cell."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import unknown
from seqjax.nn.linear_attention import (
  MatrixStateMixer,
  with_normalizer,
  with_ones,
)
from seqjax.nn.mixer import carry_dtype, check_step, check_unroll
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_attention import gated_outer, gated_outer_step
from seqjax.ops.stabilized_gates import (
  stabilized_gates,
  stabilized_gates_step,
)
from seqjax.typing import Array, Segments

GATE_INPUTS = ('qkv', 'x')


class MLSTMCarry(NamedTuple):
  """The paper's C_t and n_t divided by exp(m_t), and m_t; first all zeros."""

  state: Float[Array, 'B H K V']
  normalizer: Float[Array, 'B H K']
  maximum: Float[Array, 'B H']


class MLSTM(MatrixStateMixer):
  """C_t = f_t C_{t-1} + i_t k_t v_t^T, n_t = f_t n_{t-1} + i_t k_t.

  h_t = o_t * C_t^T q_t / max(|n_t . q_t|, 1), with i_t = exp and f_t = sigmoid
  of projections of q_t, k_t and v_t that begin at zero, as in the authors' code
  (NX-AI/xlstm at 3bef42e), o_t = sigmoid of one of the input, and k_t divided
  by sqrt(K) (Beck et al., 2024, eqs. 19 to 27); heads are merged by W_o. C and
  n are kept divided by exp(m_t), m_t = max(log f_t + m_{t-1}, log i_t), m_0 = 0
  (eqs. 15 to 17 and appendix A.2). The convolution, the norm and the skip
  around it belong to the paper's block (figure 11).

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features; None: 2, or 1 where the
      features do not split evenly.
    key_size: numbers in a key; None: D / H.
    gate_input: what i_t and f_t are projected from: 'qkv', as in the code, or
      'x', as in the paper.
  """

  key_size: int | None = None
  gate_input: str = 'qkv'

  def __post_init__(self):
    super().__post_init__()
    if self.gate_input not in GATE_INPUTS:
      raise ValueError(unknown('gate input', self.gate_input, GATE_INPUTS))

  def setup(self):
    self.query = self._split(self._key_size, use_bias=True)
    self.key = self._split(self._key_size, use_bias=True)
    self.value = self._split(self._value_size, use_bias=True)
    self.output_gate = self._split(self._value_size, use_bias=True)
    self.gates = self._dense(
      2 * self.num_heads,
      use_bias=True,
      kernel_init=nn.initializers.zeros,
      bias_init=_init_gate_bias,
    )
    self.out = self._merge()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> MLSTMCarry:
    state = self._zero_state(batch_size)
    normalizer = jnp.zeros_like(state[..., 0])
    return MLSTMCarry(state, normalizer, jnp.zeros_like(state[..., 0, 0]))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    projections = self._project(x_t)
    log_gates = self._log_gates(x_t, projections)
    gates = stabilized_gates_step(carry.maximum, *log_gates)
    matrix, y_t = gated_outer_step(
      with_normalizer(carry.state, carry.normalizer),
      *self._coefficients(projections, gates),
    )
    carry = MLSTMCarry(matrix[..., :-1], matrix[..., -1], gates.maximum)
    return carry, self._read(y_t, gates.maximum, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    projections = self._project(x)
    maximum, gates = stabilized_gates(
      carry.maximum, *self._log_gates(x, projections), segments
    )
    matrix, y = gated_outer(
      with_normalizer(carry.state, carry.normalizer),
      *self._coefficients(projections, gates),
      segments,
      algorithm=self.algorithm,
    )
    carry = MLSTMCarry(matrix[..., :-1], matrix[..., -1], maximum)
    y = self._read(y, gates.maximum, x)
    return carry, segments_lib.zero_padding(y, segments)

  @nn.nowrap
  def _project(self, x):
    """q_t, k_t and v_t."""
    return self.query(x), self.key(x), self.value(x)

  @nn.nowrap
  def _log_gates(self, x, projections):
    """log f_t and log i_t."""
    if self.gate_input == 'qkv':
      heads = (jax.lax.collapse(array, x.ndim - 1) for array in projections)
      x = jnp.concatenate(list(heads), axis=-1)
    gates = self.gates(x).astype(carry_dtype(self.dtype))
    log_input, forget = jnp.split(gates, 2, axis=-1)
    return nn.log_sigmoid(forget), log_input

  @nn.nowrap
  def _coefficients(self, projections, gates):
    """q_t, k_t times its gate, v_t with a one, and the log forget gate."""
    scale = jnp.exp(gates.log_input) * self._key_size**-0.5
    query, key, value = projections
    key = key.astype(scale.dtype) * scale[..., None]
    return query, key, with_ones(value), gates.log_forget

  @nn.nowrap
  def _read(self, y, maximum, x):
    """Scales numerator and denominator by exp(min(m, 0)): none overflows.

    The floor stays where its square is a float32: far below |n . q| by then.
    """
    y = y * jnp.exp(jnp.minimum(maximum, 0))[..., None]
    floor = jnp.exp(-jnp.clip(maximum, 0, 40))
    denominator = jnp.maximum(jnp.abs(y[..., -1]), floor)
    hidden = (y[..., :-1] / denominator[..., None]).astype(self.dtype)
    return self.out(nn.sigmoid(self.output_gate(x)) * hidden)


def _init_gate_bias(key, shape, dtype):
  """Begins input gates near 1, forget gates at sigmoid(3) to sigmoid(6)."""
  num_heads = shape[0] // 2
  enter = 0.1 * jax.random.normal(key, (num_heads,), dtype)
  return jnp.concatenate([enter, jnp.linspace(3, 6, num_heads, dtype=dtype)])
