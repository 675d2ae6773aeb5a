"""Time-invariant diagonal systems against loops over single numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.diagonal_system import (
  ALGORITHMS,
  diagonal_system,
  diagonal_system_step,
)
from seqjax.typing import Segments

WHOLE = ('auto', 'plain', 'scan', 'associative')  # with segments, too


def system(length, dtype=complex):
  """A carry, inputs and coefficients of 2 rows, 3 features and 4 states."""
  rng = np.random.default_rng(length)

  def draw(*shape):
    real, imag = rng.normal(size=(2, *shape))
    return real + 1j * imag if dtype is complex else real

  decay = rng.uniform(0.3, 1, size=(3, 4))
  if dtype is complex:
    decay = decay * np.exp(1j * rng.normal(size=(3, 4)))
  x = rng.normal(size=(2, length, 3))
  return draw(2, 3, 4), x, decay, draw(3, 4), draw(3, 4)


def loop(carry, x, decay, gain, output, segments=None):
  """One number of the state at a time, in Python."""
  last, y = carry.copy(), np.zeros(x.shape)
  for b, d in np.ndindex(*last.shape[:2]):
    h = list(last[b, d])
    for t in range(x.shape[1]):
      if segments is not None and segments.start[b, t]:
        h = [0.0] * len(h)
      if segments is None or segments.valid[b, t]:
        h = [decay[d, n] * h[n] + gain[d, n] * x[b, t, d] for n in range(4)]
        y[b, t, d] = sum((output[d, n] * h[n]).real for n in range(4))
    last[b, d] = h
  return last, y


def close(given, expected):
  for a, b in zip(given, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('dtype', [complex, float])
@pytest.mark.parametrize(
  'length, algorithm',
  [
    *((n, 'convolution') for n in (0, 1, 32, 33, 70)),
    *((33, name) for name in ALGORITHMS if name != 'convolution'),
  ],
)
def test_whole_rows_are_the_loop(algorithm, length, dtype):
  """Lengths around one chunk, and of two chunks and a rest."""
  arrays = system(length, dtype)
  with jax.enable_x64(True):
    given = diagonal_system(*arrays, algorithm=algorithm)
  close(given, loop(*arrays))


@pytest.mark.parametrize('algorithm', WHOLE)
def test_segments_are_those_of_the_loop(algorithm):
  """Random starts and padding."""
  rng, arrays = np.random.default_rng(0), system(45)
  segments = Segments(rng.random((2, 45)) < 0.2, rng.random((2, 45)) < 0.7)
  with jax.enable_x64(True):
    given = diagonal_system(*arrays, segments, algorithm=algorithm)
  close(given, loop(*arrays, segments))


def test_one_step_is_one_position():
  """The state and the output of a row of one."""
  carry, x, *coefficients = system(1)
  with jax.enable_x64(True):
    last, y = diagonal_system_step(carry, x[:, 0], *coefficients)
  close((last, y[:, None]), loop(carry, x, *coefficients))


@pytest.mark.parametrize('dtype', [complex, float])
def test_gradients_of_the_convolution_are_those_of_the_loop(dtype):
  """Of the carry, the inputs and all coefficients; second ones along a line."""
  arrays = system(45, dtype)

  def loss(algorithm, *arrays):
    last, y = diagonal_system(*arrays, algorithm=algorithm)
    return jnp.sum(jnp.cos(y)) + jnp.sum(jnp.abs(last) ** 2)

  def derivatives(algorithm):
    def slope(scale):
      scaled = (arrays[0], scale * arrays[1], *arrays[2:])
      return loss(algorithm, *scaled)

    gradients = jax.grad(loss, range(1, 6))(algorithm, *arrays)
    return *gradients, jax.hessian(slope)(1.0)

  with jax.enable_x64(True):
    tangents = jax.tree.map(jnp.ones_like, arrays)
    forward = [
      jax.jvp(lambda *a, k=k: loss(k, *a), arrays, tangents)[1]
      for k in ('convolution', 'plain')
    ]
    np.testing.assert_allclose(*forward, rtol=1e-9)
    for a, b in zip(*map(derivatives, ('convolution', 'plain')), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('position', [-1, 0, 32, 69])
def test_what_is_not_finite_reaches_what_follows_in_its_row_alone(
  value, position
):
  """Of the convolution as of the others; -1 is the carry."""
  carry, x, *coefficients = system(70)
  if position < 0:
    carry[0, 0, 0] = value
  else:
    x[0, position, 0] = value
  reached = np.zeros((2, 70, 3), bool)
  reached[0, max(position, 0) :] = True
  for algorithm in ('convolution', 'plain'):
    last, y = diagonal_system(carry, x, *coefficients, algorithm=algorithm)
    np.testing.assert_array_equal(np.isnan(y), reached)
    assert np.isnan(last[0]).all() and np.isfinite(last[1]).all()


def test_a_convolution_of_segments_is_refused():
  """The sentence names what computes them."""
  rows = Segments(np.zeros((2, 5), bool), np.ones((2, 5), bool))
  with pytest.raises(ValueError, match="use 'auto'"):
    diagonal_system(*system(5), rows, algorithm='convolution')
