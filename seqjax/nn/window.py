"""The tau-Markov model: what is older than a window does not exist."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import CausalMixer, carry_dtype
from seqjax.ops import segments as segments_lib
from seqjax.ops.convolution import (
  add_bias,
  causal_convolution,
  causal_convolution_step,
)
from seqjax.typing import Array, Segments


class WindowMLP(CausalMixer):
  """A multilayer perceptron on the last tau positions, the present included.

  y_t = W_2 relu(W_1 [x_{t-tau+1}, ..., x_t] + b_1) + b_2, with zeros before
  the beginning (Bengio et al., 2003, without the direct connections).

  Attributes:
    tau: how many positions it sees.
    hidden: width of the hidden layer; None: `features`.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  tau: int = 16
  hidden: int | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.tau < 1 or (self.hidden is not None and self.hidden < 1):
      raise ValueError(
        'WindowMLP needs tau and hidden of at least 1, but '
        f'tau={self.tau} and hidden={self.hidden} were given.'
      )

  def setup(self):
    hidden = self.hidden or self.features
    # Fan-in counts all taps, as for the one matrix that they are.
    init = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')
    self.kernel = self.param(
      'kernel', init, (self.tau, self.features, hidden), self.param_dtype
    )
    self.bias = self.param(
      'bias', nn.initializers.zeros, (hidden,), self.param_dtype
    )
    self.out = nn.Dense(
      self.features, dtype=self.dtype, param_dtype=self.param_dtype
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B W D']:
    return jnp.zeros(
      (batch_size, self.tau - 1, self.features), carry_dtype(self.dtype)
    )

  def step(self, carry, x_t):
    carry, y_t = causal_convolution_step(
      carry, x_t, self.kernel.astype(self.dtype)
    )
    return carry, self._finish(y_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    segments_lib.check(segments, *x.shape[:2])
    carry, y = causal_convolution(
      carry, x, self.kernel.astype(self.dtype), segments
    )
    return carry, segments_lib.zero_padding(self._finish(y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self.tau

  def _finish(self, y):
    return self.out(nn.relu(add_bias(y, self.bias.astype(self.dtype))))
