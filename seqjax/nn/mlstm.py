"""The LSTM with a matrix for a cell."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.linear_attention import (
  MatrixStateMixer,
  with_normalizer,
  with_ones,
)
from seqjax.nn.mixer import carry_dtype, check_step, check_unroll
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_attention import gated_outer, gated_outer_step
from seqjax.ops.linear_recurrence import (
  stabilized_gates,
  stabilized_gates_step,
)
from seqjax.typing import Array, Segments


class MLSTMCarry(NamedTuple):
  """The paper's C_t and n_t divided by exp(m_t), and m_t; first all zeros."""

  state: Float[Array, 'B H K V']
  normalizer: Float[Array, 'B H K']
  maximum: Float[Array, 'B H']


class MLSTM(MatrixStateMixer):
  """C_t = f_t C_{t-1} + i_t k_t v_t^T, n_t = f_t n_{t-1} + i_t k_t.

  h_t = o_t * C_t^T q_t / max(|n_t . q_t|, 1), with i_t = exp, f_t and o_t =
  sigmoid of projections of the input, k_t divided by sqrt(K) (Beck et al.,
  2024, eqs. 19 to 27); heads are merged by W_o. C and n are kept divided by
  exp(m_t), m_t = max(log f_t + m_{t-1}, log i_t), m_0 = 0 (eqs. 15 to 17 and
  appendix A.2). The convolution, the norm and the skip around it belong to the
  paper's block (figure 11).

  Attributes:
    algorithm: how `gated_outer` computes it.
    num_heads: how many heads share the features.
    key_size: numbers in a key; None: as many as in a value, D / H.
  """

  key_size: int | None = None

  def setup(self):
    self.query = self._split(self._key_size, use_bias=True)
    self.key = self._split(self._key_size, use_bias=True)
    self.value = self._split(self._value_size, use_bias=True)
    self.output_gate = self._split(self._value_size, use_bias=True)
    self.gates = self._dense(
      2 * self.num_heads, use_bias=True, bias_init=_init_gate_bias
    )
    self.out = self._merge()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> MLSTMCarry:
    state = self._zero_state(batch_size)
    normalizer = jnp.zeros_like(state[..., 0])
    return MLSTMCarry(state, normalizer, jnp.zeros_like(state[..., 0, 0]))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    gates = stabilized_gates_step(carry.maximum, *self._log_gates(x_t))
    matrix, y_t = gated_outer_step(
      with_normalizer(carry.state, carry.normalizer),
      *self._coefficients(x_t, gates),
    )
    carry = MLSTMCarry(matrix[..., :-1], matrix[..., -1], gates.maximum)
    return carry, self._read(y_t, gates.maximum, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    maximum, gates = stabilized_gates(
      carry.maximum, *self._log_gates(x), segments
    )
    matrix, y = gated_outer(
      with_normalizer(carry.state, carry.normalizer),
      *self._coefficients(x, gates),
      segments,
      algorithm=self.algorithm,
    )
    carry = MLSTMCarry(matrix[..., :-1], matrix[..., -1], maximum)
    y = self._read(y, gates.maximum, x)
    return carry, segments_lib.zero_padding(y, segments)

  def _log_gates(self, x):
    """log f_t and log i_t."""
    gates = self.gates(x).astype(carry_dtype(self.dtype))
    log_input, forget = jnp.split(gates, 2, axis=-1)
    return nn.log_sigmoid(forget), log_input

  def _coefficients(self, x, gates):
    """q_t, k_t times its gate, v_t with a one, and the log forget gate."""
    scale = jnp.exp(gates.log_input) * self._key_size**-0.5
    key = self.key(x).astype(scale.dtype) * scale[..., None]
    return self.query(x), key, with_ones(self.value(x)), gates.log_forget

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
  """Begins input gates at 1, forget gates at sigmoid(3) to sigmoid(6)."""
  num_heads = shape[0] // 2
  forget = jnp.linspace(3, 6, num_heads, dtype=dtype)
  return jnp.concatenate([jnp.zeros_like(forget), forget])
