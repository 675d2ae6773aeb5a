"""Rotary, sinusoidal and learned positions, and the slopes of ALiBi."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.positions import alibi_slopes, look_up, rotate, sinusoids

RNG = np.random.default_rng(0)


def test_products_of_rotated_vectors_depend_on_distance_alone():
  """Shifting both positions changes nothing; shifting one does."""
  query, key = (
    jnp.asarray(RNG.normal(size=(1, 1, 1, 8)), jnp.float32) for _ in range(2)
  )

  def product(i, j):
    at = [jnp.full((1, 1), place) for place in (i, j)]
    return jnp.sum(rotate(query, at[0]) * rotate(key, at[1])).item()

  np.testing.assert_allclose(product(3, 1), product(103, 101), rtol=1e-4)
  assert abs(product(3, 1) - product(4, 1)) > 1e-3


def test_rotation_is_the_formula():
  """Pair k of position p turns by p 10000^(-2k/K)."""
  x = RNG.normal(size=4).astype(np.float32)
  turned = rotate(jnp.asarray(x)[None, None, None], jnp.array([[5]]))[0, 0, 0]
  for k, angle in enumerate([5 * 1.0, 5 * 0.01]):
    z = (x[k] + 1j * x[k + 2]) * np.exp(1j * angle)
    np.testing.assert_allclose(turned[k], z.real, rtol=1e-5)
    np.testing.assert_allclose(turned[k + 2], z.imag, rtol=1e-5)


def test_positions_beyond_the_table_are_nan():
  """Never the last row again."""
  rows = look_up(jnp.ones((3, 2)), jnp.array([[2, 3, 100]]))
  assert jnp.isnan(rows[0]).all(axis=-1).tolist() == [False, True, True]


@pytest.mark.parametrize('features', [6, 7])
def test_sinusoids_are_the_formula(features):
  """PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i + 1) the cosine of it."""
  positions = jnp.array([[0, 1], [7, 500]])
  given = sinusoids(positions, features, jnp.float32)
  for b, t, d in np.ndindex(2, 2, features):
    angle = positions[b, t].item() / 10000 ** (2 * (d // 2) / features)
    expected = np.cos(angle) if d % 2 else np.sin(angle)
    np.testing.assert_allclose(given[b, t, d], expected, atol=1e-4)


def test_sinusoids_of_late_positions_survive_bfloat16():
  """Angles are not rounded, only their sines are."""
  late = jnp.array([[1001, 1002]])
  wide = sinusoids(late, 4, jnp.float32)
  given = sinusoids(late, 4, jnp.bfloat16)
  assert given.dtype == jnp.bfloat16
  np.testing.assert_allclose(given.astype(jnp.float32), wide, atol=1e-2)


@pytest.mark.parametrize(
  'num_heads, exponents',
  [
    (1, [8]),
    (8, [1, 2, 3, 4, 5, 6, 7, 8]),
    (16, [0.5 * h for h in range(1, 17)]),
    (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
  ],
)
def test_slopes_are_those_of_the_paper(num_heads, exponents):
  """Section 3 gives them for 8 and 16 heads, its code for 12."""
  expected = [2.0**-exponent for exponent in exponents]
  np.testing.assert_allclose(alibi_slopes(num_heads), expected)


@pytest.mark.parametrize('position', [1, 10**6, 10**7, 2**24, 2**31 - 1])
def test_far_positions_have_exact_angles(position):
  """A float32 product of position and frequency is off by a radian there."""
  places = np.array([[position]], np.int32)
  waves = sinusoids(places, 64, np.float32)[0, 0]
  turned = rotate(np.ones((1, 1, 1, 64), np.float32), places)[0, 0, 0]
  frequency = 10000.0 ** (-np.arange(32) / 32)
  angle = np.longdouble(position) * frequency
  sin, cos = np.sin(angle), np.cos(angle)
  expected = np.stack([sin, cos], axis=-1).ravel()
  np.testing.assert_allclose(waves, expected.astype(float), atol=1e-6)
  expected = np.concatenate([cos - sin, cos + sin]).astype(float)
  np.testing.assert_allclose(turned, expected, atol=2e-6)


def test_positions_before_the_first_have_no_learned_row():
  """NaN, where an index from the end would be another row."""
  table = np.ones((4, 2), np.float32)
  rows = look_up(table, np.array([[-1, 0, 3, 4]], np.int32))
  assert np.isnan(rows[0]).any(axis=-1).tolist() == [True, False, False, True]
