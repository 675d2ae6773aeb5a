"""From one sequence to another of another length: encoder and decoder."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int, Shaped

from seqjax.models import checks, specs
from seqjax.models.block import Block, streaming
from seqjax.models.stack import Stack, check_mixers
from seqjax.nn.cross_attention import CrossAttention, Memory
from seqjax.nn.layers import MLP, Drop, RecomputedRMSNorm
from seqjax.nn.mixer import SequenceLayer, StreamingLayer, can_stream
from seqjax.ops.segments import check, chosen, zero_padding
from seqjax.typing import Array, Segments, Spec


class Seq2SeqCarry(NamedTuple):
  """A decoder's state: its layers' states, and the memory that each reads.

  The memories stay as the encoder made them; None without attention.
  """

  decoder: tuple[Any, ...]
  memory: tuple[Memory | None, ...]


class Seq2Seq(nn.Module):
  """An encoder reads the source, a decoder writes the target.

  Without `attention`, the decoder knows the source only through the encoder's
  final carry, from which it continues layer by layer (Sutskever et al., 2014).
  If the mixers are attention, that carry holds all their keys and values, so
  that it is no bottleneck. With `attention`, every layer of the decoder also
  reads all positions of the source (Bahdanau et al., 2015), between its mixer
  and its perceptron (Vaswani et al., 2017). It still continues from the
  encoder's carry where the two carries have the same meaning (see
  `passes_carry`); otherwise it starts from its initial carry.

  A row holds one pair. A start within a target restarts the decoder from its
  initial carry, which knows no source.

  Attributes:
    input: what stands at a position of the source.
    output: what stands at a position of the target, which the decoder reads one
      position late: tokens, then logits come out, or values.
    encoder: its mixers, causal or not, all of the same features.
    decoder: its mixers, causal, all of the same features.
    attention: None, or the score of `CrossAttention`: 'dot', 'additive'.
    num_heads: of that attention.
    expansion, dropout, mlp, variational: as in `Block`.
    remat: as in `Stack`, of both sides.
  """

  input: Spec
  output: Spec
  encoder: tuple[SequenceLayer, ...]
  decoder: tuple[SequenceLayer, ...]
  attention: str | None = None
  num_heads: int = 2
  expansion: int = 2
  dropout: float = 0.0
  mlp: str = 'plain'
  remat: bool = False
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def __post_init__(self):
    for name in ('encoder', 'decoder'):
      mixers = getattr(self, name)
      check_mixers(mixers, name)
      Stack(mixers, self.expansion, self.dropout, self.mlp, parent=None)
    for mixer in self.decoder:
      streaming(mixer)
    if self.attention is not None:
      features = self.decoder[0].features
      CrossAttention(features, self.num_heads, self.attention, parent=None)
    elif not self.passes_carry:
      raise ValueError(
        "Without attention the decoder goes on from the encoder's final carry, "
        'layer by layer, so that both need as many mixers, each pair of one '
        'type with the same options and able to stream, but the encoder has '
        f'{_listed(self.encoder)} and the decoder {_listed(self.decoder)}; '
        "make them equal, or use attention='dot'."
      )
    super().__post_init__()

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    named = types | {'variational': self.variational}
    options = self.expansion, self.dropout, self.mlp
    source, target = self.encoder[0].features, self.decoder[0].features
    self.source_embedding = specs.embedding(self.input, source, **types)
    encoder = _clones(self.encoder)
    self.stack = Stack(encoder, *options, self.remat, **named)
    self.target_embedding = specs.embedding(self.output, target, **types)
    block = RematDecoderBlock if self.remat else DecoderBlock
    self.blocks = [
      block(mixer, self.attention, self.num_heads, *options, **named)
      for mixer in _clones(self.decoder)
    ]
    self.norm = RecomputedRMSNorm(**types)
    self.readout = specs.readout(self.output, **types)

  def __call__(
    self,
    inputs: tuple[Shaped[Array, 'B S *I'], Shaped[Array, 'B T *O']],
    segments: tuple[Segments | None, Segments | None] | None = None,
    *,
    lengths: tuple[Int[Array, 'B'] | None, Int[Array, 'B'] | None]
    | None = None,
  ) -> Float[Array, 'B T *C']:
    """Computes the outputs for a source, and a target given one step late."""
    checks.pair(self, inputs)
    source, target = inputs
    if isinstance(segments, Segments):
      raise ValueError(
        'A Seq2Seq takes segments as a pair (of the source, of the target), '
        'either of which may be None, but one Segments was given.'
      )
    if lengths is not None and not isinstance(lengths, tuple | list):
      raise ValueError(
        'A Seq2Seq takes lengths as a pair (of the source, of the target), '
        'either of which may be None, but one array was given.'
      )
    segments = segments or (None, None)
    source_segments, target_segments = (
      chosen(*each)
      for each in zip(segments, lengths or (None, None), inputs, strict=True)
    )
    carry = self.encode(source, source_segments)
    _, y = self.unroll(carry, target, target_segments)
    return y

  def encode(
    self, source: Shaped[Array, 'B S *I'], segments: Segments | None = None
  ) -> Seq2SeqCarry:
    """Returns the decoder's carry before the target's first position."""
    check(segments, *source.shape[:2])
    x = zero_padding(source, segments)
    x = specs.embed(self.source_embedding, self.input, x)
    batch_size = source.shape[0]
    if self.passes_carry:
      initial = self.stack.initialize_carry(batch_size)
      carry, y = self.stack.unroll(initial, x, segments)
    else:
      y = self.stack(x, segments)
      carry = tuple(m.initialize_carry(batch_size) for m in self.decoder)
    memory = tuple(block.remember(y, segments) for block in self.blocks)
    return Seq2SeqCarry(carry, memory)

  def step(
    self, carry: Seq2SeqCarry, x_t: Shaped[Array, 'B *O']
  ) -> tuple[Seq2SeqCarry, Float[Array, 'B *C']]:
    """Returns the decoder's next position, after reading x_t."""
    after, y_t = [], specs.embed(self.target_embedding, self.output, x_t)
    for block, state, memory in zip(self.blocks, *carry, strict=True):
      state, y_t = block.step(state, memory, y_t)
      after.append(state)
    return carry._replace(decoder=tuple(after)), self._read(y_t)

  def unroll(
    self,
    carry: Seq2SeqCarry,
    x: Shaped[Array, 'B T *O'],
    segments: Segments | None = None,
  ) -> tuple[Seq2SeqCarry, Float[Array, 'B T *C']]:
    """Reads many positions of the target."""
    check(segments, *x.shape[:2])
    x = zero_padding(x, segments)
    after, y = [], specs.embed(self.target_embedding, self.output, x)
    for block, state, memory in zip(self.blocks, *carry, strict=True):
      state, y = block.unroll(state, memory, y, segments)
      after.append(state)
    y = zero_padding(self._read(y), segments)
    return carry._replace(decoder=tuple(after)), y

  @property
  def passes_carry(self) -> bool:
    """True if the decoder begins with the encoder's final carry.

    Where both have as many layers, and each pair of mixers the same type and
    options, as only then their carries are known to mean the same; the options
    `param_dtype` and `algorithm` may differ.
    """
    if len(self.encoder) != len(self.decoder):
      return False
    pairs = zip(self.encoder, self.decoder, strict=True)
    return all(
      can_stream(source) and _meaning(source) == _meaning(target)
      for source, target in pairs
    )

  def _read(self, y):
    return specs.read(self.readout, self.output, self.norm(y))


class DecoderBlock(nn.Module):
  """A block that also reads a memory.

  x <- x + mixer(norm(x));  x <- x + read(norm(x), memory);
  x <- x + mlp(norm(x)).

  Attributes:
    mixer: what moves information along the target.
    attention: the score by which the memory is read; None: it is not.
    num_heads, expansion, dropout, mlp, variational: as in `Seq2Seq`.
  """

  mixer: StreamingLayer
  attention: str | None
  num_heads: int
  expansion: int
  dropout: float
  mlp: str
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  variational: bool = False

  def setup(self):
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    features = self.mixer.features
    mixer = self.mixer.clone(parent=None, name=None)
    self.block = Block(
      mixer, 0, self.dropout, variational=self.variational, **types
    )
    self.drop = Drop(self.dropout, self.variational)
    if self.attention is not None:
      self.reader_norm = RecomputedRMSNorm(**types)
      self.reader = CrossAttention(
        features, self.num_heads, self.attention, **types
      )
    if self.expansion:
      hidden = self.expansion * features
      self.mlp_norm = RecomputedRMSNorm(**types)
      self.perceptron = MLP(features, hidden, self.mlp, **types)

  def remember(self, source, segments: Segments | None) -> Memory | None:
    """Projects the memory that the block reads at every position."""
    if self.attention is None:
      return None
    return self.reader.project(source, segments)

  def step(self, carry, memory: Memory | None, x_t):
    carry, x_t = self.block.step(carry, x_t)
    return carry, self._finish(memory, x_t[:, None])[:, 0]

  def unroll(self, carry, memory: Memory | None, x, segments):
    carry, x = self.block.unroll(carry, x, segments)
    return carry, zero_padding(self._finish(memory, x), segments)

  def _finish(self, memory, x):
    if memory is not None:
      y = self.reader.read(memory, self.reader_norm(x))
      x = x + self.drop(y)
    if self.expansion:
      y = self.perceptron(self.mlp_norm(x))
      x = x + self.drop(y)
    return x


# The same block, of which a derivative keeps only what goes in.
RematDecoderBlock = nn.remat(DecoderBlock, methods=('unroll',))


def _clones(mixers):
  return tuple(mixer.clone(parent=None, name=None) for mixer in mixers)


def _meaning(value: Any) -> Any:
  """Returns the types and options that give a carry its meaning."""
  if isinstance(value, tuple):
    return tuple(_meaning(part) for part in value)
  if not isinstance(value, nn.Module):
    return value
  names = {field.name for field in dataclasses.fields(value)}
  names -= {'parent', 'name', 'param_dtype', 'algorithm'}
  return type(value), {name: _meaning(getattr(value, name)) for name in names}


def _listed(mixers) -> str:
  return ', '.join(type(mixer).__name__ for mixer in mixers)
