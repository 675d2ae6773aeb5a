"""Windows of attention against `jax.nn`, and against pairs of positions."""

import jax
import numpy as np
import pytest

from seqjax.ops.attention import attention

RNG = np.random.default_rng(0)
windows = pytest.mark.parametrize('window', [1, 2, 5, 9, 30])
sides = pytest.mark.parametrize('causal', [True, False])
algorithms = pytest.mark.parametrize('algorithm', ['plain', 'blockwise'])


def draw(length=21, heads=4, groups=2, size=4):
  shapes = [(2, length, n, size) for n in (heads, groups, groups)]
  return [RNG.normal(size=shape).astype(np.float32) for shape in shapes]


@windows
@sides
@algorithms
def test_a_window_is_that_of_jax(window, causal, algorithm, monkeypatch):
  """Two-sided where attention is not causal; gradients too."""
  monkeypatch.setattr('seqjax.ops.attention.BLOCK', 8)

  def ours(*arrays):
    return attention(*arrays, causal=causal, window=window, algorithm=algorithm)

  def theirs(*arrays):
    return jax.nn.dot_product_attention(
      *arrays, is_causal=causal, local_window_size=(window - 1, window - 1)
    )

  def both(function):
    def value(*arrays):
      y = function(*arrays)
      return (y * weights).sum(), y

    return jax.grad(value, argnums=(0, 1, 2), has_aux=True)(*arrays)

  arrays = draw()
  weights = RNG.normal(size=arrays[0].shape).astype(np.float32)
  for given, expected in zip(
    *map(jax.tree.leaves, (both(ours), both(theirs))), strict=True
  ):
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


@sides
@algorithms
def test_a_window_counts_positions_of_its_segment(
  causal, algorithm, monkeypatch
):
  """Every pair, given positions that jump, two segments and padding."""
  monkeypatch.setattr('seqjax.ops.attention.BLOCK', 8)
  window, length = 3, 21
  positions = np.cumsum(RNG.integers(1, 3, size=(2, length)), 1, dtype=np.int32)
  segments = np.repeat(np.array([[0, 1, -1]], np.int32), 7, axis=1)
  segments = np.repeat(segments, 2, axis=0)
  query, key, value = draw()
  given = attention(
    query,
    key,
    value,
    query_positions=positions,
    key_positions=positions,
    query_segments=segments,
    key_segments=segments,
    causal=causal,
    window=window,
    algorithm=algorithm,
  )
  for b, t, h in np.ndindex(2, length, 4):
    seen = []
    for s in range(length):
      near = abs(positions[b, t] - positions[b, s]) <= window - 1
      same = segments[b, t] == segments[b, s] >= 0
      if near and same and not (causal and s > t):
        seen.append(s)
    expected = np.zeros(4)
    if seen:
      weights = np.exp(key[b, seen, h // 2] @ query[b, t, h] / 2)
      expected = weights @ value[b, seen, h // 2] / weights.sum()
    np.testing.assert_allclose(given[b, t, h], expected, rtol=1e-4, atol=1e-5)
