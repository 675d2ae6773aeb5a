"""Causal convolution against a loop over valid positions."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.convolution import causal_convolution
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
  after, y = causal_convolution(
    jnp.asarray(window),
    jnp.asarray(np.where(valid[..., None], x, np.nan)),
    jnp.asarray(kernel),
    Segments(jnp.asarray(start), jnp.asarray(valid)),
    dilation=dilation,
  )
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
