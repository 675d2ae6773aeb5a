"""What tasks draw: exactly uniform, within bounds."""

import collections
import math

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic import _random

KEY = jax.random.key(5)
DRAWS = 20000


def _shares(rows):
  """How often each row occurs."""
  counts = collections.Counter(map(tuple, np.asarray(rows).tolist()))
  return {row: count / len(rows) for row, count in counts.items()}


def test_every_ordered_choice_of_distinct_integers_is_equally_likely():
  """3 of 4 in 24 orders, within five standard errors."""
  shares = _shares(_random.distinct(KEY, DRAWS, 3, 2, 6))
  assert set(sum(shares, ())) == {2, 3, 4, 5}
  assert all(len(set(row)) == 3 for row in shares)
  assert len(shares) == 24
  error = math.sqrt(1 / 24 * 23 / 24 / DRAWS)
  assert max(abs(share - 1 / 24) for share in shares.values()) < 5 * error


@pytest.mark.parametrize('count', [0, 1, 9])
def test_distinct_integers_may_be_none_or_all(count):
  """All of them are a permutation."""
  rows = np.asarray(_random.distinct(KEY, 16, count, -4, 5))
  assert rows.shape == (16, count) and rows.dtype == np.int32
  assert all(len(set(row)) == count for row in rows.tolist())
  assert np.all((rows >= -4) & (rows < 5))


def test_lengths_reach_both_bounds():
  """Each as often as the others, within five standard errors."""
  shares = _shares(_random.lengths(KEY, DRAWS, 3, 7)[:, None])
  assert sorted(shares) == [(n,) for n in range(3, 8)]
  error = math.sqrt(0.2 * 0.8 / DRAWS)
  assert max(abs(share - 0.2) for share in shares.values()) < 5 * error
