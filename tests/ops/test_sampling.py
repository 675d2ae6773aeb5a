"""Sampling, by what is kept and how often it is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import sampling

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.25, 0.2])
LOGITS = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))[None]


def kept(**options) -> list[int]:
  cut = sampling.likeliest(LOGITS, **options)[0]
  np.testing.assert_array_equal(
    jnp.where(jnp.isfinite(cut), LOGITS[0], -jnp.inf), cut
  )
  return np.flatnonzero(np.isfinite(cut)).tolist()


def test_top_k_keeps_the_k_likeliest():
  """All of them when there are no more."""
  assert kept(top_k=1) == [1]
  assert kept(top_k=3) == [1, 3, 4]
  assert kept(top_k=9) == [0, 1, 2, 3, 4]


def test_the_nucleus_is_the_fewest_tokens_that_reach_p():
  """One at least; of what top-k left, where both are given."""
  assert kept(top_p=0.0) == [1]
  assert kept(top_p=0.39) == [1]
  assert kept(top_p=0.6) == [1, 3]
  assert kept(top_p=0.66) == [1, 3, 4]
  assert kept(top_p=1.0) == [0, 1, 2, 3, 4]
  assert kept(top_k=2, top_p=0.6) == [1]  # 0.4 / 0.65 reaches it


def test_of_equal_tokens_the_first_are_kept():
  """No more than k."""
  cut = sampling.likeliest(jnp.zeros((1, 4)), top_k=2)
  np.testing.assert_array_equal(cut, [[0, 0, -jnp.inf, -jnp.inf]])


def test_tokens_are_drawn_as_often_as_they_are_likely():
  """At temperature 1/2 probabilities are squared; a chi-square at 99.9 %."""
  draws = jnp.broadcast_to(LOGITS, (20_000, 5))
  tokens = sampling.sample(jax.random.key(0), draws, temperature=0.5)
  expected = PROBABILITIES**2 / np.sum(PROBABILITIES**2) * 20_000
  counts = np.bincount(tokens, minlength=5)
  assert np.sum((counts - expected) ** 2 / expected) < 18.5


def test_temperature_zero_takes_the_likeliest():
  """Whatever the key."""
  for seed in range(3):
    token = sampling.sample(jax.random.key(seed), LOGITS, temperature=0.0)
    np.testing.assert_array_equal(token, [1])


def test_what_is_not_a_number_gives_no_token():
  """Beside a row that is."""
  logits = jnp.concatenate([LOGITS, LOGITS.at[0, 2].set(jnp.nan)])
  token = sampling.sample(jax.random.key(0), logits, temperature=0.0)
  np.testing.assert_array_equal(token, [1, sampling.NO_TOKEN])


@pytest.mark.parametrize('count', [3, 7, 50, 1000])
def test_the_nucleus_is_the_fewest_whose_probability_reaches_p(count):
  """Of equal tokens k for p = k / count: sums of floats may be just below."""
  logits = jnp.zeros((1, count))
  for k in range(1, count, max(count // 25, 1)):
    kept = jnp.isfinite(sampling.likeliest(logits, top_p=k / count)).sum()
    assert kept == k
