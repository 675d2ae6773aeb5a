"""Every layer as an NNX module: the laws, training, and the tools of NNX."""

import inspect
import subprocess
import sys

import flax.linen
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from flax import nnx

from seqjax import nn, testing
from seqjax.nn import bridge
from seqjax.nn import nnx as layers
from seqjax.testing.nnx_module import check_nnx_module
from seqjax.typing import Segments
from tests import programs

CATALOG = layers.MIXERS | layers.NONCAUSAL_MIXERS
X = jax.random.normal(jax.random.key(0), (2, 6, 4))
SEGMENTS = Segments(X[..., 0] > 1, X[..., 1] > -1)
RUN = ('mingru', 'attention', 'bidirectional', 'both_ways', 'learned')
COMPOSED = {
  'layers': nn.RecurrentLayers((nn.GRU(4), nn.LSTM(4)), dropout=0.5),
  'both_ways': nn.RecurrentLayers((nn.Elman(4),), bidirectional=True),
  'learned': nn.InitialCarry(nn.GRU(4)),
}
LINEN = {n: kind.linen_class(4, 8) for n, kind in CATALOG.items()} | COMPOSED


def make(name: str, **options):
  if name in COMPOSED:
    linen = COMPOSED[name]
    kind = getattr(layers, type(linen).__name__)
    known = {n: getattr(linen, n) for n in bridge.fields(type(linen))}
    return kind(**known, rngs=nnx.Rngs(0))
  return CATALOG[name](4, 8, rngs=nnx.Rngs(0), **options)


def assert_close(given, expected):
  """Leaf by leaf, in one structure."""
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    given,
    expected,
  )


@pytest.mark.parametrize('name', LINEN)
def test_every_layer_is_the_program_of_its_linen_module(name):
  """Operation by operation, of which values and gradients follow."""
  mixer = LINEN[name]
  given, expected = programs.of_both(layers.from_linen, mixer, X, SEGMENTS)
  assert given == expected


@pytest.mark.parametrize('name', RUN)
def test_layers_compute_what_they_do_in_linen(name):
  """A call, an unroll, all steps, gradients, under the names of Linen."""
  check_nnx_module(make(name))


def test_the_contract_holds_an_nnx_module_to_the_laws():
  """The laws are those of its Linen module, and that both are one."""
  testing.assert_mixer_contract(layers.MinGRU(4, rngs=nnx.Rngs(0)))


class Deaf(layers.MinGRU):
  """An NNX module that reads its input at half of its size."""

  def __call__(self, x, segments=None):
    return super().__call__(0.5 * x, segments)


def test_the_contract_finds_an_nnx_module_that_computes_something_else():
  """And says which law is broken."""
  with pytest.raises(testing.LawBroken, match='NNX: call') as broken:
    testing.assert_mixer_contract(Deaf(4, rngs=nnx.Rngs(0)))
  assert broken.value.law == testing.NNX


@pytest.mark.parametrize('name', [*CATALOG, 'layers', 'learned'])
def test_every_layer_trains(name):
  """Two steps of an optimizer of NNX make the loss fall."""
  layer = make(name)
  optimizer = nnx.Optimizer(layer, optax.sgd(1e-2), wrt=nnx.Param)

  @nnx.jit
  def train_step(layer, optimizer):
    def loss(layer):
      return jnp.mean((layer(X) - jnp.roll(X, 1, axis=1)) ** 2)

    value, gradients = nnx.value_and_grad(loss)(layer)
    optimizer.update(layer, gradients)
    return value

  first, second, third = (train_step(layer, optimizer) for _ in range(3))
  assert first > second > third


@pytest.mark.parametrize('name', RUN)
def test_parameters_are_those_that_linen_makes_of_the_key(name):
  """With names, nesting and values, as soon as the layer is made."""
  layer = make(name)
  mixer, variables = layer.to_linen()
  assert mixer == LINEN[name]
  params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
  expected = mixer.init(nnx.Rngs(0).params(), X)
  assert variables == {'params': params}
  jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_layers_are_stacked_and_scanned():
  """Several by vmap over keys, one after the other by scan."""

  @nnx.split_rngs(splits=3)
  @nnx.vmap
  def several(rngs):
    return layers.MinGRU(4, rngs=rngs)

  @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
  def through(layer, x):
    return layer(x)

  many = several(nnx.Rngs(0))
  graph, state = nnx.split(many)
  y = X
  for i in range(3):
    y = nnx.merge(graph, jax.tree.map(lambda leaf: leaf[i], state))(y)  # noqa: B023
  assert_close(nnx.jit(through)(many, X), y)
  assert not np.array_equal(*many.update_gate.kernel[:2])


def test_copies_compute_the_same(tmp_path):
  """Split and merged, cloned, inside Linen, restored by Orbax."""
  ocp = pytest.importorskip('orbax.checkpoint')
  layer = make('mingru')
  expected = layer(X)
  assert_close(nnx.merge(*nnx.split(layer))(X), expected)
  assert_close(nnx.clone(layer)(X), expected)
  assert_close(jax.jit(lambda layer, x: layer(x))(layer, X), expected)

  class Outer(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
      return nnx.bridge.ToLinen(layers.MinGRU, (4,), name='inner')(x)

  _, variables = layer.to_linen()
  inside = {'params': {'inner': variables['params']}}
  assert_close(Outer().apply(inside, X), expected)

  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / 'layer', nnx.state(layer))
    checkpointer.wait_until_finished()
    graph, state = nnx.split(nnx.eval_shape(lambda: make('mingru')))
    state = checkpointer.restore(tmp_path / 'layer', state)
  assert_close(nnx.merge(graph, state)(X), expected)


def test_a_layer_of_ones_own_is_an_nnx_module_too():
  """And comes back from it."""

  class Halves(nn.SequenceMixer):
    """Half of its inputs."""

    @flax.linen.compact
    def __call__(self, x, segments=None):
      return x * self.param('scale', lambda key: jnp.full((), 0.5))

  mixer = Halves(4)
  layer = layers.from_linen(mixer, mixer.init(jax.random.key(0), X))
  assert_close(layer(X), X / 2)
  assert layer.to_linen()[0] == mixer
  assert not hasattr(layer, 'step')


def test_attention_gives_its_weights_to_nnx():
  """To nnx.capture as to Linen's `mutable`, and to a call that asks."""
  layer = make('attention')
  y, found = nnx.capture(layer, nnx.Intermediate)(X)
  (weights,) = found['weights'].get_value()
  assert weights.shape == (2, 2, 6, 6)
  assert_close(jnp.sum(weights, axis=-1), jnp.ones((2, 2, 6)))
  assert_close(layer(X), y)
  assert_close(layer(X, return_weights=True), (y, weights))
  assert not nnx.state(layer, nnx.Intermediate)


def test_a_class_says_what_it_is_and_how_to_make_it():
  """To help, to tab completion, and to a reader of the layer's fields."""
  assert {kind.__name__ for kind in CATALOG.values()} <= set(dir(layers))
  for name, kind in CATALOG.items():
    mixer = (nn.MIXERS | nn.NONCAUSAL_MIXERS)[name]
    assert kind.__name__ == mixer.__name__
    assert getattr(layers, kind.__name__) is kind
    assert kind.__module__ == 'seqjax.nn.nnx'
    assert kind.__doc__.startswith(inspect.getdoc(mixer))
    assert f'layer = seqjax.nn.nnx.{kind.__name__}(features, ' in kind.__doc__
    assert hasattr(kind, 'step') == (name in nn.MIXERS)
  signature = inspect.signature(layers.LSTM)
  assert list(signature.parameters) == [
    'features', 'context', 'dtype', 'param_dtype', 'input_features',
    'forget_bias', 'max_lag', 'algorithm', 'rngs',
  ]  # fmt: skip
  layer = layers.LocalAttention(4, window=3, rngs=nnx.Rngs(0))
  parameters = list(inspect.signature(layer).parameters)
  assert parameters == ['x', 'segments', 'lengths', 'return_weights']
  assert {'features', 'window', 'step', 'query'} <= set(dir(layer))
  assert (layer.features, layer.window, layer.receptive_field) == (4, 3, 3)
  assert 'Param' in repr(layer)


def test_layers_of_layers_keep_the_modules_they_are_given():
  """Or make them of Linen ones; modules come back by their names."""
  rngs = nnx.Rngs(0)
  below, above = layers.GRU(4, rngs=rngs), layers.LSTM(4, rngs=rngs)
  learned = layers.InitialCarry(below, rngs=rngs)
  model = layers.RecurrentLayers((learned, above), rngs=rngs)
  assert model.mixers == (learned, above)
  assert model.forward_0.mixer is below
  linen, variables = model.to_linen()
  assert linen == nn.RecurrentLayers((nn.InitialCarry(nn.GRU(4)), nn.LSTM(4)))
  assert variables['params'] == nnx.to_pure_dict(nnx.state(model, nnx.Param))
  both = layers.RecurrentLayers((nn.GRU(4),), bidirectional=True, rngs=rngs)
  assert both.mixers == (both.forward_0, both.backward_0)
  assert isinstance(both.backward_0, layers.GRU)


def given_positionally():
  return layers.LSTM(4, nnx.Rngs(0))


def bidirectional():
  return layers.Bidirectional(4, mixer=make('gru'), rngs=nnx.Rngs(0))


def both_ways():
  mixers = (make('gru'),)
  return layers.RecurrentLayers(mixers, bidirectional=True, rngs=nnx.Rngs(0))


def fixed():
  make('gru').features = 8


def without_params():
  return layers.from_linen(nn.GRU(4), {'kernel': X})


def other_names():
  return layers.from_linen(nn.GRU(4), {'params': {'kernel': X}})


def other_width():
  return layers.from_linen(nn.GRU(8), make('gru').to_linen()[1])


REFUSED = [
  (lambda: layers.LSTM(4), r'nothing was given; write rngs=nnx.Rngs\(0\)'),
  (lambda: layers.LSTM(4, rngs=0), 'an object of type int was given'),
  (lambda: layers.LSTM(4, rngs=nnx.Rngs(dropout=0)), r"streams \['dropout'\]"),
  (given_positionally, 'in the place of context; write rngs='),
  (
    lambda: layers.LSTM(nn.LSTM(4), rngs=nnx.Rngs(0)),
    r'the Linen module LSTM\(...\) was given; LSTM.from_linen',
  ),
  (lambda: layers.LSTM(0, rngs=nnx.Rngs(0)), 'features of at least 1'),
  (
    lambda: layers.LSTM(4, forget_bais=1.0, rngs=nnx.Rngs(0)),
    "Did you mean 'forget_bias'",
  ),
  (bidirectional, r'NNX module GRU\(...\), which has some; give seqjax.nn.GRU'),
  (lambda: make('gru')(jnp.ones((2, 6, 5))), 'GRU has features=4, but inputs'),
  (both_ways, r'for each way, but an NNX module .*such as seqjax.nn.GRU\(8\)'),
  (lambda: layers.InitialCarry(3, rngs=nnx.Rngs(0)), 'is made of mixers, such'),
  (fixed, 'features of GRU is fixed when it is made'),
  (without_params, "a dictionary of \\['kernel'\\] was given"),
  (other_names, r'fit GRU: .*kernel is unknown, and an array'),
  (other_width, r'bias is an array \[12\], but an array \[24\]'),
  (lambda: layers.GRU.from_linen(nn.LSTM(4), {}), 'of the class seqjax.nn.GRU'),
  (lambda: layers.from_linen(3, {}), 'an object of type int was given'),
  (lambda: layers.LSTMM, "name of seqjax.nn.nnx 'LSTMM'. Did you mean 'LSTM'"),
  (lambda: layers.MIXERS['lsmt'], "Did you mean 'lstm'"),
]


@pytest.mark.parametrize('refused, message', REFUSED)
def test_bad_input_gets_one_sentence(refused, message):
  """Expected, given, and what to do."""
  before = jaxtyping.config.jaxtyping_disable
  jaxtyping.config.update('jaxtyping_disable', True)  # users run no checker
  try:
    with pytest.raises((ValueError, AttributeError), match=message) as error:
      refused()
  finally:
    jaxtyping.config.update('jaxtyping_disable', before)
  assert len(str(error.value).splitlines()) == 1


def test_nnx_is_imported_when_it_is_first_used():
  """It takes as long as all of Linen."""
  code = """
import sys
import seqjax.nn, seqjax.models
assert 'flax.nnx' not in sys.modules
assert seqjax.nn.nnx.LSTM.__name__ == 'LSTM'
assert seqjax.models.nnx.Stack.__name__ == 'Stack'
"""
  subprocess.run([sys.executable, '-c', code], check=True)


def test_layers_that_read_another_width_are_made():
  """From an option, and from layers of Linen."""
  x = jnp.ones((2, 5, 3))
  assert layers.LSTM(8, input_features=3, rngs=nnx.Rngs(0))(x).shape[2] == 8
  linen = nn.RecurrentLayers((nn.GRU(8, input_features=3),))
  variables = linen.init(jax.random.key(0), x)
  given = layers.from_linen(linen, variables)(x)
  np.testing.assert_allclose(given, linen.apply(variables, x), rtol=1e-6)


def test_a_random_carry_is_sampled_in_nnx():
  """The stream for dropout is used until eval()."""
  linen, x = nn.InitialCarry(nn.GRU(8), kind='random'), jnp.ones((2, 5, 8))
  variables = linen.init(jax.random.key(0), x)
  layer = layers.from_linen(linen, variables, nnx.Rngs(0))
  assert not np.allclose(layer(x), layer(x))
  layer.eval()
  np.testing.assert_array_equal(layer(x), layer(x))
