"""Options of the recurrent networks, and how they begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Block, SequenceModel, Stack
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.rnn import GRU, LSTM, SLSTM, Elman
from seqjax.typing import Spec


def recurrent(mixer):
  x = jnp.ones((1, 1, mixer.features))
  return np.asarray(mixer.init(jax.random.key(0), x)['params']['recurrent'])


@pytest.mark.parametrize('radius', [0.5, 1.0, 1.2])
@pytest.mark.parametrize('name', ['orthogonal', 'identity', 'spectral'])
def test_the_spectral_radius_is_exact(name, radius):
  """Whatever the recurrent kernel begins as."""
  mixer = Elman(20, initialization=name, spectral_radius=radius)
  largest = np.abs(np.linalg.eigvals(recurrent(mixer))).max()
  np.testing.assert_allclose(largest, radius, rtol=1e-5)


def test_recurrent_kernels_begin_as_they_are_called():
  """Orthogonal, the identity, and neither."""
  eye = np.eye(20)
  u = recurrent(Elman(20))
  np.testing.assert_allclose(u @ u.T, eye, atol=1e-5)
  np.testing.assert_array_equal(
    recurrent(Elman(20, initialization='identity')), eye
  )
  u = recurrent(Elman(20, initialization='spectral'))
  assert np.abs(u @ u.T - eye).max() > 0.1


def test_spectral_initialisation_works_inside_jit_and_vmap():
  """As populations of seeds are made."""
  mixer = Elman(6, initialization='spectral')
  keys = jax.random.split(jax.random.key(0), 3)
  init = jax.jit(jax.vmap(mixer.init, in_axes=(0, None)))
  kernels = init(keys, jnp.ones((1, 1, 6)))['params']['recurrent']
  radius = np.abs(np.linalg.eigvals(np.asarray(kernels))).max(axis=-1)
  np.testing.assert_allclose(radius, 1, rtol=1e-5)


@pytest.mark.parametrize('make', [Elman, SLSTM])
def test_parameters_may_be_bfloat16(make):
  """Though no decomposition is."""
  mixer = make(4, param_dtype=jnp.bfloat16)
  assert recurrent(mixer).dtype == jnp.bfloat16
  exact = np.float32(recurrent(make(4)))
  np.testing.assert_allclose(np.float32(recurrent(mixer)), exact, atol=4e-3)


def test_every_gate_of_every_slstm_head_begins_orthogonal():
  """Two heads of three numbers, four gates each."""
  kernels = recurrent(SLSTM(6, num_heads=2, initialization='orthogonal'))
  assert kernels.shape == (2, 3, 12)
  for head in kernels:
    for block in np.split(head, 4, axis=1):
      np.testing.assert_allclose(block @ block.T, np.eye(3), atol=1e-5)
  assert np.abs(kernels[0] - kernels[1]).max() > 0.1


def test_slstm_begins_as_its_authors_have_it():
  """Kernels at zero, forget biases from 5 to -7 in every head."""
  params = SLSTM(8).init(jax.random.key(0), jnp.ones((1, 1, 8)))['params']
  assert not params['recurrent'].any()
  enter, forget, *others = np.split(np.asarray(params['bias']), 4)
  expected = 5 - 12 * (np.arange(4) / 3) ** 0.3
  np.testing.assert_allclose(forget, np.tile(expected, 2), rtol=1e-5)
  assert not any(part.any() for part in (enter, *others))


def test_slstm_forget_biases_begin_where_they_are_told():
  """Blocks i, f, z, o."""
  mixer = SLSTM(2, forget_bias=3.0)
  bias = mixer.init(jax.random.key(0), jnp.ones((1, 1, 2)))['params']['bias']
  assert bias.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: Elman(8, activation='tan'), "mean 'tanh'"),
    (lambda: Elman(8, initialization='ortogonal'), "mean 'orthogonal'"),
    (lambda: Elman(8, spectral_radius=0.0), 'spectral_radius=0.0'),
    (lambda: SLSTM(8, num_heads=3), 'not a multiple of num_heads=3'),
    (lambda: SLSTM(8, num_heads=0), 'num_heads=0'),
    (lambda: SLSTM(8, forget_gate='sigmod'), "mean 'sigmoid'"),
  ],
)
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()


@pytest.mark.parametrize('mixer', [Elman, GRU, LSTM, SLSTM])
def test_inputs_may_have_another_width(mixer):
  """Kernels have rows for them; other widths and numbers are refused."""
  narrow, x = mixer(8, input_features=3), jnp.ones((2, 5, 3))
  variables = jax.eval_shape(narrow.init, jax.random.key(0), x)
  kernel = variables['params']['input']
  assert kernel.shape[0] == 3
  assert jax.eval_shape(narrow.apply, variables, x).shape == (2, 5, 8)
  with pytest.raises(ValueError, match='has input_features=3, but'):
    narrow.init(jax.random.key(0), jnp.ones((2, 5, 8)))
  with pytest.raises(ValueError, match='set input_features'):
    mixer(8).init(jax.random.key(0), x)
  with pytest.raises(ValueError, match='input_features=0'):
    mixer(8, input_features=0)


@pytest.mark.parametrize(
  'make',
  [
    Block,
    lambda mixer: Stack((mixer,)),
    lambda mixer: SequenceModel(Spec((3,)), Spec((2,)), (mixer,)),
    lambda mixer: Bidirectional(8, mixer=mixer),
  ],
)
def test_layers_that_keep_their_width_need_mixers_that_keep_it(make):
  """A residual adds what goes in to what comes out."""
  with pytest.raises(ValueError, match='input_features=3 and features=8'):
    make(GRU(8, input_features=3))
