"""Bugs planted in a real task, each caught by the law that it breaks."""

import itertools
import os
import time
from typing import ClassVar

import jax
import jax.numpy as jnp
import pytest

from seqjax import testing
from seqjax.tasks import Recall
from seqjax.tasks.synthetic.compression import Compression
from seqjax.tasks.synthetic.copying import LagCopy
from seqjax.tasks.synthetic.formal.permuting import ReverseString
from seqjax.tasks.synthetic.formal.stack_manipulation import StackManipulation
from seqjax.tasks.synthetic.mqar import MQAR
from seqjax.tasks.synthetic.transduction import Transduction
from seqjax.testing import another_process

CALLS = itertools.count()


class FloatTokens(Recall):
  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    return batch._replace(inputs=batch.inputs.astype(jnp.float32))


class TokenBeyondVocabulary(Recall):
  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    return batch._replace(inputs=batch.inputs + 1)


class ForgetsTheStep(Recall):
  def batch(self, key, step, batch_size, split='train'):
    return super().batch(key, 0, batch_size, split)


class ForgetsTheKey(Recall):
  def batch(self, key, step, batch_size, split='train'):
    return super().batch(jax.random.key(7), step, batch_size, split)


class CountsCalls(Recall):
  """Data that change with the order of the calls."""

  on_device: ClassVar[bool] = False

  def batch(self, key, step, batch_size, split='train'):
    return super().batch(key, step + next(CALLS), batch_size, split)


class HashesAString(Recall):
  """Python salts its hashes, anew in every process."""

  def batch(self, key, step, batch_size, split='train'):
    key = jax.random.fold_in(key, hash('recall') % 2**31)
    return super().batch(key, step, batch_size, split)


class LooksAtItsTracers(Recall):
  """Another draw inside jit than outside."""

  def batch(self, key, step, batch_size, split='train'):
    step = step + isinstance(step, jax.core.Tracer)
    return super().batch(key, step, batch_size, split)


class EvaluatesOnTraining(Recall):
  def batch(self, key, step, batch_size, split='train'):
    key = key if split == 'train' else jax.random.key(0)
    return super().batch(key, step, batch_size, 'train')


class EvaluatesWithTheRunsKey(Recall):
  def batch(self, key, step, batch_size, split='train'):
    key = key if split == 'train' else jax.random.fold_in(key, len(split))
    return super().batch(key, step, batch_size)


class MasksByMultiplying(Recall):
  def loss(self, outputs, batch):
    ones = jnp.ones_like(batch.weights)
    nats = -jax.nn.log_softmax(outputs)[..., 0]
    return jnp.sum(nats * batch.weights * ones) / jnp.sum(batch.weights)


class CountsBlanks(Recall):
  """An accuracy over all positions, asked or not."""

  def score(self, outputs, batch):
    right = jnp.argmax(outputs, axis=-1) == batch.targets
    return right.mean(axis=1), jnp.ones(len(right))


class ChanceOfTheVocabulary(Recall):
  @property
  def chance(self):
    return 1 / (self.num_facts + self.num_distractors)


class ChanceTooHigh(ReverseString):
  chance: ClassVar[float] = 0.57


class ChanceTooLow(ReverseString):
  chance: ClassVar[float] = 0.43


class ChanceOfTraining(Transduction):
  """Which has short strings too, where the end counts for more."""

  @property
  def scored_lengths(self):
    return self.lengths


class TooFewExamples(LagCopy):
  """2^12 rows, and training has an eighth of them in eight batches."""

  bits: ClassVar[float] = 40.0


class RecallTooHard(MQAR):
  """Masks hardly repeat, so that none tells how often it asks what."""

  chance: ClassVar[float] = 0.7


class ChanceOfKeysAndValues(MQAR):
  @property
  def chance(self):
    return 1 / self.vocab


class StackTooHard(StackManipulation):
  chance: ClassVar[float] = 0.7


class StackTooEasy(StackManipulation):
  """One in three, as if all answers were equally likely."""

  chance: ClassVar[float] = 1 / 3


class ChanceOfOneAnswer(Compression):
  """As if a row were right only with all of its answers."""

  @property
  def chance(self):
    return self.num_symbols ** (1.0 - self.length)


class WrongSolver(Recall):
  def solve(self, batch):
    return jnp.minimum(super().solve(batch), self.num_facts - 2)


class SolverThatPeeks(Recall):
  def solve(self, batch):
    return batch.targets


class OnlyHere(Recall):
  """As one of `__main__`, which is another module there."""

  def __setstate__(self, state):
    raise AttributeError('Only here.')


class EndsTheProcess(Recall):
  def __setstate__(self, state):
    os._exit(3)


class Sleeps(Recall):
  def __setstate__(self, state):
    time.sleep(600)


class NoSolver(Recall):
  def __getattribute__(self, name):
    if name == 'solve':
      raise AttributeError(name)
    return super().__getattribute__(name)


class InformedOfTooLittle(NoSolver):
  """Told the targets, and wrong in one place of many."""

  def informed(self, batch):
    return jnp.minimum(batch.targets, self.num_facts - 2)


class SolverThatReadsTheTarget(Transduction):
  """The shifted target holds all of it but the end."""

  def solve(self, batch):
    return jnp.roll(batch.inputs[1], -1, axis=1)


RECALL = {
  FloatTokens: testing.SHAPES,
  TokenBeyondVocabulary: testing.SHAPES,
  ForgetsTheStep: testing.DETERMINISM,
  ForgetsTheKey: testing.DETERMINISM,
  CountsCalls: testing.DETERMINISM,
  HashesAString: testing.DETERMINISM,
  LooksAtItsTracers: testing.ON_DEVICE,
  EvaluatesOnTraining: testing.SPLIT,
  EvaluatesWithTheRunsKey: testing.SPLIT,
  MasksByMultiplying: testing.WEIGHTS,
  CountsBlanks: testing.WEIGHTS,
  ChanceOfTheVocabulary: testing.CHANCE,
  WrongSolver: testing.CEILING,
  SolverThatPeeks: testing.CEILING,
  NoSolver: testing.CEILING,
  InformedOfTooLittle: testing.CEILING,
}
PAIRS = {'vocab': 64, 'length': 32}
BUGS = {
  **{kind(lag=40): law for kind, law in RECALL.items()},
  ChanceTooHigh(): testing.CHANCE,
  ChanceTooLow(): testing.CHANCE,
  ChanceOfTraining(): testing.CHANCE,
  TooFewExamples(num_symbols=2, lag=2, length=12): testing.SPLIT,
  RecallTooHard(**PAIRS): testing.CHANCE,
  ChanceOfKeysAndValues(**PAIRS): testing.CHANCE,
  StackTooHard(): testing.CHANCE,
  StackTooEasy(): testing.CHANCE,
  SolverThatReadsTheTarget(): testing.CEILING,
  ChanceOfOneAnswer(): testing.CHANCE,
}


@pytest.mark.parametrize('task', BUGS, ids=lambda task: type(task).__name__)
def test_a_planted_bug_is_caught_by_its_law(task):
  """And the error names the law."""
  with pytest.raises(testing.LawBroken) as caught:
    testing.assert_task_contract(task, batches=8)
  assert caught.value.law == BUGS[task]


def test_a_task_that_another_process_cannot_load_does_no_harm_to_the_next():
  """The law says what to do about it; whether it is found here or there."""

  class Local(Recall):
    pass

  for bug, words in (
    (Local, '(pickle|get) local.*Local.* module that can be imported'),
    (OnlyHere, 'AttributeError: Only here.* module that can be imported'),
    (EndsTheProcess, 'it ended with 3'),
  ):
    with pytest.raises(testing.LawBroken, match=words):
      testing.assert_task_contract(bug(lag=40), batches=4)
  testing.assert_task_contract(Recall(lag=40), batches=4)


def test_another_process_is_not_waited_for_without_end(monkeypatch):
  """Nor does one that has been given up answer for the next task."""
  with monkeypatch.context() as patch:
    patch.setattr('seqjax.testing.another_process.PATIENCE', 0.5)
    with pytest.raises(testing.LawBroken, match='no answer within 0.5 seconds'):
      testing.assert_task_contract(Sleeps(lag=40), batches=4)
  testing.assert_task_contract(Recall(lag=40), batches=4)


def folder_of_tests(_) -> str:
  """Returns where a process has found this module."""
  return __file__


def test_another_process_finds_modules_from_any_folder(monkeypatch, tmp_path):
  """One that starts after this process has changed its folder."""
  monkeypatch.chdir(tmp_path)
  another_process._end(another_process._process(None))
  assert another_process.call(folder_of_tests, None) == folder_of_tests(None)
