"""Torch at the work of `decoding`: a call per token, with its state."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.peers import decoding, recurrent, torch_call
from experiments.peers.contestant import Contestant
from experiments.peers.decoding import Problem
from seqjax.analysis import timing
from seqjax.nn import Attention

_CELLS = {'elman': 'RNNCell', 'gru': 'GRUCell', 'lstm': 'LSTMCell'}


def contestant(problem: Problem) -> Contestant:
  """Returns torch's cell, or its attention over a cache."""
  if isinstance(problem.mixer, Attention):
    return _attention(problem)
  return _recurrent(problem)


def _recurrent(problem: Problem) -> Contestant:
  import torch

  (name,) = (
    name
    for name, kind in decoding.RECURRENT.items()
    if type(problem.mixer) is kind
  )
  size, past = problem.mixer.features, problem.past
  cell = getattr(torch.nn, _CELLS[name])(size, size).requires_grad_(False)

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
  return _contestant(loop, (problem.x, weights, states))


def _attention(problem: Problem) -> Contestant:
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
  return _contestant(loop, args)


def _contestant(loop: Callable, args: tuple) -> Contestant:
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
    lambda outputs: decoding.read(outputs[0]),
    timing.Eager(hand_over),
    tokens=len(x),
  )
