"""What optax has is not written again: accumulation, masks, averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax import training
from seqjax.tasks import Recall

KEY = jax.random.key(2)
TASK = Recall(num_facts=4, num_distractors=3, lag=15)


class Counts(nn.Module):
  """A readout of how often each symbol has come."""

  @nn.compact
  def __call__(self, inputs, segments=None):
    x = jax.nn.one_hot(inputs, 8)
    return nn.Dense(4)(jnp.cumsum(x, axis=1))


def _sgd(**options):
  return optax.inject_hyperparams(optax.sgd)(learning_rate=jnp.nan, **options)


def _train(optimizer, **options):
  options = {'learning_rate': 0.1, 'log_every': 1, 'batch_size': 8} | options
  return list(training.train(Counts(), TASK, optimizer, KEY, **options))


def _kernel(state):
  return np.asarray(state.params['Dense_0']['kernel'])


def test_accumulated_gradients_update_every_few_steps():
  """By their mean: two batches of one size count as one of twice the size."""
  optimizer = optax.MultiSteps(_sgd(), 2).gradient_transformation()
  runs = _train(optimizer, steps=4)
  kernels = [_kernel(state) for state, _ in runs]
  np.testing.assert_array_equal(kernels[1], kernels[2])
  assert not np.array_equal(kernels[0], kernels[1])
  first = training.init(Counts(), TASK, optimizer, KEY, 0.1).params
  np.testing.assert_array_equal(kernels[0], first['Dense_0']['kernel'])

  @jax.jit
  @jax.grad
  def gradient(params, step):
    batch = TASK.batch(KEY, step, 8)
    return TASK.loss(Counts().apply({'params': params}, batch.inputs), batch)

  grads = [gradient(first, step) for step in (0, 1)]
  mean = jax.tree.map(lambda a, b: (a + b) / 2, *grads)['Dense_0']['kernel']
  expected = first['Dense_0']['kernel'] - 0.1 * mean
  np.testing.assert_allclose(kernels[1], expected, rtol=1e-5, atol=1e-7)
  assert float(runs[-1][1]['learning_rate']) == np.float32(0.1)


def test_a_mask_says_which_parameters_decay():
  """Kernels do, biases do not."""

  def is_kernel(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

  def final(weight_decay):
    adam = optax.inject_hyperparams(optax.adamw, static_args='mask')
    optimizer = adam(
      learning_rate=jnp.nan, weight_decay=weight_decay, mask=is_kernel
    )
    ((state, _),) = _train(optimizer, steps=1)
    first = training.init(Counts(), TASK, optimizer, KEY, 0.1)
    return first.params['Dense_0'], state.params['Dense_0']

  (first, plain), (_, decayed) = final(0.0), final(0.5)
  np.testing.assert_array_equal(plain['bias'], decayed['bias'])
  np.testing.assert_allclose(
    plain['kernel'] - decayed['kernel'], 0.05 * first['kernel'], atol=1e-6
  )


def _average(decay):
  """Keeps the moving average of the parameters beside them."""
  mean = optax.ema(decay)

  def update(updates, state, params=None):
    _, state = mean.update(optax.apply_updates(params, updates), state)
    return updates, state

  return optax.GradientTransformation(mean.init, update)


def test_an_average_of_the_parameters_is_kept_in_the_state():
  """And is scored in their place; resuming goes on with it."""
  decay = 0.8
  optimizer = optax.chain(_sgd(), _average(decay))
  runs = _train(optimizer, steps=6)
  expected = 0.0
  for state, _ in runs:
    expected = decay * expected + (1 - decay) * _kernel(state)
  final = runs[-1][0]
  kept = optax.tree.get(final.opt_state, 'ema')
  np.testing.assert_allclose(kept['Dense_0']['kernel'], expected, rtol=1e-5)
  scores = training.evaluate(Counts(), kept, TASK, batches=1, batch_size=4)
  assert list(scores) == [15]
  resumed, _ = _train(optimizer, steps=6, state=runs[2][0])[-1]
  again = optax.tree.get(resumed.opt_state, 'ema')
  jax.tree.map(np.testing.assert_array_equal, again, kept)


def test_any_transformation_of_gradients_trains():
  """Without a learning rate in its state there is none in the metrics."""
  (*_, (state, metrics)) = _train(optax.adam(1e-2), steps=3, learning_rate=None)
  assert 'learning_rate' not in metrics and metrics['loss'] > 0
  (*_, (resumed, _)) = _train(
    optax.adam(1e-2), steps=5, state=state, learning_rate=None
  )
  assert int(resumed.step) == 5


def test_a_transformation_is_told_the_loss():
  """It plateaus: no update is better than the last by a thousand."""
  plateau = optax.contrib.reduce_on_plateau(
    factor=0.5, patience=1, rtol=0.0, atol=1e3, accumulation_size=1
  )
  optimizer = optax.chain(_sgd(), plateau)
  (*_, (state, _)) = _train(optimizer, steps=6)
  assert 0 < float(optax.tree.get(state.opt_state, 'scale')) < 0.5


def test_a_line_search_may_evaluate_the_loss():
  """Of the same batch, at other parameters."""
  search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
  optimizer = optax.chain(optax.sgd(1.0), search)
  runs = _train(optimizer, steps=8, learning_rate=None)
  state, metrics = runs[-1]
  assert np.isfinite(metrics['loss']) and 'learning_rate' not in metrics
  assert np.isfinite(optax.tree.get(state.opt_state, 'value'))
