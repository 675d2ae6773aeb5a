"""ListOps: the grammar, the values, and how they fall."""

import functools
import itertools
import statistics

import jax
import numpy as np
import pytest

from seqjax.ops import segments
from seqjax.tasks.synthetic.formal.listops import ListOps, splits
from seqjax.typing import Batch

EXAMPLES = 4096
TASK = ListOps(length=17, max_args=4, max_depth=3)


@functools.cache
def _drawn():
  draw = jax.jit(TASK.batch, static_argnums=2)
  return jax.tree.map(np.asarray, draw(jax.random.key(1), 0, EXAMPLES))


def _tree(tokens):
  """(operator, arguments) or a digit; takes tokens from the front."""
  token = tokens.pop(0)
  if token < 10:
    return token
  arguments = []
  while tokens[0] != 14:
    arguments.append(_tree(tokens))
  tokens.pop(0)
  return token, arguments


def _value(tree):
  if isinstance(tree, int):
    return tree
  operator, arguments = tree
  ordered = sorted(map(_value, arguments))
  middle = int(statistics.median(ordered))
  return {
    10: ordered[0],
    11: ordered[-1],
    12: middle,
    13: sum(ordered) % 10,
  }[operator]


def _operations(tree, depth=1):
  """(depth, number of arguments) of all operations."""
  if isinstance(tree, int):
    return []
  below = [_operations(argument, depth + 1) for argument in tree[1]]
  return [(depth, len(tree[1])), *sum(below, [])]


def test_strings_are_one_operation_of_their_length():
  """Nested as deeply, and with as many arguments, as the options say."""
  batch = _drawn()
  seen = set()
  for row, length, target in zip(
    batch.inputs, batch.group, batch.targets, strict=True
  ):
    tokens = row[:length].tolist()
    tree = _tree(tokens)
    assert not tokens and not row[length:].any()
    assert _value(tree) == target
    operations = _operations(tree)
    assert all(2 <= count <= 4 for depth, count in operations if depth < 3)
    assert all(count >= 2 for _, count in operations)
    seen |= set(operations)
  assert {depth for depth, _ in seen} == {1, 2, 3}
  assert {count for _, count in seen} >= {2, 3, 4}


def test_values_fall_as_the_grammar_says():
  """At every length, and on the whole, within four standard errors."""
  batch = _drawn()
  laws = np.array([TASK._distribution(n) for n in TASK.lengths])
  np.testing.assert_allclose(laws.sum(axis=1), 1)
  for law, chosen in [
    (laws.mean(axis=0), batch.group > 0),
    (laws[0], batch.group == 4),
    (laws[-1], batch.group == 17),
  ]:
    share = np.bincount(batch.targets[chosen], minlength=10) / chosen.sum()
    error = np.sqrt(law * (1 - law) / chosen.sum())
    assert np.all(np.abs(share - law) < 4 * error)
  assert TASK.chance == laws.mean(axis=0).max()


def test_the_least_operations_have_values_known_by_hand():
  """[OP a b ]: the sum is uniform, the median is half of it, rounded down."""
  smaller = np.array([(2 * (9 - v) + 1) / 100 for v in range(10)])
  pairs = [(a + b) // 2 for a in range(10) for b in range(10)]
  median = np.bincount(pairs, minlength=10) / 100
  expected = (smaller + smaller[::-1] + median + 1 / 10) / 4
  np.testing.assert_allclose(TASK._distribution(4), expected)


@pytest.mark.parametrize('spare', [0, 3, 5, 6, 7, 12])
def test_a_split_leaves_what_the_others_can_take(spare):
  """Nothing, or three and more: an operation has at least four tokens."""
  for count in (1, 2, 3):
    shares = splits(spare, count)
    assert sum(shares.values()) == pytest.approx(1)
    for extra in shares:
      assert extra == 0 or extra >= 3
      assert spare == extra or (count > 1 and spare - extra >= 3)


def test_the_solver_answers_the_example_of_the_docstring():
  """[MAX 2 9 [MIN 4 7 ] 0 ]"""
  assert '11 2 9 10 4 7 14 0 14' in ListOps.__doc__
  inputs = np.array([[11, 2, 9, 10, 4, 7, 14, 0, 14]], np.int32)
  valid = segments.from_lengths(np.array([9]), 9)
  assert ListOps().solve(Batch(inputs, None, None, valid)).tolist() == [9]


@pytest.mark.parametrize(
  'options, message',
  [
    ({'min_length': 3}, 'min_length of at least 4, but min_length=3'),
    ({'max_args': 3}, 'max_args of at least 4, but max_args=3'),
    ({'max_depth': 0}, 'max_depth of at least 1, but max_depth=0'),
  ],
)
def test_bad_options_are_refused_at_construction(options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    ListOps(**options)


@pytest.mark.parametrize(
  'tokens, value',
  [('[MED 1 4 ]', 2), ('[MED 1 4 4 ]', 4), ('[MED 1 2 4 9 ]', 3)],
)
def test_the_median_is_that_of_long_range_arena(tokens, value):
  """int(median): of an even number, the mean of two, rounded down."""
  row = [
    12 if t == '[MED' else 14 if t == ']' else int(t) for t in tokens.split()
  ]
  inputs = np.array([row], np.int32)
  valid = segments.from_lengths(np.array([len(row)]), len(row))
  assert ListOps().solve(Batch(inputs, None, None, valid)).tolist() == [value]


@pytest.mark.parametrize('length', [5, 6])
def test_the_law_of_short_values_is_that_of_all_of_them(length):
  """Counted one by one, with Python's integers; longer ones are nested."""
  law = np.zeros(10)
  for digits in itertools.product(range(10), repeat=length - 2):
    for operator in (10, 11, 12, 13):
      law[_value((operator, list(digits)))] += 1
  np.testing.assert_allclose(TASK._distribution(length), law / law.sum())
