"""Blocks and models as Flax NNX modules, made with `rngs=`.

A mixer inside is an NNX layer, which brings its parameters, or a Linen one,
whose parameters are made here.

Example:
  >>> import jax
  >>> from flax import nnx
  >>> from seqjax.models import nnx as models
  >>> from seqjax.nn import nnx as layers
  >>> from seqjax.typing import Spec
  >>> rngs = nnx.Rngs(0)
  >>> mixer = layers.MinGRU(8, rngs=rngs)
  >>> tokens = Spec((), vocab=5)
  >>> model = models.SequenceModel(tokens, tokens, (mixer,), rngs=rngs)
  >>> model(jax.numpy.zeros((2, 7), int)).shape
  (2, 7, 5)
  >>> model.stack.blocks_0.mixer is mixer
  True
"""

from collections.abc import Mapping
from typing import Any

import flax.linen
from flax.nnx import Rngs

from seqjax.errors import unknown
from seqjax.models import block, classifier, sequence_model, stack
from seqjax.nn import bridge, nnx
from seqjax.nn.mixer import SequenceLayer as LinenLayer

__all__ = ['Block', 'Classifier', 'SequenceModel', 'Stack', 'from_linen']


class _OfMixers(bridge.SequenceLayer):
  """An NNX module whose mixers are NNX modules too, in their places.

  Dropout falls exactly when the module is in training mode (`train()`, as it is
  made) and its `rngs` had a stream 'dropout' or a default one; `eval()` ends
  it.
  """

  def __init__(self, *args: Any, rngs: Any = None, **options: Any):
    known = bridge.fields(self.linen_class)
    if len(args) > len(known):
      raise ValueError(
        f'{type(self).__name__} has the options {known}, but {len(args)} were '
        'given.'
      )
    options |= dict(zip(known, args, strict=False))
    field = 'mixer' if 'mixer' in known else 'mixers'
    given = options.get(field, ())
    mixers = tuple(given) if isinstance(given, tuple | list) else (given,)
    self._check_mixers(mixers)
    if field in options:
      described = tuple(map(_described, mixers))
      options[field] = described if field == 'mixers' else described[0]
    super().__init__(rngs=rngs, **options)
    for i, mixer in enumerate(mixers):
      holder, name = self._place(i)
      if not isinstance(mixer, bridge.SequenceLayer):
        params = bridge.values(getattr(holder, name))
        mixer = nnx.from_linen(mixer, {'params': params})
      setattr(holder, name, mixer)

  def set_view(self, deterministic: bool | None = None):
    """Sets whether dropout is off, for `nnx.view`.

    Args:
      deterministic: True where it is off; None leaves it as it is.
    """
    if deterministic is not None and hasattr(self, 'deterministic'):
      self.deterministic = deterministic

  @property
  def mixers(self) -> tuple[bridge.SequenceLayer, ...]:
    """The mixers, which are NNX modules."""
    places = map(self._place, range(len(self._module.mixers)))
    return tuple(getattr(holder, name) for holder, name in places)

  def _place(self, index: int) -> tuple[Any, str]:
    """Returns what holds the mixer of a layer, and its name there."""
    return getattr(self.stack, f'blocks_{index}'), 'mixer'

  @classmethod
  def _check_mixers(cls, mixers: tuple[Any, ...]):
    """Raises ValueError unless all are mixers, each NNX module once."""
    for mixer in mixers:
      if not isinstance(mixer, (bridge.SequenceLayer, LinenLayer)):
        raise ValueError(
          f'{cls.__name__} is made of mixers, such as '
          f'seqjax.nn.nnx.GRU(8, rngs=rngs), but {bridge.shown(mixer)} was '
          'given.'
        )
    modules = [m for m in mixers if isinstance(m, bridge.SequenceLayer)]
    if len(set(map(id, modules))) < len(modules):
      raise ValueError(
        f'{cls.__name__} has parameters of its own in every layer, but one NNX '
        'module was given for several; make one for each.'
      )


class _Streaming(_OfMixers, bridge.StreamingLayer):
  """A module of mixers that streams if its mixers do."""


class _Block(_Streaming):
  def _place(self, index: int) -> tuple[Any, str]:
    return self, 'mixer'


class _Stack(_Streaming):
  def _place(self, index: int) -> tuple[Any, str]:
    return getattr(self, f'blocks_{index}'), 'mixer'


Block = bridge.make_class(block.Block, __name__, _Block)
Stack = bridge.make_class(stack.Stack, __name__, _Stack)
SequenceModel = bridge.make_class(
  sequence_model.SequenceModel, __name__, _Streaming
)
Classifier = bridge.make_class(classifier.Classifier, __name__, _OfMixers)
_CLASSES = {
  kind.linen_class: kind for kind in (Block, Stack, SequenceModel, Classifier)
}


def from_linen(
  module: flax.linen.Module,
  variables: Mapping[str, Any],
  rngs: Rngs | None = None,
) -> bridge.SequenceLayer:
  """Returns the NNX module that computes what a Linen model or layer does.

  `to_linen()` of the NNX module goes the other way.

  Args:
    module: a Block, Stack, SequenceModel, Classifier or a mixer, unbound.
    variables: what its `init` returns: {'params': ...}.
    rngs: `flax.nnx.Rngs` with a stream for dropout, if it is to be used.

  Raises:
    ValueError: it is no such module, or a parameter is missing, unknown or of
      the wrong shape.
  """
  if type(module) in _CLASSES:
    return _CLASSES[type(module)].from_linen(module, variables, rngs)
  return nnx.from_linen(module, variables, rngs)


def _described(mixer: Any) -> flax.linen.Module:
  """Returns the Linen module of a mixer."""
  if isinstance(mixer, bridge.SequenceLayer):
    return mixer.to_linen()[0]
  return mixer


def __getattr__(name: str) -> Any:
  raise AttributeError(unknown('name of seqjax.models.nnx', name, __all__))
