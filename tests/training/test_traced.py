"""Tasks that differ in a traced number share what is compiled, and no more."""

import jax
import numpy as np
import pytest

from seqjax import training
from seqjax.models import MLPClassifier
from seqjax.ops import losses
from seqjax.tasks.synthetic.label_at_position import LabelAtPosition
from seqjax.tasks.synthetic.motifs import Motifs
from seqjax.tasks.synthetic.wrappers import FixedTrainingSet
from seqjax.training import traced

OPTIMIZER = training.adamw(6, warmup=2)
KEY = jax.random.key(1)
INNER = LabelAtPosition(num_symbols=4, position=1, length=12)
MODEL = MLPClassifier(INNER.input, 4, 12, hidden=3)


class Untraced(FixedTrainingSet):
  """A fixed set whose size is compiled for."""

  traced = ()


@pytest.fixture
def loss_traces(monkeypatch):
  """Grows by one whenever a function that computes the loss is traced."""
  traces, cross_entropy = [], losses.cross_entropy

  def counted(*args):
    traces.append(args)
    return cross_entropy(*args)

  monkeypatch.setattr(losses, 'cross_entropy', counted)
  return traces


def _params(task, model=MODEL, how='one_by_one'):
  states = training.train_population(
    model, task, OPTIMIZER, [KEY], learning_rates=[1e-2], steps=6,
    batch_size=8, how=how,
  )  # fmt: skip
  *_, (state, _) = states
  return jax.tree.map(lambda leaf: np.asarray(leaf)[0], state.params)


def test_sets_of_any_size_share_a_compiled_step(loss_traces):
  """Each trains as one that is compiled for its size, bit by bit."""
  model = MODEL.clone(hidden=5)
  found = [_params(FixedTrainingSet(INNER, n), model) for n in (1, 7, 10**6)]
  assert len(loss_traces) == 1
  alone = [_params(Untraced(INNER, n), model) for n in (1, 7, 10**6)]
  jax.tree.map(np.testing.assert_array_equal, found, alone)
  kernels = [each['Dense_0']['kernel'].tobytes() for each in found]
  assert len(set(kernels)) == 3


def test_a_population_side_by_side_shares_them_too(loss_traces):
  """The number is not mixed up with another size's."""
  found = [
    _params(FixedTrainingSet(INNER, n), how='vmap')['Dense_0']['kernel']
    for n in (1, 7)
  ]
  assert len(loss_traces) == 1
  alone = _params(Untraced(INNER, 7), how='vmap')['Dense_0']['kernel']
  np.testing.assert_array_equal(found[1], alone)


def test_an_evaluation_asks_for_the_position_of_its_task(loss_traces):
  """Compiled once for all; losses are those of the position."""
  params = _params(INNER)
  tasks = [LabelAtPosition(4, position, 12) for position in (1, 8)]
  del loss_traces[:]
  near, far = (
    training.evaluate_loss(MODEL, params, task, batches=2, batch_size=16)
    for task in tasks
  )
  assert len(loss_traces) == 1 and near != far
  batch = tasks[1].batch(KEY, 0, 16, 'validation')
  np.testing.assert_array_equal(batch.targets, batch.inputs[:, 8])
  scores = [
    training.evaluate(MODEL, params, task, batches=4, batch_size=64)
    for task in tasks
  ]
  assert scores[0] != scores[1]


def test_a_split_task_is_equal_whatever_its_number():
  """And joined with it again what it was; a task without one stays itself."""
  one, two = (FixedTrainingSet(INNER, n) for n in (5, 6))
  assert one != two
  (static, numbers), (other, _) = map(traced.split, (one, two))
  assert static == other and hash(static) == hash(other)
  assert traced.join(static, numbers) == one
  assert traced.split(Motifs()) == (Motifs(), {})


def test_a_set_without_a_seed_is_another_one_for_every_run():
  """Each has so many examples, which all steps of its run share."""
  task = FixedTrainingSet(INNER, num_examples=16, seed=None)
  draw = jax.jit(task.batch, static_argnums=2)
  sets = [
    {
      tuple(row.tolist())
      for step in range(2)
      for row in np.asarray(draw(jax.random.key(seed), step, 256).inputs)
    }
    for seed in (0, 1)
  ]
  assert [len(each) for each in sets] == [16, 16]
  assert not sets[0] & sets[1]
