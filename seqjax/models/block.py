"""A mixer with what surrounds it: norms, residual, a multilayer perceptron."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.errors import check_fields, unknown
from seqjax.nn.layers import MLP, MLPS, Drop, RecomputedRMSNorm
from seqjax.nn.mixer import (
  SequenceLayer,
  StreamingLayer,
  can_stream,
  check_width_kept,
)
from seqjax.ops.segments import check, chosen, zero_padding
from seqjax.typing import Array, Segments


class Block(StreamingLayer):
  """x <- x + mixer(norm(x));  x <- x + mlp(norm(x))   (pre-norm).

  Dropout falls on both branches, exactly when `apply` is given a 'dropout'
  key. A block streams if its mixer does.

  Attributes:
    mixer: what moves information along time.
    expansion: hidden width of the multilayer perceptron as a multiple of the
      mixer's features; 0 leaves it out.
    dropout: probability with which a branch's entries are dropped.
    mlp: the kind of multilayer perceptron, 'plain' or 'gated'; see `MLP`.
    variational: whether the entries dropped are the same at all positions of a
      row (Gal & Ghahramani, 2016).
  """

  mixer: SequenceLayer
  expansion: int = 2
  dropout: float = 0.0
  mlp: str = 'plain'
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def __post_init__(self):
    super().__post_init__()
    check_fields(self)
    check_options(self.expansion, self.dropout, self.mlp)
    check_width_kept(self, self.mixer)

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    self.mixer_norm = RecomputedRMSNorm(**types)
    self.drop = Drop(self.dropout, self.variational)
    if self.expansion:
      hidden = self.expansion * self.features
      self.mlp_norm = RecomputedRMSNorm(**types)
      self.perceptron = MLP(self.features, hidden, self.mlp, **types)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Any:
    return streaming(self.mixer).initialize_carry(batch_size)

  def step(self, carry, x_t):
    x_t = x_t.astype(self.dtype)
    carry, y_t = streaming(self.mixer).step(carry, self.mixer_norm(x_t))
    return carry, self._finish(x_t, y_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check(segments, *x.shape[:2])
    x = zero_padding(x, segments).astype(self.dtype)
    mixer = streaming(self.mixer)
    carry, y = mixer.unroll(carry, self.mixer_norm(x), segments)
    return carry, zero_padding(self._finish(x, y), segments)

  def __call__(
    self,
    x,
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ):
    segments = chosen(segments, lengths, x)
    check(segments, *x.shape[:2])
    x = zero_padding(x, segments).astype(self.dtype)
    y = self.mixer(self.mixer_norm(x), segments)
    return zero_padding(self._finish(x, y), segments)

  @property
  def features(self) -> int:
    return self.mixer.features

  @property
  def receptive_field(self) -> int | None:
    return streaming(self.mixer).receptive_field

  def _finish(self, x, y):
    """Adds the residual around the mixer, then the perceptron with its own."""
    x = x + self.drop(y)
    if not self.expansion:
      return x
    y = self.perceptron(self.mlp_norm(x))
    return x + self.drop(y)


# The same block, of which a derivative keeps only what goes in.
RematBlock = nn.remat(Block, methods=('__call__', 'unroll'))


def check_options(expansion: int, dropout: float, mlp: str):
  """Raises ValueError unless a block can have these options."""
  if expansion < 0:
    raise ValueError(
      'expansion is a multiple of the features, 0 for no perceptron, but '
      f'expansion={expansion} was given.'
    )
  if not 0 <= dropout <= 1:
    raise ValueError(
      f'dropout is a probability, but dropout={dropout} was given.'
    )
  if mlp not in MLPS:
    raise ValueError(unknown('MLP', mlp, MLPS))


def streaming(mixer: SequenceLayer) -> StreamingLayer:
  """Returns the mixer, if it can go step by step.

  Raises:
    ValueError: it sees whole sequences only.
  """
  if not can_stream(mixer):
    raise ValueError(
      f'{type(mixer).__name__} sees whole sequences at once and cannot stream: '
      'it has neither carry, step nor unroll. Call the model on whole '
      'sequences, or use a causal mixer.'
    )
  return mixer
