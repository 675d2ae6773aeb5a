"""Blocks, stacks and whole models beside the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import (
  Block,
  MLPClassifier,
  SequenceModel,
  Stack,
  features_for,
  num_parameters,
)
from seqjax.nn import GRU, LSTM, MIXERS, TCN, Attention, Bidirectional
from seqjax.ops import segments as segments_lib
from seqjax.typing import Spec


def size(variables) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_a_mixer_named_twice_has_parameters_twice():
  """Linen would share those of one instance."""
  gru, x = GRU(8), jnp.ones((1, 2, 8))
  one = size(Stack((gru,)).init(jax.random.key(0), x))
  two = size(Stack((gru, gru)).init(jax.random.key(0), x))
  block = size(Block(gru).init(jax.random.key(0), x))
  assert two - one == block
  params = Stack((gru, gru)).init(jax.random.key(0), x)['params']
  kernels = [params[f'blocks_{i}']['mixer']['input'] for i in (0, 1)]
  assert not np.array_equal(*kernels)


def test_a_stack_needs_mixers_of_equal_features():
  """And one at least."""
  with pytest.raises(ValueError, match=r'same features.*\[8, 16\]'):
    Stack((GRU(8), GRU(16)))
  with pytest.raises(ValueError, match='one mixer or more'):
    Stack(())


def test_the_receptive_field_of_a_stack_adds_up():
  """1 + sum(R_i - 1); one unlimited mixer makes it unlimited."""
  tcn = TCN(8, kernel_size=3, levels=2)  # sees 7
  assert Stack((tcn, Attention(8, 5), tcn)).receptive_field == 1 + 6 + 4 + 6
  assert Stack((tcn, GRU(8))).receptive_field is None


def test_a_model_that_cannot_stream_says_so():
  """It is called on whole sequences; carry, step and unroll are refused."""
  model = SequenceModel(Spec((3,)), Spec((), 4), (Bidirectional(8),))
  x = jnp.ones((2, 5, 3))
  variables = model.init(jax.random.key(0), x)
  assert model.apply(variables, x).shape == (2, 5, 4)
  with pytest.raises(ValueError, match='Bidirectional sees whole sequences'):
    model.initialize_carry(2)
  with pytest.raises(ValueError, match='cannot stream'):
    model.apply(variables, (None,), x, method='unroll')


def test_dropout_is_on_exactly_with_its_key():
  """No flag to forget."""
  block = Block(GRU(8), dropout=0.5)
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  variables = block.init(jax.random.key(1), x)
  silent = block.apply(variables, x)
  np.testing.assert_array_equal(silent, block.apply(variables, x))
  first, second = (
    block.apply(variables, x, rngs={'dropout': jax.random.key(seed)})
    for seed in (2, 3)
  )
  assert not np.array_equal(first, second)
  assert not np.array_equal(first, silent)


def test_values_of_any_shape_go_in_and_come_out():
  """Tokens are embedded, values projected; outputs have the spec's shape."""
  model = SequenceModel(Spec((2, 3)), Spec((3, 2)), (LSTM(8),))
  x = jnp.ones((2, 5, 2, 3))
  variables = model.init(jax.random.key(0), x)
  assert model.apply(variables, x).shape == (2, 5, 3, 2)
  carry, y = model.apply(
    variables, model.initialize_carry(2), x[:, 0], method='step'
  )
  assert y.shape == (2, 3, 2)


@pytest.mark.parametrize('name', MIXERS)
def test_parameters_are_counted_without_making_them(name):
  """As many as `init` makes."""
  mixer = MIXERS[name](8, 16)
  variables = mixer.init(jax.random.key(0), jnp.ones((1, 2, 8)))
  assert num_parameters(mixer) == size(variables)


def test_widths_for_equal_parameters_are_within_a_tenth():
  """Multiples of 8, the nearest one."""
  width = features_for(LSTM, 25000)
  assert width == 56
  assert abs(num_parameters(LSTM(width)) / 25000 - 1) <= 0.1
  with pytest.raises(ValueError, match='No width.*nearest are 544 at width 8'):
    features_for(LSTM, 1000)


def test_an_mlp_classifier_pads_truncates_and_refuses():
  """Short rows are padded with zeros, long ones refused unless told."""
  spec = Spec((2,))
  x = jax.random.normal(jax.random.key(0), (3, 6, 2))
  model = MLPClassifier(spec, num_classes=4, max_length=6)
  variables = model.init(jax.random.key(1), x)
  padded = jnp.pad(x[:, :4], ((0, 0), (0, 2), (0, 0)))
  np.testing.assert_array_equal(
    model.apply(variables, x[:, :4]), model.apply(variables, padded)
  )
  longer = jnp.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=9.0)
  with pytest.raises(ValueError, match='max_length=6 positions, but 7'):
    model.apply(variables, longer)
  np.testing.assert_array_equal(
    model.clone(truncate=True).apply(variables, longer),
    model.apply(variables, x),
  )
  segments = segments_lib.from_lengths(jnp.array([4, 4, 4]), 6)
  np.testing.assert_array_equal(
    model.apply(variables, jnp.where(segments.valid[..., None], x, jnp.nan),
                segments),
    model.apply(variables, padded),
  )  # fmt: skip


def test_an_mlp_classifier_grows_with_its_length():
  """A row of weights for every feature of every position."""
  counts = []
  for max_length in (5, 6):
    model = MLPClassifier(Spec((), 3), 4, max_length, hidden=7)
    tokens = jnp.zeros((1, 5), jnp.int32)
    counts.append(size(model.init(jax.random.key(0), tokens)))
  assert counts[1] - counts[0] == 3 * 7


@pytest.mark.parametrize('bad', [{'num_classes': 0}, {'max_length': 0}])
def test_an_mlp_classifier_refuses_sizes_below_one(bad):
  """At construction."""
  with pytest.raises(ValueError, match='at least 1'):
    MLPClassifier(Spec((2,)), **{'num_classes': 2, 'max_length': 3} | bad)
