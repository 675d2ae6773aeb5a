"""One step of training a language model: seqjax's and one written in Linen."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments.peers.contestant import Contestant, Makers
from experiments.peers.linen_models import (
  LAYERS,
  LinenAttention,
  LinenModel,
)
from seqjax.models import SequenceModel
from seqjax.nn import LSTM, Attention, to_flax
from seqjax.typing import Spec

VOCAB = 64
HEADS = 2
WORK = 'training step'

_OPTIMIZER = optax.adamw(1e-3)


def contestants(
  kind: str, work: str, *, batch_size: int, features: int, length: int
) -> Makers:
  """Returns what makes each contestant, by name.

  Args:
    kind: 'lstm' or 'transformer'.
    work: WORK, the only one.
  """
  assert work == WORK
  tokens = jax.random.randint(
    jax.random.key(0), (batch_size, length + 1), 0, VOCAB
  )
  mixer, make_linen = _mixers(kind, features, length)
  spec = Spec(vocab=VOCAB)
  ours = SequenceModel(spec, spec, (mixer,) * LAYERS)
  theirs = LinenModel(VOCAB, features, make_linen)
  params = ours.init(jax.random.key(1), tokens[:, :-1])['params']
  into_linen = functools.partial(to_linen, mixer)
  return {
    'seqjax': functools.partial(_contestant, ours, params, tokens, into_linen),
    'flax.linen': functools.partial(
      _contestant, theirs, into_linen(params), tokens, lambda params: params
    ),
  }


def _mixers(kind: str, features: int, length: int):
  """Our mixer, and what makes Linen's with the keyword `name`."""
  if kind == 'lstm':
    return LSTM(features), functools.partial(_linen_lstm, features)
  return (
    Attention(features, length, num_heads=HEADS, positions='learned'),
    functools.partial(LinenAttention, HEADS),
  )


def _linen_lstm(features: int, name: str) -> nn.RNN:
  cell = nn.OptimizedLSTMCell(
    features, parent=None
  )  # the RNN's, not the block's
  return nn.RNN(cell, name=name)


def _contestant(model, params, tokens, read_params) -> Contestant:
  """A step from the first moments zero: afterwards they are a tenth of the
  gradients, and compared instead of them."""

  def step(params, moments, tokens):
    def loss_fn(params):
      logits = model.apply({'params': params}, tokens[:, :-1])
      losses = optax.softmax_cross_entropy_with_integer_labels
      return jnp.mean(losses(logits, tokens[:, 1:]))

    loss, gradients = jax.value_and_grad(loss_fn)(params)
    updates, moments = _OPTIMIZER.update(gradients, moments, params)
    return loss, optax.apply_updates(params, updates), moments

  def read(outputs):
    loss, _, moments = outputs
    gradients = optax.tree.get(moments, 'mu')
    leaves = jax.tree_util.tree_leaves_with_path(read_params(gradients))
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {'loss': loss, **named}

  return Contestant(step, (params, _OPTIMIZER.init(params), tokens), read)


def to_linen(mixer, params: Mapping[str, Any]) -> dict[str, Any]:
  """Parameters, or their gradients, of ours as Linen's model has them."""
  stack = params['stack']
  blocks = {
    f'blocks_{i}': _block_to_linen(mixer, stack[f'blocks_{i}'])
    for i in range(LAYERS)
  }
  return {
    'embedding': params['embedding'],
    **blocks,
    'norm': stack['norm'],
    'readout': params['readout'],
  }


def _block_to_linen(mixer, block: Mapping[str, Any]) -> dict[str, Any]:
  mixing = block['mixer']
  if isinstance(mixer, LSTM):
    mixing = to_flax(mixer, {'params': mixing})[1]['params']
  else:
    projections = {k: v for k, v in mixing.items() if k != 'table'}
    mixing = {'table': mixing['table'], 'attention': projections}
  return {
    'mixer': mixing,
    'mixer_norm': block['mixer_norm'],
    'mlp_norm': block['mlp_norm'],
    **block['perceptron'],
  }
