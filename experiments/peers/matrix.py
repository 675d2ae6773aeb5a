"""Recurrences of matrices, and their derivatives: in parts, whole, by steps.

`seqjax` computes long rows part by part on a CPU, and computes parts again for
derivatives. `seqjax at once` puts the whole row through the same formulas, in
chunks of 64 positions, so that derivatives keep all that every chunk computes;
unlike `seqjax`, it lets NaN spread. `jax.lax.scan` takes a step per position.
"""

import functools

import jax
import jax.numpy as jnp

from experiments.peers import contestant
from experiments.peers.contestant import Makers
from seqjax.ops import chunks
from seqjax.ops.linear_attention import delta_rule, gated_outer

AT_ONCE = 'seqjax at once'
CHUNK = 64
OPS = {
  'gated_outer': ('query', 'key', 'value', 'log_decay'),
  'delta_rule': ('query', 'key', 'value', 'beta', 'log_decay'),
}


def contestants(
  op: str,
  work: str,
  *,
  batch_size: int,
  heads: int,
  head_size: int,
  length: int,
) -> Makers:
  """Returns what makes each contestant, by name; one decay a head."""
  names = OPS[op]
  shape = batch_size, length, heads, head_size
  keys = jax.random.split(jax.random.key(0), len(names))
  arrays = {
    name: jax.random.normal(key, shape) / head_size**0.5
    for name, key in zip(names, keys, strict=True)
  }
  for name in {'beta', 'log_decay'} & {*names}:
    arrays[name] = jax.nn.sigmoid(arrays[name][..., 0])
  arrays['log_decay'] = -0.1 * arrays['log_decay']
  functions = {
    contestant.OURS: functools.partial(_ours, op),
    AT_ONCE: functools.partial(_at_once, op),
    'jax.lax.scan': functools.partial(_scan, op),
  }

  def read(*gradients):
    return dict(zip(names, gradients, strict=True))

  return {
    name: functools.partial(
      contestant.differentiable, work, function, (*arrays.values(),), read
    )
    for name, function in functions.items()
  }


def _ours(op, query, key, value, *rates):
  batch_size, _, heads, size = query.shape
  state = jnp.zeros((batch_size, heads, size, value.shape[-1]))
  run = {'gated_outer': gated_outer, 'delta_rule': delta_rule}[op]
  return run(state, query, key, value, *rates)[1]


def _at_once(op, query, key, value, *rates):
  batch_size, length, heads, size = query.shape
  state = jnp.zeros((batch_size * heads, size, value.shape[-1]))
  operands = query, key, value, *(rate[..., None] for rate in rates)
  *operands, log_decay, piece = chunks.cut(operands, None, CHUNK)
  decays = chunks.decays_of(log_decay, piece)
  if op == 'gated_outer':
    _, y = chunks.gated_chunks(state, *operands, decays=decays)
  else:
    _, y = chunks.delta_chunks(state, *operands, decays=decays, piece=piece)
  return chunks.join(y, batch_size, heads, length)


def _scan(op, query, key, value, *rates):
  batch_size, _, heads, size = query.shape

  def step(state, inputs):
    q, k, v, *beta, log_decay = inputs
    state = jnp.exp(log_decay)[..., None, None] * state
    if beta:
      held = jnp.einsum('bhk,bhkv->bhv', k, state)
      v = beta[0][..., None] * (v - held)
    state = state + k[..., :, None] * v[..., None, :]
    return state, jnp.einsum('bhk,bhkv->bhv', q, state)

  inputs = [jnp.swapaxes(a, 0, 1) for a in (query, key, value, *rates)]
  state = jnp.zeros((batch_size, heads, size, value.shape[-1]))
  return jnp.swapaxes(jax.lax.scan(step, state, inputs)[1], 0, 1)
