"""What attention within a sequence shares, whichever positions it sees."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import unknown
from seqjax.nn.mixer import SequenceMixer, check_heads, check_inputs
from seqjax.ops import attention as attention_lib
from seqjax.ops import segments as segments_lib
from seqjax.ops.positions import alibi_slopes, look_up, rotate, sinusoids
from seqjax.typing import Array, Segments

POSITIONS = ('rotary', 'alibi', 'learned', 'sinusoidal', 'none')


class SelfAttention(SequenceMixer):
  """Queries, keys and values of a sequence, and their positions.

  Attributes:
    num_heads: how many heads of queries share the features.
    num_kv_heads: how many heads of keys and values there are, each shared by
      `num_heads / num_kv_heads` consecutive ones of queries (Ainslie et al.,
      2023); None: as many as of queries.
    positions: 'rotary' turns queries and keys, 'alibi' lowers logits by the
      distance, 'learned' adds a row of a table of `context` rows to what
      queries, keys and values are projected from, 'sinusoidal' a fixed one,
      'none' leaves order to the mask.
    algorithm: how `ops.attention` computes it.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  num_heads: int = 2
  num_kv_heads: int | None = None
  positions: str = 'rotary'
  algorithm: str = 'auto'

  def __post_init__(self):
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
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}

    def project(num_heads):
      heads = num_heads, self._head_size
      return nn.DenseGeneral(heads, use_bias=False, **types)

    self.query = project(self.num_heads)
    self.key = project(self._num_kv_heads)
    self.value = project(self._num_kv_heads)
    self.out = nn.DenseGeneral(
      self.features, axis=(-2, -1), use_bias=False, **types
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

  def _whole(
    self, x: Float[Array, 'B T D'], segments: Segments | None, **sight: Any
  ) -> Float[Array, 'B T D']:
    """Every position attends within x; `sight` says which it sees."""
    check_inputs(self, x, segments)
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
    y = self._attend(
      *self._project(segments_lib.zero_padding(x, segments), places),
      **where,
      **sight,
    )
    return segments_lib.zero_padding(y, segments)

  def _project(self, x, places):
    """Queries, keys and values of positions; x has zeros at padding."""
    if self.positions == 'learned':
      x = x + look_up(self.table.astype(x.dtype), places)
    if self.positions == 'sinusoidal':
      x = x + sinusoids(places, self.features, x.dtype)
    query, key, value = self.query(x), self.key(x), self.value(x)
    if self.positions == 'rotary':
      query, key = rotate(query, places), rotate(key, places)
    return query, key, value

  def _attend(self, query, key, value, **where):
    """The outputs of queries; `where` says what stands where and is seen."""
    slopes = alibi_slopes(self.num_heads) if self.positions == 'alibi' else None
    y = attention_lib.attention(
      query, key, value, slopes=slopes, algorithm=self.algorithm, **where
    )
    return self.out(y)

  def _check_length(self, num_positions: int):
    """Raises ValueError for more positions than a table has."""
    if self.positions == 'learned' and num_positions > self.context:
      raise ValueError(
        f'Learned positions end at context={self.context}, but '
        f'{num_positions} positions were given; make the context longer or '
        "use positions='rotary'."
      )
