"""Decodes with one layer: a step per token, after a past of any length.

Ours is a compiled loop of steps; Linen's a jitted step that is called in a loop
of Python, as its users write it; torch's a call per token, which writes keys
and values in place. A call copies the cache of its arguments once. What a token
of a recurrent layer costs does not depend on the past.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.peers.contestant import Contestant, Makers
from seqjax.analysis import decoding, timing
from seqjax.nn import GRU, LSTM, MIXERS, Attention, CausalMixer, Elman, to_flax
from seqjax.nn.attention import AttentionCarry
from seqjax.ops.recurrence import LSTMCarry

WORK = 'decoding'
RECURRENT = {'elman': Elman, 'gru': GRU, 'lstm': LSTM}


class Problem(NamedTuple):
  """A layer with its weights, what it remembers, and the inputs that follow.

  `past` has a recurrent layer's `hidden` (and `cell`) [B D], or keys and values
  of attention [B C H K], whose first `length` positions are filled.
  """

  mixer: CausalMixer
  weights: Mapping[str, Any]  # as in seqjax
  past: Mapping[str, jax.Array]
  x: jax.Array  # [N B D]
  length: int


def contestants(
  layer: str,
  work: str,
  *,
  batch_size: int,
  features: int,
  past: int,
  tokens: int,
  heads: int = 1,
) -> Makers:
  """Returns what makes each contestant, by name.

  Args:
    layer: 'elman', 'gru', 'lstm' or 'attention'.
    work: WORK, the only one.
    batch_size, features: sizes of the inputs.
    past: number of positions that attention has read; recurrent layers
      remember none of them.
    tokens: number of tokens of a call.
    heads: number of attention's heads.
  """
  assert work == WORK
  from experiments.peers import decoding_torch

  is_attention = layer == 'attention'
  mixer = (
    _attention(features, past + tokens, heads)
    if is_attention
    else RECURRENT[layer](features)
  )
  problem = _problem(mixer, batch_size, past, tokens)
  return {
    'seqjax': functools.partial(_seqjax, problem),
    'flax.linen': functools.partial(
      _linen_attention if is_attention else _linen_recurrent, problem
    ),
    'torch': functools.partial(decoding_torch.contestant, problem),
  }


def families(
  work: str,
  *,
  batch_size: int,
  features: int,
  past: int,
  tokens: int,
  mixers: Mapping[str, Any] | None = None,
) -> Makers:
  """Returns what makes each mixer of the catalogue; 'seqjax' is the LSTM.

  They compute different things, so that only times are compared.
  """
  assert work == WORK
  made = {'seqjax': LSTM(features)}
  for name, make in (mixers or MIXERS).items():
    made[f'seqjax {name}'] = make(features=features, context=past + tokens)
  return {
    name: functools.partial(_mixer, mixer, batch_size, past, tokens)
    for name, mixer in made.items()
  }


def _mixer(mixer: CausalMixer, batch_size: int, past: int, tokens: int):
  """One mixer with random parameters and a random carry."""
  shapes = decoding.decoding_shapes(mixer, batch_size, tokens)

  def steps(*args):
    return decoding.decode(mixer, *args)[1]

  args = tuple(decoding.filled(shapes, past))
  return Contestant(steps, args, lambda y: {}, tokens=tokens)


def _attention(features: int, context: int, heads: int) -> Attention:
  return Attention(features, context, num_heads=heads, positions='none')


def _problem(
  mixer: CausalMixer, batch_size: int, length: int, tokens: int
) -> Problem:
  x_key, init_key, *keys = jax.random.split(jax.random.key(0), 4)
  x = jax.random.normal(x_key, (tokens, batch_size, mixer.features))
  weights = mixer.init(init_key, jnp.swapaxes(x, 0, 1))['params']
  if isinstance(mixer, Attention):
    heads = mixer.num_heads, mixer.features // mixer.num_heads
    read = batch_size, length, *heads
    empty = jnp.zeros((batch_size, tokens, *heads))
    past = {
      name: jnp.concatenate([jax.random.normal(key, read), empty], axis=1)
      for name, key in zip(('key', 'value'), keys, strict=True)
    }
  else:
    names = ('hidden', 'cell') if isinstance(mixer, LSTM) else ('hidden',)
    shape = batch_size, mixer.features
    past = {
      name: jnp.tanh(jax.random.normal(key, shape)) / 2
      for name, key in zip(names, keys, strict=False)
    }
  return Problem(mixer, weights, past, x, length)


def _seqjax(problem: Problem) -> Contestant:
  mixer, count = problem.mixer, problem.length

  def carry(past):
    if isinstance(mixer, Attention):
      counts = jnp.full((problem.x.shape[1],), count, jnp.int32)
      return AttentionCarry(**past, count=counts)
    return LSTMCarry(**past) if isinstance(mixer, LSTM) else past['hidden']

  def steps(weights, past, x):
    return decoding.decode(mixer, {'params': weights}, carry(past), x)[1]

  args = problem.weights, problem.past, problem.x
  return Contestant(steps, args, read, tokens=len(problem.x))


def read(outputs) -> dict[str, jax.Array]:
  """Names the outputs, which may be a list of one per token."""
  return {'outputs': jnp.stack([*outputs])}


def _linen_recurrent(problem: Problem) -> Contestant:
  rnn, variables = to_flax(problem.mixer, {'params': problem.weights})
  cell = rnn.cell
  past = problem.past
  carry = (past['cell'], past['hidden']) if 'cell' in past else past['hidden']

  @jax.jit
  def step(params, carry, x_t):
    return cell.apply({'params': params}, carry, x_t)

  def loop(params, carry, xs):
    outputs = []
    for x_t in xs:
      carry, y = step(params, carry, x_t)
      outputs.append(y)
    return outputs

  args = variables['params']['cell'], carry, [*problem.x]
  return Contestant(timing.Eager(loop), args, read, tokens=len(problem.x))


def _linen_attention(problem: Problem) -> Contestant:
  """A cache of the full length, which each step may write in place."""
  layer = nn.MultiHeadDotProductAttention(
    problem.mixer.num_heads, use_bias=False, deterministic=True, decode=True
  )
  copied = jax.jit(lambda cache: jax.tree.map(jnp.copy, cache))

  @functools.partial(jax.jit, donate_argnums=1)
  def step(params, cache, x_t):
    variables = {'params': params, 'cache': cache}
    y, after = layer.apply(variables, x_t[:, None], mutable=['cache'])
    return after['cache'], y[:, 0]

  def loop(params, past, xs):
    cache, outputs = copied(past), []
    for x_t in xs:
      cache, y = step(params, cache, x_t)
      outputs.append(y)
    return outputs

  past = {f'cached_{name}': array for name, array in problem.past.items()}
  past['cache_index'] = jnp.int32(problem.length)
  args = problem.weights, past, [*problem.x]
  return Contestant(timing.Eager(loop), args, read, tokens=len(problem.x))
