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

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen
from flax.nnx import Rngs
from jaxtyping import Float, Int

from seqjax.errors import Catalog, unknown
from seqjax.nn import attention, bidirectional, catalog
from seqjax.nn.bridge import (
  SequenceLayer,
  StreamingLayer,
  fields,
  make_class,
  shown,
  values,
)
from seqjax.nn.initial_carry import InitialCarry as LinenInitialCarry
from seqjax.nn.mixer import SequenceLayer as LinenLayer
from seqjax.nn.recurrent_layers import RecurrentLayers as LinenLayers
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


class _Bidirectional(SequenceLayer):
  """An NNX module that gives the final carries of both ways when asked."""

  def unroll_both(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> tuple[tuple[Any, Any], Float[Array, 'B T D']]:
    """Returns the final carries (forward, backward), and the outputs."""
    return self._apply('unroll_both', x, segments, lengths=lengths)


class LayerOfMixers(SequenceLayer):
  """An NNX module whose mixers are NNX modules too, in their places.

  Dropout falls exactly when the module is in training mode (`train()`, as it is
  made) and its `rngs` had a stream 'dropout' or a default one; `eval()` ends
  it.

  Attributes:
    mixer_fields: the options that are a mixer, or a tuple of them.
  """

  mixer_fields: ClassVar[tuple[str, ...]] = ('mixers',)

  def __init__(self, *args: Any, rngs: Any = None, **options: Any):
    known = fields(self.linen_class)
    if len(args) > len(known):
      raise ValueError(
        f'{type(self).__name__} has the options {known}, but {len(args)} were '
        'given.'
      )
    options |= dict(zip(known, args, strict=False))
    mixers = ()
    for field in filter(options.__contains__, self.mixer_fields):
      several = field != 'mixer' and isinstance(options[field], tuple | list)
      each = tuple(options[field]) if several else (options[field],)
      mixers += each
      self._check_mixers(mixers)
      options[field] = _described(each) if several else _described(each)[0]
    super().__init__(rngs=rngs, **options)
    # A mixer that is read both ways has two places.
    for place, mixer in zip(self._places(), itertools.cycle(mixers)):
      self._put(mixer, *place)

  def set_view(self, deterministic: bool | None = None):
    """Sets whether dropout is off, for `nnx.view`.

    Args:
      deterministic: True where it is off; None leaves it as it is.
    """
    if deterministic is not None and hasattr(self, 'deterministic'):
      self.deterministic = deterministic

  @property
  def mixers(self) -> tuple[SequenceLayer, ...]:
    """The mixers, which are NNX modules."""
    return tuple(getattr(holder, name) for holder, name in self._places())

  def _places(self) -> list[tuple[Any, str]]:
    """Returns what holds each mixer, and its name there."""
    raise NotImplementedError(f'{type(self).__name__} defines no _places.')

  def _put(self, mixer: Any, holder: Any, name: str):
    """Puts an NNX module of a mixer where its parameters are."""
    if not isinstance(mixer, SequenceLayer):
      mixer = from_linen(mixer, {'params': values(getattr(holder, name))})
    setattr(holder, name, mixer)

  @classmethod
  def _check_mixers(cls, mixers: tuple[Any, ...]):
    """Raises ValueError unless all are mixers, each NNX module once."""
    for mixer in mixers:
      if not isinstance(mixer, (SequenceLayer, LinenLayer)):
        raise ValueError(
          f'{cls.__name__} is made of mixers, such as '
          f'seqjax.nn.nnx.GRU(8, rngs=rngs), but {shown(mixer)} was given.'
        )
    modules = [m for m in mixers if isinstance(m, SequenceLayer)]
    if len(set(map(id, modules))) < len(modules):
      raise ValueError(
        f'{cls.__name__} has parameters of its own in every layer, but one NNX '
        'module was given for several; make one for each.'
      )


class _RecurrentLayers(LayerOfMixers, StreamingLayer):
  def __init__(self, *args: Any, rngs: Any = None, **options: Any):
    super().__init__(*args, rngs=rngs, **options)
    if len(set(map(id, self.mixers))) < len(self.mixers):
      raise ValueError(
        'RecurrentLayers that are read both ways have parameters of their own '
        'for each way, but an NNX module has one set; give a Linen module, '
        'such as seqjax.nn.GRU(8).'
      )

  def _places(self) -> list[tuple[Any, str]]:
    ways = ('forward', 'backward')[: 2 if self._module.bidirectional else 1]
    layers = range(len(self._module.mixers))
    return [(self, f'{way}_{i}') for way in ways for i in layers]


class _InitialCarry(LayerOfMixers, StreamingLayer):
  mixer_fields = ('mixer',)

  @property
  def mixer(self) -> SequenceLayer:
    """The mixer, which is an NNX module."""
    return self.inner

  def _places(self) -> list[tuple[Any, str]]:
    return [(self, 'inner')]


def _class_of(mixer: type[LinenLayer], module: str) -> type[SequenceLayer]:
  """Returns the NNX class of a mixer, which is found in a module."""
  base = None
  if issubclass(mixer, attention.SelfAttention):
    streams = issubclass(mixer, attention.Attention)
    base = _Attention if streams else _FullAttention
  elif issubclass(mixer, bidirectional.Bidirectional):
    base = _Bidirectional
  return make_class(mixer, module, base)


def _classes(mixers: Catalog) -> Catalog:
  """Returns the NNX classes of a catalogue, under its names."""
  made = {name: _class_of(mixer, __name__) for name, mixer in mixers.items()}
  return Catalog(mixers.what, made)


MIXERS = _classes(catalog.MIXERS)
NONCAUSAL_MIXERS = _classes(catalog.NONCAUSAL_MIXERS)
_COMPOSED = (
  make_class(LinenLayers, __name__, _RecurrentLayers),
  make_class(LinenInitialCarry, __name__, _InitialCarry),
)
_CLASSES = {
  layer.__name__: layer
  for layer in (*(MIXERS | NONCAUSAL_MIXERS).values(), *_COMPOSED)
}
globals().update(_CLASSES)

__all__ = [  # noqa: PLE0604  the class of every layer
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


def _described(mixers: tuple[Any, ...]) -> tuple[flax.linen.Module, ...]:
  """Returns the Linen modules of mixers."""
  return tuple(
    mixer.to_linen()[0] if isinstance(mixer, SequenceLayer) else mixer
    for mixer in mixers
  )


def __getattr__(name: str) -> Any:
  raise AttributeError(unknown('name of seqjax.nn.nnx', name, __all__))
