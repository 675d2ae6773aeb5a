"""Beam search: the likeliest continuations of a prompt, several per row.

The hypotheses of all rows stand in one batch, row by row, so that a step of the
model reads all of them. The carry is the one of `generate`: it grows from stage
to stage, and its rows are gathered when a hypothesis takes another one's place.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from seqjax.models import checks
from seqjax.models import prompt as prompt_lib
from seqjax.models.generation import end_at_lost, grow, plan
from seqjax.models.seq2seq import Seq2SeqCarry
from seqjax.ops.sampling import NO_TOKEN
from seqjax.typing import Array, Segments

# Log-probability of a hypothesis whose logits are NaN: it ranks below all that
# have a score, and above -inf, which stands for no hypothesis.
LOST = float(np.finfo(np.float32).min)


class Hypotheses(NamedTuple):
  """Continuations of every prompt, the best first, and their scores."""

  tokens: Int[Array, 'B K N']
  scores: Float[Array, 'B K']


def beam_search(
  model: nn.Module,
  variables: Any,
  prompt: Int[Array, 'B T'],
  num_tokens: int,
  *,
  beams: int,
  prompt_lengths: Int[Array, 'B'] | None = None,
  prompt_valid: Bool[Array, 'B T'] | None = None,
  longest_prompt: int | None = None,
  source: Shaped[Array, 'B S *I'] | None = None,
  source_segments: Segments | None = None,
  length_penalty: float | Float[Array, ''] = 0.0,
  stop_token: int | Int[Array, ''] | None = None,
  pad_token: int | Int[Array, ''] = 0,
) -> Hypotheses:
  """Searches for the continuations of a prompt with the highest scores.

  The score of n tokens y after a prompt x is that of Wu et al. (2016, eq. 14),
  without their coverage penalty:

      log p(y | x) / ((5 + n) / 6) ** length_penalty

  where n counts the stop token. After every token, the `beams` best hypotheses
  of a row are kept, by their scores so far. A hypothesis that has ended with
  the stop token keeps its score, and its place for as long as it is among the
  best; so every hypothesis returned has ended or has `num_tokens` tokens. One
  beam without a penalty is greedy: its tokens are those of `generate` at
  temperature 0. The result is exact where there are as many beams as
  hypotheses.

  Args:
    model: a SequenceModel whose mixers stream, or a Seq2Seq; it reads the
      tokens that come out.
    variables: its parameters.
    prompt: the tokens to continue, at least one per row; for a Seq2Seq, a
      begin token.
    num_tokens: N.
    beams: K, the hypotheses kept per row; more are slower and find better ones.
    prompt_lengths, prompt_valid, longest_prompt, source, source_segments: as
      in `generate`.
    length_penalty: 0 compares log-probabilities, of which short hypotheses have
      the higher; the larger it is, the better for long ones.
    stop_token: a hypothesis ends with this token.
    pad_token: fills a hypothesis after its stop token.

  Returns:
    The hypotheses of each row, the best first; of equal ones, the one whose
    beginning was better. A hypothesis whose logits give no probabilities (NaN,
    as past the end of learned positions) holds NO_TOKEN (-1) from there on; its
    score is NaN, and it ranks after all that have a score. Where a row has
    fewer hypotheses of positive probability than beams, the last ones hold
    NO_TOKEN alone and have the score -inf.

  Raises:
    ValueError: as in `generate`, or there is no beam.

  Example:
    >>> import jax
    >>> from seqjax import models, nn
    >>> from seqjax.typing import Spec
    >>> spec = Spec((), vocab=9)
    >>> model = models.SequenceModel(spec, spec, (nn.GRU(8),))
    >>> prompt = jax.numpy.array([[1, 2, 3]])
    >>> variables = model.init(jax.random.key(0), prompt)
    >>> tokens, scores = models.beam_search(
    ...   model, variables, prompt, 5, beams=4, length_penalty=0.6
    ... )
    >>> tokens.shape, bool(scores[0, 0] >= scores[0, 1])
    ((1, 4, 5), True)
  """
  prompt_lib.check_writer(model)
  checks.num_steps(num_tokens)
  checks.beams(beams)
  checks.length_penalty(length_penalty)
  checks.stop_token(stop_token, model.output.vocab)
  prompt, prompt_lengths, prompt_valid = prompt_lib.pad(
    prompt, prompt_lengths, prompt_valid, longest_prompt
  )
  begun = prompt_lib.make(
    model, prompt, prompt_lengths, source, source_segments, prompt_valid
  )
  # Arrays of one dtype, so that no other value compiles the search anew.
  rule = _Rule(
    jnp.asarray(length_penalty, float),
    None if stop_token is None else jnp.asarray(stop_token, jnp.int32),
    jnp.asarray(pad_token, jnp.int32),
  )
  return _search(
    model, variables, begun, rule, num_tokens=num_tokens, beams=int(beams)
  )


class _Rule(NamedTuple):
  """The options of `beam_search` that may be traced."""

  length_penalty: Float[Array, '']
  stop_token: Int[Array, ''] | None
  pad_token: Int[Array, '']


class _State(NamedTuple):
  """The hypotheses after t steps: `token` is read next.

  A log-probability of -inf stands for no hypothesis.
  """

  t: Int[Array, '']
  carry: Any
  token: Int[Array, 'B K']
  log_prob: Float[Array, 'B K']
  length: Int[Array, 'B K']
  done: Bool[Array, 'B K']
  tokens: Int[Array, 'B K N']


class _Candidates(NamedTuple):
  """Hypotheses that are longer by a token, E from each; ended ones stay."""

  token: Int[Array, 'B K E']
  log_prob: Float[Array, 'B K E']
  length: Int[Array, 'B K E']
  done: Bool[Array, 'B K E']


@functools.partial(jax.jit, static_argnames=('model', 'num_tokens', 'beams'))
def _search(model, variables, prompt, rule: _Rule, *, num_tokens, beams):
  repeat = functools.partial(_repeat, beams=beams)
  planned = plan(model, variables, prompt, num_tokens)
  carry, token = prompt_lib.read(planned[0].model, variables, prompt, model)
  state = _first_state(model, repeat(carry), token, rule, num_tokens, beams)

  def next_state(model, state):
    carry, logits = model.apply(
      variables, state.carry, state.token.reshape(-1), method='step'
    )
    logits = logits.reshape(*state.token.shape, -1)
    candidates = _continuations(state, logits, rule)
    return _best(state._replace(carry=carry), candidates, rule)

  def unfinished(end, state):
    alive = ~state.done & (state.log_prob > -jnp.inf)
    return (state.t < end) & jnp.any(alive)

  end = 0
  for stage in planned:
    end += stage.num_steps
    longer = jax.eval_shape(repeat, stage.carry)
    state = jax.lax.while_loop(
      functools.partial(unfinished, end),
      functools.partial(next_state, stage.model),
      state._replace(carry=grow(state.carry, longer)),
    )
  return _found(state, rule)


def _first_state(model, carry, token, rule, num_tokens: int, beams: int):
  """Returns the state with one hypothesis per row, which has no token yet."""
  shape = len(token), beams
  first = jnp.arange(beams)[None] == 0
  dtype = jnp.promote_types(model.dtype, jnp.float32)
  log_prob = jnp.where(first, 0.0, -jnp.inf).astype(dtype)
  return _State(
    t=jnp.int32(0),
    carry=carry,
    token=jnp.broadcast_to(token[:, None].astype(jnp.int32), shape),
    log_prob=jnp.broadcast_to(log_prob, shape),
    length=jnp.zeros(shape, jnp.int32),
    done=jnp.zeros(shape, bool),
    tokens=jnp.full((*shape, num_tokens), rule.pad_token, jnp.int32),
  )


def _continuations(
  state: _State, logits: Float[Array, 'B K C'], rule: _Rule
) -> _Candidates:
  """Extends each hypothesis by its likeliest tokens, one per beam.

  One that has ended has one candidate, itself; the others of it are none.
  """
  logits = logits.astype(state.log_prob.dtype)
  gains = jax.nn.log_softmax(logits, axis=-1)
  lost = jnp.any(jnp.isnan(gains), axis=-1) & ~state.done
  done = state.done | lost
  alive = state.log_prob > -jnp.inf
  before = jnp.where(lost & alive, LOST, state.log_prob)
  # Ranked by logits, as greedy sampling does: sums of many log-probabilities
  # are rounded, and tokens that then look equal stay in this order.
  num_tokens = min(logits.shape[1], logits.shape[2])
  _, token = jax.lax.top_k(logits, num_tokens)
  gains = jnp.take_along_axis(gains, token, axis=-1)
  itself = jnp.where(jnp.arange(num_tokens) == 0, 0.0, -jnp.inf)[None, None]
  gains = jnp.where(done[..., None], itself.astype(gains.dtype), gains)
  filling = jnp.where(lost, NO_TOKEN, rule.pad_token)
  token = jnp.where(done[..., None], filling[..., None], token)
  length = jnp.where(state.done, state.length, state.t + 1)
  done = jnp.broadcast_to(done[..., None], token.shape)
  if rule.stop_token is not None:
    done |= token == rule.stop_token
  return _Candidates(
    token=token,
    log_prob=before[..., None] + gains,
    length=jnp.broadcast_to(length[..., None], token.shape),
    done=done,
  )


def _best(state: _State, candidates: _Candidates, rule: _Rule) -> _State:
  """Returns the state in which every row's best candidates are kept."""
  batch_size, beams, per_beam = candidates.token.shape
  flat = jax.tree.map(lambda leaf: leaf.reshape(batch_size, -1), candidates)
  _, index = jax.lax.top_k(_scores(flat, rule), beams)
  kept = jax.tree.map(
    lambda leaf: jnp.take_along_axis(leaf, index, axis=1), flat
  )
  parent = index // per_beam
  tokens = jnp.take_along_axis(state.tokens, parent[..., None], axis=1)
  return _State(
    t=state.t + 1,
    carry=_select(state.carry, parent),
    token=kept.token,
    log_prob=kept.log_prob,
    length=kept.length,
    done=kept.done,
    tokens=tokens.at[:, :, state.t].set(kept.token),
  )


def _scores(
  hypotheses: _State | _Candidates, rule: _Rule
) -> Float[Array, '*B']:
  """Computes log p / ((5 + n) / 6) ** alpha (Wu et al., 2016, eq. 14)."""
  log_prob, length = hypotheses.log_prob, hypotheses.length
  alpha = rule.length_penalty.astype(log_prob.dtype)
  return log_prob / ((5 + length.astype(log_prob.dtype)) / 6) ** alpha


def _repeat(tree: Any, beams: int) -> Any:
  """Repeats each row for every beam: rows 0 1 become 0 0 0 1 1 1."""
  return jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), tree)


def _select(carry: Any, parent: Int[Array, 'B K']) -> Any:
  """Gathers the carries of the hypotheses that were continued.

  The memory of a source stays where it is: all hypotheses of a row share it.
  """
  if isinstance(carry, Seq2SeqCarry):
    return carry._replace(decoder=_select(carry.decoder, parent))
  batch_size, beams = parent.shape
  rows = (parent + beams * jnp.arange(batch_size)[:, None]).reshape(-1)
  return jax.tree.map(lambda leaf: leaf[rows], carry)


def _found(state: _State, rule: _Rule) -> Hypotheses:
  """Returns the last hypotheses, with NO_TOKEN where there is none."""
  scores = jnp.where(state.log_prob == LOST, jnp.nan, _scores(state, rule))
  none = scores[..., None] == -jnp.inf
  return Hypotheses(
    jnp.where(none, NO_TOKEN, end_at_lost(state.tokens)), scores
  )
