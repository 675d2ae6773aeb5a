"""Sampling, by what is kept and how often it is drawn."""

import decimal
import fractions
import itertools

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


def number_kept(logits, top_p) -> int:
  cut = NUCLEUS(jnp.asarray(logits, jnp.float32)[None], top_p)[0]
  return int(jnp.isfinite(cut).sum())


NUCLEUS = jax.jit(lambda logits, p: sampling.likeliest(logits, top_p=p))


def exact_sums(logits) -> list[decimal.Decimal]:
  """Probabilities of the likeliest token, the two likeliest, ..., all of them.

  To 40 digits, of the float32 numbers that logits are.
  """
  with decimal.localcontext(prec=40):
    numbers = [decimal.Decimal(float(x)) for x in np.float32(logits)]
    largest = max(numbers)
    masses = sorted(((x - largest).exp() for x in numbers), reverse=True)
    sums = list(itertools.accumulate(masses))
    return [x / sums[-1] for x in sums]


def exact_number(sums, p) -> int:
  """The fewest tokens whose probability reaches p, one at least."""
  return 1 + sum(x < p for x in sums[:-1])


SCALES = {'normal': 3, 'flat': 0.01, 'steep': 10}


@pytest.mark.parametrize('kind', ['ties', *SCALES])
@pytest.mark.parametrize('count', [2, 50, 1000, 50_000])
def test_the_nucleus_is_exact_up_to_rounding(count, kind):
  """It is that of a number next to p, which may be next to 0 or to 1."""
  rng = np.random.default_rng(0)
  if kind == 'ties':
    logits = rng.integers(0, 5, count)
  else:
    logits = SCALES[kind] * rng.normal(size=count)
  sums = exact_sums(logits)
  near_one = [1 - 2.0**-n for n in (10, 13, 17, 20, 23, 24)]
  for p in [1e-6, 0.01, 0.1, 0.3, 0.5, 0.6, 0.9, 0.95, 0.99, *near_one]:
    p = float(np.float32(p))
    given = number_kept(logits, p)
    # As near to 1 the tail itself is small, so is what may be wrong with it.
    off = 2.0**-25 * min(1, 2 * p) + 4e-6 * min(p, 1 - p)
    low, high = (decimal.Decimal(p + sign * off) for sign in (-1, 1))
    assert exact_number(sums, low) <= given <= exact_number(sums, high), p


@pytest.mark.parametrize(
  'weights',
  [[1] * 10, [7, 1, 1, 1], [1] * 1000, [4, 3, 2, 1], [2**k for k in range(20)]],
)
def test_a_sum_that_is_p_reaches_it(weights):
  """As 0.1, 0.1 and 0.1 reach 0.3, where neither is a float."""
  weights = sorted(weights, reverse=True)
  sums = list(itertools.accumulate(weights))
  every = range(1, len(weights), max(len(weights) // 50, 1))
  for number in every:
    p = float(fractions.Fraction(sums[number - 1], sums[-1]))
    if np.float32(p) < 1:
      assert number_kept(np.log(weights), p) == number, p


def test_half_precision_sums_no_worse():
  """Two thousand equal tokens: a sum of bfloat16 would end at 256."""
  logits = jnp.zeros((1, 2000), jnp.bfloat16)
  cut = sampling.likeliest(logits, top_p=0.75)
  assert cut.dtype == logits.dtype and jnp.isfinite(cut).sum() == 1500
