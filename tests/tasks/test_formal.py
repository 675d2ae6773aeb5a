"""The formal languages, against one slow Python function for each."""

import collections
import fractions
import functools
import itertools
import math

import jax
import numpy as np
import pytest

from seqjax.ops import segments
from seqjax.tasks import TASKS
from seqjax.tasks.synthetic.formal.binary import (
  BinaryAddition,
  BinaryMultiplication,
  SquareRoot,
)
from seqjax.tasks.synthetic.formal.brackets import (
  BracketedModularArithmetic,
  SolveEquation,
)
from seqjax.tasks.synthetic.formal.permuting import (
  BucketSort,
  DuplicateString,
  MissingDuplicate,
  OddsFirst,
  ReverseString,
)
from seqjax.tasks.synthetic.formal.regular import (
  CycleNavigation,
  EvenPairs,
  Majority,
  ModularArithmetic,
  Parity,
)
from seqjax.tasks.synthetic.formal.stack_manipulation import StackManipulation
from seqjax.tasks.task import MOST
from seqjax.typing import Batch, TaskShape

EXAMPLES = 1024
SYMBOLS = '01234+-*()x='


def even_pairs(string):
  return sum(a != b for a, b in itertools.pairwise(string)) % 2


def cycle_navigation(string):
  place = 0
  for token in string:
    place = (place + {0: -1, 1: 0, 2: 1}[token]) % 5
  return place


def majority(string):
  return int(string.count(1) > string.count(0))


def arithmetic(string):
  return eval(''.join(SYMBOLS[token] for token in string)) % 5


def solve_equation(string):
  left, right = string[:-2], string[-1]
  (place,) = [i for i, token in enumerate(left) if token == 10]
  values = [
    arithmetic([*left[:place], x, *left[place + 1 :]]) for x in range(5)
  ]
  assert sorted(values) == [0, 1, 2, 3, 4]  # one solution
  return values.index(right)


def missing_duplicate(string):
  half = len(string) // 2
  pairs = zip(string[:half], string[half : 2 * half], strict=True)
  (pair,) = [pair for pair in pairs if 2 in pair]
  return min(pair)


def stack_manipulation(string):
  stack = []
  for token in string:
    stack = stack[:-1] if token == 2 else [*stack, token % 3]
  return [*stack[::-1], 2]


def operands(string):
  """The numbers around the 2, lowest digit first."""
  place = string.index(2)
  numbers = string[:place], string[place + 1 :]
  return [sum(digit << i for i, digit in enumerate(n)) for n in numbers]


def digits(number):
  return [int(digit) for digit in f'{number:b}'[::-1]] + [2]


def square_root(string):
  root = math.isqrt(int(''.join(map(str, string)), base=2))
  return [int(digit) for digit in f'{root:0{(len(string) + 1) // 2}b}']


RULES = {
  EvenPairs: even_pairs,
  Parity: lambda string: sum(string) % 2,
  CycleNavigation: cycle_navigation,
  Majority: majority,
  ModularArithmetic: arithmetic,
  BracketedModularArithmetic: arithmetic,
  SolveEquation: solve_equation,
  MissingDuplicate: missing_duplicate,
  ReverseString: lambda string: string[::-1],
  OddsFirst: lambda string: [*string[::2], *string[1::2]],
  DuplicateString: lambda string: [*string, *string],
  BucketSort: sorted,
  StackManipulation: stack_manipulation,
  BinaryAddition: lambda string: digits(sum(operands(string))),
  BinaryMultiplication: lambda string: digits(math.prod(operands(string))),
  SquareRoot: square_root,
}
REWRITING = [c for c in RULES if c.shape is TaskShape.MANY_TO_MANY]
tasks = pytest.mark.parametrize('kind', RULES, ids=lambda c: c.__name__)


@functools.cache
def _drawn(task, split='train', batch_size=EXAMPLES):
  draw = jax.jit(task.batch, static_argnums=(2, 3))
  batch = draw(jax.random.key(3), 0, batch_size, split)
  return jax.tree.map(np.asarray, batch)


@functools.cache
def _small(kind):
  return _drawn(kind(length=13))


def _lengths(batch):
  return batch.group if batch.group.ndim == 1 else batch.group[:, 0]


@tasks
def test_answers_are_those_of_a_slow_function(kind):
  """And stand in the scored positions, which begin where the string ends."""
  batch = _small(kind)
  for i, length in enumerate(_lengths(batch)):
    answer = RULES[kind](batch.inputs[i, :length].tolist())
    if kind not in REWRITING:
      assert batch.targets[i] == answer
      continue
    scored = np.flatnonzero(batch.weights[i])
    np.testing.assert_array_equal(scored, length + np.arange(len(answer)))
    np.testing.assert_array_equal(batch.targets[i, scored], answer)


@tasks
def test_strings_are_followed_by_blanks_then_by_padding(kind):
  """Blanks are the last token, leave room for any answer, and lack nothing."""
  batch = _small(kind)
  for i, length in enumerate(_lengths(batch)):
    valid = batch.segments.valid[i].sum()
    assert batch.segments.valid[i, :valid].all()
    assert not batch.inputs[i, valid:].any()
    if kind in REWRITING:
      blank = kind().input.vocab - 1
      assert (batch.inputs[i, :length] < blank).all()
      assert (batch.inputs[i, length:valid] == blank).all()
      assert batch.weights[i, :valid].sum() == batch.weights[i].sum()
    else:
      assert valid == length
  assert not batch.segments.start.any()


@tasks
def test_every_length_is_as_likely_as_the_others(kind):
  """From the least to the greatest, within four standard errors."""
  lengths = kind(length=13).lengths
  found, counts = np.unique(_lengths(_small(kind)), return_counts=True)
  assert found.tolist() == list(lengths)
  expected = EXAMPLES / len(lengths)
  assert np.all(np.abs(counts - expected) < 4 * expected**0.5)


@pytest.mark.parametrize(
  'task, inputs, answer',
  [
    (EvenPairs(), '0 1 0 1 0 0 1', '1'),
    (Parity(), '0 1 1 0 1 0', '1'),
    (CycleNavigation(), '2 0 1 0 0', '3'),
    (Majority(), '0 1 1 0 1 0', '0'),
    (ModularArithmetic(), '1 5 2 7 3', '2'),
    (BracketedModularArithmetic(), '8 8 2 6 3 9 7 6 4 9', '4'),
    (SolveEquation(), '8 8 2 6 10 9 5 4 9 11 3', '3'),
    (MissingDuplicate(), '1 0 1 1 2 1 3', '0'),
    (ReverseString(), '0 0 1 2 2 2', '1 0 0'),
    (OddsFirst(), '0 0 1 1 0 1 2 2 2 2 2 2', '0 1 0 0 1 1'),
    (DuplicateString(), '0 1 1 2 2 2 2 2 2', '0 1 1 0 1 1'),
    (BucketSort(), '4 0 2 0 5 5 5 5', '0 0 2 4'),
    (StackManipulation(), '0 1 1 2 4 5 5 5 5 5 5', '1 1 0 2'),
    (BinaryAddition(), '0 1 2 1 1 3 3 3 3 3', '1 0 1 2'),
    (BinaryMultiplication(), '0 1 2 1 1 3 3 3 3 3', '0 1 1 2'),
    (SquareRoot(), '1 0 0 1 0 1 2 2 2', '1 1 0'),
  ],
  ids=lambda value: type(value).__name__ if hasattr(value, 'shape') else '',
)
def test_the_solver_answers_the_examples_of_the_docstrings(
  task, inputs, answer
):
  """Which the docstrings show."""
  assert inputs in task.__doc__ and answer in task.__doc__
  inputs, answer = (list(map(int, row.split())) for row in (inputs, answer))
  row = np.zeros((1, task.num_positions), np.int32)
  row[0, : len(inputs)] = inputs
  valid = segments.from_lengths(np.array([len(inputs)]), row.shape[1])
  solved = np.asarray(jax.jit(task.solve)(Batch(row, None, None, valid)))
  if type(task) not in REWRITING:
    assert solved.tolist() == answer
    return
  begin = inputs.index(task.num_symbols)
  assert solved[0, begin : begin + len(answer)].tolist() == answer


def _strings(task, length):
  """(probability, string) of all strings of one length."""
  if isinstance(task, BinaryAddition | BinaryMultiplication):
    for place in range(1, length - 1):
      for rest in itertools.product(range(2), repeat=length - 1):
        string = [*rest[:place], 2, *rest[place:]]
        yield 1 / (length - 2) / 2 ** (length - 1), string
  elif isinstance(task, StackManipulation):
    heights = range(1, length) if length > 1 else [1]
    for height in heights:
      options = [(0, 1)] * height + [(2, 3, 4)] * (length - height)
      share = 1 / len(heights) / math.prod(map(len, options))
      for string in itertools.product(*options):
        yield share, list(string)
  elif isinstance(task, ModularArithmetic):
    options = ([range(5), (5, 6, 7)] * length)[:length]
    share = 1 / math.prod(map(len, options))
    for string in itertools.product(*options):
      yield share, list(string)
  elif isinstance(task, BracketedModularArithmetic):
    yield from _expressions(length)
  else:
    for string in itertools.product(range(task.num_symbols), repeat=length):
      yield task.num_symbols**-length, list(string)


def _expressions(length):
  """(probability, expression) by the grammar of the docstring."""
  if length <= 4:
    around = {1: ([], []), 2: ([6], []), 3: ([8], [9]), 4: ([8, 6], [9])}
    before, after = around[length]
    for number in range(5):
      yield 1 / 5, [*before, number, *after]
    return
  for left in range(1, length - 3):
    sides = _expressions(left), list(_expressions(length - 3 - left))
    for (p, one), (q, other) in itertools.product(*sides):
      for operator in (5, 6, 7):
        share = p * q / 3 / (length - 4)
        yield share, [8, *one, operator, *other, 9]


def _best_guesses(task, length):
  """(right, asked) of the best constants for every length of the answer."""
  counts, asked = collections.defaultdict(collections.Counter), 0
  for share, string in _strings(task, length):
    answer = RULES[type(task)](string)
    answer = [answer] if isinstance(answer, int) else answer
    asked += share * len(answer)
    for i, symbol in enumerate(answer):
      counts[i, len(answer)][symbol] += share
  return sum(max(c.values()) for c in counts.values()), asked


@pytest.mark.parametrize(
  'kind, lengths',
  [
    (EvenPairs, (1, 2, 5)),
    (Parity, (1, 4)),
    (CycleNavigation, (1, 2, 7)),
    (Majority, (1, 4, 7)),
    (ModularArithmetic, (1, 5, 7)),
    (BracketedModularArithmetic, (4, 5, 9)),
    (ReverseString, (4,)),
    (OddsFirst, (4,)),
    (DuplicateString, (3,)),
    (BucketSort, (1, 2, 5)),
    (StackManipulation, (1, 2, 7)),
    (BinaryAddition, (3, 4, 9)),
    (BinaryMultiplication, (3, 4, 9)),
    (SquareRoot, (1, 4, 9)),
  ],
  ids=lambda value: getattr(value, '__name__', ''),
)
def test_chance_is_that_of_all_strings(kind, lengths):
  """The best constants, told how long the answer is, string by string."""
  task = kind(length=40)
  for length in lengths:
    right, asked = _best_guesses(task, length)
    assert task.chance_at(length) == pytest.approx(right / asked, rel=1e-12)


def test_chance_is_a_mean_over_the_lengths_of_validation_and_test():
  """One constant where there is one answer; else by symbols asked for."""
  alone = [BucketSort(length=n, min_length=n).chance for n in (11, 12)]
  expected = np.average(alone, weights=[11, 12])
  assert BucketSort(length=12).held_out_lengths == (11, 12)
  assert BucketSort(length=12).chance == pytest.approx(expected)
  tied = math.comb(24, 12) / 2**24
  assert Majority(length=25).chance == pytest.approx((1 + tied / 2) / 2)


def test_chance_is_that_of_training_where_nothing_can_be_held_out():
  """A mean over its lengths, weighted as above."""
  alone = [BucketSort(length=n, min_length=n).chance for n in (1, 2, 3)]
  expected = np.average(alone, weights=[1, 2, 3])
  assert BucketSort(length=3).chance == pytest.approx(expected)
  assert EvenPairs(length=4).chance == pytest.approx((1 + 3 / 2) / 4)


LIMITED = [
  name
  for name, make in TASKS.items()
  if getattr(make(), 'most_counted', MOST) < MOST
]


@pytest.mark.parametrize('name', LIMITED)
def test_strings_too_long_to_count_have_no_chance_but_bits(name):
  """A million symbols train, though their chance would take hours to count."""
  short, long = (TASKS[name](length=n, min_length=n) for n in (9, 10**6 + 1))
  assert 0 < short.chance < 1 and long.chance is None
  assert 24 < long.bits < math.inf


def test_long_walks_and_majorities_keep_their_chance():
  """A walk's by its steps one after the other, a tie's by whole numbers."""
  place = np.eye(5)[0]
  for _ in range(300):
    place = sum(np.roll(place, step) for step in (-1, 0, 1)) / 3
  walk = CycleNavigation(length=300, min_length=300)
  assert walk.chance == pytest.approx(place.max(), rel=1e-12)
  tied = fractions.Fraction(math.comb(4000, 2000), 2**4000)
  even = Majority(length=4000, min_length=4000)
  assert even.chance == pytest.approx(float(1 + tied) / 2, rel=1e-10)


def test_products_too_long_to_count_have_no_chance():
  """At a longer length, or where any training length is longer."""
  assert BinaryMultiplication(length=26).chance is None
  assert BinaryMultiplication(length=26).chance_at(25) is None
  assert BinaryMultiplication(length=26).chance_at(9) is not None


@pytest.mark.parametrize('kind', [Parity, BucketSort])
@pytest.mark.parametrize('split', ['validation', 'test'])
def test_held_out_strings_are_long(kind, split):
  """No length is drawn whose strings two draws share with P > 2^-24."""
  task = kind(length=26)
  fewest = {Parity: 24, BucketSort: 11}[kind]  # 2^24; 5^11 > 2^24 > 5^10
  assert task.held_out_lengths == tuple(range(fewest, 27))
  drawn = np.unique(_lengths(_drawn(task, split, 256)))
  assert drawn.tolist() == list(task.held_out_lengths)


def test_few_strings_are_not_held_out():
  """One sentence, when a batch is asked for; training goes on."""
  task = Parity(length=23)
  task.batch(jax.random.key(0), 0, 2, 'train')
  with pytest.raises(ValueError, match='23.0 bits.*24 are needed.*validation'):
    task.batch(jax.random.key(0), 0, 2, 'validation')


@pytest.mark.parametrize('kind', [Parity, ReverseString])
def test_longer_strings_fit_in_the_positions_of_shorter_ones(kind):
  """Beyond the trained length at the same T, by the same rule."""
  short = kind(length=13, positions=70)
  long = kind(length=30, min_length=25, positions=70)
  assert kind(length=30).num_positions < 70
  for task in (short, long):
    batch = _drawn(task, batch_size=16)
    assert batch.inputs.shape == (16, 70)
    np.testing.assert_array_equal(jax.jit(task.solve)(batch), batch.targets)
  assert set(_lengths(batch)) <= set(range(25, 31))


def test_roots_of_numbers_beyond_machine_words_are_exact():
  """Sixty digits; in particular around a perfect square."""
  root = 758_123_457
  numbers = [root**2 - 1, root**2, root**2 + 2 * root, 2**60 - 1]
  task = SquareRoot(length=60)
  rows = [[int(d) for d in f'{n:060b}'] + [2] * 30 for n in numbers]
  rows = np.array(rows, np.int32)
  valid = segments.from_lengths(np.full(4, 90), 90)
  solved = np.asarray(jax.jit(task.solve)(Batch(rows, None, None, valid)))[
    :, 60:
  ]
  roots = [int(''.join(map(str, row)), base=2) for row in solved]
  assert roots == [math.isqrt(number) for number in numbers]


@pytest.mark.parametrize(
  'kind, options, message',
  [
    (Parity, {'min_length': 0}, 'min_length of at least 1, but min_length=0'),
    (Parity, {'length': 3, 'min_length': 4}, 'length of at least 4.*length=3'),
    (Parity, {'positions': 39}, 'positions of at least 40.*positions=39'),
    (ReverseString, {'length': 9, 'positions': 17}, 'positions of at least 18'),
    (ReverseString, {'num_symbols': 1}, 'num_symbols of at least 2'),
    (BinaryAddition, {'min_length': 2}, 'min_length of at least 3'),
    (SolveEquation, {'min_length': 2}, 'min_length of at least 3'),
    (MissingDuplicate, {'min_length': 1}, 'min_length of at least 2'),
    (CycleNavigation, {'cycle_length': 1}, 'cycle_length of at least 2'),
    (ModularArithmetic, {'modulus': 1}, 'modulus of at least 2'),
    (ModularArithmetic, {'length': 4, 'min_length': 4}, 'odd length between'),
  ],
)
def test_bad_options_are_refused_at_construction(kind, options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    kind(**options)
