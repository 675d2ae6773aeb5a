"""Elman, GRU and LSTM layers over a batch of sequences, in five libraries.

Weights go from seqjax to each library, gradients come back. All compute the
same but for one thing: the GRU of NNX has no bias inside the reset gate, so
that bias is zero here, and its gradient is compared between the others.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.peers import contestant, torch_call
from experiments.peers.contestant import Contestant, Makers
from seqjax.nn import GRU, LSTM, Elman, from_flax, to_flax

_MIXERS = {'elman': Elman, 'gru': GRU, 'lstm': LSTM}
_NNX_CELLS = {
  'elman': 'SimpleCell',
  'gru': 'GRUCell',
  'lstm': 'OptimizedLSTMCell',
}
_EQUINOX_CELLS = {'gru': 'GRUCell', 'lstm': 'LSTMCell'}
_TORCH_LAYERS = {'elman': 'RNN', 'gru': 'GRU', 'lstm': 'LSTM'}


class Problem(NamedTuple):
  """A layer, forward or also backward, with its weights and its input."""

  layer: str
  work: str
  weights: Mapping[str, jax.Array]  # as in seqjax
  x: jax.Array  # [B T D]

  @property
  def features(self) -> int:
    return self.x.shape[-1]


def contestants(
  layer: str, work: str, *, batch_size: int, features: int, length: int
) -> Makers:
  """Returns what makes each contestant, by name."""
  problem = _problem(layer, work, (batch_size, length, features))
  makers = {
    'seqjax': functools.partial(_seqjax, problem, 'auto'),
    'seqjax plain': functools.partial(_seqjax, problem, 'plain'),
    'flax.linen': functools.partial(_linen, problem, None),
    'flax.nnx': functools.partial(_nnx, problem),
    'torch': functools.partial(_torch, problem),
  }
  if layer == 'lstm':
    makers['flax.linen LSTMCell'] = functools.partial(
      _linen, problem, nn.LSTMCell(features)
    )
  if layer in _EQUINOX_CELLS:
    makers['equinox'] = functools.partial(_equinox, problem)
  return makers


def _problem(layer: str, work: str, shape: tuple[int, int, int]) -> Problem:
  data_key, init_key, bias_key = jax.random.split(jax.random.key(0), 3)
  x = jax.random.normal(data_key, shape)
  weights = _MIXERS[layer](shape[-1]).init(init_key, x)['params']
  bias = weights['bias']
  noise = 0.1 * jax.random.normal(bias_key, bias.shape)
  return Problem(layer, work, {**weights, 'bias': bias + noise}, x)


def _seqjax(problem: Problem, algorithm: str) -> Contestant:
  mixer = _MIXERS[problem.layer](problem.features, algorithm=algorithm)

  def forward(weights, x):
    return mixer.apply({'params': weights}, x)

  return contestant.differentiable(
    problem.work,
    forward,
    (problem.weights, problem.x),
    lambda weights, x: {**weights, 'x': x},
  )


def _linen(problem: Problem, cell: nn.RNNCellBase | None) -> Contestant:
  """A cell of parameters like those of `to_flax`'s; that one where None."""
  mixer = _MIXERS[problem.layer](problem.features)
  rnn, variables = to_flax(mixer, {'params': problem.weights})
  rnn = rnn if cell is None else nn.RNN(cell)

  def read(variables, x):
    return {**from_flax(rnn, variables)[1]['params'], 'x': x}

  return contestant.differentiable(
    problem.work, rnn.apply, (variables, problem.x), read
  )


def _nnx(problem: Problem) -> Contestant:
  from flax import nnx

  size = problem.features
  cell = getattr(nnx, _NNX_CELLS[problem.layer])
  rnn = nnx.RNN(cell(size, size, rngs=nnx.Rngs(0)), rngs=False)
  nnx.update(rnn, {'cell': _to_nnx(problem.layer, problem.weights)})
  definition, params = nnx.split(rnn)

  def forward(params, x):
    return nnx.merge(definition, params)(x, rngs=nnx.Rngs(0))  # for its zeros

  def read(params, x):
    return {**_from_nnx(nnx.to_pure_dict(params)['cell']), 'x': x}

  return contestant.differentiable(
    problem.work, forward, (params, problem.x), read
  )


def _to_nnx(layer: str, weights: Mapping[str, jax.Array]) -> dict[str, Any]:
  """The bias stands beside the recurrent kernel in an LSTM alone."""
  dense_i = {'kernel': weights['input']}
  dense_h = {'kernel': weights['recurrent']}
  (dense_h if layer == 'lstm' else dense_i)['bias'] = weights['bias']
  return {'dense_i': dense_i, 'dense_h': dense_h}


def _from_nnx(cell: Mapping[str, Any]) -> dict[str, jax.Array]:
  biases = {**cell['dense_i'], **cell['dense_h']}
  return {
    'input': cell['dense_i']['kernel'],
    'recurrent': cell['dense_h']['kernel'],
    'bias': biases['bias'],
  }


def _equinox(problem: Problem) -> Contestant:
  """The loop that Equinox's documentation shows, for every row of a batch."""
  import equinox

  size = problem.features
  kind = getattr(equinox.nn, _EQUINOX_CELLS[problem.layer])
  cell = equinox.tree_at(
    lambda cell: jax.tree.leaves(cell),
    kind(size, size, key=jax.random.key(0)),
    _transposed(problem.weights),
  )

  def forward(cell, x):
    zeros = jnp.zeros((size,), x.dtype)

    def step(state, x_t):
      state = cell(x_t, state)
      return state, state[0] if problem.layer == 'lstm' else state

    def over_time(x):
      initial = (zeros, zeros) if problem.layer == 'lstm' else zeros
      return jax.lax.scan(step, initial, x)[1]

    return jax.vmap(over_time)(x)

  def read(cell, x):
    names = ('input', 'recurrent', 'bias', 'candidate_bias')
    leaves = _transposed(dict(zip(names, jax.tree.leaves(cell), strict=False)))
    return {**dict(zip(names, leaves, strict=False)), 'x': x}

  return contestant.differentiable(
    problem.work, forward, (cell, problem.x), read
  )


def _transposed(weights: Mapping[str, jax.Array]) -> list[jax.Array]:
  """In the order of Equinox's fields, its matrices [out, in]."""
  names = ('input', 'recurrent', 'bias', 'candidate_bias')
  return [weights[name].T for name in names if name in weights]


def _torch(problem: Problem) -> Contestant:
  import torch

  size = problem.features
  kind = getattr(torch.nn, _TORCH_LAYERS[problem.layer])
  layer = kind(size, size, batch_first=True)
  names = [name for name, _ in layer.named_parameters()]

  def forward(x, *weights):
    named = dict(zip(names, weights, strict=True))
    return torch.func.functional_call(layer, named, (x,))[0]

  return torch_call.differentiable(
    problem.work,
    forward,
    (problem.x, *to_torch(problem.weights)),
    functools.partial(_from_torch, problem),
  )


def to_torch(weights: Mapping[str, jax.Array]) -> list[jax.Array]:
  """Torch adds two biases: the second is zero but for a GRU's inner one."""
  second = jnp.zeros_like(weights['bias'])
  if 'candidate_bias' in weights:
    inner = weights['candidate_bias']
    second = second.at[-len(inner) :].set(inner)
  return [
    weights['input'].T,
    weights['recurrent'].T,
    weights['bias'],
    second,
  ]


def _from_torch(problem: Problem, x, of_input, recurrent, bias, second):
  read = {
    'x': x,
    'input': of_input.T,
    'recurrent': recurrent.T,
    'bias': bias,
  }
  if problem.layer == 'gru':
    read['candidate_bias'] = second[-problem.features :]
  return read
