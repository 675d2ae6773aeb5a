"""Recurrences against loops that can be checked by eye."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn import MIXERS
from seqjax.ops import recurrence
from seqjax.ops.recurrence import (
  ElmanWeights,
  GRUWeights,
  LSTMCarry,
  LSTMWeights,
  SLSTMCarry,
  SLSTMWeights,
)
from seqjax.typing import Segments

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


def test_elman_has_a_rectifier_too():
  """h = max(W x + U h + b, 0)."""
  w, u, b = normal(D, H), normal(H, H), normal(H)
  x, h = normal(B, T, D), normal(B, H)
  weights = ElmanWeights(w, u, b)
  _, states = recurrence.elman(weights, jnp.asarray(h), x, activation='relu')
  for t in range(T):
    h = np.maximum(x[:, t] @ w + h @ u + b, 0)
    np.testing.assert_allclose(states[:, t], h, rtol=1e-4, atol=1e-4)
  with pytest.raises(ValueError, match="mean 'relu'"):
    recurrence.elman(weights, jnp.asarray(h), x, activation='relo')


def slstm_weights(scale=1.0):
  """Two heads of two."""
  return SLSTMWeights(
    normal(D, 4 * H) * np.float32(scale), normal(2, 2, 8), normal(4 * H)
  )


def slstm_loop(weights, x, forget):
  """Equations 8 to 14 without a stabiliser, a head at a time."""
  w, r, b = (np.float64(a) for a in weights)
  c = n = h = np.zeros((B, H))
  hidden = []
  for t in range(T):
    recurrent = np.zeros((B, 4, H))
    for head in range(2):
      own = slice(2 * head, 2 * head + 2)
      gates = (h[:, own] @ r[head]).reshape(B, 4, 2)
      recurrent[:, :, own] = gates
    gates = (x[:, t] @ w + b).reshape(B, 4, H) + recurrent
    i, f, z, o = np.moveaxis(gates, 1, 0)
    c = forget(f) * c + np.exp(i) * np.tanh(z)
    n = forget(f) * n + np.exp(i)
    h = sigmoid(o) * c / n
    hidden.append(h)
  return c, n, np.stack(hidden, axis=1)


@pytest.mark.parametrize(
  'forget_gate, forget', [('sigmoid', sigmoid), ('exponential', np.exp)]
)
def test_slstm_is_its_loop(forget_gate, forget):
  """Cell and normaliser are the paper's divided by exp of the stabiliser."""
  weights, x = slstm_weights(), normal(B, T, D)
  zeros = jnp.zeros((B, H))
  last, states = recurrence.slstm(
    weights, SLSTMCarry(zeros, zeros, zeros, zeros), x, forget_gate=forget_gate
  )
  cell, normalizer, hidden = slstm_loop(weights, x, forget)
  scale = np.exp(last.stabilizer)
  np.testing.assert_allclose(states, hidden, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(last.cell * scale, cell, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(last.normalizer * scale, normalizer, rtol=1e-3)
  np.testing.assert_allclose(last.hidden, hidden[:, -1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('shift', [-300.0, 300.0])
def test_slstm_is_finite_where_its_gates_are_not(shift):
  """exp(300) is no float32; all input gates times a constant change nothing."""
  weights, x = slstm_weights(), normal(B, T, D)
  zeros = jnp.zeros((B, H))
  segments = Segments(np.zeros((B, T), bool), np.ones((B, T), bool))
  segments.start[0, 3], segments.valid[1, :2] = True, False

  @jax.jit
  def run(bias):
    def value(bias):
      _, states = recurrence.slstm(
        weights._replace(bias=bias),
        SLSTMCarry(zeros, zeros, zeros, zeros),
        x,
        segments,
      )
      return jnp.sum(jnp.sin(states)), states

    return jax.grad(value, has_aux=True)(bias)

  gradient, states = run(weights.bias)
  enter = np.zeros(4 * H, np.float32)
  enter[:H] = shift
  shifted_gradient, shifted = run(weights.bias + enter)
  np.testing.assert_allclose(shifted, states, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(shifted_gradient, gradient, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize('num_positions', [1, 2, 17])
def test_any_length_unrolls(num_positions):
  """No chunk has to divide it."""
  weights = ElmanWeights(normal(D, H), normal(H, H), normal(H))
  carry, states = recurrence.elman(
    weights, jnp.zeros((B, H)), normal(B, num_positions, D)
  )
  assert states.shape == (B, num_positions, H)
  np.testing.assert_array_equal(states[:, -1], carry)


@pytest.mark.parametrize('name', ['elman', 'gru', 'lstm', 'slstm'])
def test_newton_is_the_scan(name):
  """Outputs, carry and gradients, under starts and padding, in float32."""
  mixer = MIXERS[name](8)
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=(3, 29, 8)))
  variables = jax.jit(mixer.init)(jax.random.key(1), x)
  segments = Segments(rng.random((3, 29)) < 0.1, rng.random((3, 29)) < 0.8)

  def everything(algorithm):
    def loss(variables, x):
      solved = mixer.clone(algorithm=algorithm)
      carry = solved.initialize_carry(3)
      carry, y = solved.apply(variables, carry, x, segments, method='unroll')
      parts = [jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((carry, y))]
      return sum(parts), (carry, y)

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(variables, x)

  gradients, values = everything('newton')
  expected_gradients, expected = everything('plain')
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    values,
    expected,
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    gradients,
    expected_gradients,
  )
