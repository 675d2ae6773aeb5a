"""From tokens or values to tokens, labels or values at every position."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int, Shaped

from seqjax.models import checks, specs
from seqjax.models.stack import Stack
from seqjax.nn.mixer import SequenceLayer, StreamingLayer
from seqjax.ops.segments import check, chosen, zero_padding
from seqjax.typing import Array, Segments, Spec


class SequenceModel(StreamingLayer):
  """Embedding, a stack of blocks, a readout; the protocol of the mixers.

  Attributes:
    input: what stands at an input position: tokens are embedded, values
      projected.
    output: what comes out at every position: logits over a vocabulary, or
      values of a shape.
    mixers: one per layer, all of the same features, the model's width.
    expansion, dropout, mlp, variational: as in `Block`.
    remat: as in `Stack`.
  """

  input: Spec
  output: Spec
  mixers: tuple[SequenceLayer, ...]
  expansion: int = 2
  dropout: float = 0.0
  mlp: str = 'plain'
  remat: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def __post_init__(self):
    self._unbound_stack()  # which refuses what it cannot have
    super().__post_init__()

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    features = self.mixers[0].features
    self.embedding = specs.embedding(self.input, features, **types)
    self.stack = Stack(
      tuple(mixer.clone(parent=None, name=None) for mixer in self.mixers),
      self.expansion,
      self.dropout,
      self.mlp,
      self.remat,
      variational=self.variational,
      **types,
    )
    self.readout = specs.readout(self.output, **types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Any:
    return self._unbound_stack().initialize_carry(batch_size)

  def step(self, carry, x_t: Shaped[Array, 'B *I']):
    carry, y_t = self.stack.step(carry, self._embed(x_t))
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
    self,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B T *C']:
    segments = chosen(segments, lengths, x)
    y = self.stack(self._begin(x, segments), segments)
    return zero_padding(self._read(y), segments)

  @property
  def receptive_field(self) -> int | None:
    return self._unbound_stack().receptive_field

  @nn.nowrap
  def _unbound_stack(self) -> Stack:
    return Stack(
      self.mixers, self.expansion, self.dropout, self.mlp, parent=None
    )

  def _begin(self, x, segments):
    """Embeds inputs; padding is zero before and after, whatever it held."""
    checks.one_array(self, x)
    check(segments, *x.shape[:2])
    x = zero_padding(x, segments)
    return zero_padding(self._embed(x), segments)

  def _embed(self, x):
    return specs.embed(self.embedding, self.input, x)

  def _read(self, y):
    return specs.read(self.readout, self.output, y)
