"""The interface of counting and neural language models."""

import dataclasses
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.models import checks
from seqjax.models.generation import generate
from seqjax.models.prompt import check_model, check_vocabularies
from seqjax.models.sequence_model import SequenceModel
from seqjax.ops import losses, over_time
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments


class LanguageModel(Protocol):
  """A distribution over sequences of tokens, one token after the other.

  By the chain rule the probabilities of all sequences of one length sum to 1.
  """

  def log_prob(
    self, tokens: Int[Array, 'B T'], segments: Segments | None = None
  ) -> Float[Array, 'B T']:
    """Returns log p of each token given those before it; 0 at padding."""

  def sample(
    self,
    key: jax.Array,
    prompt: Int[Array, 'B T'],
    num_tokens: int,
    *,
    prompt_lengths: Int[Array, 'B'] | None = None,
    temperature: float = 1.0,
  ) -> Int[Array, 'B N']:
    """Samples tokens after a prompt, maybe empty; temperature 0 is greedy."""


@dataclasses.dataclass(frozen=True, eq=False)
class NeuralLanguageModel:
  """A sequence model with its parameters, as a distribution over sequences.

  At every position the model reads the previous token. Where a segment begins
  it reads `begin_token`, and predicts the first token from that.

  Attributes:
    model: tokens in, tokens out, all mixers causal.
    variables: its parameters.
    begin_token: any token of the model's input vocabulary. If it also occurs in
      texts, as 0 may, the model cannot tell the two uses apart.
  """

  model: SequenceModel
  variables: Any
  begin_token: int = 0

  def __post_init__(self):
    if not isinstance(self.model, SequenceModel):
      raise ValueError(
        'A NeuralLanguageModel is made of a SequenceModel, which gives logits '
        'at every position from those before it, but a '
        f'{type(self.model).__name__} was given.'
      )
    check_model(self.model)
    check_vocabularies(self.model)
    read = self.model.input.vocab
    if not 0 <= self.begin_token < read:
      raise ValueError(
        f'begin_token is one of the {read} tokens that the model reads, but '
        f'{self.begin_token} was given.'
      )

  def log_prob(
    self, tokens: Int[Array, 'B T'], segments: Segments | None = None
  ) -> Float[Array, 'B T']:
    """Returns log p of each token given those before it; 0 at padding.

    At least float32, whatever the dtype of the model.

    Raises:
      ValueError: tokens are no integers [B T], or a valid one lies outside the
        vocabulary (checked where tokens are concrete; under `jit` it makes
        NaN).
    """
    checks.rows(tokens)
    segments_lib.check(segments, *tokens.shape)
    checks.vocabulary(tokens, segments, self.model.output.vocab)
    tokens = jnp.asarray(tokens, jnp.int32)  # the begin token fits no byte
    inputs = previous_tokens(tokens, segments, self.begin_token)
    return _log_prob(self.model, self.variables, inputs, tokens, segments)

  def sample(
    self,
    key: jax.Array,
    prompt: Int[Array, 'B T'],
    num_tokens: int,
    *,
    prompt_lengths: Int[Array, 'B'] | None = None,
    temperature: float = 1.0,
  ) -> Int[Array, 'B N']:
    """Samples tokens after a prompt (it may be empty); see `generate`."""
    checks.rows(prompt)
    prompt = jnp.asarray(prompt, jnp.int32)
    if prompt_lengths is not None:
      checks.lengths(prompt_lengths, *prompt.shape[:1], 0, prompt.shape[1])
      prompt_lengths = jnp.asarray(prompt_lengths) + 1
    return generate(
      self.model,
      self.variables,
      key,
      jnp.pad(prompt, ((0, 0), (1, 0)), constant_values=self.begin_token),
      num_tokens,
      prompt_lengths=prompt_lengths,
      temperature=temperature,
    )


def previous_tokens(
  tokens: Int[Array, 'B T'], segments: Segments | None, begin_token: int
) -> Int[Array, 'B T']:
  """Returns the valid token before each, `begin_token` where a segment begins.

  tokens      7 8 . 9 5 6
  segments      0 0 - 0 1 1      (- is padding)
  previous    b 7 . 8 b 5
  """
  over_time.check_whole('previous_tokens')
  batch_size, num_positions = tokens.shape
  places = jnp.arange(num_positions)[None]
  pieces = segments_lib.piece_index(segments, batch_size, num_positions)
  latest = jax.lax.cummax(jnp.where(pieces >= 0, places, -1), axis=1)
  before = jnp.pad(latest, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
  index = jnp.maximum(before, 0)
  same = jnp.take_along_axis(pieces, index, axis=1) == pieces
  previous = jnp.take_along_axis(tokens, index, axis=1)
  return jnp.where((before >= 0) & same, previous, begin_token)


@functools.partial(jax.jit, static_argnums=0)
def _log_prob(model, variables, inputs, tokens, segments):
  logits = model.apply(variables, inputs, segments)
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  log_probs = jax.nn.log_softmax(logits, axis=-1)
  tokens = segments_lib.zero_padding(tokens, segments)
  log_prob = losses.chosen(log_probs, tokens)
  return segments_lib.zero_padding(log_prob, segments)
