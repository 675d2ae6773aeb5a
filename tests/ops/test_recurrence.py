"""Recurrences against loops that can be checked by eye."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import recurrence
from seqjax.ops.recurrence import (
  ElmanWeights,
  GRUWeights,
  LSTMCarry,
  LSTMWeights,
)

B, T, D, H = 2, 9, 3, 4
RNG = np.random.default_rng(0)


def normal(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_elman_is_its_loop():
  """h = tanh(W x + U h + b)."""
  w, u, b = normal(D, H), normal(H, H), normal(H)
  x, h = normal(B, T, D), normal(B, H)
  last, states = recurrence.elman(ElmanWeights(w, u, b), jnp.asarray(h), x)
  for t in range(T):
    h = np.tanh(x[:, t] @ w + h @ u + b)
    np.testing.assert_allclose(states[:, t], h, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last, h, rtol=1e-4, atol=1e-5)


def test_gru_is_its_loop():
  """The reset gate acts after the recurrent product."""
  w, u, b, c = normal(D, 3 * H), normal(H, 3 * H), normal(3 * H), normal(H)
  x, h = normal(B, T, D), normal(B, H)
  last, states = recurrence.gru(GRUWeights(w, u, b, c), jnp.asarray(h), x)
  wr, wz, wn = np.split(w, 3, axis=1)
  ur, uz, un = np.split(u, 3, axis=1)
  br, bz, bn = np.split(b, 3)
  for t in range(T):
    r = sigmoid(x[:, t] @ wr + h @ ur + br)
    z = sigmoid(x[:, t] @ wz + h @ uz + bz)
    n = np.tanh(x[:, t] @ wn + bn + r * (h @ un + c))
    h = (1 - z) * n + z * h
    np.testing.assert_allclose(states[:, t], h, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last, h, rtol=1e-4, atol=1e-5)


def test_lstm_is_its_loop():
  """Blocks i, f, g, o."""
  w, u, b = normal(D, 4 * H), normal(H, 4 * H), normal(4 * H)
  x, c, h = normal(B, T, D), normal(B, H), normal(B, H)
  last, states = recurrence.lstm(
    LSTMWeights(w, u, b), LSTMCarry(jnp.asarray(c), jnp.asarray(h)), x
  )
  for t in range(T):
    i, f, g, o = np.split(x[:, t] @ w + h @ u + b, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    np.testing.assert_allclose(states[:, t], h, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last.cell, c, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last.hidden, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('num_positions', [1, 2, 17])
def test_any_length_unrolls(num_positions):
  """No chunk has to divide it."""
  weights = ElmanWeights(normal(D, H), normal(H, H), normal(H))
  carry, states = recurrence.elman(
    weights, jnp.zeros((B, H)), normal(B, num_positions, D)
  )
  assert states.shape == (B, num_positions, H)
  np.testing.assert_array_equal(states[:, -1], carry)
