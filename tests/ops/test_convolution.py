"""Causal convolution against a loop over valid positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.convolution import (
  causal_convolution,
  depthwise_convolution,
  depthwise_convolution_step,
)
from seqjax.typing import Segments


@pytest.mark.parametrize('taps, dilation', [(1, 1), (3, 1), (3, 4), (2, 20)])
def test_taps_count_valid_positions_of_the_piece(taps, dilation):
  """The loop keeps a list of the piece's inputs for each row."""
  rng = np.random.default_rng(0)
  reach = (taps - 1) * dilation
  x = rng.normal(size=(3, 17, 2)).astype(np.float32)
  kernel = rng.normal(size=(taps, 2, 4)).astype(np.float32)
  window = rng.normal(size=(3, reach, 2)).astype(np.float32)
  start, valid = rng.random((3, 17)) < 0.2, rng.random((3, 17)) < 0.7
  given = window, np.where(valid[..., None], x, np.nan).astype(x.dtype), kernel
  run = jax.jit(functools.partial(causal_convolution, dilation=dilation))
  after, y = jax.tree.map(np.asarray, run(*given, Segments(start, valid)))
  for b in range(3):
    seen = list(window[b])
    for t in range(17):
      if start[b, t]:
        seen = [np.zeros(2, np.float32)] * reach
      if not valid[b, t]:
        assert not y[b, t].any()
        continue
      seen.append(x[b, t])
      expected = sum(
        seen[-1 - tap * dilation] @ kernel[tap] for tap in range(taps)
      )
      np.testing.assert_allclose(y[b, t], expected, rtol=1e-4, atol=1e-5)
    expected = np.array(seen).reshape(-1, 2)[len(seen) - reach :]
    np.testing.assert_array_equal(after[b], expected)


@pytest.mark.parametrize('taps', [1, 4])
def test_depthwise_is_a_convolution_with_a_diagonal_kernel(taps):
  """Under segments too, and in the gradients."""
  rng = np.random.default_rng(0)
  window = np.float32(rng.normal(size=(3, taps - 1, 5)))
  x = np.float32(rng.normal(size=(3, 17, 5)))
  kernel = np.float32(rng.normal(size=(taps, 5)))
  segments = Segments(rng.random((3, 17)) < 0.2, rng.random((3, 17)) < 0.7)

  def diagonal(window, x, kernel):
    kernel = jax.vmap(jnp.diag)(kernel)
    return causal_convolution(window, x, kernel, segments)

  def depthwise(window, x, kernel):
    return depthwise_convolution(window, x, kernel, segments)

  @jax.jit
  def with_gradients(*arguments):
    expected, pull_expected = jax.vjp(diagonal, *arguments)
    given, pull_given = jax.vjp(depthwise, *arguments)
    cotangent = jax.tree.map(jnp.sin, expected)
    return (
      (given, pull_given(cotangent)),
      (expected, pull_expected(cotangent)),
    )

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    *with_gradients(window, x, kernel),
  )


def test_depthwise_steps_are_the_sequence():
  """In bfloat16 too: terms are added in the precision of the window."""
  rng = np.random.default_rng(0)
  window = np.float32(rng.normal(size=(2, 3, 5)))
  x = rng.normal(size=(2, 9, 5)).astype(jnp.bfloat16)
  kernel = rng.normal(size=(4, 5)).astype(jnp.bfloat16)
  after, y = map(np.asarray, jax.jit(depthwise_convolution)(window, x, kernel))
  step = jax.jit(depthwise_convolution_step)
  for t in range(9):
    window, y_t = step(window, x[:, t], kernel)
    np.testing.assert_allclose(y[:, t], y_t, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(after, window)
