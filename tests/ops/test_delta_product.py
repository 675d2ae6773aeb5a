"""Several delta rules per position, against a loop over their matrices."""

import functools

import jax
import numpy as np
import pytest

from seqjax.ops.delta_product import delta_product, delta_product_step
from seqjax.ops.linear_attention import ALGORITHMS
from seqjax.typing import Segments

B, T, P, H, K, V = 2, 13, 3, 2, 3, 4


def draw():
  """Carry, and operands at every position; keys of norm 1."""
  rng = np.random.default_rng(0)
  key = rng.normal(size=(B, T, P, H, K))
  key /= np.linalg.norm(key, axis=-1, keepdims=True)
  return rng.normal(size=(B, H, K, V)), [
    rng.normal(size=(B, T, H, K)),
    key,
    rng.normal(size=(B, T, P, H, V)),
    rng.uniform(0, 2, size=(B, T, P, H)),
    -rng.exponential(size=(B, T, H)),
  ]


def loop(state, k, v, beta, g):
  """S <- A_P .. A_1 exp(g) S + sum_i A_P .. A_{i+1} beta_i k_i v_i^T."""
  new = np.zeros_like(state)
  for h in range(H):
    householders = [
      np.eye(K) - beta[i, h] * np.outer(k[i, h], k[i, h]) for i in range(P)
    ]
    for i in range(-1, P):
      after = np.eye(K)
      for matrix in householders[i + 1 :]:
        after = matrix @ after
      written = np.exp(g[h]) * state[h]
      if i >= 0:
        written = beta[i, h] * np.outer(k[i, h], v[i, h])
      new[h] += after @ written
  return new


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_every_algorithm_is_the_loop(algorithm):
  """Under starts and padding of NaN, in chunks that cut positions apart."""
  carry, operands = draw()
  rng = np.random.default_rng(1)
  segments = Segments(rng.random((B, T)) < 0.2, rng.random((B, T)) < 0.7)
  given = [array.copy() for array in operands]
  for array in given:
    array[~segments.valid] = np.nan
  run = functools.partial(delta_product, algorithm=algorithm, chunk=8)
  with jax.enable_x64(True):
    last, y = jax.jit(run)(carry, *given, segments)
  query, *written = operands
  for b in range(B):
    state = carry[b]
    for t in range(T):
      if segments.start[b, t]:
        state = np.zeros_like(state)
      expected = np.zeros((H, V))
      if segments.valid[b, t]:
        state = loop(state, *(array[b, t] for array in written))
        expected = np.einsum('hk,hkv->hv', query[b, t], state)
      np.testing.assert_allclose(y[b, t], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(last[b], state, rtol=1e-9, atol=1e-9)


def test_steps_are_the_sequence():
  """From an initial carry, without segments."""
  carry, operands = draw()
  with jax.enable_x64(True):
    last, y = jax.jit(delta_product)(carry, *operands)
    step = jax.jit(delta_product_step)
    for t in range(T):
      carry, y_t = step(carry, *(array[:, t] for array in operands))
      np.testing.assert_allclose(y[:, t], y_t, rtol=1e-9, atol=1e-9)
  np.testing.assert_allclose(last, carry, rtol=1e-9, atol=1e-9)


def test_no_steps_are_refused():
  """In a sentence, before anything is compiled."""
  carry, (query, *written, log_decay) = draw()
  none = [array[:, :, :0] for array in written]
  with pytest.raises(ValueError, match='the number of steps.*at least 1'):
    delta_product(carry, query, *none, log_decay)
