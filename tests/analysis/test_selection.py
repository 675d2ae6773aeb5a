"""The choice of a learning rate by validation."""

import numpy as np
import pytest

from seqjax.analysis.selection import best_learning_rate


def test_the_learning_rate_is_the_one_with_the_best_mean():
  """Not with the best seed; of equals the smaller; no infinity, no NaN."""
  scores = {1e-1: [1.0, 0.0], 3e-2: [0.5, 0.75], 1e-2: [0.75, 0.5]}
  scores |= {3e-3: [9.0, np.nan], 1e-3: [np.inf, np.inf], 1e-4: [0.25, 0.5]}
  assert best_learning_rate(scores) == 1e-2
  assert best_learning_rate(scores, higher_is_better=False) == 1e-4
  assert best_learning_rate({1e-2: [0.5, 0.5], 1e-3: [0.9]}) == 1e-2
  with pytest.raises(ValueError, match='all finite, but none is'):
    best_learning_rate({1e-3: [np.nan], 1e-2: []})
