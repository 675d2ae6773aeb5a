"""From tokens or values to tokens, labels or values at every position."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from seqjax.models.stack import Stack
from seqjax.nn.mixer import CausalMixer, SequenceMixer
from seqjax.ops.segments import check, zero_padding
from seqjax.typing import Array, Segments, Spec


class SequenceModel(CausalMixer):
  """Embedding, a stack of blocks, a readout; the protocol of the mixers.

  Attributes:
    input: what stands at an input position: tokens are embedded, values
      projected.
    output: what comes out at every position: logits over a vocabulary, or
      values of a shape.
    mixers: one a layer, all of the same features, which are the stream's.
    expansion, dropout: as in `Block`.
  """

  input: Spec
  output: Spec
  mixers: tuple[SequenceMixer, ...]
  expansion: int = 2
  dropout: float = 0.0
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __post_init__(self):
    if not self.mixers:
      raise ValueError(
        'A sequence model needs one mixer or more, but got none.'
      )
    super().__post_init__()

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    features = self.mixers[0].features
    if self.input.vocab is None:
      self.embedding = nn.Dense(features, **types)
    else:
      self.embedding = nn.Embed(self.input.vocab, features, **types)
    self.stack = Stack(
      tuple(mixer.clone(parent=None, name=None) for mixer in self.mixers),
      self.expansion,
      self.dropout,
      **types,
    )
    shape = self.output.shape
    self.readout = nn.Dense(self.output.vocab or math.prod(shape), **types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Any:
    return self._unbound_stack().initialize_carry(batch_size)

  def step(self, carry, x_t: Shaped[Array, 'B *I']):
    carry, y_t = self.stack.step(carry, self._embed(x_t, num_axes=1))
    return carry, self._read(y_t)

  def unroll(
    self,
    carry,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
  ):
    carry, y = self.stack.unroll(carry, self._begin(x, segments), segments)
    return carry, zero_padding(self._read(y), segments)

  def __call__(
    self, x: Shaped[Array, 'B T *I'], segments: Segments | None = None
  ) -> Float[Array, 'B T *C']:
    y = self.stack(self._begin(x, segments), segments)
    return zero_padding(self._read(y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self._unbound_stack().receptive_field

  @nn.nowrap
  def _unbound_stack(self) -> Stack:
    return Stack(self.mixers, parent=None)

  def _begin(self, x, segments):
    """Embedded inputs; padding is zero before and after, whatever it held."""
    check(segments, *x.shape[:2])
    x = zero_padding(x, segments)
    return zero_padding(self._embed(x, num_axes=2), segments)

  def _embed(self, x, num_axes: int):
    if self.input.vocab is None:
      x = x.reshape(*x.shape[:num_axes], -1)
    return self.embedding(x)

  def _read(self, y):
    y = self.readout(y)
    if self.output.vocab is None:
      y = y.reshape(*y.shape[:-1], *self.output.shape)
    return y
