"""Convolutional mixers against loops."""

import jax
import numpy as np
import pytest

from seqjax.nn.convolution import TCN, GatedConv, WindowMLP


def randomized(mixer, x):
  """Its parameters with noise, so that no bias is zero, and its outputs."""
  variables = mixer.init(jax.random.key(1), x)
  rng = np.random.default_rng(2)
  variables = jax.tree.map(
    lambda leaf: np.float32(leaf + 0.3 * rng.normal(size=leaf.shape)), variables
  )
  return variables['params'], mixer.apply(variables, x)[0]


def test_tcn_is_its_loop():
  """x_t <- x_t + relu(b + sum_l x_{t - l 2^i} k_l), level after level."""
  x = jax.random.normal(jax.random.key(0), (1, 9, 4))
  parameters, given = randomized(TCN(4, kernel_size=3, levels=3), x)
  x = np.asarray(x[0])
  for level in range(3):
    kernel, bias = parameters[f'kernel_{level}'], parameters[f'bias_{level}']
    y = np.zeros_like(x)
    for t in range(9):
      y[t] = bias
      for lag in range(3):
        if t - lag * 2**level >= 0:
          y[t] += x[t - lag * 2**level] @ kernel[lag]
    x = x + np.maximum(y, 0)
  np.testing.assert_allclose(given, x, rtol=1e-4, atol=1e-5)


def test_window_mlp_is_its_loop():
  """W_2 relu(W_1 [x_{t-2}, x_{t-1}, x_t] + b_1) + b_2, the present first."""
  x = jax.random.normal(jax.random.key(0), (1, 7, 4))
  p, given = randomized(WindowMLP(4, tau=3, hidden=5), x)
  x = np.concatenate([np.zeros((2, 4)), x[0]])
  for t in range(7):
    window = x[t : t + 3][::-1].reshape(-1)
    hidden = np.maximum(window @ p['kernel'].reshape(-1, 5) + p['bias'], 0)
    expected = hidden @ p['out']['kernel'] + p['out']['bias']
    np.testing.assert_allclose(given[t], expected, rtol=1e-4, atol=1e-5)


def test_gated_conv_is_its_loop():
  """y_t = W_out (c_t * sum_l k_l * b_{t-l} * v_{t-l})."""
  mixer = GatedConv(4, kernel_size=3)
  x = jax.random.normal(jax.random.key(0), (1, 7, 4))
  variables = mixer.init(jax.random.key(1), x)
  given = mixer.apply(variables, x)[0]
  parameters = jax.tree.map(np.asarray, variables['params'])
  before, after, value = np.split(
    np.asarray(x[0]) @ parameters['gates']['kernel'], 3, axis=-1
  )
  for t in range(7):
    y = sum(
      parameters['kernel'][lag] * before[t - lag] * value[t - lag]
      for lag in range(min(3, t + 1))
    )
    expected = (after[t] * y) @ parameters['out']['kernel']
    np.testing.assert_allclose(given[t], expected, rtol=1e-4, atol=1e-5)


def test_gated_conv_refuses_a_filter_without_taps():
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match='at least 1, but kernel_size=0'):
    GatedConv(4, kernel_size=0)
