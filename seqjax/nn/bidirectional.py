"""A causal mixer read forwards and backwards."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int, Shaped

from seqjax.nn.mixer import (
  SequenceLayer,
  SequenceMixer,
  can_stream,
  check_inputs,
  check_width_kept,
)
from seqjax.nn.rnn import GRU
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class Bidirectional(SequenceMixer):
  """y_t = W [forward(x)_t, backward(x)_t] + b, features in this order.

  Schuster & Paliwal (1997, figure 3): backward states are those of the reversed
  sequence, segment by segment, and meet the forward ones in the output alone.

  Attributes:
    mixer: what is read both ways, each way with parameters of its own; None: a
      GRU of the same features.
  """

  mixer: SequenceLayer | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.mixer is not None and not can_stream(self.mixer):
      raise ValueError(
        'Bidirectional reads a causal mixer both ways, but mixer is a '
        f'{type(self.mixer).__name__} that is not causal.'
      )
    if self.mixer is not None and self.mixer.features != self.features:
      raise ValueError(
        f'Bidirectional has features={self.features}, but the mixer that it '
        f'reads both ways has features={self.mixer.features}; make them equal.'
      )
    if self.mixer is not None:
      check_width_kept(self, self.mixer)

  def setup(self):
    mixer = self.mixer or GRU(
      self.features, self.context, **self._types, parent=None
    )
    self.forward = mixer.clone(parent=None, name=None)
    self.backward = mixer.clone(parent=None, name=None)
    self.out = nn.Dense(self.features, **self._types)

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B T D']:
    segments = segments_lib.chosen(segments, lengths, x)
    check_inputs(self, x, segments)
    x = segments_lib.zero_padding(x, segments)
    there = self.forward(x, segments)
    back = self.backward(_flip(x), segments_lib.reverse(segments))
    return self._read(there, back, segments)

  def unroll_both(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> tuple[tuple[Any, Any], Float[Array, 'B T D']]:
    """Returns the final carries (forward, backward), and the outputs.

    The forward carry is that after the last position, the backward one that
    after the first.
    """
    segments = segments_lib.chosen(segments, lengths, x)
    check_inputs(self, x, segments)
    x = segments_lib.zero_padding(x, segments)
    initial = self.forward.initialize_carry(len(x))
    last, there = self.forward.unroll(initial, x, segments)
    first, back = self.backward.unroll(
      initial, _flip(x), segments_lib.reverse(segments)
    )
    return (last, first), self._read(there, back, segments)

  @nn.nowrap
  def _read(self, there, back, segments):
    y = self.out(jnp.concatenate([there, _flip(back)], axis=-1))
    return segments_lib.zero_padding(y, segments)


def _flip(x: Shaped[Array, 'B T *D']) -> Shaped[Array, 'B T *D']:
  return jnp.flip(x, axis=1)
