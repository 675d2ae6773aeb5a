"""Groups and nested brackets: an answer at every position."""

import collections
import functools
import itertools
import math

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic.formal.dyck import Dyck
from seqjax.tasks.synthetic.formal.groups import (
  GROUPS,
  GroupWord,
  multiplication_table,
)
from seqjax.typing import Batch

EXAMPLES = 512
DYCK = Dyck(num_kinds=3, max_depth=3, length=20)


@functools.cache
def _drawn(task):
  draw = jax.jit(task.batch, static_argnums=2)
  return jax.tree.map(np.asarray, draw(jax.random.key(1), 0, EXAMPLES))


@pytest.mark.parametrize('group', GROUPS)
def test_the_tables_are_those_of_groups(group):
  """Neutral element 0, inverses, associative; of the order that they have."""
  table = multiplication_table(group)
  elements = np.arange(len(table))
  orders = {'z2': 2, 'z5': 5, 's3': 6, 'z60': 60, 'a5': 60, 's5': 120}
  assert len(table) == orders[group]
  np.testing.assert_array_equal(table[0], elements)
  np.testing.assert_array_equal(table[:, 0], elements)
  assert np.all(np.sort(table) == elements)
  assert np.all(np.sort(table, axis=0) == elements[:, None])
  np.testing.assert_array_equal(table[table], table[:, table])
  assert np.array_equal(table, table.T) == (group[0] == 'z')


def test_a5_has_no_normal_subgroup():
  """The conjugates of any element but 0 generate all: it is simple."""
  table = multiplication_table('a5')
  inverse = np.argmin(table, axis=1)  # where the product is 0
  for element in range(1, 60):
    normal = {0}
    new = set(table[table[inverse, element], np.arange(60)].tolist())
    while new - normal:
      normal |= new
      members = sorted(normal)
      new = set(table[np.ix_(members, members)].ravel().tolist())
    assert len(normal) == 60


def test_targets_are_products_of_permutations():
  """Applied one after the other to five things, the first read first."""
  batch = _drawn(GroupWord('s5', length=9))
  permutations = list(itertools.permutations(range(5)))
  for row, targets in zip(batch.inputs[:64], batch.targets, strict=False):
    places = range(5)
    for element, target in zip(row, targets, strict=True):
      places = [permutations[element][place] for place in places]
      assert permutations[target] == tuple(places)
  assert np.all(batch.group == np.arange(9))
  assert batch.weights.all()


def test_the_example_of_the_docstring_is_solved():
  """In S3."""
  inputs = np.array([[1, 5, 2, 4, 3, 1]], np.int32)
  solved = GroupWord('s3').solve(Batch(inputs, None, None))
  assert 'inputs   1 5 2 4 3 1' in GroupWord.__doc__
  assert f'targets  {" ".join(map(str, solved[0]))}' in GroupWord.__doc__


def test_brackets_are_well_nested():
  """No deeper than allowed; scored is who closes, and how far back it was."""
  batch = _drawn(DYCK)
  for tokens, targets, weights, lags in zip(
    batch.inputs, batch.targets, batch.weights, batch.group, strict=True
  ):
    still_open = []
    for t, token in enumerate(tokens):
      if t > 0:
        assert weights[t - 1] == (token >= 3)
      if token < 3:
        still_open.append((t, token))
        assert len(still_open) <= 3
        continue
      opened, kind = still_open.pop()
      assert token == 3 + kind == 3 + targets[t - 1]
      assert lags[t - 1] == t - opened
    assert weights[-1] == 0
  assert set(batch.group[batch.weights == 1]) >= {1, 3, 5, 7}


def test_brackets_open_half_of_the_time_where_they_may_close():
  """Within four standard errors; kinds are equally likely."""
  batch = _drawn(DYCK)
  opens = batch.inputs < 3
  depth = np.cumsum(np.where(opens, 1, -1), axis=1) - np.where(opens, 1, -1)
  free = (depth > 0) & (depth < 3)
  error = 0.5 / np.sqrt(free.sum())
  assert abs(opens[free].mean() - 1 / 2) < 4 * error
  assert opens[depth == 0].all() and not opens[depth == 3].any()
  share = np.bincount(batch.inputs[opens]) / opens.sum()
  error = np.sqrt(2 / 9 / opens.sum())
  assert np.all(np.abs(share - 1 / 3) < 4 * error)


def test_bits_of_brackets_are_those_of_all_strings():
  """-log2 of the sum of squares of the probabilities of all."""
  strings = collections.Counter({(): 1.0})
  for _ in range(6):
    longer = collections.Counter()
    for string, share in strings.items():
      depth = sum(1 if token < 2 else -1 for token in string)
      may = [token for token in (0, 1) if depth < 2]
      may += [2] if depth > 0 else []  # of either kind: it is determined
      halves = 1 + (len(may) == 3)
      for token in may:
        kinds = 2 if token < 2 else 1
        longer[(*string, token)] += share / halves / kinds
    strings = longer
  expected = -math.log2(sum(share**2 for share in strings.values()))
  assert Dyck(max_depth=2, length=6).bits == pytest.approx(expected)


@pytest.mark.parametrize('task', [Dyck(length=10), GroupWord('s3', length=9)])
def test_few_strings_are_not_held_out(task):
  """One sentence, when a batch is asked for."""
  with pytest.raises(ValueError, match='24 are needed to hold some out'):
    task.batch(jax.random.key(0), 0, 2, 'test')


@pytest.mark.parametrize(
  'kind, options, message',
  [
    (GroupWord, {'group': 's4'}, "group 's4'. Did you mean 's.'.*z60"),
    (GroupWord, {'length': 0}, 'length of at least 1, but length=0'),
    (Dyck, {'num_kinds': 1}, 'num_kinds of at least 2, but num_kinds=1'),
    (Dyck, {'max_depth': 0}, 'max_depth of at least 1, but max_depth=0'),
    (Dyck, {'length': 1}, 'length of at least 2, but length=1'),
  ],
)
def test_bad_options_are_refused_at_construction(kind, options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    kind(**options)
