"""Weighted losses: the formula, and what weight 0 keeps out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import losses


def _example(seed=0, shape=(3, 5), classes=4):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(*shape, classes)).astype(np.float32)
  targets = rng.integers(0, classes, shape).astype(np.int32)
  weights = (rng.random(shape) * (rng.random(shape) < 0.6)).astype(np.float32)
  return logits, targets, weights


def _value_and_grad(logits, targets, weights):
  return jax.value_and_grad(losses.cross_entropy)(logits, targets, weights)


@pytest.mark.parametrize('shape', [(7,), (3, 5)])
def test_cross_entropy_is_the_weighted_mean_of_log_probabilities(shape):
  """Against the definition, written out in float64."""
  logits, targets, weights = _example(shape=shape)
  odds = np.exp(logits.astype(np.float64))
  probabilities = odds / odds.sum(axis=-1, keepdims=True)
  chosen = np.take_along_axis(probabilities, targets[..., None], -1)[..., 0]
  expected = -np.sum(weights * np.log(chosen)) / np.sum(weights)
  value = losses.cross_entropy(logits, targets, weights)
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_cross_entropy_of_large_logits_does_not_overflow():
  """Adding a constant to all logits of a position changes nothing."""
  logits, targets, weights = _example()
  value = losses.cross_entropy(logits, targets, weights)
  shifted = losses.cross_entropy(logits + 1000.0, targets, weights)
  np.testing.assert_allclose(shifted, value, rtol=1e-3)


def test_cross_entropy_depends_on_the_ratio_of_the_weights_only():
  """Twice the weight everywhere is the same mean."""
  logits, targets, weights = _example()
  once = losses.cross_entropy(logits, targets, weights)
  twice = losses.cross_entropy(logits, targets, 2 * weights)
  np.testing.assert_allclose(once, twice, rtol=1e-6)


@pytest.mark.parametrize('garbage', [np.nan, np.inf, 1e30])
def test_what_stands_at_weight_zero_reaches_no_value_and_no_gradient(garbage):
  """Logits of NaN and targets out of range, where nothing is scored."""
  logits, targets, weights = _example()
  unscored = weights == 0
  value, grad = _value_and_grad(jnp.array(logits), targets, weights)
  logits[unscored] = garbage
  targets[unscored] = 99
  dirty_value, dirty_grad = _value_and_grad(jnp.array(logits), targets, weights)
  np.testing.assert_array_equal(dirty_value, value)
  np.testing.assert_array_equal(dirty_grad, grad)
  assert np.all(dirty_grad[unscored] == 0)
  assert np.any(dirty_grad[~unscored] != 0)


def test_a_mean_over_no_weight_is_zero_with_zero_gradient():
  """Even where all logits are NaN."""
  logits, targets, weights = _example()
  logits = jnp.full_like(logits, jnp.nan)
  value, grad = _value_and_grad(logits, targets, jnp.zeros_like(weights))
  assert value == 0
  assert np.all(grad == 0)


def test_cross_entropy_of_bfloat16_is_computed_in_float32():
  """The logits are rounded, the logarithm and the mean are not."""
  logits, targets, weights = _example()
  rounded = jnp.asarray(logits, jnp.bfloat16)
  value = losses.cross_entropy(rounded, targets, weights)
  expected = losses.cross_entropy(rounded.astype(jnp.float32), targets, weights)
  assert value.dtype == jnp.float32
  np.testing.assert_array_equal(value, expected)


def test_a_nan_that_is_scored_stays_visible():
  """Masking hides what does not count, never what does."""
  logits, targets, weights = _example()
  position = tuple(np.argwhere(weights != 0)[0])
  logits[position] = np.nan
  assert np.isnan(losses.cross_entropy(logits, targets, weights))


def test_accuracy_counts_the_largest_output():
  """1 where it is the target's, 0 elsewhere and where nothing is scored."""
  outputs = np.eye(3, dtype=np.float32)[None, [0, 1, 2, 2]]
  targets = np.array([[0, 1, 0, 2]], np.int32)
  weights = np.array([[1, 0.5, 1, 0]], np.float32)
  score, weight = losses.accuracy(outputs, targets, weights)
  np.testing.assert_array_equal(score, [[1, 1, 0, 0]])
  np.testing.assert_array_equal(weight, weights)


def test_accuracy_never_calls_a_nan_right():
  """A diverged model scores 0, whichever class the target is."""
  outputs = np.full((3, 3), np.nan, np.float32)
  targets = np.arange(3, dtype=np.int32)
  score, _ = losses.accuracy(outputs, targets, np.ones(3, np.float32))
  np.testing.assert_array_equal(score, [0, 0, 0])


@pytest.mark.parametrize('shape', [(5, 3), (64, 64), (8, 1024), (4, 33, 256)])
def test_accuracy_overlooks_no_nan_among_many_outputs(shape):
  """A compiled maximum may: one NaN in a row, at the target and elsewhere."""
  rng = np.random.default_rng(0)
  outputs = rng.standard_normal(shape).astype(np.float32)
  targets = np.argmax(outputs, axis=-1).astype(np.int32)
  lost = rng.random(shape[:-1]) < 0.5
  at = rng.integers(shape[-1], size=shape[:-1])
  spoilt = np.where(
    lost, np.nan, np.take_along_axis(outputs, at[..., None], -1)[..., 0]
  )
  np.put_along_axis(outputs, at[..., None], spoilt[..., None], axis=-1)
  weights = np.ones(shape[:-1], np.float32)
  score, _ = jax.jit(losses.accuracy)(outputs, targets, weights)
  np.testing.assert_array_equal(score, ~lost)
