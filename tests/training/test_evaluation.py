"""Scores by group: the right means, without dropout, compiled once."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import losses
from seqjax.tasks import Recall
from seqjax.tasks.synthetic.formal.regular import Parity
from seqjax.tasks.text import Text
from seqjax.training import (
  Scores,
  evaluate,
  evaluate_lengths,
  evaluate_loss,
  overall,
)
from seqjax.typing import Batch


class Noisy(nn.Module):
  """Logits for the last fact among the latest `reach` positions."""

  reach: int
  num_facts: int = 8
  dropout: float = 0.0

  @nn.compact
  def __call__(self, inputs, segments=None):
    scale = self.param('scale', nn.initializers.ones, ())
    latest = inputs[:, -self.reach :]
    fact = jnp.max(jnp.where(latest < self.num_facts, latest, 0), axis=1)
    logits = jax.nn.one_hot(fact, self.num_facts)
    deterministic = not self.has_rng('dropout')
    logits = nn.Dropout(self.dropout, deterministic=deterministic)(logits)
    return scale * jnp.repeat(logits[:, None], inputs.shape[1], axis=1)


@dataclasses.dataclass(frozen=True)
class Parts:
  """Inputs are their own groups; the score is the output, a number."""

  grouped: bool = True
  on_device: bool = True

  def batch(self, key, step, batch_size, split='train'):
    del key, split
    inputs = (jnp.arange(batch_size * 3) + step).reshape(batch_size, 3) % 4
    weights = jnp.where(inputs == 2, 0.0, inputs + 1.0)
    group = inputs if self.grouped else None
    return Batch(inputs, inputs, weights, group=group)

  def score(self, outputs, batch):
    return jnp.where(batch.weights > 0, outputs, jnp.nan), batch.weights


class Echo(nn.Module):
  """Outputs that count the examples and positions: 0, 1, 2 ..."""

  def __call__(self, inputs, segments=None):
    return jnp.arange(inputs.size, dtype=jnp.float32).reshape(inputs.shape)


PARAMS = {'scale': jnp.ones(())}


def _by_hand(batches, batch_size):
  """{group: (mean, weight)} of Echo on Parts, position by position."""
  seen = {}
  for step in range(batches):
    batch = Parts().batch(None, step, batch_size)
    groups = np.ravel(batch.inputs).tolist()
    for score, group in enumerate(groups):
      if group != 2:
        seen.setdefault(group, []).append((score, group + 1.0))
  return {
    group: (
      np.average(*np.transpose(pairs)[:1], weights=np.transpose(pairs)[1]),
      np.sum(pairs, axis=0)[1],
    )
    for group, pairs in sorted(seen.items())
  }


def test_a_group_has_the_weighted_mean_of_its_positions():
  """Over all batches; a group without weight, NaN scores, is left out."""
  scores = evaluate(Echo(), {}, Parts(), batches=3, batch_size=5)
  expected = _by_hand(batches=3, batch_size=5)
  assert list(scores) == list(expected) == [0, 1, 3]
  for group in scores:
    np.testing.assert_allclose(scores[group], expected[group])


def test_a_task_without_groups_has_one_score():
  """It stands under None, and is the mean over the groups by their weight."""
  together = evaluate(Echo(), {}, Parts(False), batches=3, batch_size=5)
  grouped = evaluate(Echo(), {}, Parts(), batches=3, batch_size=5)
  assert list(together) == [None]
  np.testing.assert_allclose(together[None][0], overall(grouped))


def test_batches_drawn_on_the_host_score_the_same():
  """They are drawn outside of what is compiled."""
  options = {'batches': 3, 'batch_size': 4}
  inside, outside = (
    evaluate(Echo(), {}, Parts(on_device=on_device), **options)
    for on_device in (True, False)
  )
  assert inside == outside


def test_nothing_has_no_overall_score():
  """Zero would be the best there is, in bits."""
  assert np.isnan(overall({}))
  assert overall({1: (0.5, 1.0), 2: (1.0, 3.0)}) == 0.875


def test_a_model_of_short_reach_is_at_chance_beyond_it():
  """Recall by lag: 1 within reach, 1 / num_facts where the fact is gone."""
  task = Recall(lag=8, design='mixed')
  scores = evaluate(Noisy(reach=5), PARAMS, task, batches=8, batch_size=256)
  assert list(scores) == [1, 2, 4, 8]
  assert [scores[lag][0] for lag in (1, 2, 4)] == [1, 1, 1]
  assert abs(scores[8][0] - task.chance) < 4 * np.sqrt(0.11 / 512)
  assert [weight for _, weight in scores.values()] == [512] * 4


@pytest.mark.parametrize('on_device', [True, False])
@pytest.mark.parametrize('at_once, rows', [(1, 1), (5, 4), (12, 12), (99, 12)])
def test_a_model_may_see_a_batch_in_parts(at_once, rows, on_device):
  """Equal ones, of the same examples: only `Echo` counts from 0 in each."""
  task = Parts(grouped=False, on_device=on_device)
  options = {'batches': 2, 'batch_size': 12, 'at_once': at_once}
  parted = evaluate(Echo(), {}, task, **options)[None]
  batches = [task.batch(None, step, 12) for step in range(2)]
  weights = np.concatenate([np.ravel(batch.weights) for batch in batches])
  counted = np.tile(np.arange(3 * rows), 24 // rows)
  expected = np.average(counted, weights=weights), np.sum(weights)
  np.testing.assert_allclose(parted, expected)


def test_evaluation_has_no_dropout():
  """A model that drops half of everything scores as one that drops none."""
  task = Recall(lag=8)
  scores = [
    evaluate(
      Noisy(reach=9, dropout=dropout), PARAMS, task, batches=2, batch_size=32
    )
    for dropout in (0.0, 0.5)
  ]
  assert scores[0] == scores[1] == {8: (1.0, 64.0)}


def test_evaluation_compiles_once_for_all_parameters(monkeypatch):
  """Batches and parameters are arrays: the score is traced once."""
  traces = []

  def accuracy(*args):
    traces.append(args)
    return _accuracy(*args)

  _accuracy = losses.accuracy
  monkeypatch.setattr(losses, 'accuracy', accuracy)
  for scale in (1.0, 2.0, -1.0):
    params = {'scale': jnp.full((), scale)}
    evaluate(Noisy(4), params, Recall(lag=8), batches=3, batch_size=7)
  assert len(traces) == 1


class Prefix(nn.Module):
  """The parity of the first `reach` symbols, and of nothing after them."""

  reach: int

  def __call__(self, inputs, segments=None):
    return jax.nn.one_hot(jnp.sum(inputs[:, : self.reach], axis=1) % 2, 2)


@pytest.fixture
def score_traces(monkeypatch):
  """Grows by one whenever a function that computes accuracy is compiled."""
  traces, accuracy = [], losses.accuracy

  def counted(*args):
    traces.append(args)
    return accuracy(*args)

  monkeypatch.setattr(losses, 'accuracy', counted)
  return traces


def _parity(low, high):
  return Parity(min_length=low, length=high)


def test_all_lengths_to_500_take_three_compiles(score_traces):
  """Each has its own score: perfect as far as the model reads, chance after."""
  options = {'batches': 32, 'batch_size': 256, 'split': 'train'}
  for params in ({}, {}):
    scores = evaluate_lengths(Prefix(100), params, _parity, 500, **options)
  assert len(score_traces) == 3
  assert sorted(scores) == list(range(1, 501))
  assert all(scores[length][0] == 1 for length in range(1, 101))
  beyond = {n: scores[n] for n in range(101, 501)}
  assert abs(overall(beyond) - 0.5) < 4 * 0.5 / np.sqrt(80 / 100 * 3 * 8192)


def test_lengths_that_are_fewer_than_the_ranges():
  """One task each; nothing is scored twice."""
  scores = evaluate_lengths(
    Prefix(9),
    {},
    _parity,
    8,
    shortest=7,
    batches=1,
    batch_size=8,
    split='train',
  )
  assert scores == {7: (1, 8), 8: (1, 8)}
  with pytest.raises(ValueError, match='shortest=9 and longest=8'):
    evaluate_lengths(
      Prefix(9), {}, _parity, 8, shortest=9, batches=1, batch_size=8
    )


class Unsure(nn.Module):
  """Uniform logits at even positions, certain of token 1 at odd ones."""

  vocab: int

  def __call__(self, inputs, segments=None):
    odd = (jnp.arange(inputs.shape[1]) % 2)[None, :, None]
    one = jax.nn.one_hot(jnp.ones_like(inputs), self.vocab)
    return 100.0 * odd * one


def test_the_loss_of_language_has_a_place_for_every_position(tmp_path):
  """By the position in the window; one compile for all of them."""
  path = tmp_path / 'text'
  path.write_text('a' * 2000)
  task = Text(str(path), length=6)
  model = Unsure(task.output.vocab)
  scores = evaluate(model, {}, task, batches=2, batch_size=4)
  assert list(scores) == [0, 1, 2, 3, 4, 5]
  bits = np.log2(task.output.vocab)
  expected = [bits, 0.0] * 3
  np.testing.assert_allclose(
    [scores[t][0] for t in scores], expected, atol=1e-5
  )


@pytest.mark.parametrize('counts', [(0, 8), (1, 0), (-2, 8)])
def test_an_evaluation_of_nothing_is_refused(counts):
  """Rather than called 0."""
  batches, batch_size = counts
  with pytest.raises(ValueError, match=f'batches={batches} and batch_size='):
    evaluate(Noisy(4), PARAMS, Recall(), batches=batches, batch_size=batch_size)


def test_an_unknown_split_is_refused():
  """By its name and the nearest known one."""
  with pytest.raises(ValueError, match="split 'tset'.*mean 'test'"):
    evaluate(Noisy(4), PARAMS, Recall(), batches=1, batch_size=1, split='tset')


def test_the_share_of_targets_that_count_comes_with_the_scores():
  """By hand, and in parts; targets at padding are none."""
  for at_once in (None, 2):
    scores = evaluate(
      Echo(), {}, Parts(), batches=3, batch_size=4, at_once=at_once
    )
    batches = [Parts().batch(jax.random.key(0), i, 4, 'test') for i in range(3)]
    weights = np.concatenate([np.ravel(batch.weights) for batch in batches])
    assert scores.counted == np.count_nonzero(weights)
    assert scores.targets == weights.size
    assert scores.share == np.mean(weights != 0)


def test_scores_of_many_lengths_share_their_targets():
  """The counts of three compiled functions add up."""
  one = Scores({1: (0.5, 2.0)})
  one.counted, one.targets = 2, 4
  other = Scores({2: (0.5, 2.0)})
  other.counted, other.targets = 1, 8
  one.merge(other)
  assert dict(one) == {1: (0.5, 2.0), 2: (0.5, 2.0)}
  assert one.share == 3 / 12
  assert np.isnan(Scores().share)


def test_the_mean_loss_is_that_of_each_batch():
  """On the split that is asked for, with the task's own loss."""
  task, model = Recall(lag=8), Noisy(reach=9)
  params = {'scale': jnp.float32(2.0)}
  drawn = [task.batch(jax.random.key(0), i, 16, 'test') for i in range(3)]
  expected = [
    float(task.loss(model.apply({'params': params}, b.inputs), b))
    for b in drawn
  ]
  found = evaluate_loss(
    model, params, task, batches=3, batch_size=16, split='test'
  )
  np.testing.assert_allclose(found, np.mean(expected), rtol=1e-6)
