"""Recall of pairs that come again: every question, by reading pair by pair."""

import functools
import math

import jax
import numpy as np
import pytest

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import GRU
from seqjax.tasks.synthetic.compression import Compression
from seqjax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from seqjax.tasks.synthetic.in_context_recall import InContextRecall
from seqjax.tasks.synthetic.memorization import Memorization

KEY = jax.random.key(4)
PLAIN = InContextRecall(num_keys=5, num_values=6, length=20)
NOISY = InContextRecall(5, 6, length=20, noise=0.4, num_noise=3)
FUZZY = FuzzyRecall(4, 5, key_size=2, value_size=3, length=44)


@functools.cache
def _batch(task, split='train', batch_size=2048):
  draw = jax.jit(task.batch, static_argnums=(2, 3))
  return jax.tree.map(np.asarray, draw(KEY, 0, batch_size, split))


def questions_of_pairs(task, row):
  """({position: (answer, distance)} of a row of pairs, its share of noise)."""
  known, asked, noise = {}, {}, 0
  for place in range(0, len(row), 2):
    key, value = row[place : place + 2]
    if key >= task.num_keys + task.num_values:
      assert value >= task.num_keys + task.num_values
      noise += 1
      continue
    assert key < task.num_keys <= value < task.num_keys + task.num_values
    if key in known:
      before, at = known[key]
      assert before == value
      asked[place] = value - task.num_keys, place - at
    known[key] = value, place
  return asked, noise / (len(row) // 2)


def questions_of_words(task, row, smallest):
  """{position: (answer, distance)} of a row of words, read token by token."""
  place, known, asked, pairs = 0, {}, {}, []
  while row[place] == task.num_keys + task.num_values:
    place += 1
  while place < len(row):
    begin, key, value = place, [], []
    while row[place] < task.num_keys:
      key.append(row[place])
      place += 1
    while place < len(row) and row[place] >= task.num_keys:
      value.append(row[place] - task.num_keys)
      place += 1
    assert smallest <= len(key) <= task.key_size
    assert 1 <= len(value) <= task.value_size
    assert len(set(key)) == len(key) and len(set(value)) == len(value)
    if tuple(key) in known:
      before, at = known[tuple(key)]
      assert before == value
      for i, token in enumerate(value):
        asked[begin + len(key) + i - 1] = token, begin - at
    known[tuple(key)] = value, begin
    pairs.append((tuple(key), tuple(value)))
  return asked, pairs


def check(batch, i, asked):
  """Compares targets, weights and groups of row i with its questions."""
  assert np.flatnonzero(batch.weights[i]).tolist() == sorted(asked)
  for place, (answer, distance) in asked.items():
    assert batch.targets[i, place] == answer
    assert batch.group[i, place] == distance
  rest = np.setdiff1d(np.arange(batch.inputs.shape[1]), list(asked))
  assert not batch.targets[i, rest].any() and not batch.group[i, rest].any()


@pytest.mark.parametrize('task', [PLAIN, NOISY], ids=['plain', 'noisy'])
def test_a_key_that_came_before_is_a_question(task):
  """Every answer and distance against a dictionary; the last pair is one."""
  batch, shares = _batch(task), []
  for i, row in enumerate(batch.inputs.tolist()):
    asked, share = questions_of_pairs(task, row)
    check(batch, i, asked)
    assert len(row) - 2 in asked
    shares.append(share)
  # Of ten pairs eight can be noise, each with the probability.
  error = math.sqrt(task.noise * (1 - task.noise) / (8 * len(shares)))
  assert abs(np.mean(shares) - 0.8 * task.noise) <= 4 * error


def test_the_last_key_is_uniform_among_those_before():
  """Not among the pairs, where frequent keys would come more often."""
  rows = _batch(PLAIN).inputs[:, ::2].tolist()
  rank, expected = [], []
  for *before, last in rows:
    counts = {key: before.count(key) for key in set(before)}
    rank.append(counts[last])
    expected.append(np.mean(list(counts.values())))
  error = np.std(np.subtract(rank, expected)) / math.sqrt(len(rows))
  assert abs(np.mean(rank) - np.mean(expected)) < 4 * error


@pytest.mark.parametrize('split', ['train', 'test'])
def test_words_come_again_with_the_same_value(split):
  """Every answer and distance; keys have their full size in test alone."""
  batch = _batch(FUZZY, split)
  smallest = 1 if split == 'train' else FUZZY.key_size
  sizes, last = [], []
  for i, row in enumerate(batch.inputs.tolist()):
    asked, pairs = questions_of_words(FUZZY, row, smallest)
    check(batch, i, asked)
    *before, again = pairs
    assert again in before and len(row) - 2 in asked or len(again[1]) == 1
    used = sum(len(key) + len(value) for key, value in before)
    room = FUZZY.length - FUZZY.key_size - FUZZY.value_size
    assert room - FUZZY.key_size - FUZZY.value_size < used <= room
    sizes += [len(key) for key, _ in before[:3]]
    last.append(before.index(again) == 0)
  assert set(sizes) == set(range(smallest, 3))
  if split == 'train':
    # The first three pairs always fit: their sizes are a fair coin.
    assert abs(np.mean(sizes) - 1.5) < 4 * 0.5 / math.sqrt(len(sizes))
  assert 0.05 < np.mean(last) < 0.5


@pytest.mark.parametrize(
  'task',
  [PLAIN, NOISY, FUZZY, Memorization(8, 6)],
  ids=['plain', 'noisy', 'fuzzy', 'memorization'],
)
def test_answers_are_uniform(task):
  """So that any constant scores 1 / answers; four errors of independent rows.

  Rows are independent, and the questions of one row are counted together.
  """
  batch = _batch(task)
  share = np.array(
    [
      [np.mean(row[w != 0] == c) for c in range(task.output.vocab)]
      for row, w in zip(batch.targets, batch.weights, strict=True)
    ]
  )
  assert task.chance == 1 / task.output.vocab
  error = share.std(axis=0) / math.sqrt(len(share))
  assert np.all(np.abs(share.mean(axis=0) - task.chance) < 4.5 * error)


def test_a_map_that_training_shows_answers_the_test():
  """By a dictionary of what was seen; another seed has another map."""
  task, map_of = Memorization(num_keys=8, length=16), {}
  batch = _batch(task)
  for row, targets in zip(batch.inputs, batch.targets, strict=True):
    assert row[1::2].tolist() == [8] * 8
    for key, value in zip(
      row[::2].tolist(), targets[1::2].tolist(), strict=True
    ):
      assert map_of.setdefault(key, value) == value
  assert sorted(map_of) == sorted(map_of.values()) == list(range(8))
  batch = _batch(task, 'test')
  for row, targets in zip(batch.inputs, batch.targets, strict=True):
    answers = [map_of[key] for key in row[::2].tolist()]
    assert targets[1::2].tolist() == answers
  np.testing.assert_array_equal(batch.weights, [[0, 1] * 8] * 2048)
  other = _batch(Memorization(num_keys=8, length=16, seed=1))
  assert any(
    map_of[key] != value
    for key, value in zip(
      other.inputs[:, 0].tolist(), other.targets[:, 1].tolist(), strict=True
    )
  )


def test_every_symbol_is_read_from_the_last_position():
  """Answers [B L C], grouped by distance; half of them right score a half."""
  task = Compression(num_symbols=4, length=13)
  batch = _batch(task)
  for row, targets in zip(batch.inputs.tolist(), batch.targets, strict=True):
    assert row == [*targets.tolist(), 4]
  assert batch.group[0].tolist() == list(range(12, 0, -1))
  outputs = np.eye(4, dtype=np.float32)[batch.targets]
  outputs[:, :6] = np.roll(outputs[:, :6], 1, axis=-1)
  score, weight = task.score(outputs, batch)
  assert score.shape == weight.shape == batch.group.shape
  assert np.average(score, weights=weight) == 0.5
  assert np.asarray(score)[:, 6:].all()
  model = model_for(task, (GRU(4),))
  shapes = jax.eval_shape(model.init, KEY, batch.inputs[:2])
  assert shapes['params']['readout']['kernel'].shape == (4, 12 * 4)


@pytest.mark.slow
def test_answers_at_one_position_are_scored_by_their_distance():
  """A group for each symbol of a row."""
  task = Compression(num_symbols=4, length=13)
  model = model_for(task, (GRU(4),))
  params = model.init(KEY, _batch(task).inputs[:2])['params']
  scores = training.evaluate(model, params, task, batches=1, batch_size=8)
  assert list(scores) == list(range(1, 13)) and scores.share == 1
