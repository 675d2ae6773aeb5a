"""Two directions against a loop for each."""

import jax
import numpy as np

from seqjax.nn import Bidirectional, Elman, nnx
from seqjax.ops.segments import from_lengths


def elman(p, x):
  """h_t = tanh(x_t W + h_{t-1} U + b)."""
  h, states = np.zeros(x.shape[1]), []
  for x_t in x:
    h = np.tanh(x_t @ p['input'] + h @ p['recurrent'] + p['bias'])
    states.append(h)
  return np.array(states)


def test_bidirectional_is_its_loops():
  """Forward features come first, and backward ones meet their positions."""
  mixer = Bidirectional(4, mixer=Elman(4))
  x = jax.random.normal(jax.random.key(0), (1, 6, 4))
  rng = np.random.default_rng(1)
  variables = jax.tree.map(
    lambda leaf: np.float32(0.5 * rng.normal(size=leaf.shape)),
    mixer.init(jax.random.key(1), x),
  )
  p, x_0 = variables['params'], np.asarray(x[0])
  there = elman(p['forward'], x_0)
  back = elman(p['backward'], x_0[::-1])[::-1]
  states = np.concatenate([there, back], axis=1)
  expected = states @ p['out']['kernel'] + p['out']['bias']
  given = mixer.apply(variables, x)[0]
  np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


def test_final_carries_are_the_last_states_of_both_loops():
  """The forward one is at the end of each row, the backward at its start."""
  mixer = Bidirectional(4, mixer=Elman(4))
  x = jax.random.normal(jax.random.key(0), (2, 6, 4))
  variables = mixer.init(jax.random.key(1), x)
  lengths = np.array([6, 2])
  rows = from_lengths(lengths, 6)
  (last, first), y = mixer.apply(
    variables, x, lengths=lengths, method='unroll_both'
  )
  np.testing.assert_allclose(y, mixer.apply(variables, x, rows), atol=1e-6)
  module = nnx.from_linen(mixer, variables)
  jax.tree.map(
    np.testing.assert_array_equal,
    module.unroll_both(x, lengths=lengths),
    ((last, first), y),
  )
  p = variables['params']
  for b, length in enumerate((6, 2)):
    x_b = np.asarray(x[b, :length])
    np.testing.assert_allclose(
      last[b], elman(p['forward'], x_b)[-1], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
      first[b], elman(p['backward'], x_b[::-1])[-1], rtol=1e-4, atol=1e-5
    )
