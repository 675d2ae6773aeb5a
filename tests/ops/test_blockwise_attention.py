"""Attention in blocks is dense attention, and holds no T x S array."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import attention as attention_lib
from seqjax.ops.attention import attention
from seqjax.ops.blockwise_attention import (
  LogForget,
  Places,
  Rule,
  _extent,
  _pairs,
  see,
)

BATCH, QUERIES, KEYS = 2, 21, 29


def arguments(rng):
  """Queries that stand at the last of the keys' places."""

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape))

  return (
    normal(BATCH, QUERIES, 4, 6),
    normal(BATCH, KEYS, 2, 6),
    normal(BATCH, KEYS, 2, 5),
  )


def pieces(rng):
  """Packed rows with padding, and places that begin anew in every piece."""
  start = rng.random((BATCH, KEYS)) < 0.15
  piece = np.cumsum(start, axis=1)
  piece[rng.random((BATCH, KEYS)) < 0.2] = -1
  place = np.arange(KEYS) - np.maximum.accumulate(
    np.where(start, np.arange(KEYS), 0), axis=1
  )
  piece, place = (jnp.asarray(a, jnp.int32) for a in (piece, place))
  late = KEYS - QUERIES
  return {
    'query_positions': place[:, late:],
    'key_positions': place,
    'query_segments': piece[:, late:],
    'key_segments': piece,
  }


def everything(algorithm, given, where):
  """Values, gradients, and how the gradients change along a direction."""

  def loss(*given):
    y = attention(*given, algorithm=algorithm, **where)
    return jnp.sin(y).sum(), y

  gradients = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
  direction = jax.tree.map(jnp.cos, given)
  return jax.jvp(lambda *a: gradients(*a), given, direction)


SLOPES = np.array([0.5, 0.25, 0.0, 2.0])


@pytest.mark.parametrize(
  'causal, window, slopes, packed',
  [
    (True, None, None, True),
    (True, 5, SLOPES, True),
    (False, None, SLOPES, True),
    (False, 5, None, True),
    (True, 3, None, False),
  ],
)
def test_blocks_change_nothing(causal, window, slopes, packed, monkeypatch):
  """Values, gradients, forward over reverse; other keys than queries."""
  monkeypatch.setattr(attention_lib, 'BLOCK', 8)
  rng = np.random.default_rng(0)
  where = {'causal': causal, 'window': window, 'slopes': slopes}
  with jax.enable_x64(True):
    if packed:
      where |= pieces(rng)
    given = arguments(rng)
    blocks, plain = (
      jax.jit(functools.partial(everything, algorithm, where=where))(given)
      for algorithm in ('blockwise', 'plain')
    )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10),
    blocks,
    plain,
  )


def forgotten(gates, query_sums):
  """Sums of the logarithms of gates, of keys and of the queries among them."""
  sums = jnp.cumsum(jax.nn.log_sigmoid(gates), axis=1)
  return LogForget(sums[:, KEYS - QUERIES :] + query_sums, sums)


@pytest.mark.parametrize('window, packed', [(None, True), (5, False)])
def test_blocks_forget_as_plain_attention_does(window, packed, monkeypatch):
  """Gradients of the gates too; and none of what all logits have in common."""
  monkeypatch.setattr(attention_lib, 'BLOCK', 8)
  rng = np.random.default_rng(0)
  where = {'window': window} | (pieces(rng) if packed else {})
  if not packed:
    where['query_positions'] = jnp.broadcast_to(
      jnp.arange(KEYS - QUERIES, KEYS, dtype=jnp.int32), (BATCH, QUERIES)
    )

  def everything(algorithm, given):
    def loss(query, key, value, *gates):
      y = attention(
        query, key, value, log_forget=forgotten(*gates), algorithm=algorithm,
        **where,
      )  # fmt: skip
      return jnp.sin(y).sum(), y

    return jax.grad(loss, argnums=range(5), has_aux=True)(*given)

  with jax.enable_x64(True):
    gates = rng.normal(size=(BATCH, KEYS, 4))
    shared = rng.normal(size=(BATCH, QUERIES, 4))
    given = *arguments(rng), gates, shared
    blocks, plain = (
      jax.jit(functools.partial(everything, algorithm))(given)
      for algorithm in ('blockwise', 'plain')
    )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10),
    blocks,
    plain,
  )
  *_, of_gates, of_queries = blocks[0]
  assert np.abs(of_gates).max() > 1e-2 and not of_queries.any()


def test_memory_grows_with_the_length():
  """Four times the positions: about four times the bytes, never sixteen."""

  def temporary_bytes(length):
    shape = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
    loss = jax.grad(lambda *a: jnp.mean(attention(*a) ** 2), argnums=(0, 1, 2))
    compiled = jax.jit(loss).lower(shape, shape, shape).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes(8192) <= 6 * temporary_bytes(2048)


def test_blocks_that_nobody_sees_are_skipped():
  """Pieces, windows, padding and the future, block by block."""
  position = jnp.arange(32, dtype=jnp.int32)[None]
  one = Places(position, jnp.zeros_like(position))
  two = Places(position % 16, position // 16)
  filled = Places(*(jnp.where(position < 30, a, -1) for a in one))

  def extents(rule, places):
    some, _ = _pairs(rule, places, places)
    return [a.tolist() for a in _extent(some)]

  assert extents(Rule(True, None, 8), one) == [[0, 0, 0, 0], [1, 2, 3, 4]]
  assert extents(Rule(True, None, 8), filled) == [[0, 0, 0, 0], [1, 2, 3, 4]]
  assert extents(Rule(True, 8, 8), one) == [[0, 0, 1, 2], [1, 2, 3, 4]]
  assert extents(Rule(False, None, 8), two) == [[0, 0, 2, 2], [2, 2, 4, 4]]


def test_no_mask_where_every_query_sees_every_key():
  """Said of a pair of blocks exactly where it is so."""
  rng = np.random.default_rng(0)
  found = set()
  for causal, window, packed in itertools.product(
    (False, True), (None, 12), (False, True)
  ):
    position = jnp.arange(32, dtype=jnp.int32)[None]
    places = Places(position, jnp.where(position < 30, 0, -1))
    if packed:
      piece = np.cumsum(rng.random((2, 32)) < 0.04, axis=1)
      places = Places(jnp.tile(position, (2, 1)), jnp.asarray(piece, jnp.int32))
    rule = Rule(causal, window, 8)
    _, every = _pairs(rule, places, places)
    blocks = see(rule, places, places).reshape(-1, 4, 8, 4, 8)
    np.testing.assert_array_equal(every, blocks.all(axis=(0, 2, 4)))
    found |= set(np.unique(every).tolist())
  assert found == {False, True}


@pytest.mark.parametrize(
  'algorithm, message',
  [('blokwise', "mean 'blockwise'"), ('cudnn', 'needs a GPU.*cpu')],
)
def test_an_algorithm_that_is_not_here_is_refused(algorithm, message):
  """With what there is instead."""
  given = arguments(np.random.default_rng(0))
  if algorithm == 'cudnn' and jax.default_backend() == 'gpu':
    message = 'needs bfloat16'
  with pytest.raises(ValueError, match=message):
    attention(*given, algorithm=algorithm)


@pytest.mark.parametrize('platform', ['cuda', 'tpu'])
def test_it_lowers_for_accelerators(platform):
  """On a machine that has none."""
  given = arguments(np.random.default_rng(0))
  for algorithm in ('plain', 'blockwise'):
    function = functools.partial(attention, algorithm=algorithm)
    jax.export.export(jax.jit(function), platforms=[platform])(*given)


@pytest.mark.parametrize('rows, positions', [(0, 256), (2, 0)])
def test_no_rows_and_no_positions_have_gradients(rows, positions):
  query = jnp.ones((rows, positions, 4, 6))
  key = jnp.ones((rows, positions, 2, 6))

  def loss(query, key):
    return jnp.sum(attention(query, key, key, algorithm='blockwise'))

  of_query, of_key = jax.grad(loss, (0, 1))(query, key)
  assert (of_query.shape, of_key.shape) == (query.shape, key.shape)
