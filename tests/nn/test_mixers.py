"""What mixers promise beside the contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import nn
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  TCN,
  Attention,
  Bidirectional,
  MinGRU,
  WindowMLP,
)
from seqjax.typing import Segments


@pytest.mark.parametrize(
  'mixer, reach',
  [
    (TCN(16, kernel_size=3, levels=2), 7),
    (TCN(16, kernel_size=2, levels=3), 8),
    (WindowMLP(4, tau=5), 5),
    (Attention(4, context=6), 6),
  ],
  ids=['tcn', 'tcn-2', 'window_mlp', 'attention'],
)
def test_the_receptive_field_is_where_the_jacobian_ends(mixer, reach):
  """Not zero at its edge, exactly zero beyond."""
  assert mixer.receptive_field == reach
  x = jax.random.normal(jax.random.key(0), (1, 12, mixer.features))
  variables = mixer.init(jax.random.key(1), x)
  jacobian = jax.jacrev(lambda x: mixer.apply(variables, x)[0, -1])(x)
  felt = np.abs(jacobian).max(axis=(0, 1, 3)) > 0
  assert felt.tolist() == [lag < reach for lag in reversed(range(12))]


@pytest.mark.parametrize('name', MIXERS)
def test_every_carry_has_as_many_floats_as_it_says(name):
  """Counters are not counted; every leaf has the batch first."""
  mixer = MIXERS[name](8, 16)
  carry = mixer.initialize_carry(3)
  floats = [x for x in jax.tree.leaves(carry) if x.dtype == jnp.float32]
  assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(carry))
  assert nn.state_floats(mixer) == sum(leaf[0].size for leaf in floats) > 0


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('size', [{'features': 0}, {'features': -8}])
def test_every_mixer_refuses_features_below_one(name, size):
  """With the name, the value and the bound."""
  with pytest.raises(
    ValueError, match=r'features of at least 1.*features=-?\d'
  ):
    MIXERS[name](**size, context=16)


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: Attention(8), 'needs context='),
    (lambda: Attention(8, 0), 'context of at least 1'),
    (lambda: Attention(10, 4, num_heads=4), 'features=10 is not a multiple of '
     'num_heads=4'),
    (lambda: Attention(8, 4, num_heads=0), 'num_heads=0'),
    (lambda: Attention(6, 4, num_heads=2), 'even head size'),
    (lambda: Attention(8, 4, positions='rotery'), "mean 'rotary'"),
    (lambda: MinGRU(8, algorithm='asociative'), "mean 'associative'"),
    (lambda: TCN(8, kernel_size=1), 'kernel_size=1'),
    (lambda: TCN(8, levels=0), 'levels=0'),
    (lambda: WindowMLP(8, tau=0), 'tau=0'),
    (lambda: WindowMLP(8, hidden=0), 'hidden=0'),
    (lambda: LSTM(8, max_lag=2), 'max_lag=2'),
    (lambda: Bidirectional(8, mixer=Bidirectional(8)), 'is a Bidirectional'),
  ],
)  # fmt: skip
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()


@pytest.mark.parametrize('name', MIXERS)
def test_every_mixer_refuses_segments_of_another_shape(name):
  """Before anything is compiled."""
  mixer, x = MIXERS[name](8, 16), jnp.ones((2, 5, 8))
  wrong = Segments(jnp.zeros((2, 4), bool), jnp.ones((2, 4), bool))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  with pytest.raises(ValueError, match=r'\[2, 5\] like the inputs.*\[2, 4\]'):
    jax.eval_shape(mixer.apply, variables, x, wrong)


def test_learned_positions_end_with_an_error_or_with_nan():
  """A longer call is refused; a later step is NaN, never a clamped position."""
  mixer = Attention(4, context=3, positions='learned')
  variables = mixer.init(jax.random.key(0), jnp.ones((1, 3, 4)))
  with pytest.raises(ValueError, match='end at context=3, but 4 positions'):
    mixer.apply(variables, jnp.ones((1, 4, 4)))
  carry = mixer.initialize_carry(1)
  carry, _ = mixer.apply(variables, carry, jnp.ones((1, 3, 4)), method='unroll')
  _, y_t = mixer.apply(variables, carry, jnp.ones((1, 4)), method='step')
  assert jnp.isnan(y_t).all()


def test_chrono_initialisation_spreads_memories_up_to_the_lag():
  """b_f = log U(1, max_lag - 1) and b_i = -b_f; otherwise the forget bias."""
  x = jnp.ones((1, 1, 400))
  enter, forget, rest, out = jnp.split(
    LSTM(400, max_lag=101).init(jax.random.key(0), x)['params']['bias'], 4
  )
  lags = jnp.exp(forget)
  assert 1 <= lags.min() < 10 and 90 < lags.max() <= 100
  assert abs(lags.mean() - 50.5) < 5
  np.testing.assert_array_equal(enter, -forget)
  assert not rest.any() and not out.any()
  plain = LSTM(2, forget_bias=3.0).init(jax.random.key(0), jnp.ones((1, 1, 2)))
  assert plain['params']['bias'].tolist() == [0, 0, 3, 3, 0, 0, 0, 0]


def test_recurrent_kernels_begin_orthogonal():
  """Every gate's own block."""
  variables = GRU(6).init(jax.random.key(0), jnp.ones((1, 1, 6)))
  for block in jnp.split(variables['params']['recurrent'], 3, axis=1):
    np.testing.assert_allclose(block @ block.T, np.eye(6), atol=1e-5)


def test_a_ragged_stream_keeps_the_carry_of_silent_rows():
  """`select_rows` after a step is what padding is to an unroll."""
  mixer = LSTM(4)
  x = jax.random.normal(jax.random.key(0), (2, 1, 4))
  variables = mixer.init(jax.random.key(1), x)
  carry = mixer.initialize_carry(2)
  new, _ = mixer.apply(variables, carry, x[:, 0], method='step')
  kept = nn.select_rows(jnp.array([True, False]), new, carry)
  segments = Segments(jnp.zeros((2, 1), bool), jnp.array([[True], [False]]))
  expected, _ = mixer.apply(variables, carry, x, segments, method='unroll')
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), kept, expected
  )
