"""Recurrences that begin with a learned state, or with a random one."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from seqjax.errors import check_fields, unknown
from seqjax.nn.mixer import (
  StreamingLayer,
  can_stream,
  input_width,
  scan_positions,
  select_rows,
)
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments

KINDS = ('learned', 'random')


class Begun(NamedTuple):
  """The carry of a mixer, and in which rows it has read a position."""

  carry: Any
  begun: Bool[Array, 'B']


class InitialCarry(StreamingLayer):
  """A mixer whose sequences begin with a learned or a random carry.

  The carry of `initialize_carry` needs no parameters, so it says that nothing
  has been read, and the first position of a segment replaces it. Under segments
  positions are read one after the other.

  Attributes:
    mixer: a recurrence; every leaf of its carry is a state. The first position
      of an sLSTM or mLSTM sets normaliser and stabiliser anew, so that what is
      learned for those has little effect or none.
    kind: 'learned' adds parameters that begin at the mixer's own initial carry;
      'random' adds Gaussian noise to that, one sample per row (Zimmermann et
      al., 2012), exactly when `apply` is given a 'dropout' key.
    scale: standard deviation of the noise.
  """

  mixer: StreamingLayer
  kind: str = 'learned'
  scale: float = 0.1

  def __post_init__(self):
    super().__post_init__()
    check_fields(self)
    if self.kind not in KINDS:
      raise ValueError(unknown('kind of initial carry', self.kind, KINDS))
    if not 0 <= self.scale < float('inf'):
      raise ValueError(
        'InitialCarry needs a scale of at least 0 and finite, but '
        f'scale={self.scale} was given.'
      )
    if not can_stream(self.mixer):
      raise ValueError(
        'InitialCarry needs a causal mixer, but a '
        f'{type(self.mixer).__name__} was given.'
      )
    shapes = jax.eval_shape(lambda: self.mixer.initialize_carry(1))
    for leaf in jax.tree.leaves(shapes):
      if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        raise ValueError(
          'InitialCarry needs a mixer whose carry is a state, such as GRU, but '
          f'that of {type(self.mixer).__name__} holds {leaf.dtype}, which '
          'counts positions.'
        )

  def setup(self):
    self.inner = self.mixer.clone(parent=None, name=None)
    if self.kind == 'learned':
      shapes = jax.eval_shape(lambda: self.mixer.initialize_carry(1))
      self.offsets = [
        self.param(f'initial_{place}', nn.initializers.zeros, _parts(leaf))
        for place, leaf in enumerate(jax.tree.leaves(shapes))
      ]

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Begun:
    carry = self.mixer.initialize_carry(batch_size)
    return Begun(carry, jnp.zeros((batch_size,), bool))

  def step(self, carry, x_t):
    inner = select_rows(carry.begun, carry.carry, self._first(carry.carry))
    inner, y_t = self.inner.step(inner, x_t)
    return Begun(inner, jnp.ones_like(carry.begun)), y_t

  def unroll(self, carry, x, segments: Segments | None = None):
    if x.shape[1] == 0:
      return carry, self.inner.unroll(carry.carry, x, segments)[1]
    first = self._first(carry.carry)
    if segments is None:
      inner = select_rows(carry.begun, carry.carry, first)
      inner, y = self.inner.unroll(inner, x)
      return Begun(inner, jnp.ones_like(carry.begun)), y
    segments_lib.check(segments, *x.shape[:2])

    def read(layer, carried, inputs):
      (carry, first), (x_t, masks) = carried, inputs
      initial = layer.initialize_carry(len(x_t))
      carry = select_rows(masks.start, initial, carry)
      inner = select_rows(carry.begun, carry.carry, first)
      inner, y_t = layer.inner.step(inner, x_t)
      new = Begun(inner, jnp.ones_like(carry.begun))
      return (select_rows(masks.valid, new, carry), first), y_t

    (carry, _), y = scan_positions(self, read, (carry, first), x, segments)
    return carry, y

  @property
  def features(self) -> int:
    return self.mixer.features

  @property
  def input_features(self) -> int:
    return input_width(self.mixer)

  @property
  def receptive_field(self) -> int | None:
    return self.mixer.receptive_field

  @nn.nowrap
  def _first(self, like: Any) -> Any:
    """Returns the carry before the first position of a segment."""
    leaves, treedef = jax.tree.flatten(like)
    initial = self.mixer.initialize_carry(len(leaves[0]))
    if self.kind == 'learned':
      added = [_joined(p, a) for p, a in zip(self.offsets, leaves, strict=True)]
    elif self.has_rng('dropout'):
      key = self.make_rng('dropout')
      keys = jax.random.split(key, len(leaves))
      added = [
        self.scale * jax.random.normal(k, a.shape, a.dtype)
        for k, a in zip(keys, leaves, strict=True)
      ]
    else:
      added = [jnp.zeros_like(a) for a in leaves]
    added = jax.tree.unflatten(treedef, added)
    return jax.tree.map(jnp.add, initial, added)


def _parts(leaf: jax.ShapeDtypeStruct) -> tuple[int, ...]:
  """Returns the shape of a parameter: real, and imaginary where complex."""
  parts = 2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1
  return parts, *leaf.shape[1:]


def _joined(parts: Float[Array, 'P *N'], like: Array) -> Array:
  """Returns one row of a carry for every row of `like`."""
  value = parts[0] if len(parts) == 1 else jax.lax.complex(*parts)
  return jnp.broadcast_to(value.astype(like.dtype)[None], like.shape)
