"""Causal softmax attention over the last positions of a piece."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn import key_value_cache
from seqjax.nn.key_value_cache import AttentionCarry
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_sizes,
  check_step,
  check_unroll,
)
from seqjax.nn.self_attention import SelfAttention
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class Attention(SelfAttention, CausalMixer):
  """Causal multi-head attention (Vaswani et al., 2017, section 3.2.2).

  A position attends to the last `context` valid positions of its piece, itself
  included, in `unroll` and `step` alike. Options are those of `SelfAttention`.
  """

  def __post_init__(self):
    super().__post_init__()
    if self.receptive_field is None:
      raise ValueError(
        'Attention remembers a fixed number of positions and needs context=, '
        'the most positions that one attends to, itself included.'
      )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> AttentionCarry:
    heads = self._num_kv_heads, self._head_size
    dtype = carry_dtype(self.dtype)
    return key_value_cache.empty(batch_size, self.receptive_field, heads, dtype)

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    place = carry.count[:, None]
    query, key, value = self._project(x_t[:, None], place)
    carry = key_value_cache.extend(carry, key, value)
    held = key_value_cache.positions(carry)
    y = self._attend(
      query,
      carry.key.astype(self.dtype),
      carry.value.astype(self.dtype),
      query_positions=place,
      key_positions=held,
      key_segments=held,  # -1 where a slot is empty
    )
    return carry, y[:, 0]

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    batch_size, num_positions = x.shape[:2]
    self._check_length(num_positions)
    _, places = segments_lib.positions(carry.count, segments, num_positions)
    pieces = segments_lib.piece_index(segments, batch_size, num_positions)
    query, key, value = self._project(
      segments_lib.zero_padding(x, segments), places
    )
    held = key_value_cache.positions(carry)
    y = self._attend(
      query,
      jnp.concatenate([carry.key.astype(self.dtype), key], axis=1),
      jnp.concatenate([carry.value.astype(self.dtype), value], axis=1),
      query_positions=places,
      key_positions=jnp.concatenate([held, places], axis=1),
      query_segments=pieces,
      key_segments=jnp.concatenate([jnp.minimum(held, 0), pieces], axis=1),
      window=self.receptive_field,
    )
    carry = key_value_cache.extend(carry, key, value, segments)
    return carry, segments_lib.zero_padding(y, segments)

  def __call__(
    self, x: Float[Array, 'B T D'], segments: Segments | None = None
  ) -> Float[Array, 'B T D']:
    """`unroll` from the initial carry, without its empty cache."""
    return self._whole(x, segments, window=self.receptive_field)

  @property
  def receptive_field(self) -> int | None:
    return self.context


class LocalAttention(Attention):
  """Causal attention that sees a fixed number of positions.

  The same as `Attention`, but for what sets its reach, which `context` does
  not: it is only the number of learned positions (sliding window attention:
  Beltagy et al., 2020, section 3.1, of which this is the causal half): key s is
  seen from t where 0 <= t - s < window, positions of the piece counted alone.

  Attributes:
    window: how many positions one attends to, itself included.
  """

  window: int = 16

  def __post_init__(self):
    check_sizes(self, 'window')
    super().__post_init__()

  @property
  def receptive_field(self) -> int | None:
    return self.window
