"""Programs that are compiled ahead of training are not compiled again."""

import contextlib

import jax
import pytest

from seqjax import nn, training
from seqjax.models import model_for
from seqjax.tasks import Recall
from seqjax.training import evaluation, interval
from seqjax.training.state import Parts

COMPILED = '/jax/core/compile/backend_compile_duration'


@contextlib.contextmanager
def compiled():
  """Yields a list that grows by one with each program that is compiled."""
  names = []

  def listen(event, duration, **kwargs):
    if event == COMPILED:
      names.append(kwargs)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield names
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope='module')
def made():
  task = Recall(lag=16)
  model = model_for(task, (nn.MinGRU(3),))
  return model, task, training.adamw(4)


def begun(made, key):
  return training.init(*made, key, 1e-3)


def test_steps_that_were_compiled_from_shapes_are_not_compiled_again(made):
  """On states of two seeds; those of another batch size are."""
  shapes = jax.eval_shape(lambda: begun(made, jax.random.key(0)))
  states = [begun(made, jax.random.key(seed)) for seed in range(2)]
  interval.lowered(shapes, parts=Parts(*made), batch_size=2).compile()
  with compiled() as names:
    for state in states:
      progress = interval.Progress.begin(state)
      names.clear()  # of the constants that began it
      interval.steps_on_device(progress, 2, parts=Parts(*made), batch_size=2)
    assert not names
    interval.steps_on_device(progress, 2, parts=Parts(*made), batch_size=3)
    assert names


def test_scores_that_were_compiled_from_shapes_are_not_compiled_again(made):
  """A call of `evaluate` compiles nothing then; one of another split does."""
  model, task, _ = made
  state = begun(made, jax.random.key(0))
  shapes = jax.eval_shape(lambda: state.params)
  sizes = {'batch_size': 6, 'at_once': 4}
  evaluation.lowered(model, shapes, task, **sizes).compile()
  with compiled() as names:
    training.evaluate(model, state.params, task, batches=2, **sizes)
    assert not names
    training.evaluate(
      model, state.params, task, batches=2, split='test', **sizes
    )
    assert names


def test_checking_a_state_traces_no_model_again(made, monkeypatch):
  """`init` has traced it; a state that is resumed is checked by that."""
  state = begun(made, jax.random.key(0))
  calls = []
  init = type(made[0]).init
  monkeypatch.setattr(
    type(made[0]), 'init', lambda *a, **k: calls.append(1) or init(*a, **k)
  )
  training.train(
    *made, state.key, steps=4, batch_size=2, learning_rate=1e-3, state=state
  )
  assert not calls
