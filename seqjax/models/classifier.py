"""One answer for a whole sequence."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int, Shaped

from seqjax.errors import check_fields, unknown
from seqjax.models import checks, specs
from seqjax.models.stack import Stack
from seqjax.nn.mixer import SequenceLayer
from seqjax.ops import over_time, pooling
from seqjax.ops.segments import (
  check,
  chosen,
  num_starts,
  piece_index,
  zero_padding,
)
from seqjax.typing import Array, Segments, Spec

POOLINGS = {
  'last': pooling.last,
  'mean': pooling.mean,
  'max': pooling.maximum,
}


class Classifier(nn.Module):
  """Embedding, a stack of blocks, a pool over positions, a readout.

  A row has one answer, that to its last segment: the pool sees the valid
  positions after the row's last start. A row without any is read as zeros.

  Attributes:
    input: what stands at an input position: tokens are embedded, values
      projected.
    output: what comes out once a row: logits over classes, or values of a
      shape.
    mixers: one per layer, causal or not, all of the same features.
    pooling: over valid positions: 'last' takes the last of them, 'mean' their
      average (padding has weight 0), 'max' their largest, feature by feature.
    expansion, dropout, mlp, variational: as in `Block`.
    remat: as in `Stack`.
  """

  input: Spec
  output: Spec
  mixers: tuple[SequenceLayer, ...]
  pooling: str = 'last'
  expansion: int = 2
  dropout: float = 0.0
  mlp: str = 'plain'
  remat: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def __post_init__(self):
    if self.pooling not in POOLINGS:
      raise ValueError(unknown('pooling', self.pooling, POOLINGS))
    Stack(self.mixers, self.expansion, self.dropout, self.mlp, parent=None)
    super().__post_init__()

  @nn.compact
  def __call__(
    self,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B *C']:
    checks.one_array(self, x)
    segments = chosen(segments, lengths, x)
    batch_size, num_positions = x.shape[:2]
    check(segments, batch_size, num_positions)
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    features = self.mixers[0].features
    layer = specs.embedding(self.input, features, name='embedding', **types)
    x = specs.embed(layer, self.input, zero_padding(x, segments))
    stack = Stack(
      tuple(mixer.clone(parent=None, name=None) for mixer in self.mixers),
      self.expansion,
      self.dropout,
      self.mlp,
      self.remat,
      variational=self.variational,
      name='stack',
      **types,
    )
    y = stack(x, segments)
    pieces = piece_index(segments, batch_size, num_positions)
    last = num_starts(segments, batch_size)
    y = POOLINGS[self.pooling](y, pieces == last[:, None])
    layer = specs.readout(self.output, name='readout', **types)
    return specs.read(layer, self.output, y)


class MLPClassifier(nn.Module):
  """Pads or truncates to a fixed length, flattens, and classifies.

  The fixed-size network that sequences are an awkward fit for: its first
  matrix has a row for every feature of every position up to `max_length`.

  Attributes:
    input: what stands at an input position; tokens become one-hot vectors.
    num_classes: C.
    max_length: T_max, to which shorter inputs are padded with zeros.
    hidden: width of the hidden layer.
    truncate: whether a longer input loses its end; otherwise it is an error.
  """

  input: Spec
  num_classes: int
  max_length: int
  hidden: int = 64
  truncate: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __post_init__(self):
    super().__post_init__()
    check_fields(self)
    sizes = {
      'num_classes': self.num_classes,
      'max_length': self.max_length,
      'hidden': self.hidden,
    }
    for name, size in sizes.items():
      if size < 1:
        raise ValueError(
          f'MLPClassifier needs {name} of at least 1, but {name}={size} was '
          'given.'
        )

  @nn.compact
  def __call__(
    self,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B C']:
    checks.one_array(self, x)
    over_time.check_whole('MLPClassifier')
    segments = chosen(segments, lengths, x)
    batch_size, num_positions = x.shape[:2]
    check(segments, batch_size, num_positions)
    if num_positions > self.max_length and not self.truncate:
      raise ValueError(
        f'This MLPClassifier is built for at most max_length={self.max_length} '
        f'positions, but {num_positions} were given; make max_length larger, '
        'or set truncate=True to lose the end.'
      )
    x = zero_padding(x, segments)
    if self.input.vocab is not None:
      x = specs.one_hot(self.input, x, self.dtype)
    x = zero_padding(x, segments).reshape(batch_size, num_positions, -1)
    x = x[:, : self.max_length]
    missing = self.max_length - x.shape[1]
    x = jnp.pad(x, ((0, 0), (0, missing), (0, 0))).reshape(batch_size, -1)
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.relu(nn.Dense(self.hidden, **types)(x))
    return nn.Dense(self.num_classes, **types)(x)
