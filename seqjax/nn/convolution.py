"""Causal convolutions: deep and dilated, short and gated, or one window."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_sizes,
  check_step,
  check_unroll,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.convolution import (
  add_bias,
  causal_convolution,
  causal_convolution_step,
  depthwise_convolution,
  depthwise_convolution_step,
)
from seqjax.typing import Array, Segments


class TCN(CausalMixer):
  """Dilated causal convolutions, x <- x + relu(conv(x)), doubling their reach.

  A temporal convolutional network of one convolution a level. That of Bai et
  al. (2018, section 3.4) has two, with weight normalisation and dropout inside,
  and a relu after the sum too: x <- relu(x + F(x)).

  Attributes:
    kernel_size: taps of each convolution.
    levels: how many; level i has dilation 2^i.
  """

  kernel_size: int = 3
  levels: int = 5

  def __post_init__(self):
    super().__post_init__()
    if self.kernel_size < 2 or not 1 <= self.levels <= 24:
      raise ValueError(
        'TCN needs kernel_size of at least 2 and levels of 1 to 24, but '
        f'kernel_size={self.kernel_size} and levels={self.levels} were given.'
      )

  def setup(self):
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
    zeros, size, dtype = nn.initializers.zeros, self.features, self.param_dtype
    shape, levels = (self.kernel_size, size, size), range(self.levels)
    self.kernels = [
      self.param(f'kernel_{i}', init, shape, dtype) for i in levels
    ]
    self.biases = [
      self.param(f'bias_{i}', zeros, (size,), dtype) for i in levels
    ]

  @nn.nowrap
  def initialize_carry(
    self, batch_size: int
  ) -> tuple[Float[Array, 'B _ D'], ...]:
    dtype = carry_dtype(self.dtype)
    sizes = ((self.kernel_size - 1) * dilation for dilation in self._dilations)
    return tuple(
      jnp.zeros((batch_size, size, self.features), dtype) for size in sizes
    )

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    return self._run_levels(causal_convolution_step, carry, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    convolve = functools.partial(causal_convolution, segments=segments)
    carry, y = self._run_levels(convolve, carry, x)
    return carry, segments_lib.zero_padding(y, segments)

  @property
  def receptive_field(self) -> int | None:
    return 1 + (self.kernel_size - 1) * sum(self._dilations)

  @property
  def _dilations(self) -> tuple[int, ...]:
    return tuple(2**i for i in range(self.levels))

  @nn.nowrap
  def _run_levels(self, convolve, carry, x):
    """Runs all levels, given the op for one position or many."""
    windows = []
    for i, dilation in enumerate(self._dilations):
      kernel, bias = (
        weights[i].astype(self.dtype) for weights in (self.kernels, self.biases)
      )
      window, y = convolve(carry[i], x, kernel, dilation=dilation)
      windows.append(window)
      x = x + nn.relu(add_bias(y, bias))
    return tuple(windows), x.astype(self.dtype)


class GatedConv(CausalMixer):
  """y = W_out (c * conv(b * v)) with b, c, v = W_in x: a gated short filter.

  The operator of order two of Poli et al. (2023, Hyena, definition 3.1), whose
  first filter is here the identity and whose second is a short explicit one, as
  in LFM2 (Liquid AI, 2025), and not long and implicit. There is no convolution
  before the gates, and nothing has a bias.

  Attributes:
    kernel_size: taps of the filter, the present included.
  """

  kernel_size: int = 3

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'kernel_size')

  def setup(self):
    init = nn.initializers.lecun_normal()  # fan-in counts the taps
    kernel_shape = self.kernel_size, self.features
    self.kernel = self.param('kernel', init, kernel_shape, self.param_dtype)
    self.gates = nn.Dense(3 * self.features, use_bias=False, **self._types)
    self.out = nn.Dense(self.features, use_bias=False, **self._types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B W D']:
    shape = batch_size, self.kernel_size - 1, self.features
    return jnp.zeros(shape, carry_dtype(self.dtype))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    before, after, value = jnp.split(self.gates(x_t), 3, axis=-1)
    carry, y_t = depthwise_convolution_step(
      carry, before * value, self.kernel.astype(self.dtype)
    )
    return carry, self.out(after * y_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    before, after, value = jnp.split(self.gates(x), 3, axis=-1)
    carry, y = depthwise_convolution(
      carry, before * value, self.kernel.astype(self.dtype), segments
    )
    return carry, segments_lib.zero_padding(self.out(after * y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self.kernel_size


class WindowMLP(CausalMixer):
  """A multilayer perceptron on the last tau positions, the present included.

  y_t = W_2 relu(W_1 [x_{t-tau+1}, ..., x_t] + b_1) + b_2, with zeros before
  the beginning: eq. 1 of Bengio et al. (2003), without the direct connections
  (their W = 0), with relu in the place of tanh.

  Attributes:
    tau: how many positions it sees.
    hidden: width of the hidden layer; None: `features`.
  """

  tau: int = 16
  hidden: int | None = None

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'tau', 'hidden')

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
    self.out = nn.Dense(self.features, **self._types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B W D']:
    return jnp.zeros(
      (batch_size, self.tau - 1, self.features), carry_dtype(self.dtype)
    )

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry, y_t = causal_convolution_step(
      carry, x_t, self.kernel.astype(self.dtype)
    )
    return carry, self._finish(y_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    carry, y = causal_convolution(
      carry, x, self.kernel.astype(self.dtype), segments
    )
    return carry, segments_lib.zero_padding(self._finish(y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self.tau

  @nn.nowrap
  def _finish(self, y):
    return self.out(nn.relu(add_bias(y, self.bias.astype(self.dtype))))
