"""Softmax attention and its ring buffer against loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.attention import LogForget, additive_attention, attention
from seqjax.ops.key_cache import slot_positions, store

RNG = np.random.default_rng(0)


def normal(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def visible(q_place, k_place, q_piece, k_piece, causal, window):
  """Whether a query sees a key, as the docstring says it."""
  if k_piece < 0 or q_piece != k_piece:
    return False
  if causal and k_place > q_place:
    return False
  return window is None or q_place - k_place < window


SLOPES = np.array([0.5, 0.25, 0.0, 2.0], np.float32)


@pytest.mark.parametrize(
  'causal, window, slopes',
  [(True, None, None), (True, 3, SLOPES), (False, None, SLOPES)],
)
def test_attention_is_its_loop(causal, window, slopes):
  """Two heads a group, pieces, padding, a window, other keys than queries."""
  query, key, value = normal(2, 5, 4, 6), normal(2, 7, 2, 6), normal(2, 7, 2, 3)
  q_place = np.array([[2, 3, 4, 5, 6], [0, 1, 2, 0, 1]], np.int32)
  k_place = np.array([[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 0, 0, 1, 0]], np.int32)
  q_piece = np.array([[0, 0, 0, 0, -1], [0, 0, 0, 1, 1]], np.int32)
  k_piece = np.array(
    [[0, -1, 0, 0, 0, 0, -1], [0, 0, 0, -1, 1, 1, -1]], np.int32
  )
  run = functools.partial(
    attention,
    query_positions=q_place,
    key_positions=k_place,
    query_segments=q_piece,
    key_segments=k_piece,
    causal=causal,
    window=window,
    slopes=slopes,
  )
  given = np.asarray(jax.jit(run)(query, key, value))
  fall = np.zeros(4) if slopes is None else slopes
  for b, t, h in np.ndindex(2, 5, 4):
    seen = [
      s for s in range(7)
      if visible(q_place[b, t], k_place[b, s], q_piece[b, t], k_piece[b, s],
                 causal, window)
    ]  # fmt: skip
    expected = np.zeros(3)
    if seen:
      logits = [
        query[b, t, h] @ key[b, s, h // 2] / np.sqrt(6)
        - fall[h] * abs(q_place[b, t] - k_place[b, s])
        for s in seen
      ]
      weights = np.exp(logits) / np.sum(np.exp(logits))
      expected = weights @ value[b, seen, h // 2]
    np.testing.assert_allclose(given[b, t, h], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('algorithm', ['plain', 'blockwise'])
def test_forget_gates_multiply_the_weights_they_lie_between(algorithm):
  """exp(q_t k_s) times the gates after s, up to t: those of Lin et al."""
  query, key, value = normal(1, 9, 4, 6), normal(1, 9, 2, 6), normal(1, 9, 2, 3)
  gates = RNG.uniform(0.1, 1, size=(1, 9, 4)).astype(np.float32)
  sums = np.cumsum(np.log(gates), axis=1)
  run = functools.partial(
    attention, log_forget=LogForget(sums, sums), algorithm=algorithm
  )
  given = np.asarray(jax.jit(run)(query, key, value))
  for t, h in np.ndindex(9, 4):
    weights = np.array(
      [
        np.exp(query[0, t, h] @ key[0, s, h // 2] / np.sqrt(6))
        * np.prod(gates[0, s + 1 : t + 1, h])
        for s in range(t + 1)
      ]
    )
    expected = weights / weights.sum() @ value[0, : t + 1, h // 2]
    np.testing.assert_allclose(given[0, t, h], expected, rtol=1e-4, atol=1e-5)


def test_additive_attention_is_its_loop():
  """Heads of their own, padding, and a row of nothing else."""
  query, key, value = normal(2, 3, 2, 4), normal(2, 5, 2, 4), normal(2, 5, 2, 3)
  weight = normal(2, 4)
  valid = np.array([[True, False, True, True, False], [False] * 5])
  run = jax.jit(additive_attention)
  given = np.asarray(run(query, key, value, weight, valid))
  for b, t, h in np.ndindex(2, 3, 2):
    seen = np.flatnonzero(valid[b])
    logits = [weight[h] @ np.tanh(query[b, t, h] + key[b, s, h]) for s in seen]
    shares = np.exp(logits) / np.sum(np.exp(logits))
    expected = shares @ value[b, seen, h]
    np.testing.assert_allclose(given[b, t, h], expected, rtol=1e-4, atol=1e-5)


def test_a_query_that_sees_nothing_reads_zero_with_finite_gradients():
  """No NaN from an empty softmax."""
  places = np.arange(3)[None]
  nobody = np.full((1, 3), -1)

  def read(query, key, value):
    return attention(
      query,
      key,
      value,
      query_positions=places,
      key_positions=places,
      query_segments=nobody,
      key_segments=nobody,
    )

  @jax.jit
  def with_gradients(*arrays):
    total = jax.grad(lambda *a: read(*a).sum(), argnums=(0, 1, 2))
    return read(*arrays), *total(*arrays)

  for zeros in with_gradients(*(normal(1, 3, 1, 2) for _ in range(3))):
    assert not np.any(zeros)


def test_large_logits_do_not_overflow():
  """The maximum is subtracted first."""
  huge = np.full((1, 2, 1, 1), 1e3, np.float32)
  places = np.arange(2)[None]
  run = functools.partial(
    attention, query_positions=places, key_positions=places
  )
  read = jax.jit(run)(huge, huge, huge)
  np.testing.assert_allclose(read, 1e3)


def test_slots_hold_the_latest_positions():
  """Position p lies in slot p mod S."""
  assert slot_positions(jnp.array([0, 2, 3, 7]), 3).tolist() == [
    [-1, -1, -1],
    [0, 1, -1],
    [0, 1, 2],
    [6, 4, 5],
  ]


def test_storing_writes_what_is_kept_and_nothing_else():
  """In the slots of their positions."""
  slots = jnp.zeros((1, 2, 1, 3))
  new = jnp.array([[[[5.0], [1.0]], [[6.0], [2.0]], [[7.0], [3.0]]]])
  keep = jnp.array([[True, False, True]])
  after = store(slots, new, jnp.array([[4, 5, 6]]), keep)
  assert after[0, :, 0].tolist() == [[7.0, 5.0, 0.0], [3.0, 1.0, 0.0]]


@pytest.mark.parametrize('algorithm', ['plain', 'blockwise'])
def test_no_keys_are_read_as_zeros(algorithm):
  """By products and by additive scores, as where nothing is visible."""
  query, key, value = normal(2, 3, 4, 6), normal(2, 0, 2, 6), normal(2, 0, 2, 5)
  given = attention(*map(jnp.asarray, (query, key, value)), algorithm=algorithm)
  np.testing.assert_array_equal(given, np.zeros((2, 3, 4, 5)))
  given = additive_attention(
    *map(jnp.asarray, (query[:, :, :2], key, value, normal(2, 6))),
    jnp.ones((2, 0), bool),
  )
  np.testing.assert_array_equal(given, np.zeros((2, 3, 2, 5)))
