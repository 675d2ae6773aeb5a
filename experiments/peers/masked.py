"""Measures the cost of masks: a mixer under segments, and without.

The segments are arguments, so that no compiler knows them; all positions are
valid and none is a start, so that both give the same.
"""

import functools

import jax
import jax.numpy as jnp

from experiments.peers import attention_layer, contestant
from experiments.peers.contestant import Contestant, Makers
from seqjax.nn import MIXERS, Attention
from seqjax.typing import Segments

UNMASKED = 'seqjax unmasked'


def contestants(
  mixer: str, work: str, *, batch_size: int, features: int, length: int
) -> Makers:
  """Returns what makes each contestant, by name."""
  shape = batch_size, length, features
  make = functools.partial(_contestant, mixer, work, shape)
  makers = {
    contestant.OURS: functools.partial(make, True),
    UNMASKED: functools.partial(make, False),
  }
  if mixer != 'attention':
    return makers
  # Blocks that no query sees are skipped: how many, no trace of it tells.
  heads = Attention(features, length).num_heads
  flops = attention_layer.flops(work, shape, heads)
  return contestant.with_flops(makers, flops)


def _contestant(
  name: str, work: str, shape: tuple[int, int, int], masked: bool
) -> Contestant:
  mixer = MIXERS[name](features=shape[2], context=shape[1])
  data_key, init_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(data_key, shape)
  params = mixer.init(init_key, x)['params']
  valid = jnp.ones(shape[:2], bool)
  segments = Segments(~valid, valid) if masked else None

  args = (params, x, segments) if masked else (params, x)

  def forward(params, x, segments=None):
    return mixer.apply({'params': params}, x, segments)

  def loss(*args):
    return jnp.mean(jnp.square(forward(*args)))

  def read(outputs):
    value, (of_params, of_x) = outputs
    return {'loss': value, 'x': of_x, **_flat(of_params)}

  if work == 'forward':
    return Contestant(forward, args, lambda y: {'outputs': y})
  return Contestant(jax.value_and_grad(loss, argnums=(0, 1)), args, read)


def _flat(params):
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
