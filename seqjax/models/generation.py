"""Sequences that a model continues by itself: sampled tokens, or values.

`unroll` reads the whole prompt, then `step` reads each generated token in a
compiled loop. The cache starts small and doubles when it is full, so that the
cost of a token depends on the positions read so far, and not on the full
context. `context` sizes what grows with the past. As long as no more than c
positions have been read, a mixer of context c computes what one of a longer
context does, and its carry is the beginning of the longer one's: along the axis
that differs, position p has slot p, and what was never written is zero. So
decoding begins with a short context, and the carry is padded to the next one
when it is full.
"""

import dataclasses
import functools
import numbers
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from seqjax.models import checks
from seqjax.models import prompt as prompt_lib
from seqjax.models.size import variable_shapes
from seqjax.ops.sampling import NO_TOKEN, sample
from seqjax.typing import Array, Segments

SMALLEST = 32  # slots; fewer save next to nothing


def generate(
  model: nn.Module,
  variables: Any,
  key: jax.Array,
  prompt: Int[Array, 'B T'],
  num_tokens: int,
  *,
  prompt_lengths: Int[Array, 'B'] | None = None,
  prompt_valid: Bool[Array, 'B T'] | None = None,
  longest_prompt: int | None = None,
  source: Shaped[Array, 'B S *I'] | None = None,
  source_segments: Segments | None = None,
  temperature: float | Float[Array, ''] = 1.0,
  top_k: int | None = None,
  top_p: float | Float[Array, ''] | None = None,
  stop_token: int | None = None,
  pad_token: int = 0,
) -> Int[Array, 'B N']:
  """Samples the tokens after a prompt, one after the other.

      prompt          5 3 .      lengths 2      tokens   7 1 0 0      (stop 1)
                      2 8 4              3               9 6 6 2

  Args:
    model: a SequenceModel whose mixers stream, or a Seq2Seq; it reads the
      tokens that come out.
    variables: its parameters.
    key: the token of row b at step t depends on the key, b and t alone.
    prompt: the tokens to continue, at least one per row; for a Seq2Seq, a
      begin token.
    num_tokens: N.
    prompt_lengths: the number of prompt tokens in each row, 1 to T; the rest of
      the row is padding. None: T.
    prompt_valid: instead of lengths, True at the tokens of the prompt and False
      at padding, wherever it stands: on the left, as tokenizers may put it, or
      anywhere else. The tokens that follow are those after a prompt without
      padding.
    longest_prompt: a number of positions that the prompt is padded to, on the
      host, so that one compiled program serves every prompt of at most that
      length. It changes no token; learned positions must reach so far.
    source, source_segments: what a Seq2Seq reads first.
    temperature, top_k, top_p: as in `seqjax.ops.sampling.sample`; temperature 0
      is greedy.
    stop_token: a row that has sampled this token ends; the loop ends when all
      rows have.
    pad_token: fills a row after its stop token.

  Returns:
    The tokens. From the first position where the model's logits are NaN (as
    past the end of learned positions), the row holds NO_TOKEN (-1).

  Raises:
    ValueError: the model cannot stream, gives no tokens or does not read them,
      the prompt or one of its rows is empty or longer than `longest_prompt`,
      both lengths and a mask are given, or a number is outside its range.

  Example:
    >>> import jax
    >>> from seqjax import models, nn
    >>> from seqjax.typing import Spec
    >>> spec = Spec((), vocab=9)
    >>> model = models.SequenceModel(spec, spec, (nn.GRU(8),))
    >>> prompt = jax.numpy.array([[1, 2, 3]])
    >>> variables = model.init(jax.random.key(0), prompt)
    >>> tokens = models.generate(
    ...   model, variables, jax.random.key(1), prompt, 5, top_k=3
    ... )
    >>> tokens.shape
    (1, 5)
  """
  prompt_lib.check_writer(model)
  checks.num_steps(num_tokens)
  rule = _Sampling(temperature, top_k, top_p, stop_token, pad_token)
  rule.check(model.output.vocab)
  prompt, prompt_lengths, prompt_valid = prompt_lib.pad(
    prompt, prompt_lengths, prompt_valid, longest_prompt
  )
  begun = prompt_lib.make(
    model, prompt, prompt_lengths, source, source_segments, prompt_valid
  )
  return _generate(model, variables, key, begun, rule, num_tokens=num_tokens)


def rollout(
  model: nn.Module,
  variables: Any,
  prefix: Float[Array, 'B T *I'],
  num_steps: int,
  *,
  prefix_lengths: Int[Array, 'B'] | None = None,
  prefix_valid: Bool[Array, 'B T'] | None = None,
  source: Shaped[Array, 'B S *J'] | None = None,
  source_segments: Segments | None = None,
) -> Float[Array, 'B N *I']:
  """Continues a series by reading its own outputs; differentiable.

  Arguments are those of `generate`, values in place of tokens.

  Raises:
    ValueError: the model cannot stream, its outputs are not of the shape of its
      inputs, the prefix or one of its rows is empty, both lengths and a mask
      are given, or a number is outside its range.
  """
  prompt_lib.check_model(model)
  checks.num_steps(num_steps)
  read = prompt_lib.reads(model)
  if model.output.vocab is not None or read != model.output:
    raise ValueError(
      'A rollout reads its own outputs, so that both are values of one shape, '
      f'but this model reads {read} and gives {model.output}.'
    )
  prompt = prompt_lib.make(
    model, prefix, prefix_lengths, source, source_segments, prefix_valid
  )
  return _rollout(model, variables, prompt, num_steps=num_steps)


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('temperature', 'top_p', 'stop_token', 'pad_token'),
  meta_fields=('top_k',),
)
@dataclasses.dataclass(frozen=True)
class _Sampling:
  """The options of `generate`; only `top_k` is static in the compiled loop."""

  temperature: Any
  top_k: Any
  top_p: Any
  stop_token: Any
  pad_token: Any

  def check(self, vocab: int):
    """Raises ValueError for what is out of its range; traced numbers pass."""
    top_k, top_p = self.top_k, self.top_p
    checks.temperature(self.temperature)
    if top_k is not None:
      if not isinstance(top_k, numbers.Integral) or top_k < 1:
        raise ValueError(
          f'top_k keeps at least 1 token, a whole number, but {top_k} was '
          'given.'
        )
    if _is_known(top_p) and not 0 < top_p <= 1:
      raise ValueError(
        f'top_p is a probability greater than 0, but {top_p} was given.'
      )
    checks.stop_token(self.stop_token, vocab)

  def draw(self, key: jax.Array, logits: Float[Array, 'B C']):
    """Samples the next token of every row."""
    return sample(
      key,
      logits,
      temperature=self.temperature,
      top_k=self.top_k,
      top_p=self.top_p,
    )


class _State(NamedTuple):
  """The loop of `generate` after t steps: `token` is read next."""

  t: Int[Array, '']
  carry: Any
  token: Int[Array, 'B']
  done: Bool[Array, 'B']
  tokens: Int[Array, 'B N']


@functools.partial(jax.jit, static_argnames=('model', 'num_tokens'))
def _generate(model, variables, key, prompt, rule: _Sampling, *, num_tokens):
  planned = plan(model, variables, prompt, num_tokens)
  carry, token = prompt_lib.read(planned[0].model, variables, prompt, model)
  tokens = jnp.full((len(token), num_tokens), rule.pad_token, jnp.int32)
  done = jnp.zeros(token.shape, bool)
  state = _State(jnp.int32(0), carry, token.astype(jnp.int32), done, tokens)

  def next_state(model, state):
    carry, logits = model.apply(
      variables, state.carry, state.token, method='step'
    )
    token = rule.draw(jax.random.fold_in(key, state.t), logits)
    token = jnp.where(state.done, rule.pad_token, token)
    tokens = state.tokens.at[:, state.t].set(token)
    done = state.done | (token == NO_TOKEN)
    if rule.stop_token is not None:
      done |= token == rule.stop_token
    return _State(state.t + 1, carry, token, done, tokens)

  def unfinished(end, state):
    return (state.t < end) & ~jnp.all(state.done)

  end = 0
  for stage in planned:
    end += stage.num_steps
    state = jax.lax.while_loop(
      functools.partial(unfinished, end),
      functools.partial(next_state, stage.model),
      state._replace(carry=grow(state.carry, stage.carry)),
    )
  return end_at_lost(state.tokens)


def end_at_lost(tokens: Int[Array, '*B N']) -> Int[Array, '*B N']:
  """Returns the tokens with NO_TOKEN from the first NO_TOKEN on."""
  lost = (tokens == NO_TOKEN).astype(jnp.int32)
  return jnp.where(jax.lax.cummax(lost, axis=tokens.ndim - 1), NO_TOKEN, tokens)


@functools.partial(jax.jit, static_argnames=('model', 'num_steps'))
def _rollout(model, variables, prompt, *, num_steps):
  planned = plan(model, variables, prompt, num_steps)
  carry, x_t = prompt_lib.read(planned[0].model, variables, prompt, model)

  def next_state(model, state, _):
    carry, x_t = model.apply(variables, *state, method='step')
    return (carry, x_t), x_t

  state, outputs = (carry, x_t.astype(model.dtype)), []
  for stage in planned:
    carry, x_t = state
    state, y = jax.lax.scan(
      functools.partial(next_state, stage.model),
      (grow(carry, stage.carry), x_t),
      length=stage.num_steps,
    )
    outputs.append(jnp.swapaxes(y, 0, 1))
  return jnp.concatenate(outputs, axis=1)


def plan(
  model: nn.Module, variables: Any, prompt: prompt_lib.Prompt, num_steps: int
) -> list['Stage']:
  """Lists the stages of the loop, from the last position of a prompt on."""
  return list(
    stages(
      model,
      lambda short: prompt_lib.first_step(short, variables, prompt, model),
      filled=prompt_lib.num_read(model, prompt),
      num_steps=num_steps,
    )
  )


def _is_known(option: Any) -> bool:
  return option is not None and not isinstance(option, jax.core.Tracer)


class Stage(NamedTuple):
  """A model, the shapes of its carry, and how many positions it reads."""

  model: nn.Module
  carry: Any
  num_steps: int


def stages(
  model: nn.Module,
  first_step: Callable[[nn.Module], tuple[Any, Any]],
  *,
  filled: int,
  num_steps: int,
) -> Iterator[Stage]:
  """Yields stages, in each of which the model's context is twice as long.

  There is one stage if the context does not change the shapes of the carry.

  Args:
    model: at its full context.
    first_step: maps a model to the carry and output of its first step; it is
      traced, never run.
    filled: the most positions that are read before the stages.
    num_steps: how many positions the stages read together.
  """
  full, _ = jax.eval_shape(lambda: first_step(model))
  capacity = max(SMALLEST, 1 << filled.bit_length())  # more than is filled
  end = filled + num_steps
  while filled < end:
    short = shortened(model, capacity)
    carry, _ = jax.eval_shape(functools.partial(first_step, short))
    if carry == full:
      yield Stage(model, full, end - filled)
      return
    yield Stage(short, carry, min(capacity, end) - filled)
    filled, capacity = min(capacity, end), 2 * capacity


def shortened(module: nn.Module, context: int) -> nn.Module:
  """Returns the module with contexts cut to `context`, its own and its parts'.

  Those that parameters depend on, as learned positions do, are left alone.
  """

  def cut(value):
    if isinstance(value, nn.Module):
      return shortened(value, context)
    if type(value) is tuple:  # of mixers, say; named ones are left alone
      return tuple(cut(part) for part in value)
    return value

  names = {field.name for field in dataclasses.fields(module)} - {'parent'}
  updates = {name: cut(getattr(module, name)) for name in names}
  if (updates.get('context') or 0) > context:
    if not _shapes_parameters(module, context):
      updates['context'] = context
  return module.clone(**updates)


def grow(carry: Any, longer: Any) -> Any:
  """Pads the carry with zeros at the end of its axes, to those of `longer`."""

  def pad(leaf, like):
    missing = [(0, b - a) for a, b in zip(leaf.shape, like.shape, strict=True)]
    return jnp.pad(leaf, missing)

  return jax.tree.map(pad, carry, longer)


@functools.cache  # layers and stages ask the same
def _shapes_parameters(mixer: nn.Module, context: int) -> bool:
  """Returns True if parameters have other shapes under this context."""
  short = mixer.clone(context=context)
  return variable_shapes(short) != variable_shapes(mixer)
