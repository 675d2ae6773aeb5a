"""Every mixer as a Flax NNX module, made with `rngs=`.

Example:
  >>> import jax
  >>> from flax import nnx
  >>> from seqjax.nn import nnx as layers
  >>> layer = layers.LSTM(8, rngs=nnx.Rngs(0))
  >>> x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  >>> layer(x).shape
  (2, 5, 8)
  >>> carry = layer.initialize_carry(2)
  >>> carry, y = layer.unroll(carry, x[:, :4])
  >>> carry, y_t = layer.step(carry, x[:, 4])
  >>> sorted(nnx.to_pure_dict(nnx.state(layer, nnx.Param)))
  ['bias', 'input', 'recurrent']
"""

from collections.abc import Mapping
from typing import Any

import flax.linen
from flax.nnx import Rngs
from jaxtyping import Float, Int

from seqjax.errors import Catalog, unknown
from seqjax.nn import attention, catalog
from seqjax.nn.bridge import SequenceLayer, StreamingLayer, make_class, shown
from seqjax.nn.mixer import SequenceLayer as LinenLayer
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class _FullAttention(SequenceLayer):
  """An NNX module whose calls return weights of attention when asked."""

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
    return_weights: bool = False,
  ) -> attention.Outputs:
    """Computes the outputs, and the weights [B H T T] if they are asked for."""
    if not return_weights:
      return super().__call__(x, segments, lengths=lengths)
    segments = segments_lib.chosen(segments, lengths, x)
    return self._apply('__call__', x, segments, return_weights=True)


class _Attention(_FullAttention, StreamingLayer):
  """A module that streams, and returns weights of attention when asked."""


def _class_of(mixer: type[LinenLayer], module: str) -> type[SequenceLayer]:
  """Returns the NNX class of a mixer, which is found in a module."""
  base = None
  if issubclass(mixer, attention.SelfAttention):
    streams = issubclass(mixer, attention.Attention)
    base = _Attention if streams else _FullAttention
  return make_class(mixer, module, base)


def _classes(mixers: Catalog) -> Catalog:
  """Returns the NNX classes of a catalogue, under its names."""
  made = {name: _class_of(mixer, __name__) for name, mixer in mixers.items()}
  return Catalog(mixers.what, made)


MIXERS = _classes(catalog.MIXERS)
NONCAUSAL_MIXERS = _classes(catalog.NONCAUSAL_MIXERS)
_CLASSES = {
  layer.__name__: layer for layer in (MIXERS | NONCAUSAL_MIXERS).values()
}
globals().update(_CLASSES)

__all__ = [  # noqa: PLE0604  the class of every entry
  'MIXERS',
  'NONCAUSAL_MIXERS',
  'SequenceLayer',
  'StreamingLayer',
  'from_linen',
  *_CLASSES,
]


def from_linen(
  module: flax.linen.Module,
  variables: Mapping[str, Any],
  rngs: Rngs | None = None,
) -> SequenceLayer:
  """Returns the NNX module that computes what a Linen layer does.

  The layer may be of the catalogue, or any other with the protocol of
  `seqjax.nn`. `to_linen()` of the NNX module goes the other way.

  Args:
    module: the layer, unbound.
    variables: what its `init` returns: {'params': ...}.
    rngs: `flax.nnx.Rngs` with a stream for dropout, if it is to be used.

  Raises:
    ValueError: it is no such layer, or a parameter is missing, unknown or of
      the wrong shape.

  Example:
    >>> import jax
    >>> from seqjax import nn
    >>> from seqjax.nn import nnx as layers
    >>> mixer, x = nn.GRU(8), jax.numpy.ones((2, 5, 8))
    >>> variables = mixer.init(jax.random.key(0), x)
    >>> layer = layers.from_linen(mixer, variables)
    >>> mixer, variables = layer.to_linen()
    >>> mixer.apply(variables, x).shape
    (2, 5, 8)
  """
  kind = type(module)
  if not isinstance(module, LinenLayer):
    raise ValueError(
      'from_linen reads a layer that derives from CausalMixer or SequenceMixer '
      f'of seqjax.nn, but {shown(module)} was given.'
    )
  known = _CLASSES.get(kind.__name__)
  if known is None or known.linen_class is not kind:
    known = _class_of(kind, kind.__module__)
  return known.from_linen(module, variables, rngs)


def __getattr__(name: str) -> Any:
  raise AttributeError(unknown('name of seqjax.nn.nnx', name, __all__))
