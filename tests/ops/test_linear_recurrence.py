"""h_t = a_t h_{t-1} + b_t by every algorithm, of numbers, matrices, gates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.linear_recurrence import ALGORITHMS, linear_recurrence
from seqjax.ops.matrix_recurrence import matrix_recurrence
from seqjax.ops.stabilized_gates import stabilized_gates, stabilized_gates_step
from seqjax.typing import Segments

RNG = np.random.default_rng(0)


def on_host(tree):
  return jax.tree.map(np.asarray, tree)


def compiled(op, **options):
  return jax.jit(functools.partial(op, **options))


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('dtype', [np.float32, np.complex64])
def test_every_algorithm_is_the_loop(algorithm, dtype):
  """Starts clear the state, padding holds it."""
  shape = 3, 29, 5
  decay = RNG.uniform(-1, 1, shape).astype(dtype)
  drive = RNG.normal(size=shape).astype(dtype)
  if dtype == np.complex64:
    decay, drive = decay * np.exp(2j).astype(dtype), drive * dtype(1j)
  carry = RNG.normal(size=(3, 5)).astype(dtype)
  start, valid = RNG.random((3, 29)) < 0.2, RNG.random((3, 29)) < 0.7
  run = compiled(linear_recurrence, algorithm=algorithm)
  last, states = on_host(run(carry, decay, drive, Segments(start, valid)))
  for t in range(29):
    carry = np.where(start[:, t, None], 0, carry)
    new = decay[:, t] * carry + drive[:, t]
    carry = np.where(valid[:, t, None], new, carry)
    np.testing.assert_allclose(states[:, t], carry, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last, carry, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_ones_in_bfloat16_sum_to_their_number(algorithm):
  """bfloat16 alone would stop at 256: the state has its own precision."""
  ones = np.ones((1, 4096, 1), jnp.bfloat16)
  carry = np.zeros((1, 1), np.float32)
  last, _ = compiled(linear_recurrence, algorithm=algorithm)(carry, ones, ones)
  assert last.dtype == jnp.float32 and last.item() == 4096


@pytest.mark.parametrize('dtype', [np.float64, np.complex128])
def test_gradients_do_not_depend_on_the_algorithm(dtype):
  """Of a state with two axes, under segments, where gates underflow too.

  And how the gradients change along a direction.
  """
  with jax.enable_x64(True):
    shape = 2, 19, 3, 2
    decay, drive = RNG.normal(size=(2, *shape)).astype(dtype)
    decay[:, 4:9] *= 1e-300
    carry = RNG.normal(size=(2, 3, 2)).astype(dtype)
    if dtype == np.complex128:
      decay, carry = decay * np.exp(1j), carry * np.exp(2j)
    segments = Segments(RNG.random((2, 19)) < 0.1, RNG.random((2, 19)) < 0.8)

    def gradients(algorithm):
      def value(*args):
        last, states = linear_recurrence(*args, segments, algorithm=algorithm)
        total = jnp.sum(jnp.sin(states)) + jnp.sum(last * 1j)
        return total.real + total.imag

      arguments = carry, decay, drive
      direction = jax.tree.map(np.cos, arguments)
      gradient = jax.grad(value, argnums=(0, 1, 2))
      change = jax.jit(functools.partial(jax.jvp, gradient))
      return jax.tree.leaves(change(arguments, direction))

    plain = gradients('plain')
    for algorithm in ('associative', 'scan'):
      for given, expected in zip(gradients(algorithm), plain, strict=True):
        assert np.abs(expected).max() > 0.1 and given.dtype == dtype
        np.testing.assert_allclose(given, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_products_of_small_decays_neither_overflow_nor_become_nan(algorithm):
  """A product of 500 decays of 1e-3 underflows to zero, as it should."""
  ones = np.ones((1, 500, 1), np.float32)
  run = compiled(linear_recurrence, algorithm=algorithm)
  _, states = on_host(run(ones[:, 0], 1e-3 * ones, ones))
  np.testing.assert_allclose(states[0, 10:], 1 / (1 - 1e-3), rtol=1e-5)


def test_an_unknown_algorithm_is_named_with_its_neighbour():
  """Before anything is compiled."""
  zeros = jnp.zeros((1, 2, 1))
  with pytest.raises(ValueError, match="'scann'. Did you mean 'scan'"):
    linear_recurrence(zeros[:, 0], zeros, zeros, algorithm='scann')


@pytest.mark.parametrize('algorithm', ['scan', 'associative'])
def test_a_recurrence_of_matrices_is_its_loop(algorithm):
  """h = A h + b, for several b at once, from a carry."""
  matrix, drive = RNG.normal(size=(2, 11, 3, 3)), RNG.normal(size=(2, 11, 3, 2))
  h = RNG.normal(size=(2, 3, 2))
  run = compiled(matrix_recurrence, algorithm=algorithm)
  with jax.enable_x64(True):
    states = run(matrix, drive, carry=h)
  states = np.asarray(states)
  for t in range(11):
    h = matrix[:, t] @ h + drive[:, t]
    np.testing.assert_allclose(states[:, t], h, rtol=1e-10, atol=1e-10)


def test_an_unknown_algorithm_of_matrices_is_named():
  """As in the elementwise recurrence."""
  ones = jnp.ones((1, 2, 3, 3))
  with pytest.raises(ValueError, match="mean 'scan'"):
    matrix_recurrence(ones, ones, algorithm='scam')


@pytest.mark.parametrize('algorithm', ['scan', 'associative'])
def test_the_running_maximum_of_gates_is_its_loop(algorithm):
  """Padding holds the maximum, a start sets it to zero; gradients too."""
  rng = np.random.default_rng(0)
  shape = 3, 21, 2
  maximum = jnp.asarray(rng.normal(size=shape[::2]), jnp.float32)
  forget = jnp.asarray(-rng.exponential(size=shape), jnp.float32)
  enter = jnp.asarray(5 * rng.normal(size=shape), jnp.float32)
  start, valid = rng.random((3, 21)) < 0.2, rng.random((3, 21)) < 0.7
  cotangent = jnp.asarray(rng.normal(size=(4, *shape)), jnp.float32)

  def loop(m, forget, enter):
    rows = []
    for t in range(21):
      m = jnp.where(start[:, t, None], 0, m)
      new = jnp.maximum(forget[:, t] + m, enter[:, t])
      gates = forget[:, t] + m - new, enter[:, t] - new
      keep = valid[:, t, None]
      m = jnp.where(keep, new, m)
      rows.append((m, *(jnp.where(keep, gate, 0) for gate in gates)))
    return m, *(jnp.stack(column, axis=1) for column in zip(*rows, strict=True))

  def given(m, forget, enter):
    last, gates = stabilized_gates(
      m,
      forget,
      enter,
      Segments(jnp.asarray(start), jnp.asarray(valid)),
      algorithm=algorithm,
    )
    return last, *gates

  def with_gradient(function):
    def objective(*args):
      last, *gates = function(*args)
      total = jnp.sum(last * cotangent[0, :, 0])
      pairs = zip(gates, cotangent[1:], strict=True)
      return total + sum(jnp.sum(a * b) for a, b in pairs), (last, *gates)

    gradient = jax.grad(objective, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(gradient)(maximum, forget, enter)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    with_gradient(given),
    with_gradient(loop),
  )


def test_gates_beyond_floats_stay_shares():
  """exp(1000) is no float32, its share of itself is 1."""
  last, gates = stabilized_gates(
    jnp.zeros((1, 1)),
    jnp.array([-0.5, -2000.0, -0.5])[None, :, None],
    jnp.array([1000.0, -1000.0, -1000.0])[None, :, None],
  )
  assert gates.maximum.ravel().tolist() == [1000, -1000, -1000]
  assert gates.log_forget.ravel().tolist() == [-1000.5, 0, -0.5]
  assert gates.log_input.ravel().tolist() == [0, 0, 0]
  assert last.item() == -1000
  step = stabilized_gates_step(last, jnp.full((1, 1), -3.0), jnp.zeros((1, 1)))
  assert [gate.item() for gate in step] == [0, -1003, 0]
