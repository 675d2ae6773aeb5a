"""The models of `generating`, written in torch as its users write them.

The prompt is read at once, and the tokens after it one by one: an LSTM keeps
its state, attention the keys and values of all positions before.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.peers import recurrent


def weights(params: Mapping[str, Any], is_lstm: bool) -> dict[str, Any]:
  """Returns our parameters as torch's functions take them."""
  stack = params['stack']
  names = sorted(name for name in stack if name.startswith('blocks_'))
  return {
    'embedding': params['embedding']['embedding'],
    'blocks': [_block(stack[name], is_lstm) for name in names],
    'norm': stack['norm']['scale'],
    'readout': _dense(params['readout']),
  }


def _block(block: Mapping[str, Any], is_lstm: bool) -> dict[str, Any]:
  mixer = block['mixer']
  return {
    'mixer': recurrent.to_torch(mixer) if is_lstm else _attention(mixer),
    'mixer_norm': block['mixer_norm']['scale'],
    'mlp_norm': block['mlp_norm']['scale'],
    'widen': _dense(block['perceptron']['widen']),
    'narrow': _dense(block['perceptron']['narrow']),
  }


def _attention(mixer: Mapping[str, Any]) -> dict[str, jax.Array]:
  size = mixer['table'].shape[1]
  into = [mixer[n]['kernel'].reshape(size, size) for n in ('query', 'key')]
  into.append(mixer['value']['kernel'].reshape(size, size))
  return {
    'table': mixer['table'],
    'into': jnp.concatenate(into, axis=1).T,
    'out': mixer['out']['kernel'].reshape(size, size).T,
  }


def _dense(layer: Mapping[str, jax.Array]) -> list[jax.Array]:
  return [layer['kernel'].T, layer['bias']]


def greedy(
  make_mixer: Callable, params: Mapping[str, Any], prompt, num_tokens: int
):
  """Returns the tokens [B N] that follow a prompt [B T].

  Args:
    make_mixer: makes of a block's weights an object with `read`, which takes
      the prompt [B T D], and `step`, which takes a position [B D]; both return
      outputs.
    params: what `weights` returns, as tensors.
    prompt: whole numbers.
    num_tokens: how many tokens follow.
  """
  import torch

  functional = torch.nn.functional
  mixers = [make_mixer(block['mixer']) for block in params['blocks']]

  def run(x, methods: Sequence[Callable]):
    for block, mix in zip(params['blocks'], methods, strict=True):
      x = x + mix(_norm(x, block['mixer_norm']))
      y = functional.linear(_norm(x, block['mlp_norm']), *block['widen'])
      y = functional.gelu(y, approximate='tanh')
      x = x + functional.linear(y, *block['narrow'])
    return x

  def chosen(x):
    x = _norm(x, params['norm'])
    return functional.linear(x, *params['readout']).argmax(-1)

  x = run(params['embedding'][prompt], [mixer.read for mixer in mixers])
  tokens = [chosen(x[:, -1])]
  while len(tokens) < num_tokens:
    x = run(params['embedding'][tokens[-1]], [mixer.step for mixer in mixers])
    tokens.append(chosen(x))
  return torch.stack(tokens, dim=1).int()


def _norm(x, scale):
  import torch

  return torch.nn.functional.rms_norm(x, scale.shape, scale, eps=1e-6)


class LSTM:
  """An LSTM layer and its state."""

  def __init__(self, weights: Sequence[Any]):
    import torch

    size = weights[1].shape[1]
    self._layer = torch.nn.LSTM(size, size, batch_first=True)
    self._cell = torch.nn.LSTMCell(size, size)
    self._state = None
    for module in (self._layer, self._cell):
      module.requires_grad_(False)
      for parameter, weight in zip(module.parameters(), weights, strict=True):
        parameter.data = weight

  def read(self, x):
    y, state = self._layer(x)
    self._state = tuple(part[0] for part in state)
    return y

  def step(self, x_t):
    self._state = self._cell(x_t, self._state)
    return self._state[0]


class Attention:
  """Causal attention with a table of positions, and its cache."""

  def __init__(self, num_heads: int, length: int, weights: Mapping[str, Any]):
    self._num_heads, self._length, self._weights = num_heads, length, weights
    self._keys = self._values = None
    self._place = 0

  def read(self, x):
    import torch

    batch_size, self._place, _ = x.shape
    query, key, value = self._project(x + self._weights['table'][: x.shape[1]])
    shape = batch_size, self._num_heads, self._length, key.shape[-1]
    self._keys, self._values = torch.empty(shape), torch.empty(shape)
    self._keys[:, :, : self._place] = key
    self._values[:, :, : self._place] = value
    y = torch.nn.functional.scaled_dot_product_attention(
      query, key, value, is_causal=True
    )
    y = y.transpose(1, 2).reshape(x.shape)
    return torch.nn.functional.linear(y, self._weights['out'])

  def step(self, x_t):
    import torch

    place = self._place
    x = (x_t + self._weights['table'][place])[:, None]
    query, key, value = self._project(x)
    self._keys[:, :, place] = key[:, :, 0]
    self._values[:, :, place] = value[:, :, 0]
    self._place = place + 1
    y = torch.nn.functional.scaled_dot_product_attention(
      query,
      self._keys[:, :, : self._place],
      self._values[:, :, : self._place],
    )
    return torch.nn.functional.linear(
      y.reshape(x_t.shape), self._weights['out']
    )

  def _project(self, x):
    """Returns queries, keys and values [B H T K]."""
    import torch

    y = torch.nn.functional.linear(x, self._weights['into'])
    y = y.view(*x.shape[:2], 3, self._num_heads, -1)
    return y.permute(2, 0, 3, 1, 4).unbind()
