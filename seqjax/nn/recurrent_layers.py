"""Recurrent layers on top of each other, as torch.nn.LSTM and its kin are."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from seqjax.errors import check_fields
from seqjax.nn.initial_carry import InitialCarry
from seqjax.nn.layers import Drop
from seqjax.nn.mixer import StreamingLayer, input_width
from seqjax.nn.rnn import RecurrentMixer
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class RecurrentLayers(StreamingLayer):
  """Layers that read the outputs of the layer below, one way or both ways.

  Nothing stands between them but dropout: no norm, no residual, no projection.
  A layer that is read both ways gives the outputs of both, forward first, so
  that the next one reads twice as many features (Schuster & Paliwal, 1997).

  The carry is a tuple with an entry per layer: the mixer's carry, or, read both
  ways, the pair of (forward, backward). The backward one is that after the
  first position.

  Attributes:
    mixers: one per layer, of Elman, GRU, LSTM or SLSTM, or an InitialCarry of
      one; each reads what the layer below gives.
    bidirectional: whether layers are read both ways, each way with parameters
      of its own. The layer cannot stream then.
    dropout: probability with which outputs between layers are dropped, exactly
      when `apply` is given a 'dropout' key.
    variational: as in `Block`.

  Example:
    >>> import jax
    >>> from seqjax.nn import LSTM, RecurrentLayers
    >>> mixers = LSTM(8, input_features=3), LSTM(8, input_features=16)
    >>> model = RecurrentLayers(mixers, bidirectional=True)
    >>> x = jax.numpy.ones((2, 5, 3))
    >>> variables = model.init(jax.random.key(0), x)
    >>> model.apply(variables, x).shape
    (2, 5, 16)
  """

  mixers: tuple[RecurrentMixer | InitialCarry, ...]
  bidirectional: bool = False
  dropout: float = 0.0
  variational: bool = False

  def __post_init__(self):
    super().__post_init__()
    check_fields(self)
    mixers = self.mixers if isinstance(self.mixers, tuple) else ()
    if not mixers or not all(
      isinstance(mixer, RecurrentMixer | InitialCarry) for mixer in mixers
    ):
      raise ValueError(
        'RecurrentLayers needs mixers to be a tuple of recurrences, such as '
        f'(LSTM(8),), but {self.mixers!r} was given.'
      )
    if not 0 <= self.dropout <= 1:
      raise ValueError(
        f'dropout is a probability, but dropout={self.dropout} was given.'
      )
    ways = 2 if self.bidirectional else 1
    for below, above in zip(mixers, mixers[1:], strict=False):
      if input_width(above) != ways * below.features:
        raise ValueError(
          f'A layer of RecurrentLayers gives {ways * below.features} features, '
          f'but the next one reads {input_width(above)}; set input_features.'
        )

  def setup(self):
    self.forward = [self._clone(mixer) for mixer in self.mixers]
    if self.bidirectional:
      self.backward = [self._clone(mixer) for mixer in self.mixers]
    self.drop = Drop(self.dropout, self.variational)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> tuple[Any, ...]:
    carry = [mixer.initialize_carry(batch_size) for mixer in self.mixers]
    if self.bidirectional:
      carry = [(state, state) for state in carry]
    return tuple(carry)

  def step(self, carry, x_t):
    if self.bidirectional:
      raise ValueError(
        'RecurrentLayers that are read both ways see whole sequences and have '
        'no step; call unroll.'
      )
    after = []
    for place, (mixer, state) in enumerate(
      zip(self.forward, carry, strict=True)
    ):
      state, x_t = mixer.step(state, self._between(place, x_t))
      after.append(state)
    return tuple(after), x_t

  def unroll(
    self,
    carry: tuple[Any, ...],
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
  ) -> tuple[tuple[Any, ...], Float[Array, 'B T F']]:
    after = []
    for place, state in enumerate(carry):
      x = self._between(place, x)
      if not self.bidirectional:
        state, x = self.forward[place].unroll(state, x, segments)
      else:
        x = segments_lib.zero_padding(x, segments)
        last, there = self.forward[place].unroll(state[0], x, segments)
        first, back = self.backward[place].unroll(
          state[1], _flip(x), segments_lib.reverse(segments)
        )
        state, x = (last, first), jnp.concatenate([there, _flip(back)], axis=-1)
      after.append(state)
    return tuple(after), x

  @property
  def features(self) -> int:
    return (2 if self.bidirectional else 1) * self.mixers[-1].features

  @property
  def input_features(self) -> int:
    return input_width(self.mixers[0])

  @property
  def causal(self) -> bool:
    return not self.bidirectional

  @nn.nowrap
  def _between(self, place: int, x):
    """Drops some of what a layer other than the first reads."""
    return self.drop(x) if place else x

  @nn.nowrap
  def _clone(self, mixer):
    return mixer.clone(parent=None, name=None)


def _flip(x: Shaped[Array, 'B T *D']) -> Shaped[Array, 'B T *D']:
  return jnp.flip(x, axis=1)
