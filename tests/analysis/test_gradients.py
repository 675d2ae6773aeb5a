"""Norms of gradients by lag, against dense products of Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.analysis import gradients
from seqjax.nn import LSTM, MIXERS, Elman

D = 6


def made(mixer, length, seed=0):
  """Parameters and unit-normal inputs."""
  init_key, data_key = jax.random.split(jax.random.key(seed))
  x = jax.random.normal(data_key, (length, mixer.features))
  return jax.jit(mixer.init)(init_key, x[None]), x


def weights(variables):
  """The parameters in double precision, by name."""
  return {
    name: np.asarray(leaf, np.float64)
    for name, leaf in variables['params'].items()
  }


def elman_jacobians(w, x):
  """Yields dh_t/dh_{t-1}, of h_t = tanh(x_t W + h_{t-1} U + b)."""
  h = np.zeros(D)
  for x_t in x:
    h = np.tanh(x_t @ w['input'] + h @ w['recurrent'] + w['bias'])
    yield (1 - h**2)[:, None] * w['recurrent'].T


def lstm_jacobians(w, x):
  """Yields d(c_t, h_t)/d(c_{t-1}, h_{t-1}); gates are in, forget, new, out."""
  c, h = np.zeros(D), np.zeros(D)
  for x_t in x:
    before = c
    raw = x_t @ w['input'] + h @ w['recurrent'] + w['bias']
    i, f, g, o = np.split(raw, 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    g = np.tanh(g)
    c = f * c + i * g
    h = o * np.tanh(c)
    u_i, u_f, u_g, u_o = np.split(w['recurrent'].T, 4)
    c_by_h = (
      (before * f * (1 - f))[:, None] * u_f
      + (g * i * (1 - i))[:, None] * u_i
      + (i * (1 - g**2))[:, None] * u_g
    )
    c_by_c = np.diag(f)
    slope = o * (1 - np.tanh(c) ** 2)
    h_by_c = slope[:, None] * c_by_c
    h_by_h = slope[:, None] * c_by_h + (np.tanh(c) * o * (1 - o))[:, None] * u_o
    yield np.block([[c_by_c, c_by_h], [h_by_c, h_by_h]])


def product_log_norms(jacobians):
  """log |J_T ... J_{t+1}| by lag, the last D rows, in double precision."""
  jacobians = list(jacobians)
  product, found = np.eye(len(jacobians[0]))[-D:], []
  for jacobian in jacobians[:0:-1]:
    product = product @ jacobian
    found.append(np.log(np.linalg.norm(product)))
  return np.array(found)


@pytest.mark.parametrize(
  'mixer, jacobians',
  [
    (Elman(D), elman_jacobians),
    (Elman(D, spectral_radius=1.2), elman_jacobians),
    (LSTM(D, forget_bias=5.0), lstm_jacobians),
  ],
)
def test_norms_equal_those_of_a_dense_product(mixer, jacobians):
  """Also where single precision would have underflowed."""
  variables, x = made(mixer, 300)
  found = jax.jit(gradients.log_norms, static_argnums=0)(mixer, variables, x)
  expected = product_log_norms(
    jacobians(weights(variables), np.asarray(x, np.float64))
  )
  assert found.state.shape == (299,)
  np.testing.assert_allclose(found.state, expected, rtol=2e-3, atol=2e-3)
  if mixer == Elman(D):
    assert expected[-1] < np.log(np.finfo(np.float32).tiny)


# A carry of each kind: complex numbers, tuples, counters, windows.
KINDS = ('lru', 'mlstm', 'attention', 'gated_conv')


@pytest.mark.parametrize('name', KINDS)
def test_gradients_of_inputs_equal_those_of_the_whole_sequence(name):
  """Differentiates a call; a convolution's window ends in zeros."""
  mixer, length = MIXERS[name](8, 20), 20
  variables, x = made(mixer, length)

  @jax.jit
  def both(variables, x):
    def last(x):
      return mixer.apply(variables, x[None])[0, -1]

    return gradients.log_norms(mixer, variables, x), jax.jacrev(last)(x)

  found, jacobian = both(variables, x)
  norms = np.linalg.norm(np.asarray(jacobian), axis=(0, 2))[-2::-1]
  with np.errstate(divide='ignore'):
    np.testing.assert_allclose(found.inputs, np.log(norms), atol=2e-3)
  reach = mixer.receptive_field
  if reach is not None and reach < length:
    assert np.isneginf(found.inputs[reach - 1 :]).all()
    assert np.isfinite(found.inputs[: reach - 1]).all()


@pytest.mark.parametrize('mixer', [Elman(16, spectral_radius=1.3), LSTM(16)])
def test_the_rate_is_the_forward_exponent(mixer):
  """Within five hundredths, over eight seeds."""

  @jax.jit
  def measure(seed):
    def one(seed):
      variables, x = made(mixer, 600, seed)
      found = gradients.log_norms(mixer, variables, x).state
      return found, gradients.lyapunov_exponent(mixer, variables, x)

    return jax.vmap(one)(seed)

  norms, exponents = measure(jnp.arange(8))
  lags = np.arange(1, 600)
  slopes = gradients.rates(lags[20:350], np.asarray(norms)[:, 20:350])
  assert slopes.mean() == pytest.approx(float(exponents.mean()), rel=0.05)
  assert slopes.mean() < -0.02


def test_a_network_at_rest_grows_by_its_spectral_radius():
  """Without inputs the Jacobian is U, whose rate is known."""
  mixer = Elman(D, spectral_radius=1.1)
  variables, x = made(mixer, 60)
  found = gradients.log_norms(mixer, variables, 0 * x).state
  (rate,) = gradients.rates(np.arange(1, 60), np.asarray(found)[None])
  assert rate == pytest.approx(np.log(1.1), rel=1e-4)


def test_rates_are_slopes_of_least_squares():
  """As NumPy fits them."""
  rng = np.random.default_rng(0)
  lags, norms = np.array([1.0, 4, 9, 20]), rng.normal(size=(3, 4))
  expected = [np.polyfit(lags, row, 1)[0] for row in norms]
  np.testing.assert_allclose(gradients.rates(lags, norms), expected)


def test_one_position_has_no_lag():
  """It is said so."""
  mixer = Elman(D)
  variables, x = made(mixer, 2)
  with pytest.raises(ValueError, match='two positions, but x has 1'):
    gradients.log_norms(mixer, variables, x[:1])
