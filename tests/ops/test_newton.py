"""Recurrences solved in parallel over time, against the scan."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import nn
from seqjax.ops import recurrence
from seqjax.ops.newton import newton

STEPS = {
  'elman': recurrence.elman_step,
  'gru': recurrence.gru_step,
  'lstm': recurrence.lstm_step,
}

# Worth optimising: what is compiled with these runs for long.
RUNS_LONG = {
  'xla_backend_optimization_level': 1,
  'xla_llvm_disable_expensive_passes': False,
}


def random_weights(name, rng, size, features, gain=1.0):
  """Recurrent kernels of gain times the scale that keeps variance."""
  gates = {'elman': 1, 'gru': 3, 'lstm': 4}[name]
  weights = (
    rng.normal(size=(features, gates * size)) / np.sqrt(features),
    rng.normal(size=(size, gates * size)) * gain / np.sqrt(size),
    rng.normal(size=(gates * size,)) / 10,
  )
  if name == 'elman':
    return recurrence.ElmanWeights(*weights)
  if name == 'gru':
    return recurrence.GRUWeights(*weights, rng.normal(size=(size,)) / 10)
  return recurrence.LSTMWeights(*weights)


def as_carry(name, state):
  return recurrence.LSTMCarry(state, state) if name == 'lstm' else state


def scan(step, carry, x):
  """All states, one after the other."""

  def body(carry, x_t):
    carry = step(carry, x_t)
    return carry, carry

  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), x)
  _, states = jax.lax.scan(body, carry, time_major)
  return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), states)


def distance(given, expected):
  """The largest difference of each leaf, all of them."""
  return jax.tree.leaves(
    jax.tree.map(
      lambda a, b: np.max(np.abs(np.subtract(a, b))), given, expected
    )
  )


def relative_distance(given, expected):
  return jax.tree.leaves(
    jax.tree.map(
      lambda a, b: np.max(np.abs(a - b)) / np.max(np.abs(b)), given, expected
    )
  )


def restarting(name, weights):
  """A step that restarts and holds, as whole sequences with segments do."""

  def step(carry, inputs):
    x_t, start, valid = inputs

    def where(rows, yes, no):
      return jax.tree.map(lambda a, b: jnp.where(rows[:, None], a, b), yes, no)

    carry = where(start, jax.tree.map(jnp.zeros_like, carry), carry)
    return where(valid, STEPS[name](weights, carry, x_t), carry)

  return step


@pytest.mark.parametrize(
  'name, options',
  [('gru', {}), ('lstm', {'jacobian': 'diagonal', 'damping': 0.25})],
)
def test_values_and_derivatives_are_those_of_the_scan(name, options):
  """Weights closed over, inputs, carry; forward over reverse; restarts too."""
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    weights = jax.tree.map(jnp.asarray, random_weights(name, rng, 4, 3))
    state, x = jnp.asarray(rng.normal(size=(2, 4))), rng.normal(size=(2, 20, 3))
    arguments = weights, as_carry(name, state), jnp.asarray(x)
    start = jnp.asarray(rng.random((2, 20)) < 0.2)
    valid = jnp.asarray(rng.random((2, 20)) < 0.8)

    def parallel(step, carry, x):
      solution = newton(
        step, carry, x, tolerance=1e-9, fallback=False, **options
      )
      return solution.states, solution.converged

    def sequential(step, carry, x):
      return scan(step, carry, x), jnp.ones((2,), bool)

    def everything(unroll):
      def loss(weights, carry, x):
        step = restarting(name, weights)
        states, converged = unroll(step, carry, (x, start, valid))
        loss = sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(states))
        return loss, (states, converged)

      gradients = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
      directions = jax.tree.map(jnp.cos, arguments)
      values, tangents, (states, converged) = jax.jvp(
        gradients, arguments, directions, has_aux=True
      )
      return (values, tangents, states), converged

    given, converged = jax.jit(functools.partial(everything, parallel))()
    expected, _ = jax.jit(functools.partial(everything, sequential))()
  assert np.all(converged)
  assert max(distance(given, expected)) < 1e-9


@pytest.mark.parametrize('size', [16, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name', STEPS)
def test_ten_thousand_positions(name, size):
  """At default initialisation: outputs to 1e-5, gradients to 1e-4."""
  modules = {'elman': nn.Elman, 'gru': nn.GRU, 'lstm': nn.LSTM}
  x = jax.random.normal(jax.random.key(1), (1, 10_000, size))
  module = modules[name](features=size)
  weights = module.bind(module.init(jax.random.key(0), x[:, :1])).weights
  carry = as_carry(name, jnp.zeros((1, size)))
  direction = jax.random.normal(jax.random.key(2), x.shape)

  def loss(unroll, weights, x, carry):
    states, converged = unroll(
      functools.partial(STEPS[name], weights), carry, x
    )
    outputs = states.hidden if name == 'lstm' else states
    return jnp.sum(direction * outputs), (outputs, converged)

  def parallel(step, carry, x):
    solution = newton(step, carry, x, fallback=False)
    return solution.states, solution.converged

  given, expected = (
    jax.jit(
      jax.value_and_grad(
        functools.partial(loss, unroll), argnums=(0, 1, 2), has_aux=True
      )
    )(weights, x, carry)
    for unroll in (parallel, lambda *a: (scan(*a), None))
  )
  (_, (outputs, converged)), gradients = given
  (_, (expected_outputs, _)), expected_gradients = expected
  assert np.all(converged)
  assert max(distance(outputs, expected_outputs)) < 1e-5
  assert max(relative_distance(gradients, expected_gradients)) < 1e-4


def many_cells(name, count, size=8, features=4, length=256):
  """Cells of gains 0.5 to 3: their gains, weights, carries, inputs."""
  rng = np.random.default_rng(0)
  gains = np.repeat([0.5, 0.75, 1.0, 1.5, 2.0, 3.0], count // 6)
  weights = [random_weights(name, rng, size, features, gain) for gain in gains]
  weights = jax.tree.map(lambda *a: np.float32(np.stack(a)), *weights)
  x = np.float32(rng.normal(size=(gains.size, 1, length, features)))
  return gains, weights, np.zeros((gains.size, 1, size), np.float32), x


@pytest.mark.parametrize('name', STEPS)
def test_no_answer_is_wrong(name, capsys):
  """Of 1000 cells, chaotic ones included; and the tame ones are solved."""
  gains, *cells = many_cells(name, 336)

  def parallel(weights, state, x):
    step = functools.partial(STEPS[name], weights)
    return newton(step, as_carry(name, state), x, fallback=False)

  def sequential(weights, state, x):
    step = functools.partial(STEPS[name], weights)
    return scan(step, as_carry(name, state), x)

  solve = jax.jit(jax.vmap(parallel), compiler_options=RUNS_LONG)
  solution = solve(*cells)
  with jax.enable_x64(True):
    cells = jax.tree.map(np.float64, cells)
    expected = jax.jit(jax.vmap(sequential))(*cells)
  errors = [
    np.max(np.abs(np.subtract(given, exact)), axis=(1, 2, 3))
    for given, exact in zip(
      jax.tree.leaves(solution.states), jax.tree.leaves(expected), strict=True
    )
  ]
  converged = np.asarray(solution.converged[:, 0])
  assert np.max(np.asarray(errors)[:, converged]) < 1e-4
  assert np.mean(converged[gains <= 1]) >= 0.95
  with capsys.disabled():
    print(f'\n{name}: gain, converged, median of iterations')
    for gain in np.unique(gains):
      of_gain = gains == gain
      rate = np.mean(converged[of_gain])
      iterations = np.median(solution.iterations[of_gain])
      print(f'  {gain:4.2f}  {rate:4.2f}  {iterations:.0f}')


def tent(h, width):
  """Chaotic where the width is below 1, forgetful above.

  It ends in a division, for compilers to round as it stands: products they may
  fuse with what is added to them.
  """
  return jnp.minimum(h, 1 - h) / width[:, None]


def test_a_chaotic_row_is_scanned():
  """The rows beside it are not; derivatives are those at what is returned."""
  widths = jnp.asarray([[1.1], [0.55]]) * jnp.ones((1, 60))
  carry = jnp.asarray([[0.3], [0.3]])
  weights = jnp.where(jnp.arange(60) < 8, 1.0, 0.0)[None, :, None]

  def total(unroll, carry):
    solution = unroll(tent, carry, widths)
    states = getattr(solution, 'states', solution)
    return jnp.sum(weights * states), solution

  def gradient(unroll):
    function = functools.partial(total, unroll)
    return jax.jit(jax.grad(function, has_aux=True))(carry)

  (given, solution), (exact, expected) = gradient(newton), gradient(scan)
  np.testing.assert_array_equal(solution.converged, [True, False])
  np.testing.assert_allclose(solution.states[0], expected[0], atol=1e-6)
  np.testing.assert_array_equal(solution.states[1], expected[1])
  np.testing.assert_array_equal(solution.carry, solution.states[:, -1])
  np.testing.assert_allclose(given, exact, rtol=1e-5)


@functools.partial(jax.jit, static_argnums=2)
def iterate_tent(carry, widths, max_iterations):
  return newton(
    tent, carry, widths, max_iterations=max_iterations, fallback=False
  )


def test_states_that_follow_the_step_need_not_be_right():
  """They do to the last bit, no update is left, and yet they are far off."""
  carry, widths = jnp.full((1, 1), 0.3), jnp.full((1, 60), 0.55)
  solution = iterate_tent(carry, widths, 60)
  with jax.enable_x64(True):
    exact = scan(tent, *(jnp.asarray(a, jnp.float64) for a in (carry, widths)))
  assert solution.update[0] < 1e-5
  assert distance(solution.states, exact)[0] > 0.1
  assert not solution.converged[0]


@pytest.mark.parametrize('count', [1, 9])
def test_every_step_makes_one_more_position_right(count):
  """However chaotic the others are, which stay where the step puts them."""
  carry, widths = jnp.full((1, 1), 0.3), jnp.full((1, 60), 0.55)
  states = iterate_tent(carry, widths, count).states
  expected = scan(tent, carry, widths)
  np.testing.assert_array_equal(states[:, :count], expected[:, :count])
  assert not np.allclose(states, expected, atol=0.1)
  assert np.max(states) <= 0.5 / 0.55 + 1e-6


def test_overflow_on_the_way_is_survived():
  """Jacobians of 5 at the guess, whose products are beyond float32."""
  x, carry = jnp.full((1, 128, 2), 0.01), jnp.zeros((1, 2))

  def step(h, x_t):
    return jnp.tanh(5 * h + x_t)

  solve = jax.jit(functools.partial(newton, step, fallback=False))
  solution = solve(carry, x)
  assert solution.converged[0]
  np.testing.assert_allclose(solution.states, scan(step, carry, x), atol=1e-5)


@pytest.mark.parametrize('size', [1, 8, 64])
def test_a_row_with_nan_has_not_converged(size):
  """However small the update of all its other numbers is."""
  x = jnp.full((4, 64, size), 0.1).at[1, 10, size // 2].set(jnp.nan)

  def step(h, x_t):
    return jnp.tanh(0.5 * h + x_t)

  solve = jax.jit(functools.partial(newton, step, fallback=False))
  solution = solve(jnp.zeros((4, size)), x)
  lost = [False, True, False, False]
  np.testing.assert_array_equal(solution.converged, np.logical_not(lost))
  np.testing.assert_array_equal(np.isinf(solution.update), lost)


def test_precision_is_that_of_the_carry():
  """Float32 stays float32 where x64 is on."""
  with jax.enable_x64(True):
    x, carry = jnp.ones((2, 3), jnp.float32), jnp.ones((2, 2), jnp.float32)
    solution = jax.eval_shape(functools.partial(newton, tent), carry, x)
  for leaf in solution.states, solution.carry, solution.update:
    assert leaf.dtype == jnp.float32


def test_no_positions_change_nothing():
  """The carry that was given, and no states."""
  carry = jnp.ones((2, 2))
  solution = jax.jit(functools.partial(newton, tent))(carry, jnp.ones((2, 0)))
  assert solution.states.shape == (2, 0, 2)
  assert np.all(solution.converged)
  np.testing.assert_array_equal(solution.carry, carry)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'jacobian': 'diagnal'}, "mean 'diagonal'"),
    ({'damping': 1.5}, 'from 0'),
    ({'tolerance': 0.0}, 'above 0'),
    ({'max_iterations': 0}, 'at least one'),
  ],
)
def test_bad_options_are_named(options, message):
  """One sentence each."""
  with pytest.raises(ValueError, match=message):
    newton(tent, jnp.ones((1, 1)), jnp.ones((1, 2)), **options)
