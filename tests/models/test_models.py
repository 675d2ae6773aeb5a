"""Blocks, stacks and whole models beside the contract."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import (
  Block,
  Classifier,
  MLPClassifier,
  Seq2Seq,
  SequenceModel,
  Stack,
  features_for,
  num_parameters,
)
from seqjax.models import size as size_lib
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  NONCAUSAL_MIXERS,
  TCN,
  Attention,
  Bidirectional,
  CausalMixer,
  Retention,
)
from seqjax.nn.layers import MLP
from seqjax.typing import Spec


def size(variables) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_a_mixer_named_twice_has_parameters_twice():
  """Linen would share those of one instance."""
  gru, x = GRU(8), jnp.ones((1, 2, 8))
  one, two, block = (
    size(jax.eval_shape(module.init, jax.random.key(0), x))
    for module in (Stack((gru,)), Stack((gru, gru)), Block(gru))
  )
  assert two - one == block
  init = jax.jit(Stack((gru, gru)).init)
  params = init(jax.random.key(0), x)['params']
  kernels = [params[f'blocks_{i}']['mixer']['input'] for i in (0, 1)]
  assert not np.array_equal(*kernels)


def test_a_stack_needs_mixers_of_equal_features():
  """And one at least."""
  with pytest.raises(ValueError, match=r'same features.*\[8, 16\]'):
    Stack((GRU(8), GRU(16)))
  with pytest.raises(ValueError, match='one mixer or more'):
    Stack(())


@pytest.mark.parametrize(
  'make, name',
  [
    (Stack, 'mixers'),
    (lambda mixers: SequenceModel(Spec(), Spec(), mixers), 'mixers'),
    (lambda mixers: Classifier(Spec(), Spec(), mixers), 'mixers'),
    (lambda mixers: Seq2Seq(Spec(), Spec(), mixers, (GRU(8),)), 'encoder'),
    (lambda mixers: Seq2Seq(Spec(), Spec(), (GRU(8),), mixers), 'decoder'),
  ],
)
@pytest.mark.parametrize(
  'mixers, shown',
  [
    ([GRU(8)], r'the list of GRU\(...\)'),
    (GRU(8), r'GRU\(...\)'),
    (('gru',), "the tuple of 'gru'"),
    (GRU, 'the class GRU'),
  ],
)
def test_mixers_are_a_tuple_of_mixers(make, name, mixers, shown, untyped):
  """No list, no single mixer, no names, no classes."""
  sentence = rf'{name} is a tuple of mixers, such as .* but {shown} was given'
  with pytest.raises(ValueError, match=sentence):
    make(mixers)


def test_the_receptive_field_of_a_stack_adds_up():
  """1 + sum(R_i - 1); one unlimited mixer makes it unlimited."""
  tcn = TCN(8, kernel_size=3, levels=2)  # sees 7
  assert Stack((tcn, Attention(8, 5), tcn)).receptive_field == 1 + 6 + 4 + 6
  assert Stack((tcn, GRU(8))).receptive_field is None


def test_a_model_that_cannot_stream_says_so():
  """It is called on whole sequences; carry, step and unroll are refused."""
  model = SequenceModel(Spec((3,)), Spec((), 4), (Bidirectional(8),))
  x = jnp.ones((2, 5, 3))
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  assert jax.eval_shape(model.apply, variables, x).shape == (2, 5, 4)
  with pytest.raises(ValueError, match='Bidirectional sees whole sequences'):
    model.initialize_carry(2)
  unroll = functools.partial(model.apply, method='unroll')
  with pytest.raises(ValueError, match='cannot stream'):
    jax.eval_shape(unroll, variables, (None,), x)


def test_dropout_is_on_exactly_with_its_key():
  """No flag to forget."""
  block = Block(GRU(8), dropout=0.5)
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  variables = jax.jit(block.init)(jax.random.key(1), x)
  apply = jax.jit(block.apply)
  silent = apply(variables, x)
  np.testing.assert_array_equal(silent, apply(variables, x))
  first, second = (
    apply(variables, x, rngs={'dropout': jax.random.key(seed)})
    for seed in (2, 3)
  )
  assert not np.array_equal(first, second)
  assert not np.array_equal(first, silent)


def test_a_gated_perceptron_is_its_equation():
  """W_2 (gelu(V x) * W_1 x), and three matrices where a plain one has two."""
  mlp = MLP(4, hidden=6, kind='gated')
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=(2, 4)))
  variables = jax.tree.map(
    lambda leaf: np.float32(rng.normal(size=leaf.shape)),
    jax.eval_shape(mlp.init, jax.random.key(1), x),
  )

  def affine(name, x):
    layer = variables['params'][name]
    return x @ layer['kernel'] + layer['bias']

  gate = np.asarray(jax.nn.gelu(affine('gate', x)))
  expected = affine('narrow', gate * affine('widen', x))
  given = jax.jit(mlp.apply)(variables, x)
  np.testing.assert_allclose(given, expected, rtol=1e-5)
  plain = num_parameters(Block(GRU(8), expansion=3))
  gated = num_parameters(Block(GRU(8), expansion=3, mlp='gated'))
  assert gated - plain == 8 * 24 + 24


def test_without_expansion_only_the_mixer_and_its_norm_are_left():
  """x + mixer(norm(x))."""
  gru = GRU(8)
  assert num_parameters(Block(gru, expansion=0)) == num_parameters(gru) + 8


@pytest.mark.parametrize(
  'make',
  [
    lambda **options: Block(GRU(8), **options),
    lambda **options: Stack((GRU(8),), **options),
    lambda **options: SequenceModel(Spec((3,)), Spec(), (GRU(8),), **options),
  ],
)
def test_options_out_of_range_are_refused_at_construction(make):
  """By blocks and by what is made of them."""
  with pytest.raises(ValueError, match="Did you mean 'gated'"):
    make(mlp='gate')
  with pytest.raises(ValueError, match='expansion=-1'):
    make(expansion=-1)
  with pytest.raises(ValueError, match='dropout=1.5'):
    make(dropout=1.5)


def test_values_of_another_shape_are_refused():
  """With both shapes."""
  model = SequenceModel(Spec((2, 3)), Spec(), (GRU(8),))
  with pytest.raises(ValueError, match=r'shape \[2, 3\].*\[1, 5, 6\]'):
    model.init(jax.random.key(0), jnp.ones((1, 5, 6)))


def test_values_of_any_shape_go_in_and_come_out():
  """Tokens are embedded, values projected; outputs have the spec's shape."""
  model = SequenceModel(Spec((2, 3)), Spec((3, 2)), (LSTM(8),))
  x = jnp.ones((2, 5, 2, 3))
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  assert jax.eval_shape(model.apply, variables, x).shape == (2, 5, 3, 2)
  carry = jax.eval_shape(lambda: model.initialize_carry(2))
  step = functools.partial(model.apply, method='step')
  _, y = jax.eval_shape(step, variables, carry, x[:, 0])
  assert y.shape == (2, 3, 2)


@pytest.mark.parametrize('name', ['lstm', 'attention', 'tcn'])
def test_parameters_are_counted_without_making_them(name):
  """As many as `init` makes."""
  mixer = MIXERS[name](8, 16)
  init = jax.jit(mixer.init)
  variables = init(jax.random.key(0), jnp.ones((1, 2, 8)))
  assert num_parameters(mixer) == size(variables)


@pytest.mark.parametrize('spec', [Spec((), 7), Spec((2, 3))])
def test_parameters_of_models_are_counted_by_what_they_read(spec):
  """Tokens, values, or a source and a target."""
  x = jnp.zeros((1, 2, *spec.shape), jnp.int32 if spec.vocab else jnp.float32)
  mixers = (GRU(8),)
  for model, inputs in (
    (SequenceModel(spec, spec, mixers), x),
    (Classifier(spec, spec, mixers), x),
    (MLPClassifier(spec, 3, 4), x),
    (Seq2Seq(spec, spec, mixers, mixers), (x, x)),
  ):
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    assert num_parameters(model) == size(shapes)


def test_parameters_of_any_linen_module_and_of_a_tree_are_counted():
  """Batch statistics are none; without its inputs a module cannot be asked."""
  module, x = nn.Sequential([nn.Dense(3), nn.BatchNorm(True)]), np.ones((2, 4))
  assert num_parameters(module, x) == 4 * 3 + 3 + 2 * 3
  variables = jax.jit(module.init)(jax.random.key(0), x)
  assert num_parameters(variables['params']) == 4 * 3 + 3 + 2 * 3


def test_widths_for_equal_parameters_are_within_a_tenth():
  """Multiples of 8, the nearest one."""
  width = features_for(LSTM, 25000)
  assert width == 56
  assert abs(num_parameters(LSTM(width)) / 25000 - 1) <= 0.1
  with pytest.raises(
    ValueError, match='No width.*LSTM 1000.*nearest is width 10 with 840'
  ):
    features_for(LSTM, 1000)


WIDTHS = {
  'elman': 112,
  'gru': 64,
  'lstm': 56,
  'mingru': 112,
  'tcn': 40,
  'attention': 80,
}


@pytest.mark.parametrize('name', MIXERS | NONCAUSAL_MIXERS)
def test_every_entry_of_the_catalogue_has_a_width_for_equal_parameters(name):
  """At its defaults, within a tenth; experiments rest on some of them."""
  make = functools.partial((MIXERS | NONCAUSAL_MIXERS)[name], context=128)
  width = features_for(make, 25000)
  assert abs(num_parameters(make(width)) / 25000 - 1) <= 0.1
  assert width == WIDTHS.get(name, width)


class Fussy(CausalMixer):
  """Accepts multiples of ten only; of larger ones than 60 not even these."""

  def setup(self):
    if self.features % 10:
      raise ValueError(f'Fussy has no use for features={self.features}.')
    self.out = nn.Dense(self.features)

  def __post_init__(self):
    super().__post_init__()
    if self.features > 60:
      raise ValueError('Fussy is small.')

  def __call__(self, x, segments=None):
    return self.out(x)


def test_widths_that_a_mixer_refuses_are_skipped():
  """When it is made, or when its parameters are."""
  assert features_for(Fussy, 1_600) == 40
  assert features_for(Fussy, 900) == 30
  with pytest.raises(ValueError, match='nearest is width 60 with 3660'):
    features_for(Fussy, 25_000)
  with pytest.raises(ValueError, match='nearest is width 10 with 110'):
    features_for(Fussy, 50)


def test_a_mixer_that_refuses_every_width_says_why(monkeypatch):
  """In its own words."""
  monkeypatch.setattr(size_lib, 'WIDEST', 8)
  with pytest.raises(ValueError, match='no even width.* 8; of.* features=2'):
    features_for(Fussy, 50)


def test_odd_sizes_of_heads_are_skipped():
  """A retention turns pairs of entries in each of its heads."""
  make = functools.partial(Retention, num_heads=2, expand=1, norm_kind='layer')
  with pytest.raises(ValueError, match='nearest is width 8 with 3'):
    features_for(make, 500)


@pytest.mark.parametrize(
  'options',
  [{'dropout': '0.5'}, {'expansion': 2.5}, {'dropout': float('nan')}],
)
def test_options_of_another_type_are_refused(options, untyped):
  """Models say what their stack needs; a block by itself does too."""
  (name,) = options
  for make in (
    lambda: SequenceModel(Spec(()), Spec(()), (GRU(8),), **options),
    lambda: Block(GRU(8), **options),
  ):
    with pytest.raises(ValueError, match=f'needs {name} to be a'):
      make()
