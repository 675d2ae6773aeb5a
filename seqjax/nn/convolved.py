"""What mixers share that convolve briefly before they recur."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import CausalMixer, carry_dtype, check_step, check_unroll
from seqjax.ops import segments as segments_lib
from seqjax.ops.convolution import (
  add_bias,
  depthwise_convolution,
  depthwise_convolution_step,
)
from seqjax.typing import Array, Segments


class ConvolvedCarry(NamedTuple):
  """The last inputs of the convolution, and the state of the recurrence."""

  window: Float[Array, 'B W E']
  state: Float[Array, 'B *N']


class ConvolvedMixer(CausalMixer):
  """u = silu(conv(W x) + b), a recurrence with coefficients of u, an output.

  A subclass has the fields `kernel_size` and `algorithm`, calls
  `_set_up_kernel`, and says the rest:

    _convolved, _zero_state: how many features u has, and the state's zeros;
    _recur, _recur_step: static methods, an op for many positions and for one;
    _enter(x): what is convolved, and what else is needed of x;
    _coefficients(u, rest): what the op takes, and what is needed after it;
    _leave(states, rest): the output.
  """

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> ConvolvedCarry:
    shape = batch_size, self.kernel_size - 1, self._convolved
    window = jnp.zeros(shape, carry_dtype(self.dtype))
    return ConvolvedCarry(window, self._zero_state(batch_size))

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    convolve, recur = depthwise_convolution_step, self._recur_step
    return self._run(convolve, recur, carry, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    convolve = functools.partial(depthwise_convolution, segments=segments)
    recur = functools.partial(
      self._recur, segments=segments, algorithm=self.algorithm
    )
    carry, y = self._run(convolve, recur, carry, x)
    return carry, segments_lib.zero_padding(y, segments)

  def _set_up_kernel(self, init: Callable, *, bias: bool):
    shape, dtype = (self.kernel_size, self._convolved), self.param_dtype
    self.kernel = self.param('kernel', init, shape, dtype)
    zeros = nn.initializers.zeros
    self.bias = self.param('bias', zeros, shape[1:], dtype) if bias else None

  def _run(self, convolve, recur, carry, x):
    """The layer, given the ops for one position or many."""
    u, rest = self._enter(x)
    window, u = convolve(carry.window, u, self.kernel.astype(self.dtype))
    coefficients, rest = self._coefficients(self._activate(u), rest)
    state, states = recur(carry.state, *coefficients)
    return ConvolvedCarry(window, state), self._leave(states, rest)

  def _activate(self, u):
    u = u.astype(self.dtype)
    if self.bias is not None:
      u = add_bias(u, self.bias.astype(self.dtype))
    return nn.silu(u)
