"""Blocks on top of each other; a hybrid is a tuple of different mixers."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.errors import check_fields
from seqjax.models.block import (
  Block,
  RematBlock,
  check_options,
  streaming,
)
from seqjax.nn.layers import RecomputedRMSNorm
from seqjax.nn.mixer import SequenceLayer, StreamingLayer, check_width_kept
from seqjax.ops.segments import chosen, zero_padding
from seqjax.typing import Array, Segments


class Stack(StreamingLayer):
  """One block per mixer, followed by a norm.

  A mixer that is named twice stands for two layers with parameters of their
  own. The carry is the tuple of the mixers' carries.

  Attributes:
    mixers: one per layer, all of the same features.
    expansion, dropout, mlp, variational: as in `Block`.
    remat: whether the backward pass keeps only each block's input and computes
      the rest again (Chen et al., 2016): less memory, a third more work.
  """

  mixers: tuple[SequenceLayer, ...]
  expansion: int = 2
  dropout: float = 0.0
  mlp: str = 'plain'
  remat: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def __post_init__(self):
    check_mixers(self.mixers)
    check_fields(self)
    features = [mixer.features for mixer in self.mixers]
    if len(set(features)) != 1:
      raise ValueError(
        'A stack needs one mixer or more, all of the same features, but their '
        f'features are {features}.'
      )
    for mixer in self.mixers:
      check_width_kept(self, mixer)
    check_options(self.expansion, self.dropout, self.mlp)
    super().__post_init__()

  def setup(self):
    block = RematBlock if self.remat else Block
    self.blocks = [
      block(
        mixer.clone(parent=None, name=None),
        self.expansion,
        self.dropout,
        self.mlp,
        self.dtype,
        self.param_dtype,
        self.variational,
      )
      for mixer in self.mixers
    ]
    self.norm = RecomputedRMSNorm(
      dtype=self.dtype, param_dtype=self.param_dtype
    )

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> tuple[Any, ...]:
    return tuple(
      streaming(mixer).initialize_carry(batch_size) for mixer in self.mixers
    )

  def step(self, carry, x_t):
    after = []
    for block, state in zip(self.blocks, carry, strict=True):
      state, x_t = block.step(state, x_t)
      after.append(state)
    return tuple(after), self.norm(x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    after = []
    for block, state in zip(self.blocks, carry, strict=True):
      state, x = block.unroll(state, x, segments)
      after.append(state)
    return tuple(after), zero_padding(self.norm(x), segments)

  def __call__(
    self,
    x,
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ):
    segments = chosen(segments, lengths, x)
    for block in self.blocks:
      x = block(x, segments)
    return zero_padding(self.norm(x), segments)

  @property
  def features(self) -> int:
    return self.mixers[0].features

  @property
  def receptive_field(self) -> int | None:
    fields = [streaming(mixer).receptive_field for mixer in self.mixers]
    if None in fields:
      return None
    return 1 + sum(field - 1 for field in fields)


def check_mixers(mixers: Any, name: str = 'mixers'):
  """Raises ValueError unless these are a tuple of mixers."""
  if isinstance(mixers, tuple):
    if all(isinstance(mixer, SequenceLayer) for mixer in mixers):
      return
  raise ValueError(
    f'{name} is a tuple of mixers, such as (GRU(8),), but {_shown(mixers)} was '
    'given.'
  )


def _shown(given: Any) -> str:
  """Describes an argument in a few words; modules print over many lines."""
  if isinstance(given, tuple | list):
    listed = ', '.join(_shown(part) for part in given)
    return f'the {type(given).__name__} of {listed}'
  if isinstance(given, type):
    return f'the class {given.__name__}'
  if isinstance(given, nn.Module):
    return f'{type(given).__name__}(...)'
  return repr(given)
