"""Dropout of entries, the same at all positions or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Block, Classifier, Seq2Seq, SequenceModel, Stack
from seqjax.nn import GRU, RecurrentLayers
from seqjax.nn.layers import Drop
from seqjax.typing import Spec

KEY = {'dropout': jax.random.key(0)}


def test_variational_dropout_has_one_mask_per_row():
  """Other rows have others; without it, other positions do, too."""
  x = jnp.ones((2, 6, 32))
  for variational in (True, False):
    y = np.asarray(Drop(0.5, variational).apply({}, x, rngs=KEY))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all() == variational
    assert (y[0] != y[1]).any()
    np.testing.assert_array_equal(Drop(0.5, variational).apply({}, x), x)
  y = Drop(0.5, True).apply({}, x[:, 0], rngs=KEY)
  assert (y[0] != y[0, 0]).any()


SPEC = Spec((8,))
MIXERS = (GRU(8), GRU(8))
MODELS = {
  'block': lambda **o: Block(GRU(8), **o),
  'stack': lambda **o: Stack(MIXERS, **o),
  'model': lambda **o: SequenceModel(SPEC, SPEC, MIXERS, **o),
  'classifier': lambda **o: Classifier(SPEC, SPEC, MIXERS, **o),
  'seq2seq': lambda **o: Seq2Seq(SPEC, SPEC, MIXERS, MIXERS, **o),
  'layers': lambda **o: RecurrentLayers(MIXERS, **o),
}


@pytest.mark.parametrize('name', MODELS)
def test_every_model_hands_the_option_to_its_layers(name, monkeypatch):
  """All that drop anything."""
  seen = []
  drop = Drop.__call__

  def spy(self, x):
    seen.append((self.rate, self.variational))
    return drop(self, x)

  monkeypatch.setattr(Drop, '__call__', spy)
  x = jnp.ones((2, 3, 8))
  inputs = (x, x) if name == 'seq2seq' else x
  model = MODELS[name](dropout=0.25, variational=True)
  jax.eval_shape(model.init, jax.random.key(0), inputs)
  assert seen and set(seen) == {(0.25, True)}
