"""A layer of causal multi-head attention with its projections, without biases
and positions, in five libraries."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.peers import attention, contestant, torch_call
from experiments.peers.contestant import Contestant, Makers
from seqjax.nn import Attention

_INTO = ('query', 'key', 'value')


class Problem(NamedTuple):
  """Forward or also backward, how many heads, kernels, and the input."""

  work: str
  heads: int
  kernels: Mapping[str, jax.Array]  # query, key, value [D H K], out [H K D]
  x: jax.Array  # [B T D]

  @property
  def features(self) -> int:
    return self.x.shape[-1]


def contestants(
  work: str, *, batch_size: int, heads: int, head_size: int, length: int
) -> Makers:
  """Returns what makes each contestant, by name."""
  data_key, init_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(data_key, (batch_size, length, heads * head_size))
  params = _mixer(heads, x).init(init_key, x)['params']
  kernels = {name: layer['kernel'] for name, layer in params.items()}
  problem = Problem(work, heads, kernels, x)
  makers = {
    'seqjax': _seqjax,
    'flax.linen': _linen,
    'flax.nnx': _nnx,
    'equinox': _equinox,
    'torch': _torch,
  }
  makers = {name: functools.partial(f, problem) for name, f in makers.items()}
  return contestant.with_flops(makers, flops(work, x.shape, heads))


def flops(work: str, shape: tuple[int, int, int], heads: int) -> int:
  """Counts FLOPs of the four projections of [B T D] and of attention."""
  batch_size, length, features = shape
  forward = 4 * 2 * batch_size * length * features**2
  projections = forward if work == 'forward' else 3 * forward
  inside = batch_size, length, heads, features // heads
  return projections + attention.flops(work, inside)


def _mixer(heads: int, x: jax.Array) -> Attention:
  _, length, features = x.shape
  return Attention(features, length, num_heads=heads, positions='none')


def _layers(kernels: Mapping[str, jax.Array]) -> dict[str, Any]:
  """As Flax nests them."""
  return {name: {'kernel': kernel} for name, kernel in kernels.items()}


def _read(params: Mapping[str, Any], x) -> dict[str, jax.Array]:
  kernels = {name: layer['kernel'] for name, layer in params.items()}
  return {**kernels, 'x': x}


def _seqjax(problem: Problem) -> Contestant:
  mixer = _mixer(problem.heads, problem.x)

  def forward(params, x):
    return mixer.apply({'params': params}, x)

  args = _layers(problem.kernels), problem.x
  return contestant.differentiable(problem.work, forward, args, _read)


def _linen(problem: Problem) -> Contestant:
  layer = nn.MultiHeadDotProductAttention(
    problem.heads, use_bias=False, deterministic=True
  )

  def forward(params, x):
    mask = nn.make_causal_mask(x[..., 0], dtype=bool)
    return layer.apply({'params': params}, x, mask=mask)

  args = _layers(problem.kernels), problem.x
  return contestant.differentiable(problem.work, forward, args, _read)


def _nnx(problem: Problem) -> Contestant:
  from flax import nnx

  layer = nnx.MultiHeadAttention(
    problem.heads,
    problem.features,
    use_bias=False,
    decode=False,
    rngs=nnx.Rngs(0),
  )
  nnx.update(layer, _layers(problem.kernels))
  definition, params, rest = nnx.split(layer, nnx.Param, ...)

  def forward(params, x):
    return nnx.merge(definition, params, rest)(x, is_causal=True)

  def read(params, x):
    return _read(nnx.to_pure_dict(params), x)

  args = params, problem.x
  return contestant.differentiable(problem.work, forward, args, read)


def _equinox(problem: Problem) -> Contestant:
  import equinox

  layer = equinox.nn.MultiheadAttention(
    problem.heads, problem.features, key=jax.random.key(0)
  )
  layer = equinox.tree_at(_projections, layer, _matrices(problem))
  params, rest = equinox.partition(layer, equinox.is_inexact_array)

  def forward(params, x):
    layer = equinox.combine(params, rest)
    mask = jnp.tril(jnp.ones((x.shape[1],) * 2, bool))
    return jax.vmap(lambda row: layer(row, row, row, mask))(x)

  def read(params, x):
    return _from_matrices(problem, _projections(params), x)

  args = params, problem.x
  return contestant.differentiable(problem.work, forward, args, read)


def _projections(layer) -> list[jax.Array]:
  """Equinox's matrices: query, key, value, output."""
  return [
    layer.query_proj.weight,
    layer.key_proj.weight,
    layer.value_proj.weight,
    layer.output_proj.weight,
  ]


def _matrices(problem: Problem) -> list[jax.Array]:
  """Kernels as [out, in]: query, key, value, output."""
  square = problem.features, problem.features
  return [problem.kernels[k].reshape(square).T for k in (*_INTO, 'out')]


def _from_matrices(problem: Problem, matrices, x) -> dict[str, jax.Array]:
  kernels = {
    name: matrix.T.reshape(problem.kernels[name].shape)
    for name, matrix in zip((*_INTO, 'out'), matrices, strict=True)
  }
  return {**kernels, 'x': x}


def _torch(problem: Problem) -> Contestant:
  import torch

  layer = torch.nn.MultiheadAttention(
    problem.features, problem.heads, bias=False, batch_first=True
  )
  length = problem.x.shape[1]
  mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
  *into, out = _matrices(problem)

  def forward(x, into, out):
    named = {'in_proj_weight': into, 'out_proj.weight': out}
    options = {'attn_mask': mask.to(x), 'is_causal': True}
    y, _ = torch.func.functional_call(
      layer, named, (x, x, x), {**options, 'need_weights': False}
    )
    return y

  def read(x, into, out):
    return _from_matrices(problem, [*jnp.split(into, 3), out], x)

  args = problem.x, jnp.concatenate(into), out
  return torch_call.differentiable(problem.work, forward, args, read)
