"""Matrix-valued recurrences, every algorithm against a loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.linear_attention import (
  ALGORITHMS,
  delta_rule,
  delta_rule_step,
  gated_outer,
  gated_outer_step,
)
from seqjax.typing import Segments

B, H, K, V = 2, 3, 4, 5


def outer_loop(state, q, k, v, g):
  """S <- exp(g) S + k v^T, one decay a head or a channel."""
  decay = np.exp(g).reshape(H, -1, 1)
  return decay * state + k[:, :, None] * v[:, None, :]


def delta_loop(state, q, k, v, beta, g):
  """S <- (I - beta k k^T) exp(g) S + beta k v^T, head by head."""
  new = np.zeros_like(state)
  for h in range(H):
    share = np.diag(np.broadcast_to(beta[h], K))
    decay = np.diag(np.broadcast_to(np.exp(g[h]), K))
    transition = np.eye(K) - share @ np.outer(k[h], k[h])
    new[h] = transition @ decay @ state[h] + share @ np.outer(k[h], v[h])
  return new


def removal_loop(state, q, k, v, beta, r, g):
  """S <- S (diag(w) - r^T (beta * r)) + v^T k, row vectors as in RWKV-7."""
  new = np.zeros_like(state)
  for h in range(H):
    rows = state[h].T  # [V K]
    decay = np.diag(np.broadcast_to(np.exp(g[h]), K))
    rows = rows @ (decay - np.outer(r[h], beta[h] * r[h]))
    new[h] = (rows + np.outer(v[h], k[h])).T
  return new


def general(carry, q, k, v, beta, r, g, segments=None, **more):
  """Calls the op with removal keys, in the order of the loop."""
  return delta_rule(carry, q, k, v, beta, g, segments, removal=r, **more)


def general_step(carry, q, k, v, beta, r, g):
  """Takes one step of it."""
  return delta_rule_step(carry, q, k, v, beta, g, r)


def chunk_of(length, channels):
  """Decays of channels are taken an eighth of a chunk at a time."""
  return 8 * length if channels else length


CASES = {
  'gated_outer, a decay a head': (gated_outer, outer_loop, (), ()),
  'gated_outer, a decay a channel': (gated_outer, outer_loop, (), (K,)),
  'delta_rule': (delta_rule, delta_loop, ('beta',), ()),
  'delta_rule, a decay a channel': (delta_rule, delta_loop, ('beta',), (K,)),
  'delta_rule, all a channel': (delta_rule, delta_loop, ('betas',), (K,)),
  'delta_rule, a rate a channel': (delta_rule, delta_loop, ('betas',), ()),
  'removal keys': (general, removal_loop, ('betas', 'removal'), (K,)),
  'removal keys, a decay a head': (
    general,
    removal_loop,
    ('beta', 'removal'),
    (),
  ),
}
# Of which others are made: a rate, or a removal, with one decay a head.
SLOW_CASES = {'delta_rule, a rate a channel', 'removal keys, a decay a head'}
cases = pytest.mark.parametrize(
  'case',
  [
    pytest.param(
      case, id=name, marks=pytest.mark.slow if name in SLOW_CASES else ()
    )
    for name, case in CASES.items()
  ],
)


def draw(num_positions, extra, channels, seed=0):
  """Carry, and query, key, value, (extra,) log_decay at every position."""
  rng = np.random.default_rng(seed)
  shape = B, num_positions, H

  def unit():
    key = rng.normal(size=(*shape, K))
    return key / np.linalg.norm(key, axis=-1, keepdims=True)

  # Rates per channel up to 1, and decays that are no larger than what is
  # removed, keep the state from growing.
  draws = {
    'beta': lambda: rng.uniform(0, 2, size=shape),
    'betas': lambda: rng.uniform(0, 1, size=(*shape, K)),
    'removal': unit,
  }
  operands = [rng.normal(size=(*shape, K)), unit()]
  operands += [rng.normal(size=(*shape, V))]
  operands += [draws[name]() for name in extra]
  operands += [-rng.exponential(size=(*shape, *channels))]
  return rng.normal(size=(B, H, K, V)), operands


def draw_segments(num_positions):
  rng = np.random.default_rng(1)
  shape = B, num_positions
  return Segments(rng.random(shape) < 0.15, rng.random(shape) < 0.7)


def on_host(tree):
  return jax.tree.map(np.asarray, tree)


def assert_near(given, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
    given,
    expected,
  )


@cases
@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('num_positions', [1, 29])
def test_every_algorithm_is_the_loop(case, algorithm, num_positions):
  """Starts clear the state, at padding too; padding holds it, NaN or not."""
  op, loop, extra, channels = case
  carry, operands = draw(num_positions, extra, channels)
  segments = draw_segments(num_positions)
  given = [array.copy() for array in operands]
  for array in given:
    array[~segments.valid] = np.nan
  with jax.enable_x64(True):
    # Of 29 positions three whole chunks, and five positions left over.
    run = functools.partial(
      op, algorithm=algorithm, chunk=chunk_of(8, channels)
    )
    last, y = on_host(jax.jit(run)(carry, *given, segments))
  state = carry.copy()
  for b in range(B):
    for t in range(num_positions):
      if segments.start[b, t]:
        state[b] = 0
      if segments.valid[b, t]:
        state[b] = loop(state[b], *(array[b, t] for array in operands))
        expected = np.einsum('hk,hkv->hv', operands[0][b, t], state[b])
        assert_near(y[b, t], expected)
      else:
        assert not y[b, t].any()
  assert_near(last, state)


@cases
@pytest.mark.parametrize(
  'num_positions', [29, pytest.param(290, marks=pytest.mark.slow)]
)
def test_chunks_have_the_gradients_of_the_scan(case, num_positions):
  """Derivatives of the carry and of every operand, in both directions.

  Of 290 positions, derivatives compute a few at a time again.
  """
  op, _, extra, channels = case
  carry, operands = draw(num_positions, extra, channels)
  segments = draw_segments(num_positions)

  def objective(carry, operands, algorithm):
    chunk = chunk_of(8, channels)
    result = op(carry, *operands, segments, chunk=chunk, algorithm=algorithm)
    return sum(jnp.sum(jnp.sin(array)) for array in result)

  @functools.partial(jax.jit, static_argnums=2)
  def both(carry, operands, algorithm):
    given = functools.partial(objective, algorithm=algorithm)
    primals, tangents = (carry, operands), (carry, operands)
    _, forwards = jax.jvp(given, primals, tangents)
    return forwards, jax.grad(given, argnums=(0, 1))(*primals)

  with jax.enable_x64(True):
    assert_near(
      both(carry, operands, 'chunked'), both(carry, operands, 'plain')
    )


@pytest.mark.parametrize('name', ['gated_outer, a decay a head', 'delta_rule'])
def test_long_rows_have_the_gradients_of_the_scan(name):
  test_chunks_have_the_gradients_of_the_scan(CASES[name], 290)


@cases
def test_steps_are_the_sequence(case):
  """From an initial carry, without segments."""
  op, _, extra, channels = case
  step = {
    gated_outer: gated_outer_step,
    delta_rule: delta_rule_step,
    general: general_step,
  }[op]
  carry, operands = draw(5, extra, channels)
  with jax.enable_x64(True):
    last, y = on_host(jax.jit(op)(carry, *operands))
    step = jax.jit(step)
    for t in range(5):
      carry, y_t = step(carry, *(a[:, t] for a in operands))
      assert_near(y[:, t], y_t)
    assert_near(last, carry)


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('channels', [(), (1,)])
def test_ones_in_bfloat16_sum_to_their_number(algorithm, channels):
  """bfloat16 alone would stop at 256: the state has its own precision."""
  ones = np.ones((1, 4096, 1, 1), jnp.bfloat16)
  carry = np.zeros((1, 1, 1, 1), np.float32)
  no_decay = np.zeros((1, 4096, 1, *channels), jnp.bfloat16)
  run = jax.jit(functools.partial(gated_outer, algorithm=algorithm))
  last, y = on_host(run(carry, ones, ones, ones, no_decay))
  assert last.dtype == y.dtype == jnp.float32
  assert last.item() == y[0, -1].item() == 4096


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_keys_of_one_kind_in_bfloat16_hold_their_last_value(algorithm):
  """With beta = 1 the 4096th value replaces the others."""
  ones = np.ones((1, 4096, 1, 1), jnp.bfloat16)
  value = np.arange(1, 4097, dtype=np.float32)[None, :, None, None]
  carry = np.zeros((1, 1, 1, 1), np.float32)
  beta, no_decay = ones[..., 0], np.zeros_like(ones[..., 0])
  run = jax.jit(functools.partial(delta_rule, algorithm=algorithm))
  last, y = on_host(run(carry, ones, ones, value, beta, no_decay))
  np.testing.assert_allclose(y, value, rtol=1e-6)
  assert last.item() == 4096


@cases
def test_strong_decays_lose_no_precision_and_no_gradient(case):
  """Sums of -50 behind gentle decays neither overflow nor swallow them."""
  op, _, extra, channels = case
  carry, operands = draw(64, extra, channels)
  gentle = np.maximum(operands[-1] * 1e-2, -0.05)
  gentle[:, ::3] = 0
  gentle[:, 5:16] = -50
  operands[-1] = gentle

  @functools.partial(jax.jit, static_argnums=2)
  def run(carry, operands, algorithm):
    def objective(carry, operands):
      chunk = chunk_of(64, channels)
      result = op(carry, *operands, chunk=chunk, algorithm=algorithm)
      return sum(jnp.sum(jnp.sin(array)) for array in result), result

    gradients, result = jax.grad(objective, argnums=(0, 1), has_aux=True)(
      carry, operands
    )
    return result, gradients

  with jax.enable_x64(True):
    expected = on_host(run(carry, operands, 'plain'))
  single = jax.tree.map(np.float32, (carry, operands))
  given = run(*single, 'chunked')
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=0, atol=1e-5 * np.abs(b).max()
    ),
    given,
    expected,
  )


def test_a_chunk_of_equal_keys_is_corrected_stably():
  """Powers of its triangular system reach 1e18; its solution is benign."""
  rng = np.random.default_rng(0)
  value = np.float32(rng.normal(size=(1, 64, 1, 3)))
  key = np.full((1, 64, 1, 4), 0.5, np.float32)
  beta = np.ones((1, 64, 1), np.float32)
  carry = np.zeros((1, 1, 4, 3), np.float32)
  run = jax.jit(functools.partial(delta_rule, algorithm='chunked'))
  _, y = run(carry, key, key, value, beta, np.zeros_like(beta))
  np.testing.assert_allclose(y, value, atol=1e-5)


@pytest.mark.parametrize('op', [gated_outer, delta_rule])
def test_an_unknown_algorithm_is_named_with_its_neighbour(op):
  """Before anything is compiled."""
  carry, operands = draw(2, ('beta',) if op is delta_rule else (), ())
  with pytest.raises(ValueError, match="'chunk'. Did you mean 'chunked'"):
    op(carry, *operands, algorithm='chunk')


@cases
def test_a_decay_to_zero_forgets_all_before(case):
  op, _, extra, channels = case
  carry, (*others, log_decay) = draw(21, extra, channels)
  log_decay[:, [3, 4, 13]] = -np.inf
  length = chunk_of(8, channels)

  @functools.partial(jax.jit, static_argnums=2)
  def read(carry, log_decay, algorithm):
    given = carry, *others, log_decay
    return op(*given, chunk=length, algorithm=algorithm)[1]

  with jax.enable_x64(True):
    assert_near(
      read(carry, log_decay, 'chunked'), read(carry, log_decay, 'plain')
    )
    slopes = jax.grad(lambda *given: jnp.sum(read(*given, 'chunked')), (0, 1))
    slopes = jax.jit(slopes)(carry, log_decay)
  assert all(np.isfinite(slope).all() for slope in slopes)
