"""Losses and metrics of wrong shapes, weights, and labels outside their range.

Each law runs over every loss and metric.
"""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from seqjax.ops import losses
from seqjax.tasks import TASKS
from seqjax.tasks.task import Metric

NAMED = {
  'cross_entropy': losses.cross_entropy,
  'bits': losses.bits,
  'accuracy': losses.accuracy,
}
ALL = NAMED | {'squared_error': losses.squared_error}
CLASSES = 200


@pytest.fixture(autouse=True)
def untyped(monkeypatch):
  """Turns checks of annotations off, as for users."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)


def example(name, shape=(3,)):
  """Returns outputs, targets and weights that fit."""
  if name == 'squared_error':
    return np.ones(shape, 'f4'), np.ones(shape, 'f4'), np.ones(shape, 'f4')
  outputs = np.zeros((*shape, CLASSES), 'f4')
  return outputs, np.ones(shape, 'i4'), np.ones(shape, 'f4')


def first(value):
  """Returns the loss, or the scores without their weights."""
  return value[0] if isinstance(value, tuple) else value


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('name', ALL)
def test_nothing_broadcasts(name, jit):
  """[3, 1] and [3] are no [3, 3]; nor is one weight that of three targets."""
  call = jax.jit(ALL[name]) if jit else ALL[name]
  outputs, targets, weights = example(name)
  wrong = [
    (outputs[:, None], targets, weights),
    (outputs[:1], targets, weights),
    (outputs, targets[:, None], weights),
    (outputs, targets[:1], weights),
    (outputs, targets, weights[:1]),
    (outputs, targets, weights[:, None]),
  ]
  for arguments in wrong:
    with pytest.raises(ValueError, match='shape'):
      call(*arguments)


@pytest.mark.parametrize('jit', [False, True])
def test_a_mean_takes_a_weight_for_each_value(jit):
  """Not one for all."""
  call = jax.jit(losses.weighted_mean) if jit else losses.weighted_mean
  with pytest.raises(ValueError, match=r'\[3\].*\[1\]'):
    call(np.ones(3, 'f4'), np.ones(1, 'f4'))


@pytest.mark.parametrize('bad', [-1.0, np.nan, np.inf])
@pytest.mark.parametrize('name', [*ALL, 'weighted_mean'])
def test_weights_are_finite_and_not_negative(name, bad):
  """An error outside jit; inside, a score that nobody takes for one."""
  if name == 'weighted_mean':
    call, arguments = losses.weighted_mean, (np.ones(3, 'f4'),)
  else:
    call, (*arguments, _) = ALL[name], example(name)
  weights = np.array([1, bad, 2], 'f4')
  with pytest.raises(ValueError, match='[Ww]eights'):
    call(*arguments, weights)
  found = jax.jit(call)(*arguments, weights)
  assert np.isnan(found[1][1] if isinstance(found, tuple) else found)


@pytest.mark.parametrize('bad', [-100, -1, CLASSES, 2**31 - 1])
@pytest.mark.parametrize('name', NAMED)
def test_labels_outside_their_range_are_errors_or_nan(name, bad):
  """Neither the last class, nor the nearest; at weight 0 they may be any."""
  outputs, targets, weights = example(name)
  targets[1] = bad
  with pytest.raises(ValueError, match=rf'0\.\.{CLASSES - 1}.*{bad}'):
    NAMED[name](outputs, targets, weights)
  found = first(jax.jit(NAMED[name])(outputs, targets, weights))
  assert np.isnan(found if found.ndim == 0 else found[1])
  weights[1] = 0
  targets_at_zero = targets.copy()
  targets_at_zero[1] = 0
  for call in (NAMED[name], jax.jit(NAMED[name])):
    np.testing.assert_array_equal(
      first(call(outputs, targets, weights)),
      first(call(outputs, targets_at_zero, weights)),
    )


@pytest.mark.parametrize('jit', [False, True])
def test_an_ignored_label_trains_no_class(jit):
  """PyTorch's -100 at weight 0 has no gradient at class 100, nor elsewhere."""
  grad = jax.grad(losses.cross_entropy)
  grad = jax.jit(grad) if jit else grad
  outputs, targets, weights = example('cross_entropy', (2,))
  targets[0], weights[0] = -100, 0
  found = grad(jnp.asarray(outputs), targets, weights)
  np.testing.assert_array_equal(found[0], 0)
  assert np.isfinite(found).all() and found[1, 1] < 0


def test_a_label_outside_its_range_has_a_gradient_of_nan_inside_jit():
  """So that a step of training is refused, whatever else is in the batch."""
  outputs, targets, weights = example('cross_entropy', (2,))
  targets[0] = -100
  found = jax.jit(jax.grad(losses.cross_entropy))(outputs, targets, weights)
  assert np.isnan(found[0]).any()


@pytest.mark.parametrize('dtype', ['f4', '?'])
@pytest.mark.parametrize('name', NAMED)
def test_labels_are_integers(name, dtype):
  """A label 1.0 may be meant, 1.5 cannot be."""
  outputs, targets, weights = example(name)
  with pytest.raises(ValueError, match='integers'):
    NAMED[name](outputs, targets.astype(dtype), weights)


@pytest.mark.parametrize('name', [n for n in TASKS if TASKS[n]().on_device])
def test_no_task_scores_outputs_of_another_shape_or_foreign_labels(name):
  """Every loss and every score of the catalogue."""
  task = TASKS[name]()
  shapes = jax.eval_shape(lambda: task.batch(jax.random.key(0), 0, 3))
  batch = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
  vocab = () if task.output.vocab is None else (task.output.vocab,)
  outputs = np.zeros((*batch.targets.shape, *vocab), 'f4')
  for call in (task.loss, task.score):
    with pytest.raises(ValueError, match='shape'):
      call(outputs[:1], batch)
    with pytest.raises(ValueError, match='shape'):
      call(outputs[..., None], batch)
    if task.metric is not Metric.SQUARED_ERROR:
      with pytest.raises(ValueError, match='-100'):
        call(outputs, batch._replace(targets=batch.targets * -100))
