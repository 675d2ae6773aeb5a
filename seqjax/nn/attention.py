"""Softmax attention within a sequence: causal with a cache, local, or full."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.nn.mixer import (
  CausalMixer,
  SequenceMixer,
  carry_dtype,
  check_heads,
  check_inputs,
  check_sizes,
  check_step,
  check_unroll,
  choose_heads,
  select_rows,
)
from seqjax.ops import attention as attention_lib
from seqjax.ops import finite, key_cache, over_time
from seqjax.ops import segments as segments_lib
from seqjax.ops.attention import LogForget
from seqjax.ops.linear_recurrence import linear_recurrence
from seqjax.ops.positions import alibi_slopes, look_up, rotate, sinusoids
from seqjax.typing import Array, Segments

POSITIONS = ('rotary', 'alibi', 'learned', 'sinusoidal', 'none')

# The outputs of a call, and the weights of its softmax if they were requested.
Outputs = (
  Float[Array, 'B T D'] | tuple[Float[Array, 'B T D'], Float[Array, 'B H T T']]
)


class SelfAttention(SequenceMixer):
  """Queries, keys and values of a sequence, and their positions.

  A call returns the weights of its softmax, [B H T S], when asked. A row of
  them sums to 1, or to 0 at padding:

      y, weights = mixer.apply(variables, x, return_weights=True)

  Inside a model, each layer stores its own as `weights`, by any algorithm, if
  the collection 'intermediates' is mutable:

      y, found = model.apply(variables, x, mutable='intermediates')

  Attributes:
    num_heads: how many heads of queries share the features; None: 2, or 1
      where the features do not split evenly, by pairs if positions are rotary.
    num_kv_heads: how many heads of keys and values there are, each shared by
      `num_heads / num_kv_heads` consecutive ones of queries (Ainslie et al.,
      2023); None: as many as of queries.
    positions: 'rotary' rotates queries and keys; 'alibi' lowers logits in
      proportion to the distance; 'learned' adds to the layer's inputs a row of
      a table of `context` rows; 'sinusoidal' adds a fixed encoding to them;
      'none' encodes no positions, so that only the mask tells the order.
    algorithm: how `ops.attention` computes it.
    use_bias: whether the four projections have biases.
  """

  num_heads: int | None = None
  num_kv_heads: int | None = None
  positions: str = 'rotary'
  algorithm: str = 'auto'
  use_bias: bool = False

  def __post_init__(self):
    choose_heads(self, even=self.positions == 'rotary')
    super().__post_init__()
    name = type(self).__name__
    check_heads(self)
    if self._num_kv_heads < 1 or self.num_heads % self._num_kv_heads:
      raise ValueError(
        f'{name} shares key and value heads evenly among heads, but '
        f'num_heads={self.num_heads} is not a multiple of '
        f'num_kv_heads={self.num_kv_heads}.'
      )
    if self.positions not in POSITIONS:
      raise ValueError(unknown('positions', self.positions, POSITIONS))
    attention_lib.check_algorithm(self.algorithm)
    if self.positions == 'rotary' and self._head_size % 2:
      raise ValueError(
        'Rotary positions turn pairs of features and need an even head size, '
        f'but features={self.features} over num_heads={self.num_heads} leaves '
        f'{self._head_size}.'
      )
    if self.positions == 'learned' and self.context is None:
      raise ValueError(
        'Learned positions are a table of `context` rows, but context=None was '
        "given; set context, or use positions='rotary'."
      )

  def setup(self):
    def project(num_heads):
      heads = num_heads, self._head_size
      return nn.DenseGeneral(heads, use_bias=self.use_bias, **self._types)

    self.query = project(self.num_heads)
    self.key = project(self._num_kv_heads)
    self.value = project(self._num_kv_heads)
    self.out = nn.DenseGeneral(
      self.features, axis=(-2, -1), use_bias=self.use_bias, **self._types
    )
    if self.positions == 'learned':
      self.table = self.param(
        'table',
        nn.initializers.normal(0.02),
        (self.context, self.features),
        self.param_dtype,
      )

  @property
  def _num_kv_heads(self) -> int:
    return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

  @property
  def _head_size(self) -> int:
    return self.features // self.num_heads

  @nn.nowrap
  def _whole(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None,
    return_weights: bool,
    **sight: Any,
  ) -> Outputs:
    """Attends within x at every position; `sight` says which it sees."""
    check_inputs(self, x, segments)
    if return_weights and self.algorithm not in ('auto', 'plain'):
      raise ValueError(
        "return_weights needs algorithm='plain' or 'auto', which hold all T x "
        f'T weights, but algorithm={self.algorithm!r} was given; change it, or '
        'leave return_weights out.'
      )
    batch_size, num_positions = x.shape[:2]
    self._check_length(num_positions)
    zero = jnp.zeros((batch_size,), jnp.int32)
    _, places = segments_lib.positions(zero, segments, num_positions)
    where = {}
    if segments is not None:
      pieces = segments_lib.piece_index(segments, batch_size, num_positions)
      where = {
        'query_positions': places,
        'key_positions': places,
        'query_segments': pieces,
        'key_segments': pieces,
      }
    x = segments_lib.zero_padding(x, segments)
    query, key, value, flawed = self._project(x, places)
    sums = self._sums_of_gates(x, flawed, segments)
    where |= {
      'flaws': finite.Flaws(flawed, flawed),
      'log_forget': None if sums is None else LogForget(sums, sums),
    } | sight
    y = self._attend(query, key, value, **where)
    y = segments_lib.zero_padding(y, segments)
    stored = (
      self.is_mutable_collection('intermediates') and not self.is_initializing()
    )
    if not (stored or return_weights):
      return y
    over_time.check_whole('A table of attention weights')
    weights = self._weights(query, key, **where)
    if stored:
      self.sow('intermediates', 'weights', weights)
    return (y, weights) if return_weights else y

  @nn.nowrap
  def _project(self, x, places):
    """Projects to queries, keys and values; x has zeros at padding.

    Also marks the positions that are not finite, where zeros are projected.
    """
    if self.positions == 'learned':
      x = x + look_up(self.table.astype(x.dtype), places)
    if self.positions == 'sinusoidal':
      x = x + sinusoids(places, self.features, x.dtype)
    flawed = finite.flawed(x)
    x = finite.zero_where(flawed, x)
    query, key, value = self.query(x), self.key(x), self.value(x)
    if self.positions == 'rotary':
      query, key = rotate(query, places), rotate(key, places)
    return query, key, value, flawed

  @nn.nowrap
  def _sums_of_gates(self, x, flawed, segments):
    """Sums the logarithms of forget gates [B T H] up; None without gates."""
    return None

  @nn.nowrap
  def _attend(self, query, key, value, **where):
    """Computes the outputs of queries; `where` places queries and keys."""
    return self.out(self._read(query, key, value, **where))

  @nn.nowrap
  def _read(self, query, key, value, *, algorithm=None, **where):
    slopes = alibi_slopes(self.num_heads) if self.positions == 'alibi' else None
    algorithm = algorithm or self.algorithm
    return attention_lib.attention(
      query, key, value, slopes=slopes, algorithm=algorithm, **where
    )

  @nn.nowrap
  def _weights(self, query, key, **where) -> Float[Array, 'B H T S']:
    """Returns the attention weights, by attending to unit vectors."""
    units = jnp.eye(key.shape[1], dtype=key.dtype)[None, :, None]
    units = jnp.broadcast_to(units, (*key.shape[:3], key.shape[1]))
    weights = self._read(query, key, units, algorithm='plain', **where)
    return jnp.swapaxes(weights, 1, 2)

  @nn.nowrap
  def _check_length(self, num_positions: int):
    """Raises ValueError for more positions than a table has."""
    num_positions = num_positions * over_time.num_parts()
    if self.positions == 'learned' and num_positions > self.context:
      raise ValueError(
        f'Learned positions end at context={self.context}, but '
        f'{num_positions} positions were given; make the context longer or '
        "use positions='rotary'."
      )


class FullAttention(SelfAttention):
  """Bidirectional multi-head attention, for encoders (Vaswani et al., 2017).

  A position attends to all valid positions of its segment, before and after it;
  `context` is only the number of learned positions. Options are those of
  `SelfAttention`; 'alibi' is symmetric.
  """

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
    return_weights: bool = False,
  ) -> Outputs:
    segments = segments_lib.chosen(segments, lengths, x)
    return self._whole(x, segments, return_weights, causal=False)


class AttentionCarry(NamedTuple):
  """The last keys and values of each row's segment, in a ring of slots.

  `count` is how many valid positions the segment has had; empty slots are zero.
  `log_decay`, with forget gates, is the logarithm of what those have left of
  each slot, the sum over all positions after its own.

  Slots are the last axis, along which a step reads in the order of memory: for
  many long rows on a CPU, a third faster than with features last.
  """

  keys: Float[Array, 'B G K S']
  values: Float[Array, 'B G K S']
  count: Int[Array, 'B']
  log_decay: Float[Array, 'B H S'] | None = None


class Attention(SelfAttention, CausalMixer):
  """Causal multi-head attention (Vaswani et al., 2017, section 3.2.2).

  A position attends to the last `context` valid positions of its segment,
  itself included, in `unroll` and `step` alike. Options are those of
  `SelfAttention`.

  Attributes:
    forget: whether every head has a forget gate, as `ForgettingAttention` has.
  """

  forget: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.receptive_field is None:
      raise ValueError(
        'Attention remembers a fixed number of positions and needs context=, '
        'the most positions that one attends to, itself included.'
      )

  def setup(self):
    super().setup()
    if self.forget:
      self.forget_gate = nn.Dense(self.num_heads, **self._types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> AttentionCarry:
    num_slots = self.receptive_field
    shape = batch_size, self._num_kv_heads, self._head_size, num_slots
    zeros = functools.partial(jnp.zeros, dtype=carry_dtype(self.dtype))
    return AttentionCarry(  # an array each, so that a carry can be donated
      zeros(shape),
      zeros(shape),
      jnp.zeros((batch_size,), jnp.int32),
      zeros((batch_size, self.num_heads, num_slots)) if self.forget else None,
    )

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    place, x = carry.count[:, None], x_t[:, None]
    query, key, value, flawed = self._project(x, place)
    query, key, value = (
      finite.nan_where(flawed, a) for a in (query, key, value)
    )
    sums = self._sums_of_gates(x, flawed, None)
    carry = _extend_cache(carry, key, value, sums)
    past, held = _positions_first(carry), _held_positions(carry)
    log_forget = None
    if sums is not None:
      log_forget = LogForget(jnp.zeros_like(sums), -past.log_decay)
    # All slots are seen, or empty: what is not finite may stay there.
    y = self._attend(
      query,
      past.keys.astype(self.dtype),
      past.values.astype(self.dtype),
      flaws=attention_lib.no_flaws(query, past.keys),
      query_positions=place,
      key_positions=held,
      key_segments=held,  # -1 where a slot is empty
      log_forget=log_forget,
    )
    return carry, y[:, 0]

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    batch_size, num_positions = x.shape[:2]
    self._check_length(num_positions)
    _, places = segments_lib.positions(carry.count, segments, num_positions)
    pieces = segments_lib.piece_index(segments, batch_size, num_positions)
    x = segments_lib.zero_padding(x, segments)
    query, key, value, flawed = self._project(x, places)
    past, held = _positions_first(carry), _held_positions(carry)
    slots = jnp.any(finite.flawed(past.keys, past.values), axis=-1)
    sums, log_forget = self._sums_of_gates(x, flawed, segments), None
    if sums is not None:
      slots |= finite.flawed(past.log_decay)
      past_sums = -finite.zero_where(slots, past.log_decay)
      log_forget = LogForget(sums, jnp.concatenate([past_sums, sums], axis=1))
    past_key, past_value = (
      finite.zero_where(slots, array).astype(self.dtype)
      for array in (past.keys, past.values)
    )
    y = self._attend(
      query,
      jnp.concatenate([past_key, key], axis=1),
      jnp.concatenate([past_value, value], axis=1),
      flaws=finite.Flaws(flawed, jnp.concatenate([slots, flawed], axis=1)),
      query_positions=places,
      key_positions=jnp.concatenate([held, places], axis=1),
      query_segments=None if segments is None else pieces,
      key_segments=jnp.concatenate([jnp.minimum(held, 0), pieces], axis=1),
      window=self.receptive_field,
      log_forget=log_forget,
    )
    key, value = finite.nan_where(flawed, key), finite.nan_where(flawed, value)
    carry = _extend_cache(carry, key, value, sums, segments)
    return carry, segments_lib.zero_padding(y, segments)

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
    return_weights: bool = False,
  ) -> Outputs:
    """Unrolls from the initial carry, without its empty cache."""
    segments = segments_lib.chosen(segments, lengths, x)
    window = self.receptive_field
    return self._whole(x, segments, return_weights, window=window)

  @property
  def receptive_field(self) -> int | None:
    return self.context

  @nn.nowrap
  def _sums_of_gates(self, x, flawed, segments):
    if not self.forget:
      return None
    logit = self.forget_gate(finite.zero_where(flawed, x))
    log_gate = nn.log_sigmoid(logit.astype(carry_dtype(self.dtype)))
    begin = jnp.zeros_like(log_gate, shape=(len(x), self.num_heads))
    algorithm = 'plain' if self.algorithm == 'plain' else 'auto'
    _, sums = linear_recurrence(
      begin,
      jnp.ones_like(log_gate),
      log_gate,
      segments,
      algorithm=algorithm,
    )
    return sums


class ForgettingAttention(Attention):
  """Attention whose weights fade by forget gates, a gate per head and position.

  Lin et al. (2025, section 3): exp(q_t . k_s / sqrt(K)) is multiplied by all
  f_l with s < l <= t, f_l = sigmoid(W_f x_l + b_f), and needs no positions.
  That is Attention(forget=True) with other defaults. As in the authors' code
  (zhixuan-lin/forgetting-transformer at 246d5e3), without the norms, shifts and
  output gates of their "Pro" block. A row's sums of log f have the precision of
  the carry: in single precision, after 10,000 positions of gates near one half,
  logits are off by up to .002. Steps have no such sums.
  """

  positions: str = 'none'
  forget: bool = True


class LocalAttention(Attention):
  """Causal attention that sees a fixed number of positions.

  Like `Attention`, but `window` sets its reach; `context` is only the number of
  learned positions. This is the causal half of sliding window attention
  (Beltagy et al., 2020, section 3.1): key s is seen from t where
  0 <= t - s < window, counting only positions of the same segment.

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


def _held_positions(carry: AttentionCarry) -> Int[Array, 'B S']:
  """Returns the position that each slot holds; -1 where it is empty."""
  return key_cache.slot_positions(carry.count, carry.keys.shape[-1])


def _positions_first(carry: AttentionCarry) -> AttentionCarry:
  """Returns the carry with slots after rows, as a layer has positions."""
  keys, values, count, log_decay = carry
  if log_decay is not None:
    log_decay = jnp.moveaxis(log_decay, -1, 1)
  keys, values = jnp.moveaxis(keys, -1, 1), jnp.moveaxis(values, -1, 1)
  return AttentionCarry(keys, values, count, log_decay)


def _extend_cache(
  carry: AttentionCarry,
  key: Float[Array, 'B T G K'],
  value: Float[Array, 'B T G K'],
  sums: Float[Array, 'B T H'] | None = None,
  segments: Segments | None = None,
) -> AttentionCarry:
  """Reads T positions; keeps the last S valid ones of each last segment."""
  batch_size, num_positions = key.shape[:2]
  count, places = segments_lib.positions(carry.count, segments, num_positions)
  pieces = segments_lib.piece_index(segments, batch_size, num_positions)
  last = segments_lib.num_starts(segments, batch_size)
  recent = places >= count[:, None] - carry.keys.shape[-1]
  keep = (pieces == last[:, None]) & recent

  def store(slots, new):
    if segments is not None:  # a new segment finds them empty
      slots = select_rows(last > 0, jnp.zeros_like(slots), slots)
    return key_cache.store(slots, new, places, keep)

  key, value = store(carry.keys, key), store(carry.values, value)
  new = AttentionCarry(key, value, count, carry.log_decay)
  if sums is None:
    return new
  # All that is held fades by the gates after it.
  log_decay = store(carry.log_decay, -sums)
  after = over_time.from_last(jnp.sum(sums[:, -1:], axis=1))
  after = jnp.broadcast_to(after[..., None], log_decay.shape)
  empty = (_held_positions(new) < 0)[:, None]
  return new._replace(log_decay=log_decay + finite.zero_where(empty, after))
