"""Attention from one sequence to another: a decoder's view of its source."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.errors import unknown
from seqjax.nn.mixer import check_heads, check_sizes
from seqjax.ops import attention as attention_lib
from seqjax.ops import over_time
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments

SCORES = ('dot', 'additive')


class Memory(NamedTuple):
  """Keys and values of a source, and which of its positions count.

  Computed once, read at every step of a decoder.
  """

  key: Float[Array, 'B S H K']
  value: Float[Array, 'B S H K']
  valid: Bool[Array, 'B S']


class CrossAttention(nn.Module):
  """Every position of a stream reads all valid positions of a memory.

  A row of the memory is one segment: its starts are not looked at. Order comes
  from what made the memory, and is not added here. A stream's position whose
  memory is nothing but padding reads zero.

  Attributes:
    num_heads: how many heads share the features.
    score: 'dot' compares by scaled products (Vaswani et al., 2017, section
      3.2.3), 'additive' by v^T tanh(W q + U k) (Bahdanau et al., 2015, section
      A.1.2). Unlike the latter's, values are projected and heads may be many.
  """

  features: int
  num_heads: int = 2
  score: str = 'dot'
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'features', 'num_heads')
    check_heads(self)
    if self.score not in SCORES:
      raise ValueError(unknown('score', self.score, SCORES))

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    dense = functools.partial(nn.DenseGeneral, use_bias=False, **types)
    heads = self.num_heads, self.features // self.num_heads
    self.query, self.key, self.value = (dense(heads) for _ in range(3))
    self.out = dense(self.features, axis=(-2, -1))
    if self.score == 'additive':
      init = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
      self.weight = self.param('weight', init, heads, self.param_dtype)

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    memory: Float[Array, 'B S E'],
    memory_segments: Segments | None = None,
  ) -> Float[Array, 'B T D']:
    """Reads the memory at every position of the stream x."""
    return self.read(self.project(memory, memory_segments), x)

  def project(
    self, memory: Float[Array, 'B S E'], segments: Segments | None = None
  ) -> Memory:
    """Keys and values, which do not depend on who reads them."""
    over_time.check_whole('CrossAttention')
    segments_lib.check(segments, *memory.shape[:2])
    memory = segments_lib.zero_padding(memory, segments)
    valid = jnp.ones(memory.shape[:2], bool)
    return Memory(
      self.key(memory),
      self.value(memory),
      valid if segments is None else segments.valid,
    )

  def read(
    self, memory: Memory, x: Float[Array, 'B T D']
  ) -> Float[Array, 'B T D']:
    """Reads the memory at each position of x, independently of the others."""
    over_time.check_whole('CrossAttention')
    if self.score == 'additive':
      weight = self.weight.astype(self.dtype)
      y = attention_lib.additive_attention(
        self.query(x), memory.key, memory.value, weight, memory.valid
      )
    else:
      nowhere = jnp.zeros(memory.valid.shape, jnp.int32)
      query = self.query(x)
      # Padding was projected from zeros, and all else is seen from everywhere.
      y = attention_lib.attention(
        query,
        memory.key,
        memory.value,
        flaws=attention_lib.no_flaws(query, memory.key),
        query_positions=jnp.zeros(x.shape[:2], jnp.int32),
        key_positions=nowhere,
        key_segments=jnp.where(memory.valid, nowhere, -1),
        causal=False,
      )
    return self.out(y)
