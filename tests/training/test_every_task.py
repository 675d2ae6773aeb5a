"""The model that a task specifies can be trained on it and scored."""

import functools

import jax
import numpy as np
import pytest

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import GRU, MIXERS
from seqjax.tasks import TASKS

NEED_FILES = (
  'mnist', 'permuted_mnist', 'cifar10', 'lm1b', 'csv_series', 'imdb', 'aan',
  'lra_listops', 'pathfinder', 'pathx',
)  # fmt: skip
OPTIMIZER = training.adamw(10, warmup=1)
ONE_OF_EACH_SHAPE = (
  'two_spirals',
  'oscillator',
  'trajectory_direction',
  'sine',
  'digits',  # drawn on the host
  'transduction_sort',
)


@functools.cache
def _shapes(task):
  """Returns the shapes of a batch of two; on the host it is drawn."""
  draw = functools.partial(task.batch, batch_size=2)
  if task.on_device:
    return jax.eval_shape(draw, jax.random.key(0), 0)
  return jax.eval_shape(lambda batch: batch, draw(jax.random.key(0), 0))


@pytest.mark.parametrize('name', [n for n in TASKS if n not in NEED_FILES])
def test_every_task_fits_the_model_that_it_specifies(name):
  """Outputs, loss and score, by their shapes."""
  task = TASKS[name]()
  model = model_for(task, (GRU(8),))

  def run(batch):
    arguments = batch.inputs, batch.segments
    outputs, _ = model.init_with_output(jax.random.key(0), *arguments)
    return outputs, task.loss(outputs, batch), task.score(outputs, batch)

  batch = _shapes(task)
  outputs, loss, (score, weight) = jax.eval_shape(run, batch)
  classes = () if task.output.vocab is None else (task.output.vocab,)
  assert outputs.shape == (*batch.targets.shape, *classes)
  assert loss.shape == () and score.shape == weight.shape


@pytest.mark.parametrize('name', ONE_OF_EACH_SHAPE)
def test_every_shape_of_task_trains(name):
  """A few steps change the parameters, and the score is a number."""
  task = TASKS[name]()
  model, key = model_for(task, (GRU(8),)), jax.random.key(0)
  first = training.init(model, task, OPTIMIZER, key, 1e-3)
  *_, (state, metrics) = training.train(
    model, task, OPTIMIZER, key, steps=3, batch_size=4
  )
  moved = jax.tree.map(
    lambda a, b: not np.array_equal(a, b), first.params, state.params
  )
  assert any(jax.tree.leaves(moved)) and np.isfinite(metrics['loss'])
  scores = training.evaluate(model, state.params, task, batches=1, batch_size=4)
  assert np.isfinite(training.overall(scores))


@pytest.mark.parametrize('name', MIXERS)
def test_every_mixer_serves_every_shape_of_task(name):
  """A model of it can be made for each, and gives outputs."""
  for task_name in (
    'two_spirals',
    'oscillator',
    'parity',
    'recall',
    'translation',
  ):
    task = TASKS[task_name]()
    model = model_for(task, (MIXERS[name](8, 64),))
    batch = _shapes(task)
    outputs, _ = jax.eval_shape(
      model.init_with_output, jax.random.key(0), batch.inputs, batch.segments
    )
    assert outputs.shape[:1] == batch.targets.shape[:1]
