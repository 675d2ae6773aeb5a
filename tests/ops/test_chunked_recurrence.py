"""Recurrences in chunks are the plain ones, whatever is asked of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import chunked_recurrence, recurrence
from seqjax.typing import Segments

BATCH, LENGTH, HIDDEN = 3, 21, 4


def case(name: str, features: int):
  """The op, and random weights, carry and inputs in float64."""
  rng = np.random.default_rng(0)
  gates = {'elman': 1, 'gru': 3, 'lstm': 4}[name]

  def normal(*shape):
    return rng.normal(size=shape)

  weights = (
    normal(features, gates * HIDDEN),
    normal(HIDDEN, gates * HIDDEN) / 2,
    normal(gates * HIDDEN),
  )
  state = normal(BATCH, HIDDEN)
  if name == 'elman':
    weights = recurrence.ElmanWeights(*weights)
  elif name == 'gru':
    weights = recurrence.GRUWeights(*weights, normal(HIDDEN))
  else:
    weights = recurrence.LSTMWeights(*weights)
    state = recurrence.LSTMCarry(state, normal(BATCH, HIDDEN))
  op = getattr(recurrence, name)
  return op, (weights, state, normal(BATCH, LENGTH, features))


def segments() -> Segments:
  rng = np.random.default_rng(1)
  shape = BATCH, LENGTH
  return Segments(rng.random(shape) < 0.2, rng.random(shape) < 0.7)


def everything(op, arguments, pieces):
  """Values, gradients, and how the gradients change along a direction."""

  def loss(weights, carry, x):
    carry, y = op(weights, carry, x, pieces)
    parts = [jnp.sin(leaf).sum() for leaf in jax.tree.leaves((carry, y))]
    return sum(parts), (carry, y)

  gradients = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
  direction = jax.tree.map(jnp.cos, arguments)
  return jax.jvp(lambda *a: gradients(*a), arguments, direction)


def computed(name, features, algorithm):
  op, arguments = case(name, features)
  op = functools.partial(op, algorithm=algorithm)
  run = jax.jit(functools.partial(everything, op))
  return jax.tree.map(np.asarray, run(arguments, segments()))


@functools.cache
def expected(name, features):
  """Returns what the plain form computes, however chunks are stored."""
  return computed(name, features, 'plain')


@pytest.mark.parametrize('saved_bytes', [2**20, 0], ids=['saved', 'recomputed'])
@pytest.mark.parametrize('features', [HIDDEN, 5])
@pytest.mark.parametrize('name', ['elman', 'gru', 'lstm'])
def test_chunks_change_nothing(name, features, saved_bytes, monkeypatch):
  """Carry, outputs, gradients, forward over reverse; T no multiple of them.

  With the product of state and kernel in one matmul, and in one a gate.
  """
  monkeypatch.setattr(chunked_recurrence, 'LONGEST', 8)
  monkeypatch.setattr(chunked_recurrence, 'SAVED_BYTES', saved_bytes)
  monkeypatch.setattr(chunked_recurrence, 'LARGE_BYTES', saved_bytes)
  with jax.enable_x64(True):
    compare(computed(name, features, 'fast'), expected(name, features))


@pytest.mark.parametrize('name', ['elman', 'gru', 'lstm'])
def test_without_segments_too(name):
  """One piece, all valid, in one chunk."""
  with jax.enable_x64(True):
    op, arguments = case(name, HIDDEN)
    forms = [functools.partial(op, algorithm=f) for f in ('fast', 'plain')]
    compare(*(jax.jit(lambda a, f=f: everything(f, a, None))(arguments)
              for f in forms))  # fmt: skip


def test_relu_has_its_own_slope():
  """Not that of tanh."""
  with jax.enable_x64(True):
    op, arguments = case('elman', HIDDEN)
    forms = [
      functools.partial(op, activation='relu', algorithm=form)
      for form in ('fast', 'plain')
    ]
    compare(*(jax.jit(lambda a, f=f: everything(f, a, None))(arguments)
              for f in forms))  # fmt: skip


def test_nothing_to_read_changes_nothing():
  """No positions: the carry that was given, and no outputs."""
  op, (weights, carry, x) = case('lstm', HIDDEN)
  carry, x = jax.tree.map(np.float32, (carry, x))
  after, y = op(weights, carry, x[:, :0])
  compare(after, carry)
  assert y.shape == (BATCH, 0, HIDDEN)


def test_gates_of_a_long_sequence_are_not_held():
  """Less than an eighth of what the plain form needs."""

  def temporary_bytes(algorithm):
    def loss(weights, carry, x):
      _, y = recurrence.lstm(weights, carry, x, algorithm=algorithm)
      return jnp.mean(y**2)

    size = 16
    shapes = (
      recurrence.LSTMWeights((size, 4 * size), (size, 4 * size), (4 * size,)),
      recurrence.LSTMCarry((4, size), (4, size)),
      (4, 65536, size),
    )
    arguments = jax.tree.map(
      lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
      shapes,
      is_leaf=lambda leaf: isinstance(leaf, tuple) and type(leaf) is tuple
      and all(isinstance(n, int) for n in leaf),
    )  # fmt: skip
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary_bytes('fast') <= temporary_bytes('plain') / 8


def compare(given, expected):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
    given,
    expected,
  )
