"""Rotary and learned positions."""

import jax.numpy as jnp
import numpy as np

from seqjax.ops.positions import look_up, rotate

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
