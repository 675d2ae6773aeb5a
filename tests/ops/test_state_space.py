"""State-space systems against the matrices and integrals they stand for."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import state_space
from seqjax.ops.linear_recurrence import ALGORITHMS
from seqjax.ops.state_space import DISCRETIZATIONS, bilinear, zero_order_hold
from seqjax.typing import Segments

POLES = np.array([-0.5 + 3j, -2 - 1j, -0.01 + 0.2j, -30 + 0j])
STEPS = np.array([0.1, 0.5, 1e-3, 0.2])


def test_zero_order_hold_is_the_solution_for_a_constant_input():
  """h(dt) from h(0) = 0.7 and u = 1, by the midpoint rule in tiny steps."""
  with jax.enable_x64(True):
    decay, gain = map(
      np.asarray, zero_order_hold(jnp.asarray(POLES), jnp.asarray(STEPS))
    )
  h, n = np.full(4, 0.7 + 0j), 2000
  for _ in range(n):
    half = h + STEPS / n / 2 * (POLES * h + 1)
    h = h + STEPS / n * (POLES * half + 1)
  np.testing.assert_allclose(decay * 0.7 + gain, h, rtol=1e-5)


def test_bilinear_is_the_trapezoid_rule():
  """h' - h = dt/2 p (h' + h) + dt u."""
  decay, gain = bilinear(jnp.asarray(POLES), jnp.asarray(STEPS))
  h = 0.7
  after = decay * h + gain
  np.testing.assert_allclose(
    after - h, STEPS / 2 * POLES * (after + h) + STEPS, rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('discretize', DISCRETIZATIONS.values())
@pytest.mark.parametrize('size', [0.0, 1e-12, 1e-5, 0.499, 0.501])
def test_gains_are_smooth_at_a_pole_of_zero(discretize, size):
  """Values and slopes agree with the series that both rules begin with."""
  with jax.enable_x64(True):
    for pole in (size + 0j, size * 1j, -size + 0j):
      pole = jnp.array([pole])
      (_, gain), (_, slope) = jax.jvp(
        lambda p: discretize(p, jnp.ones(1)), (pole,), (jnp.ones_like(pole),)
      )
      if discretize is bilinear:
        expected, rate = 1 / (1 - pole / 2), 0.5 / (1 - pole / 2) ** 2
      else:
        terms = np.cumprod([1.0] + [1 / n for n in range(2, 25)])
        expected = np.polyval(terms[::-1], np.asarray(pole))
        rate = np.polyval(np.polyder(terms[::-1]), np.asarray(pole))
      np.testing.assert_allclose(gain, expected, rtol=1e-12)
      np.testing.assert_allclose(slope, rate, rtol=1e-12)


@pytest.mark.parametrize('discretize', DISCRETIZATIONS.values())
def test_stable_poles_stay_inside_the_unit_circle(discretize):
  """Real ones stay real and in single precision."""
  decay, _ = discretize(jnp.asarray(POLES), jnp.asarray(STEPS))
  assert (jnp.abs(decay) < 1).all()
  real, gain = discretize(jnp.array([-2.0]), jnp.array([0.1]))
  assert real.dtype == gain.dtype == jnp.float32


def test_hippo_poles_are_the_eigenvalues_of_its_matrix():
  """One of each conjugate pair, all with real part -1/2."""
  matrix = state_space.hippo_matrix(16)
  upper, vectors = state_space.hippo(16)
  np.testing.assert_allclose(matrix @ vectors, vectors * upper, atol=1e-12)
  np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(8), atol=1e-12)
  assert (upper.imag > 0).all() and (upper.real == -0.5).all()


def test_hippo_is_legs_plus_a_matrix_of_rank_one():
  """A - p p^T is lower triangular, with the numbers of HiPPO-LegS."""
  root = np.sqrt(2 * np.arange(5) + 1)
  legs = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(5) + 1.0)
  low_rank = np.outer(root, root) / 2
  np.testing.assert_allclose(
    state_space.hippo_matrix(5), legs + low_rank, atol=1e-12
  )


@pytest.mark.parametrize(
  'make, expected',
  [
    (state_space.s4d_lin, [-0.5, -0.5 + 3.14159j]),
    (state_space.s4d_inv, [-0.5 + 3.81972j, -0.5 + 0.42441j]),
    (state_space.s4d_real, [-1, -2, -3, -4]),
  ],
)
def test_s4d_poles_are_the_formulas(make, expected):
  """Of four states."""
  np.testing.assert_allclose(make(4), expected, atol=1e-5)


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('length', [1, 21, 45, 67])
def test_the_selective_scan_is_the_loop(algorithm, length):
  """One number of the state at a time, in Python, under segments."""
  rng = np.random.default_rng(0)
  carry, rate = rng.normal(size=(2, 3, 4)), rng.uniform(0, 2, (3, 4))
  u, step = rng.normal(size=(2, 2, length, 3))
  write, read = rng.normal(size=(2, 2, length, 4))
  segments = Segments(
    rng.random((2, length)) < 0.2, rng.random((2, length)) < 0.7
  )
  with jax.enable_x64(True):
    given = state_space.selective_scan(
      *(carry, u, step, rate, write, read, segments), algorithm=algorithm
    )
  last, v = map(np.asarray, given)
  for b, e in np.ndindex(2, 3):
    h = list(carry[b, e])
    for t in range(length):
      if segments.start[b, t]:
        h = [0.0] * 4
      for n in range(4):
        if segments.valid[b, t]:
          h[n] *= math.exp(-step[b, t, e] * rate[e, n])
          h[n] += step[b, t, e] * u[b, t, e] * write[b, t, n]
      y = sum(h[n] * read[b, t, n] for n in range(4))
      assert v[b, t, e] == pytest.approx(y, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(last[b, e], h, rtol=1e-12)


def test_the_scan_stores_no_states():
  """A derivative of 4,096 positions holds a small part of their states."""

  def temporary_bytes(algorithm):
    def loss(*arrays):
      _, v = state_space.selective_scan(*arrays, algorithm=algorithm)
      return jnp.sum(v**2)

    shapes = (1, 32, 16), (1, 4096, 32), (1, 4096, 32), (32, 16)
    shapes += (1, 4096, 16), (1, 4096, 16)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    gradient = jax.jit(jax.grad(loss, range(len(shapes))))
    compiled = gradient.lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes('scan') <= temporary_bytes('plain') / 4
