"""Prompts, which a model reads before it continues by itself."""

import numbers
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, Shaped

from seqjax.models import checks
from seqjax.models.block import streaming
from seqjax.models.seq2seq import Seq2Seq
from seqjax.models.sequence_model import SequenceModel
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments, Spec


class Prompt(NamedTuple):
  """Rows with padding anywhere, and the source that a Seq2Seq reads.

  At least one position of every row is valid.
  """

  positions: Shaped[Array, 'B T *I']
  valid: Bool[Array, 'B T']
  source: Shaped[Array, 'B S *J'] | None = None
  source_segments: Segments | None = None


def reads(model: nn.Module) -> Spec:
  """Returns the spec of the positions that a model continues."""
  return model.output if isinstance(model, Seq2Seq) else model.input


def check_model(model: nn.Module):
  """Raises ValueError unless the model can read what it has written."""
  if not isinstance(model, SequenceModel | Seq2Seq):
    raise ValueError(
      f'{type(model).__name__} cannot go on from a prompt, because it does not '
      'read outputs of its own, position by position; a SequenceModel or a '
      'Seq2Seq of the same mixers does.'
    )
  if isinstance(model, SequenceModel):
    for mixer in model.mixers:
      streaming(mixer)


def check_vocabularies(model: nn.Module):
  """Raises ValueError unless the model reads the tokens that it writes."""
  read, written = reads(model), model.output
  several = read.shape or written.shape
  known = read.vocab is not None and written.vocab is not None
  if several or not known or read.vocab < written.vocab:
    raise ValueError(
      'A model of language reads the tokens that it writes, but this one reads '
      f'{read} and writes {written}.'
    )


def check_writer(model: nn.Module):
  """Raises ValueError unless the model writes tokens, and reads them itself."""
  check_model(model)
  if model.output.vocab is None:
    raise ValueError(
      'Tokens are sampled from logits over a vocabulary, but this model gives '
      f'values of shape {list(model.output.shape)}; use rollout instead.'
    )
  check_vocabularies(model)


def pad(tokens, lengths, valid, longest: int | None) -> tuple[Any, Any, Any]:
  """Returns a prompt of tokens [B T] as one of `longest` positions.

  Concrete arrays are padded on the host, where nothing is compiled for T.

  Args:
    tokens, lengths, valid: the prompt, with lengths, a mask, or neither.
    longest: the length to pad to; None: nothing is padded.

  Raises:
    ValueError: the prompt is longer, or not [B T], or a length is outside of
      1..T.
  """
  checks.rows(tokens)
  batch_size, num_positions = tokens.shape
  if longest is None or num_positions < 1:
    return tokens, lengths, valid
  if not isinstance(longest, numbers.Integral) or longest < num_positions:
    raise ValueError(
      'longest_prompt is a whole number, at least the positions of the prompt, '
      f'but longest_prompt={longest} was given with {num_positions} of them.'
    )

  def padded(array):
    library = jnp if isinstance(array, jax.core.Tracer) else np
    return library.pad(array, ((0, 0), (0, longest - num_positions)))

  if valid is not None:
    checks.valid(valid, batch_size, num_positions)
    return padded(tokens), lengths, padded(valid)
  if lengths is None:
    lengths = np.full(batch_size, num_positions)
  checks.lengths(lengths, batch_size, 1, num_positions)
  return padded(tokens), lengths, None


def make(
  model: nn.Module, positions, lengths, source, segments, valid=None
) -> Prompt:
  """Returns a prompt; without lengths and a mask all positions are valid.

  Raises:
    ValueError: it is not of the shape that the model reads, it has no position,
      lengths are outside 1..T, a row of the mask has no valid position, both
      are given, tokens are outside the vocabulary (where they are concrete), or
      the model takes no source, or needs one.
  """
  spec = reads(model)
  if spec.vocab is not None:
    checks.rows(positions)
  elif positions.ndim < 2 or positions.shape[2:] != spec.shape:
    axes = ' '.join(['B', 'T', *map(str, spec.shape)])
    raise ValueError(
      f'This model goes on from values of shape [{axes}], but those given have '
      f'the shape {list(positions.shape)}.'
    )
  if isinstance(model, Seq2Seq) != (source is not None):
    wanted = 'needs a' if source is None else 'takes no'
    raise ValueError(
      f'A {type(model).__name__} {wanted} source=, which is what a Seq2Seq '
      'reads before it writes.'
    )
  if positions.shape[1] < 1:
    raise ValueError(
      'A prompt holds one position or more for a model to go on from, but its '
      f'shape is {list(positions.shape)}.'
    )
  valid = _valid(lengths, valid, *positions.shape[:2])
  if spec.vocab is not None:
    checks.vocabulary(positions, segments_lib.one_piece(valid), spec.vocab)
  if source is not None and model.input.vocab is not None:
    checks.vocabulary(source, segments, model.input.vocab)
  return Prompt(positions, valid, source, segments)


def _valid(
  lengths, valid, batch_size: int, num_positions: int
) -> Bool[Array, 'B T']:
  """Returns the mask of valid positions, from itself or from lengths."""
  if valid is None:
    if lengths is None:
      lengths = jnp.full((batch_size,), num_positions, jnp.int32)
    checks.lengths(lengths, batch_size, 1, num_positions)
    lengths = jnp.asarray(lengths, jnp.int32)
    return segments_lib.from_lengths(lengths, num_positions).valid
  if lengths is not None:
    raise ValueError(
      'The padding of a prompt is given once, by lengths or by a mask of valid '
      'positions, but both were given; leave the lengths out.'
    )
  checks.valid(valid, batch_size, num_positions)
  return jnp.asarray(valid)


def num_read(model: nn.Module, prompt: Prompt) -> int:
  """Returns the most positions that a carry has seen before the last of a row.

  Those of a source are among them if the decoder goes on from its encoder.
  """
  before = prompt.positions.shape[1] - 1
  if prompt.source is not None and model.passes_carry:
    return before + prompt.source.shape[1]
  return before


def begin(
  model: nn.Module, variables: Any, prompt: Prompt, full: nn.Module
) -> Any:
  """Returns the carry before the prompt, from the source if there is one.

  Args:
    model: `full`, or the same with shorter contexts.
    full: what encodes, unless the decoder goes on from the encoder's carry:
      an encoder of a shorter context would see less of the source.
  """
  batch_size = prompt.positions.shape[0]
  if prompt.source is None:
    return model.initialize_carry(batch_size)
  source = prompt.source, prompt.source_segments
  if full.passes_carry:
    return model.apply(variables, *source, method='encode')
  carry = full.apply(variables, *source, method='encode')
  decoder = tuple(m.initialize_carry(batch_size) for m in model.decoder)
  return carry._replace(decoder=decoder)


def read(
  model: nn.Module, variables: Any, prompt: Prompt, full: nn.Module
) -> tuple[Any, Shaped[Array, 'B *I']]:
  """Reads all of each row but its last valid position: carry, that position."""
  carry, last = begin(model, variables, prompt, full), _last(prompt.valid)
  before = prompt.positions[:, :-1]
  if before.shape[1]:
    earlier = jnp.arange(before.shape[1])[None] < last[:, None]
    segments = segments_lib.one_piece(prompt.valid[:, :-1] & earlier)
    carry, _ = model.apply(variables, carry, before, segments, method='unroll')
  return carry, prompt.positions[jnp.arange(len(last)), last]


def _last(valid: Bool[Array, 'B T']) -> Int[Array, 'B']:
  """Returns the index of the last valid position of every row."""
  after = jnp.argmax(jnp.flip(valid, axis=1), axis=1)
  return valid.shape[1] - 1 - after


def first_step(
  model: nn.Module, variables: Any, prompt: Prompt, full: nn.Module
) -> tuple[Any, Any]:
  """Takes one step, on the prompt's first position: what `stages` traces."""
  carry = begin(model, variables, prompt, full)
  return model.apply(variables, carry, prompt.positions[:, 0], method='step')
