"""Decodes with one layer: a step per token, after a past of any length.

Ours is a compiled loop of steps; Linen's a jitted step that is called in a loop
of Python, as its users write it; torch's a call per token, which writes keys
and values in place. A call copies the cache of its arguments once. What a token
of a recurrent layer costs does not depend on the past.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.peers import recurrent, torch_call
from experiments.peers.contestant import Contestant, Makers
from seqjax.analysis import decoding, timing
from seqjax.nn import GRU, LSTM, Attention, CausalMixer, Elman, to_flax
from seqjax.nn.attention import AttentionCarry
from seqjax.ops.recurrence import LSTMCarry

WORK = 'decoding'
RECURRENT = {'elman': Elman, 'gru': GRU, 'lstm': LSTM}
_TORCH_CELLS = {'elman': 'RNNCell', 'gru': 'GRUCell', 'lstm': 'LSTMCell'}


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
  is_attention = layer == 'attention'
  mixer = (
    _attention(features, past + tokens, heads)
    if is_attention
    else RECURRENT[layer](features)
  )
  problem = _problem(mixer, batch_size, past, tokens)
  makers = {
    'seqjax': _seqjax,
    'flax.linen': _linen_attention if is_attention else _linen_recurrent,
    'torch': _torch_attention if is_attention else _torch_recurrent,
  }
  return {n: functools.partial(make, problem) for n, make in makers.items()}


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
      keys, values = (jnp.moveaxis(past[n], 1, -1) for n in ('key', 'value'))
      return AttentionCarry(keys, values, counts)
    return LSTMCarry(**past) if isinstance(mixer, LSTM) else past['hidden']

  def steps(weights, past, x):
    return decoding.decode(mixer, {'params': weights}, carry(past), x)[1]

  args = problem.weights, problem.past, problem.x
  return Contestant(steps, args, _read, tokens=len(problem.x))


def _read(outputs) -> dict[str, jax.Array]:
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
  return Contestant(timing.Eager(loop), args, _read, tokens=len(problem.x))


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
  return Contestant(timing.Eager(loop), args, _read, tokens=len(problem.x))


def _torch_recurrent(problem: Problem) -> Contestant:
  import torch

  (name,) = (
    name for name, kind in RECURRENT.items() if type(problem.mixer) is kind
  )
  size, past = problem.mixer.features, problem.past
  cell = getattr(torch.nn, _TORCH_CELLS[name])(size, size).requires_grad_(False)

  def loop(x, weights, states):
    for parameter, weight in zip(cell.parameters(), weights, strict=True):
      parameter.data = weight
    state = tuple(states) if name == 'lstm' else states[0]
    outputs = []
    for x_t in x.unbind():
      state = cell(x_t, state)
      outputs.append(state[0] if name == 'lstm' else state)
    return outputs

  weights = recurrent.to_torch(problem.weights)
  states = [past[part] for part in ('hidden', 'cell') if part in past]
  return _torch(loop, (problem.x, weights, states))


def _torch_attention(problem: Problem) -> Contestant:
  """Its cache has heads before positions, and one more is seen each time."""
  import torch

  heads, size = problem.mixer.num_heads, problem.mixer.features
  attend = torch.nn.functional.scaled_dot_product_attention

  def loop(x, into, out, keys, values):
    keys, values, outputs = keys.clone(), values.clone(), []
    for place, x_t in enumerate(x.unbind(), problem.length):
      split = (x_t @ into).view(len(x_t), 3, heads, size // heads)
      query, key, value = split.unbind(1)
      keys[:, :, place], values[:, :, place] = key, value
      seen = keys[:, :, : place + 1], values[:, :, : place + 1]
      y = attend(query[:, :, None], *seen)
      outputs.append(y.reshape(len(x_t), size) @ out)
    return outputs

  kernels = {n: layer['kernel'] for n, layer in problem.weights.items()}
  into = [kernels[n].reshape(size, size) for n in ('query', 'key', 'value')]
  cache = [jnp.swapaxes(problem.past[n], 1, 2) for n in ('key', 'value')]
  out = kernels['out'].reshape(size, size)
  args = problem.x, jnp.concatenate(into, axis=1), out, *cache
  return _torch(loop, args)


def _torch(loop: Callable, args: tuple) -> Contestant:
  """Handing over arrays, and outputs back, is not torch's work."""
  import torch

  x = args[0]

  def given(arrays):
    return jax.tree.map(torch.from_dlpack, arrays)

  @torch.inference_mode()
  def call(*arrays):
    return torch_call.to_jax([torch.stack(loop(*given(arrays)))])

  @torch.inference_mode()
  def hand_over(*arrays):
    return torch_call.to_jax([given(arrays)[0]])

  return Contestant(
    timing.Eager(call),
    args,
    lambda outputs: _read(outputs[0]),
    timing.Eager(hand_over),
    tokens=len(x),
  )
