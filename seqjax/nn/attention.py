"""Multi-head softmax attention over the last `context` positions."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.nn.mixer import CausalMixer, carry_dtype, select_rows
from seqjax.ops import attention as attention_lib
from seqjax.ops import segments as segments_lib
from seqjax.ops.positions import look_up, rotate
from seqjax.typing import Array, Segments

POSITIONS = ('rotary', 'learned', 'none')


class AttentionCarry(NamedTuple):
  """The last `context` keys and values of each row's piece, in a ring.

  `count` is how many valid positions the piece has had; empty slots are zero.
  """

  key: Float[Array, 'B S H K']
  value: Float[Array, 'B S H K']
  count: Int[Array, 'B']


class Attention(CausalMixer):
  """Causal multi-head attention (Vaswani et al., 2017, section 3.2.2).

  A position attends to the last `context` valid positions of its piece, itself
  included, in `unroll` and `step` alike.

  Attributes:
    num_heads: how many heads share the features.
    positions: 'rotary' turns queries and keys, 'learned' adds a row of a table
      of `context` rows to what they are projected from, 'none' leaves order to
      the mask.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  num_heads: int = 2
  positions: str = 'rotary'

  def __post_init__(self):
    super().__post_init__()
    if self.context is None:
      raise ValueError(
        'Attention remembers a fixed number of positions and needs context=, '
        'the most positions that one attends to, itself included.'
      )
    if self.num_heads < 1 or self.features % self.num_heads:
      raise ValueError(
        'Attention splits features evenly over heads, but '
        f'features={self.features} is not a multiple of '
        f'num_heads={self.num_heads}.'
      )
    if self.positions not in POSITIONS:
      raise ValueError(unknown('positions', self.positions, POSITIONS))
    if self.positions == 'rotary' and self._head_size % 2:
      raise ValueError(
        'Rotary positions turn pairs of features and need an even head size, '
        f'but features={self.features} over num_heads={self.num_heads} leaves '
        f'{self._head_size}.'
      )

  def setup(self):
    def project(name):
      return nn.DenseGeneral(
        (self.num_heads, self._head_size),
        use_bias=False,
        dtype=self.dtype,
        param_dtype=self.param_dtype,
        name=name,
      )

    self.query, self.key = project('query'), project('key')
    self.value = project('value')
    self.out = nn.DenseGeneral(
      self.features,
      axis=(-2, -1),
      use_bias=False,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    if self.positions == 'learned':
      self.table = self.param(
        'table',
        nn.initializers.normal(0.02),
        (self.context, self.features),
        self.param_dtype,
      )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> AttentionCarry:
    shape = batch_size, self.context, self.num_heads, self._head_size
    zeros = jnp.zeros(shape, carry_dtype(self.dtype))
    return AttentionCarry(zeros, zeros, jnp.zeros((batch_size,), jnp.int32))

  def step(self, carry, x_t):
    place = carry.count[:, None]
    query, key, value = self._project(x_t[:, None], place)
    everywhere = jnp.ones_like(place, dtype=bool)
    keys = attention_lib.store(carry.key, key, place, everywhere)
    values = attention_lib.store(carry.value, value, place, everywhere)
    held = attention_lib.slot_positions(carry.count + 1, self.context)
    y = attention_lib.attention(
      query,
      keys.astype(self.dtype),
      values.astype(self.dtype),
      query_positions=place,
      key_positions=held,
      key_segments=held,  # -1 where a slot is empty
    )
    return AttentionCarry(keys, values, carry.count + 1), self.out(y)[:, 0]

  def unroll(self, carry, x, segments: Segments | None = None):
    batch_size, num_positions = x.shape[:2]
    segments_lib.check(segments, batch_size, num_positions)
    self._check_length(num_positions)
    count, places = segments_lib.positions(carry.count, segments, num_positions)
    pieces = segments_lib.piece_index(segments, batch_size, num_positions)
    query, key, value = self._project(
      segments_lib.zero_padding(x, segments), places
    )
    held = attention_lib.slot_positions(carry.count, self.context)
    y = attention_lib.attention(
      query,
      jnp.concatenate([carry.key.astype(self.dtype), key], axis=1),
      jnp.concatenate([carry.value.astype(self.dtype), value], axis=1),
      query_positions=places,
      key_positions=jnp.concatenate([held, places], axis=1),
      query_segments=pieces,
      key_segments=jnp.concatenate([jnp.minimum(held, 0), pieces], axis=1),
      window=self.context,
    )
    last = segments_lib.num_starts(segments, batch_size)
    keep = (pieces == last[:, None]) & (places >= count[:, None] - self.context)

    def store(slots, new):
      slots = select_rows(last > 0, jnp.zeros_like(slots), slots)
      return attention_lib.store(slots, new, places, keep)

    carry = AttentionCarry(
      store(carry.key, key), store(carry.value, value), count
    )
    return carry, segments_lib.zero_padding(self.out(y), segments)

  def __call__(
    self, x: Float[Array, 'B T D'], segments: Segments | None = None
  ) -> Float[Array, 'B T D']:
    """`unroll` from the initial carry, without its empty cache."""
    batch_size, num_positions = x.shape[:2]
    segments_lib.check(segments, batch_size, num_positions)
    self._check_length(num_positions)
    zero = jnp.zeros((batch_size,), jnp.int32)
    _, places = segments_lib.positions(zero, segments, num_positions)
    pieces = segments_lib.piece_index(segments, batch_size, num_positions)
    query, key, value = self._project(
      segments_lib.zero_padding(x, segments), places
    )
    y = attention_lib.attention(
      query,
      key,
      value,
      query_positions=places,
      key_positions=places,
      query_segments=pieces,
      key_segments=pieces,
      window=self.context,
    )
    return segments_lib.zero_padding(self.out(y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self.context

  @property
  def _head_size(self) -> int:
    return self.features // self.num_heads

  def _project(self, x, places):
    """Queries, keys and values of positions; x has zeros at padding."""
    if self.positions == 'learned':
      x = x + look_up(self.table.astype(x.dtype), places)
    query, key, value = self.query(x), self.key(x), self.value(x)
    if self.positions == 'rotary':
      query, key = rotate(query, places), rotate(key, places)
    return query, key, value

  def _check_length(self, num_positions: int):
    if self.positions == 'learned' and num_positions > self.context:
      raise ValueError(
        f'Learned positions end at context={self.context}, but '
        f'{num_positions} positions were given; make the context longer or '
        "use positions='rotary'."
      )
