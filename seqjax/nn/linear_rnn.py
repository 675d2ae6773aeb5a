"""Recurrences that are linear in their state, so that time parallelises."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import CausalMixer, carry_dtype
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_recurrence import (
  check_algorithm,
  linear_recurrence,
  linear_recurrence_step,
)
from seqjax.typing import Array, Segments


class MinGRU(CausalMixer):
  """h_t = (1 - z_t) h_{t-1} + z_t n_t with gates of the input alone.

  z_t = sigmoid(W_z x_t + b_z), n_t = W_n x_t + b_n (Feng et al., 2024, "Were
  RNNs all we needed?", section 3.1.2).

  Attributes:
    algorithm: how `linear_recurrence` computes it.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  algorithm: str = 'auto'

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)

  def setup(self):
    dense = functools.partial(
      nn.Dense, self.features, dtype=self.dtype, param_dtype=self.param_dtype
    )
    self.update_gate, self.candidate = dense(), dense()

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Float[Array, 'B D']:
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    carry = linear_recurrence_step(carry, *self._coefficients(x_t))
    return carry, carry.astype(self.dtype)

  def unroll(self, carry, x, segments: Segments | None = None):
    segments_lib.check(segments, *x.shape[:2])
    coefficients = self._coefficients(segments_lib.zero_padding(x, segments))
    carry, states = linear_recurrence(
      carry, *coefficients, segments, algorithm=self.algorithm
    )
    return carry, segments_lib.zero_padding(states.astype(self.dtype), segments)

  def _coefficients(self, x):
    """1 - z_t (as a sigmoid, exact where z_t is near 1) and z_t n_t."""
    logit = self.update_gate(x)
    return nn.sigmoid(-logit), nn.sigmoid(logit) * self.candidate(x)
