"""Weights that move between Flax's recurrent cells and our mixers."""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn.flax_cells import from_flax, to_flax
from seqjax.nn.linear_rnn import MinGRU
from seqjax.nn.rnn import GRU, LSTM, Elman

X = np.float32(np.random.default_rng(0).normal(size=(2, 9, 5)))
CELLS = [
  nn.SimpleCell(5),
  nn.SimpleCell(5, activation_fn=nn.relu),
  nn.GRUCell(5),
  nn.LSTMCell(5),
  nn.OptimizedLSTMCell(5),
]
MIXERS = [Elman(5), Elman(5, activation='relu'), GRU(5), LSTM(5)]


def noisy(variables):
  """No bias is zero."""
  rng = np.random.default_rng(2)
  return jax.tree.map(
    lambda leaf: jnp.asarray(leaf + np.float32(rng.normal(0, 0.3, leaf.shape))),
    variables,
  )


def init(module, x=None):
  x = X if x is None else x
  return jax.jit(module.init)(jax.random.key(1), x)


def check_equal(one, other):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    one,
    other,
  )


@pytest.mark.parametrize('cell', CELLS, ids=lambda c: type(c).__name__)
def test_a_mixer_computes_what_the_cell_did(cell):
  """Outputs and last carry; then back, to the same weights."""
  rnn = nn.RNN(cell, return_carry=True)
  variables = noisy(init(rnn))
  mixer, converted = from_flax(rnn, variables)
  unroll = jax.jit(functools.partial(mixer.apply, method='unroll'))
  given = unroll(converted, mixer.initialize_carry(2), X)
  expected = jax.jit(rnn.apply)(variables, X)
  check_equal(jax.tree.leaves(given), jax.tree.leaves(expected))
  _, back = to_flax(mixer, converted)
  jax.tree.map(np.testing.assert_array_equal, back, variables)


@pytest.mark.parametrize('mixer', MIXERS, ids=lambda m: type(m).__name__)
def test_a_cell_computes_what_the_mixer_did(mixer):
  """Outputs; then back, to the same mixer with the same weights."""
  variables = noisy(init(mixer))
  rnn, converted = to_flax(mixer, variables)
  check_equal(
    jax.jit(rnn.apply)(converted, X), jax.jit(mixer.apply)(variables, X)
  )
  again, back = from_flax(rnn, converted)
  assert again == mixer
  jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_a_cell_without_its_rnn_has_the_same_weights():
  """Its parameters then have no 'cell' around them."""
  rnn = nn.RNN(nn.GRUCell(5))
  variables = init(rnn)
  bare = {'params': variables['params']['cell']}
  jax.tree.map(
    np.testing.assert_array_equal,
    from_flax(nn.GRUCell(5), bare),
    from_flax(rnn, variables),
  )


@pytest.mark.parametrize(
  'cell, message',
  [
    (nn.MGUCell(5), 'LSTMCell.* but a MGUCell was given'),
    (nn.SimpleCell(5, residual=True), 'residual=True'),
    (nn.SimpleCell(5, activation_fn=nn.gelu), 'activation_fn='),
    (nn.GRUCell(5, gate_fn=nn.tanh), 'gate_fn='),
    (nn.LSTMCell(5, carry_init=nn.initializers.ones), 'carry_init='),
    (nn.RNN(nn.GRUCell(5), reverse=True), 'reverse=True'),
    (nn.RNN(nn.GRUCell(5), time_major=True), 'time_major=True'),
  ],
)
def test_cells_without_a_mixer_are_refused(cell, message):
  """With the option that no mixer has."""
  with pytest.raises(ValueError, match=message):
    from_flax(cell, {'params': {}})


def test_mixers_without_a_cell_are_refused():
  """With its name."""
  with pytest.raises(ValueError, match='Elman, GRU and LSTM, but a MinGRU'):
    to_flax(MinGRU(5), {'params': {}})


def test_weights_that_do_not_fit_are_named():
  """The parameter, the shape expected and the shape given."""
  rnn = nn.RNN(nn.LSTMCell(5))
  narrow = init(rnn, X[..., :3])
  with pytest.raises(
    ValueError, match=r"'cell/if/kernel' must have shape \[5, 5\].*\[3, 5\]"
  ):
    from_flax(rnn, narrow)
  gru = init(nn.RNN(nn.GRUCell(5)))
  with pytest.raises(ValueError, match=r"must be \['cell/hf/bias'.*cell/hn"):
    from_flax(rnn, gru)
  with pytest.raises(ValueError, match=r"'params' in them.*\['cell'\]"):
    from_flax(rnn, gru['params'])
  wide = init(GRU(6), np.ones((1, 1, 6), np.float32))
  with pytest.raises(
    ValueError, match=r"'bias' must have shape \[15\].*\[18\]"
  ):
    to_flax(GRU(5), wide)


def test_a_mixer_given_weights_of_another_shape_names_them():
  """Flax says which parameter, the shape expected and the shape given."""
  wide = init(GRU(6), np.ones((1, 1, 6), np.float32))
  with pytest.raises(
    flax.errors.ScopeParamShapeError,
    match=r'"input".*shape \(5, 15\).*shape \(6, 18\)',
  ):
    GRU(5).apply(wide, X)
