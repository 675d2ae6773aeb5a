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
from jaxtyping import Float, Int, Shaped

from seqjax.errors import unknown
from seqjax.models import block, classifier, seq2seq, sequence_model, stack
from seqjax.nn import bridge, nnx
from seqjax.typing import Array, Segments

__all__ = [
  'Block',
  'Classifier',
  'Seq2Seq',
  'SequenceModel',
  'Stack',
  'from_linen',
]


class _InStack(nnx.LayerOfMixers):
  def _places(self) -> list[tuple[Any, str]]:
    return _in_blocks(self.stack, self._module.mixers)


class _Streaming(_InStack, bridge.StreamingLayer):
  """A module of mixers that streams if its mixers do."""


class _Block(nnx.LayerOfMixers, bridge.StreamingLayer):
  mixer_fields = ('mixer',)

  def _places(self) -> list[tuple[Any, str]]:
    return [(self, 'mixer')]


class _Stack(nnx.LayerOfMixers, bridge.StreamingLayer):
  def _places(self) -> list[tuple[Any, str]]:
    return _in_blocks(self, self._module.mixers)


class _Seq2Seq(nnx.LayerOfMixers):
  """An encoder and a decoder, whose methods are those of the Linen module."""

  mixer_fields = ('encoder', 'decoder')

  def __call__(
    self,
    inputs: tuple[Shaped[Array, 'B S *I'], Shaped[Array, 'B T *O']],
    segments: tuple[Segments | None, Segments | None] | None = None,
    *,
    lengths: tuple[Int[Array, 'B'] | None, Int[Array, 'B'] | None]
    | None = None,
  ) -> Float[Array, 'B T *C']:
    """Computes the outputs for a source, and a target given one step late."""
    return self._apply('__call__', inputs, segments, lengths=lengths)

  def encode(
    self, source: Shaped[Array, 'B S *I'], segments: Segments | None = None
  ) -> seq2seq.Seq2SeqCarry:
    """Returns the decoder's carry before the target's first position."""
    return self._apply('encode', source, segments)

  def step(
    self, carry: seq2seq.Seq2SeqCarry, x_t: Shaped[Array, 'B *O']
  ) -> tuple[seq2seq.Seq2SeqCarry, Float[Array, 'B *C']]:
    """Returns the decoder's next position, after reading x_t."""
    return self._apply('step', carry, x_t)

  def unroll(
    self,
    carry: seq2seq.Seq2SeqCarry,
    x: Shaped[Array, 'B T *O'],
    segments: Segments | None = None,
  ) -> tuple[seq2seq.Seq2SeqCarry, Float[Array, 'B T *C']]:
    """Reads many positions of the target."""
    return self._apply('unroll', carry, x, segments)

  @property
  def encoder(self) -> tuple[bridge.SequenceLayer, ...]:
    """The mixers of the encoder, which are NNX modules."""
    return self.mixers[: len(self._module.encoder)]

  @property
  def decoder(self) -> tuple[bridge.SequenceLayer, ...]:
    """The mixers of the decoder, which are NNX modules."""
    return self.mixers[len(self._module.encoder) :]

  def _places(self) -> list[tuple[Any, str]]:
    decoder = range(len(self._module.decoder))
    return _in_blocks(self.stack, self._module.encoder) + [
      (getattr(self, f'blocks_{i}').block, 'mixer') for i in decoder
    ]

  @classmethod
  def _example(cls, module: flax.linen.Module) -> Any:
    return bridge.example(module.input), bridge.example(module.output)


def _in_blocks(stack: Any, mixers: tuple[Any, ...]) -> list[tuple[Any, str]]:
  """Returns where the mixers of a stack are: in which block, by which name."""
  return [(getattr(stack, f'blocks_{i}'), 'mixer') for i in range(len(mixers))]


Block = bridge.make_class(block.Block, __name__, _Block)
Stack = bridge.make_class(stack.Stack, __name__, _Stack)
SequenceModel = bridge.make_class(
  sequence_model.SequenceModel, __name__, _Streaming
)
Classifier = bridge.make_class(classifier.Classifier, __name__, _InStack)
Seq2Seq = bridge.make_class(seq2seq.Seq2Seq, __name__, _Seq2Seq)
_CLASSES = {
  kind.linen_class: kind
  for kind in (Block, Stack, SequenceModel, Classifier, Seq2Seq)
}


def from_linen(
  module: flax.linen.Module,
  variables: Mapping[str, Any],
  rngs: Rngs | None = None,
) -> bridge.SequenceLayer:
  """Returns the NNX module that computes what a Linen model or layer does.

  `to_linen()` of the NNX module goes the other way.

  Args:
    module: a Block, Stack, SequenceModel, Classifier, Seq2Seq or a mixer,
      unbound.
    variables: what its `init` returns: {'params': ...}.
    rngs: `flax.nnx.Rngs` with a stream for dropout, if it is to be used.

  Raises:
    ValueError: it is no such module, or a parameter is missing, unknown or of
      the wrong shape.
  """
  if type(module) in _CLASSES:
    return _CLASSES[type(module)].from_linen(module, variables, rngs)
  return nnx.from_linen(module, variables, rngs)


def __getattr__(name: str) -> Any:
  raise AttributeError(unknown('name of seqjax.models.nnx', name, __all__))
