"""What every task owes to those who use it."""

import warnings
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import testing
from seqjax.errors import UnknownName
from seqjax.ops import losses
from seqjax.tasks import SPLITS, TASKS, Metric, TaskShape, split_key
from seqjax.tasks.task import BaseTask, Overlap
from seqjax.typing import Batch, Spec

KEYS = [jax.random.key(seed) for seed in range(3)]


def _data(key):
  return tuple(np.asarray(jax.random.key_data(key)).tolist())


@pytest.mark.parametrize('name', TASKS)
def test_every_task_has_one_of_the_five_shapes(name):
  """And can be made without the files that it reads."""
  assert isinstance(TASKS[name]().shape, TaskShape)


@pytest.mark.parametrize('name', TASKS)
def test_every_task_is_hashed_by_value(name):
  """So that a compiled function is found again."""
  assert TASKS[name]() == TASKS[name]()
  assert hash(TASKS[name]()) == hash(TASKS[name]())


def test_no_two_streams_share_a_key():
  """Splits, runs and steps: all keys differ, and none is the run's own."""
  train = [split_key(key, 'train', step) for key in KEYS for step in range(20)]
  held_out = [
    split_key(KEYS[0], split, step)
    for split in ('validation', 'test')
    for step in range(20)
  ]
  drawn = [_data(key) for key in [*KEYS, *train, *held_out]]
  assert len(set(drawn)) == len(drawn) == 3 + 60 + 40


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_held_out_splits_ignore_the_key_of_the_run(split):
  """Its seed and its generator."""
  keys = [*KEYS, jax.random.key(0, impl='rbg'), jax.random.PRNGKey(7)]
  assert len({_data(split_key(key, split, 5)) for key in keys}) == 1


@pytest.mark.parametrize('split', SPLITS)
def test_a_key_is_the_same_inside_jit(split):
  """The step may be traced."""
  traced = jax.jit(split_key, static_argnums=1)(KEYS[1], split, 3)
  assert _data(traced) == _data(split_key(KEYS[1], split, 3))


def test_an_unknown_split_is_named_with_its_neighbour():
  """One sentence, before anything is drawn."""
  with pytest.raises(ValueError, match="split 'valid'.*mean 'validation'"):
    split_key(KEYS[0], 'valid', 0)


@pytest.mark.parametrize('name', TASKS)
def test_every_task_refuses_an_unknown_split(name):
  """Before it draws, or reads a file."""
  with pytest.raises(ValueError, match="split 'tset'.*mean 'test'"):
    TASKS[name]().batch(KEYS[0], 0, 2, 'tset')


@pytest.mark.parametrize('name', TASKS)
def test_no_task_has_a_header_of_its_own(name):
  """It samples, or reads; the base class checks what it is asked for."""
  assert type(TASKS[name]()).batch is BaseTask.batch


def test_an_unknown_task_gets_a_suggestion():
  """As on the command line."""
  with pytest.raises(UnknownName, match="Unknown task 'parety'.*'parity'"):
    TASKS['parety']


class Echo:
  """A task that derives from nothing of ours."""

  input: ClassVar[Spec] = Spec((), vocab=4)
  output: ClassVar[Spec] = Spec((), vocab=4)
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  metric: ClassVar[Metric] = Metric.ACCURACY
  on_device: ClassVar[bool] = True
  chance: ClassVar[float] = 0.25
  ceiling: ClassVar[float] = 1.0

  def batch(self, key, step, batch_size, split='train'):
    key = split_key(key, split, step)
    tokens = jax.random.randint(key, (batch_size, 24), 0, 4, jnp.int32)
    return Batch(tokens, tokens, jnp.ones(tokens.shape, jnp.float32))

  def solve(self, batch):
    return batch.inputs

  def loss(self, outputs, batch):
    return losses.cross_entropy(outputs, batch.targets, batch.weights)

  def score(self, outputs, batch):
    return losses.accuracy(outputs, batch.targets, batch.weights)


def test_a_task_with_its_own_batch_keeps_the_contract():
  """The base class is a convenience, not a part of the protocol."""
  testing.assert_task_contract(Echo(), batches=8)


@pytest.mark.parametrize(
  'name, options',
  [
    ('parity', {'length': 8}),
    ('reverse_string', {'length': 8}),
    ('lag_copy', {'lag': 1, 'length': 4}),
    ('copy_memory', {'num_copied': 2, 'delay': 1}),
    ('dyck', {'length': 8}),
    ('translation', {'max_clauses': 1, 'num_nouns': 4, 'num_verbs': 1}),
  ],
)
def test_small_spaces_are_scored_with_a_note(name, options):
  """Which can be made an error."""
  task = TASKS[name](**options)
  draw = lambda: task.batch(jax.random.key(0), 0, 4, 'test')  # noqa: E731
  with pytest.warns(Overlap, match='training has seen what is scored'):
    batch = draw()
  assert np.any(np.asarray(batch.weights) != 0)
  with warnings.catch_warnings():
    warnings.simplefilter('error', Overlap)
    with pytest.raises(ValueError, match='24 are needed'):
      draw()
