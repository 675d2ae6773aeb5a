"""Blocks and models as NNX modules."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from seqjax import models as linen_models
from seqjax import nn
from seqjax.models import nnx as models
from seqjax.nn import nnx as layers
from seqjax.ops.segments import from_lengths
from seqjax.testing.nnx_module import check_nnx_module
from seqjax.typing import Spec
from tests import programs

TOKENS = Spec((), 5)
X = jax.random.randint(jax.random.key(0), (2, 6), 0, 5)


GRUS = (nn.MinGRU(4),)
MODELS = {
  'block': linen_models.Block(nn.MinGRU(4), dropout=0.5),
  'stack': linen_models.Stack((nn.MinGRU(4), nn.Attention(4, 8))),
  'model': linen_models.SequenceModel(TOKENS, TOKENS, GRUS, remat=True),
  'encoder': linen_models.SequenceModel(TOKENS, TOKENS, (nn.FullAttention(4),)),
  'seq2seq': linen_models.Seq2Seq(TOKENS, TOKENS, GRUS, GRUS, 'dot'),
}


def make(rngs, mixers=GRUS, **options):
  return models.SequenceModel(TOKENS, TOKENS, mixers, rngs=rngs, **options)


@pytest.mark.parametrize('name', MODELS)
def test_models_are_the_programs_of_their_linen_modules(name):
  """Operation by operation, of which values and gradients follow."""
  module, x = MODELS[name], X
  if not hasattr(module, 'input'):
    x = jnp.ones((2, 6, 4))
  segments = from_lengths(jnp.array([3, 6]), 6)
  if name == 'seq2seq':
    x, segments = (x, x), (segments, segments)
  given, expected = programs.of_both(models.from_linen, module, x, segments)
  assert given == expected


def test_a_block_computes_what_it_does_in_linen():
  """Calls, unrolls, steps and gradients, under the names of Linen."""
  rngs = nnx.Rngs(0)
  check_nnx_module(models.Block(layers.MinGRU(4, rngs=rngs), rngs=rngs))


def test_a_classifier_is_an_nnx_module_too():
  """One answer for a row; it does not stream."""
  model = models.Classifier(TOKENS, TOKENS, (nn.MinGRU(4),), rngs=nnx.Rngs(0))
  module, variables = model.to_linen()
  np.testing.assert_allclose(model(X), module.apply(variables, X), rtol=1e-5)
  assert model(X).shape == (2, 5) and not hasattr(model, 'step')
  assert model.mixers[0].features == 4


def test_an_encoder_and_a_decoder_are_made_of_nnx_modules():
  """Each keeps its own; lengths are given as a pair."""
  rngs = nnx.Rngs(0)
  encoder, decoder = (layers.MinGRU(4, rngs=rngs) for _ in range(2))
  model = models.Seq2Seq(
    TOKENS, TOKENS, (encoder,), (decoder,), 'dot', rngs=rngs
  )
  assert model.encoder == (encoder,) and model.decoder == (decoder,)
  module, variables = model.to_linen()
  assert module == linen_models.Seq2Seq(TOKENS, TOKENS, GRUS, GRUS, 'dot')
  assert variables['params'] == nnx.to_pure_dict(nnx.state(model, nnx.Param))
  lengths = jnp.array([3, 6]), jnp.array([6, 2])

  call = nnx.jit(lambda model: model((X, X), lengths=lengths))
  expected = module.apply(variables, (X, X), lengths=lengths)
  np.testing.assert_allclose(call(model), expected, rtol=1e-5, atol=1e-6)


def test_parameters_are_those_of_linen_for_the_key():
  """And those that an NNX mixer brought stay its own."""
  model = make(nnx.Rngs(0))
  module, variables = model.to_linen()
  expected = module.init(nnx.Rngs(0).params(), X)
  jax.tree.map(np.testing.assert_array_equal, variables, expected)

  rngs = nnx.Rngs(0)
  mixers = layers.MinGRU(4, rngs=rngs), layers.MinGRU(4, rngs=rngs)
  model = make(rngs, mixers)
  assert model.mixers == mixers and model.stack.blocks_1.mixer is mixers[1]
  module, variables = model.to_linen()
  assert module.mixers == (nn.MinGRU(4), nn.MinGRU(4))
  params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  assert variables == {'params': params}
  back = models.from_linen(module, variables)
  np.testing.assert_allclose(back(X), model(X), rtol=1e-5)
  assert isinstance(models.from_linen(*mixers[0].to_linen()), layers.MinGRU)


@pytest.mark.parametrize('remat', [False, True])
def test_a_model_with_dropout_trains(remat):
  """With other masks in every step, and without any after `eval`."""
  model = make(nnx.Rngs(0), dropout=0.3, remat=remat)
  optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

  @nnx.jit
  def train_step(model, optimizer):
    def loss(model):
      losses = optax.softmax_cross_entropy_with_integer_labels(model(X), X)
      return jnp.mean(losses)

    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value

  losses = [train_step(model, optimizer) for _ in range(30)]
  assert losses[-1] < losses[0]
  call = nnx.jit(lambda model, x: model(x))
  assert not np.array_equal(call(model, X), call(model, X))
  view = nnx.view(model, deterministic=True)
  np.testing.assert_array_equal(call(view, X), call(view, X))
  model.eval()
  np.testing.assert_array_equal(call(model, X), call(model, X))
  model.train()
  assert not np.array_equal(call(model, X), call(model, X))


def test_dropout_needs_a_stream():
  """Keys for parameters alone leave it out; a stream is taken by from_linen."""
  model = make(nnx.Rngs(params=0), dropout=0.5)
  np.testing.assert_array_equal(model(X), model(X))
  module, variables = model.to_linen()
  again = models.from_linen(module, variables, nnx.Rngs(dropout=1))
  assert not np.array_equal(again(X), again(X))


def test_classes_say_what_they_are():
  """To help and to tab completion."""
  kinds = models.Block, models.Stack, models.SequenceModel, models.Seq2Seq
  for kind in kinds:
    linen = getattr(linen_models, kind.__name__)
    assert kind.__doc__.startswith(inspect.getdoc(linen))
    assert kind.__module__ == 'seqjax.models.nnx'
    assert list(inspect.signature(kind).parameters)[-1] == 'rngs'
    assert hasattr(kind, 'step')


def shared():
  mixer = layers.GRU(4, rngs=nnx.Rngs(0))
  return models.Stack((mixer, mixer), rngs=nnx.Rngs(0))


REFUSED = [
  (shared, 'one NNX module was given for several; make one for each'),
  (lambda: models.Block(nn.GRU(4)), r'nothing was given; write rngs=nnx.Rngs'),
  (lambda: models.Block(3, rngs=nnx.Rngs(0)), 'an object of type int was'),
  (lambda: models.Block(nn.GRU, rngs=nnx.Rngs(0)), 'the class GRU was given'),
  (lambda: models.Stack((), rngs=nnx.Rngs(0)), 'one mixer or more'),
  (lambda: models.Stak, "Did you mean 'Stack'"),
]


@pytest.mark.parametrize('refused, message', REFUSED)
def test_bad_input_gets_one_sentence(refused, message, untyped):
  """Expected, given, and what to do."""
  with pytest.raises((ValueError, AttributeError), match=message) as error:
    refused()
  assert len(str(error.value).splitlines()) == 1
