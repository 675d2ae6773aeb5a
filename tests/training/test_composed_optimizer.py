"""Optimizers by name make the updates that their formulas say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import training
from seqjax.training.composed_optimizer import OPTIMIZERS, SCHEDULES
from seqjax.training.optimizer import with_learning_rate

PARAMS = {'kernel': jnp.array([[1.0, -2.0]]), 'bias': jnp.array([0.5, 0.5])}
GRADS = {'kernel': jnp.array([[0.3, 0.1]]), 'bias': jnp.array([-0.2, 0.4])}


def run(optimizer, steps, rate=0.1, grads=GRADS):
  """Returns the parameters after each step, and the last state."""
  params, state = PARAMS, with_learning_rate(optimizer.init(PARAMS), rate)
  found = []
  for _ in range(steps):
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    found.append(params)
  return found, state


def same(a, b, **tolerance):
  for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
    np.testing.assert_allclose(x, y, **{'rtol': 1e-5} | tolerance)


def test_by_default_it_is_adamw_as_ever():
  """Step by step."""
  same(run(training.named_optimizer(8), 8)[0], run(training.adamw(8), 8)[0])


def test_sgd_has_nesterovs_momentum_and_decoupled_decay():
  """By a loop over the formula; biases do not decay."""
  made = training.named_optimizer(
    4, name='sgd', schedule='constant', warmup=0, clip=0.0, weight_decay=0.01
  )
  found, _ = run(made, 4)
  for name, decay in (('kernel', 0.01), ('bias', 0.0)):
    x, trace = np.array(PARAMS[name]), 0.0
    for after in found:
      trace = np.array(GRADS[name]) + 0.9 * trace
      step = np.array(GRADS[name]) + 0.9 * trace + decay * x
      x = x - 0.1 * step
      np.testing.assert_allclose(after[name], x, rtol=1e-5)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_every_optimizer_decays_kernels_and_nothing_else(name):
  """Where there is no gradient, that is all that moves."""
  zeros = jax.tree.map(jnp.zeros_like, GRADS)
  made = training.named_optimizer(
    4, name=name, schedule='constant', warmup=0, weight_decay=0.5
  )
  (after, *_), _ = run(made, 1, grads=zeros)
  np.testing.assert_allclose(after['kernel'], 0.95 * PARAMS['kernel'])
  np.testing.assert_array_equal(after['bias'], PARAMS['bias'])


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_schedules_rise_and_end_as_they_say(schedule):
  """By the sizes of updates of plain gradients."""
  made = training.named_optimizer(
    10, name='sgd', schedule=schedule, warmup=2, clip=0.0, weight_decay=0.0
  )
  found, _ = run(made, 10)
  x = np.array(
    [float(PARAMS['bias'][0]), *(float(p['bias'][0]) for p in found)]
  )
  trace = np.cumsum(0.9 ** np.arange(11))  # of a gradient that stays the same
  factor = np.diff(x) / (0.1 * 0.2 * trace[1:])
  t = np.arange(8) / 8
  expected = {
    'cosine': (1 + np.cos(np.pi * t)) / 2,
    'linear': 1 - t,
    'constant': 1 + 0 * t,
  }[schedule]  # fmt: skip
  np.testing.assert_allclose(factor, [0, 0.5, *expected], atol=1e-4)


def test_accumulated_gradients_are_averaged():
  """Nothing moves in between; the schedule counts updates."""
  made = training.named_optimizer(12, accumulate=3, warmup=0)
  found, _ = run(made, 12)
  same(found[0], PARAMS)
  same(found[1], PARAMS)
  expected, _ = run(training.adamw(4, warmup=0), 4)
  same(found[2::3], expected)


def test_an_average_follows_the_parameters():
  """By a loop over the formula; without one it is the parameters."""
  made = training.named_optimizer(6, average=0.9)
  found, state = run(made, 6)
  average = jax.tree.map(np.array, PARAMS)
  for params in found:
    average = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, average, params)
  made_state = training.TrainState(0, found[-1], state, None, {})
  same(training.averaged_params(made_state), average)
  _, plain = run(training.named_optimizer(6), 6)
  made_state = made_state._replace(opt_state=plain)
  assert training.averaged_params(made_state) is found[-1]


@pytest.mark.parametrize('options, message', [
  ({'name': 'adam'}, "Unknown optimizer 'adam'. Did you mean 'adamw'"),
  ({'schedule': 'cosin'}, "Unknown schedule 'cosin'. Did you mean 'cosine'"),
  ({'accumulate': 3}, 'divides the steps, but steps=10 and accumulate=3'),
  ({'average': 1.0}, 'less than 1, but 1.0 was given'),
  ({'warmup': 10, 'schedule': 'linear'}, 'warmup=10 was given'),
])  # fmt: skip
def test_what_cannot_be_made_is_a_sentence(options, message):
  """Before anything is compiled."""
  with pytest.raises(ValueError, match=message):
    training.named_optimizer(10, **options)
