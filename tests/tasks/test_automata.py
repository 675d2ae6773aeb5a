"""Strings of random automata: every row walked by a Python dictionary."""

import functools
import math

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic.automata import RegBench
from seqjax.tasks.task import split_key

KEY = jax.random.key(6)
TASK = RegBench(
  num_symbols=7,
  min_symbols=3,
  min_states=4,
  max_states=6,
  max_edges=3,
  min_strings=2,
  max_strings=5,
  max_length=6,
)
ROWS = 4096


@functools.cache
def _batch():
  draw = jax.jit(TASK.batch, static_argnums=2)
  return jax.tree.map(np.asarray, draw(KEY, 0, ROWS))


@functools.cache
def _automata():
  """The automata of the rows of the batch."""
  key = jax.random.split(split_key(KEY, 'train', 0), 3)[0]
  draw = jax.jit(TASK.automata, static_argnums=1)
  return jax.tree.map(np.asarray, draw(key, ROWS))


def edges(row):
  """[{symbol: the next state}] of one automaton, a dictionary a state."""
  symbols, states, degree = (leaf[row].tolist() for leaf in _automata())
  return [
    dict(zip(symbols[s][:d], states[s][:d], strict=True))
    for s, d in enumerate(degree)
  ]


def reached(automaton):
  """The states that can be reached from the first."""
  found, left = {0}, [0]
  while left:
    for state in automaton[left.pop()].values():
      if state not in found:
        found.add(state)
        left.append(state)
  return found


def near(values, expected):
  """Tells if independent values have this mean, within four errors."""
  error = np.std(values) / math.sqrt(len(values))
  return abs(np.mean(values) - expected) <= 4 * error


def test_strings_are_walks_from_the_first_state():
  """Symbols, ends, padding, weights, what may follow, groups: of every row."""
  batch, mark, padding = _batch(), 7, 8
  counts, sizes = [], []
  for i in range(256):
    row, automaton = batch.inputs[i].tolist(), edges(i)
    valid = int(batch.segments.valid[i].sum())
    assert row[valid:] == [padding] * (len(row) - valid)
    assert not batch.weights[i, valid:].any()
    state, string, size = 0, 0, 0
    for t, token in enumerate(row[:valid]):
      if token == mark:
        state, string, size = 0, string + 1, 0
      else:
        assert token in automaton[state]
        state, size = automaton[state][token], size + 1
      assert 0 <= size <= 6
      if not batch.weights[i, t]:
        assert t + 1 >= valid or row[t + 1] == mark
        assert not batch.targets[i, t].any() and batch.group[i, t] == 0
        sizes.append(size)
        continue
      allowed = np.flatnonzero(batch.targets[i, t]).tolist()
      assert allowed == sorted(automaton[state]) and string == batch.group[i, t]
      followed = int(np.argmax(batch.targets[i, t]))
      assert batch.targets[i, t].max() == 2 and batch.targets[i, t].sum() == (
        len(allowed) + 1
      )
      assert t + 1 == valid or row[t + 1] == followed
    counts.append(string + 1)
  assert near(counts, 3.5)


def test_automata_are_those_of_the_published_generator():
  """Sizes uniform, symbols and states of a state different, no loop of one."""
  automata = _automata()
  for degree in (1, 2, 3):
    assert near(automata.degree[:, 0] == degree, 1 / 3)
  alphabets, sizes = [], []
  for i in range(512):
    automaton = edges(i)
    for state in reached(automaton):
      after = list(automaton[state].values())
      assert len(set(after)) == len(after) and state not in after
      assert len(automaton[state]) == automata.degree[i, state]
    sizes.append(1 + max(max(a.values()) for a in automaton))
    alphabets.append({symbol for a in automaton for symbol in a})
  assert max(sizes) == 6 and min(sizes) < 5 and max(map(len, alphabets)) == 7
  assert near(automata.symbols[:, 0, 0] == 3, 1 / 7)
  # Of n states the first edge of the first one leads to the second with
  # probability 1 / (n - 1).
  assert near(automata.states[:, 0, 0] == 1, np.mean([1 / 3, 1 / 4, 1 / 5]))


def test_an_answer_is_right_if_the_automaton_can_go_on():
  """Whichever symbol followed; whoever knows the automaton is always right."""
  batch = jax.tree.map(lambda leaf: leaf[:64], _batch())
  allowed = batch.targets > 0
  for guess, expected in (
    (allowed * np.arange(1, 8), 1),
    (allowed * np.arange(7, 0, -1), 1),
    (np.where(allowed, 0, 1), 0),
    (TASK.informed(batch), TASK.ceiling),
  ):
    score, weight = TASK.score(np.asarray(guess, np.float32), batch)
    assert np.average(score, weights=weight) == expected
  logits = np.where(batch.targets == 2, 50, 0).astype(np.float32)
  assert TASK.loss(logits, batch) < 1e-6
  logits = np.where(batch.targets == 1, 50, 0).astype(np.float32)
  assert TASK.loss(logits, batch) > 10


def test_chance_is_the_share_of_symbols_that_can_follow():
  """Within four errors of the rows, which count as one each."""
  batch = _batch()
  share = (batch.targets > 0).mean(axis=-1).sum(axis=1)
  asked = batch.weights.sum(axis=1)
  residual = share - TASK.chance * asked
  assert abs(residual.sum()) < 4 * math.sqrt(np.sum(residual**2))
  assert RegBench().chance == pytest.approx(2 / 18, rel=0.01)
