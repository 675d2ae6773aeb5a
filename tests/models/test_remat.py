"""Rematerialised blocks: the same model, of which a derivative keeps less."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Classifier, Seq2Seq, SequenceModel
from seqjax.nn import WindowMLP
from seqjax.typing import Segments, Spec

TOKENS = Spec((), vocab=5)
MIXERS = WindowMLP(8, tau=3), WindowMLP(8, tau=3)
SEGMENTS = Segments(
  np.zeros((2, 12), bool) | (np.arange(12) == 4)[None],
  np.ones((2, 12), bool) & (np.arange(12) != 7)[None],
)


def _inputs(model):
  x = jax.random.randint(jax.random.key(1), (2, 12), 0, 5)
  if isinstance(model, Seq2Seq):
    return (x, x), (SEGMENTS, None)
  return x, SEGMENTS


def _whole(model, params, dropout_key):
  rngs = {'dropout': dropout_key}
  return model.apply({'params': params}, *_inputs(model), rngs=rngs)


def _streamed(model, params, dropout_key):
  _, y = model.apply(
    {'params': params},
    model.initialize_carry(2),
    *_inputs(model),
    method='unroll',
    rngs={'dropout': dropout_key},
  )
  return y


CASES = {
  'whole': (SequenceModel(TOKENS, TOKENS, MIXERS, dropout=0.3), _whole),
  'streamed': (SequenceModel(TOKENS, TOKENS, MIXERS), _streamed),
  'classifier': (Classifier(TOKENS, TOKENS, MIXERS), _whole),
  'seq2seq': (Seq2Seq(TOKENS, TOKENS, MIXERS, MIXERS), _whole),
}


def _kept(call, model, params):
  """Bytes that the derivative needs of the evaluation."""

  def backward(params):
    return jax.vjp(lambda p: call(model, p, jax.random.key(2)), params)[1]

  leaves = jax.tree.leaves(jax.eval_shape(backward, params))
  return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.parametrize('model, call', CASES.values(), ids=CASES)
def test_derivatives_keep_less(model, call):
  """Under parameters of the same names and shapes."""
  remat = model.clone(remat=True)
  params, same = (
    jax.eval_shape(m.init, jax.random.key(0), *_inputs(m))['params']
    for m in (model, remat)
  )
  assert params == same
  assert _kept(call, remat, params) < 0.6 * _kept(call, model, params)


@pytest.mark.parametrize('name', ['whole', 'streamed'])
def test_gradients_are_the_same(name):
  """Dropout falls on the same entries in both evaluations."""
  model, call = CASES[name]
  remat = model.clone(remat=True)

  @jax.jit
  def gradients(key):
    params = model.init(key, *_inputs(model))['params']

    def loss(params, model):
      return jnp.sum(jnp.sin(call(model, params, key)))

    return tuple(jax.grad(loss)(params, m) for m in (model, remat))

  expected, given = gradients(jax.random.key(0))
  assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(expected))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    given,
    expected,
  )
