"""Causal softmax attention of queries, keys and values: no projections."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments.peers import contestant, torch_call
from experiments.peers.contestant import Contestant, Makers
from seqjax.ops import attention as attention_lib


def contestants(
  work: str, *, batch_size: int, heads: int, head_size: int, length: int
) -> Makers:
  """Returns what makes each contestant, by name."""
  shape = batch_size, length, heads, head_size
  args = tuple(jax.random.normal(jax.random.key(0), (3, *shape)))
  functions = {
    'seqjax': attention_lib.attention,
    'seqjax plain': functools.partial(
      attention_lib.attention, algorithm='plain'
    ),
    'jax.nn': functools.partial(jax.nn.dot_product_attention, is_causal=True),
    'flax.linen': _linen,
  }
  makers = {
    name: functools.partial(
      contestant.differentiable, work, function, args, _read_gradients
    )
    for name, function in functions.items()
  }
  makers['torch'] = functools.partial(_torch, work, args)
  return contestant.with_flops(makers, flops(work, shape))


def flops(work: str, shape: tuple[int, int, int, int]) -> int:
  """Counts FLOPs of the pairs of positions that see each other.

  Two forward, four more backward.
  """
  batch_size, length, heads, head_size = shape
  pairs = length * (length + 1) // 2
  products = 2 if work == 'forward' else 6
  return products * 2 * batch_size * heads * head_size * pairs


def _read_gradients(query, key, value):
  return {'query': query, 'key': key, 'value': value}


def _linen(query, key, value):
  mask = nn.make_causal_mask(jnp.zeros(query.shape[:2]), dtype=bool)
  return nn.dot_product_attention(query, key, value, mask=mask)


def _torch(work: str, args: tuple) -> Contestant:
  """Torch has heads before positions: it is spared the way back."""
  import torch

  def forward(*heads_inside):
    return torch.nn.functional.scaled_dot_product_attention(
      *(array.transpose(1, 2) for array in heads_inside), is_causal=True
    )

  return torch_call.differentiable(
    work, forward, args, _read_gradients, lambda y: jnp.swapaxes(y, 1, 2)
  )
