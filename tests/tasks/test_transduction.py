"""Strings into other strings, sentences into other sentences."""

import collections
import functools
import itertools

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic import _language as language
from seqjax.tasks.synthetic.transduction import OPERATIONS, Transduction
from seqjax.tasks.synthetic.translation import Translation

RULES = {
  'copy': list,
  'reverse': lambda string: string[::-1],
  'sort': sorted,
  'unique': lambda string: list(dict.fromkeys(string)),
}
TRANSLATION = Translation(num_nouns=8, num_adjectives=3, num_verbs=3, seed=5)


@functools.cache
def _drawn(task, batch_size=256):
  draw = jax.jit(task.batch, static_argnums=2)
  batch = draw(jax.random.key(1), 0, batch_size)
  return jax.tree.map(np.asarray, batch)


def _pairs(batch):
  """Sources and targets, without padding and end."""
  source, _ = batch.inputs
  for i in range(len(source)):
    length = batch.segments[0].valid[i].sum()
    asked = int(batch.weights[i].sum())
    assert batch.targets[i, asked - 1] == 0
    yield source[i, :length].tolist(), batch.targets[i, : asked - 1].tolist()


def _tasks():
  options = {'length': 6, 'positions': 8, 'num_symbols': 5}
  transductions = [Transduction(operation=o, **options) for o in OPERATIONS]
  return [*transductions, TRANSLATION]


@pytest.mark.parametrize('task', _tasks()[:-1], ids=repr)
def test_targets_are_those_of_a_slow_function(task):
  """At every length, up to the longest."""
  lengths = set()
  for source, target in _pairs(_drawn(task)):
    assert target == RULES[task.operation](source)
    assert min(source) >= 1
    lengths.add(len(source))
  assert lengths == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize('task', _tasks(), ids=repr)
def test_a_target_is_shifted_ended_and_padded(task):
  """Token 0 begins and ends it; what is beyond is neither seen nor scored."""
  batch = _drawn(task)
  source, shifted = batch.inputs
  (_, valid), (start, asked) = batch.segments
  np.testing.assert_array_equal(batch.weights, asked)
  np.testing.assert_array_equal(
    shifted[:, 1:][asked[:, 1:]], batch.targets[:, :-1][asked[:, 1:]]
  )
  assert not shifted[:, 0].any() and not start.any()
  assert not shifted[~asked].any() and not batch.targets[~asked].any()
  assert not source[~valid].any()
  ends = asked.sum(axis=1) - 1
  assert np.all((batch.targets == 0).argmax(axis=1) == ends)
  lengths = np.broadcast_to(valid.sum(axis=1)[:, None], batch.group.shape)
  np.testing.assert_array_equal(batch.group, lengths)


def test_positions_hold_the_shape():
  """Of the source; the target has room for one more."""
  source, shifted = _drawn(_tasks()[0]).inputs
  assert source.shape == (256, 8) and shifted.shape == (256, 9)


@pytest.mark.parametrize('operation', OPERATIONS)
def test_chance_is_that_of_all_strings(operation):
  """The best constants, told how long the target is, string by string."""
  task = Transduction(length=4, operation=operation, num_symbols=3)
  right, asked = 0, 0
  counts = collections.defaultdict(collections.Counter)
  for length in task.lengths:
    for string in itertools.product(range(1, 4), repeat=length):
      target = [*RULES[operation](string), 0]
      asked += 3.0**-length * len(target)
      for i, symbol in enumerate(target):
        counts[i, len(target)][symbol] += 3.0**-length
  right = sum(max(c.values()) for c in counts.values())
  assert task.chance == pytest.approx(right / asked)


def test_chance_is_that_of_the_lengths_held_out():
  """Of few words, hence shorter, sentences nobody asks but training."""
  alone = [Transduction(length=n, min_length=n).chance for n in (8, 9)]
  expected = np.average(alone, weights=[9, 10])
  assert Transduction(length=9).held_out_lengths == (8, 9)
  assert Transduction(length=9).chance == pytest.approx(expected)
  task = Translation(num_nouns=4, num_adjectives=1, num_verbs=1)
  one = language.best_guesses(language.clause(task.target))
  both = language.join(
    language.clause(task.target),
    language.word(task.target.conjunction, task.target.size),
    language.clause(task.target),
  )
  assert task.held_out_clauses == (2,)
  right, words = language.best_guesses(both)
  assert task.chance == pytest.approx((right + 1) / (words + 1))
  assert Translation(
    num_nouns=4, num_adjectives=1, num_verbs=1, max_clauses=1
  ).chance == pytest.approx((one[0] + 1) / (one[1] + 1))


def _words(task):
  """Source words as (kind, index, number)."""
  first = task.source
  yield from [None, ('and', 0, 0), ('not', 0, 0)]
  yield from [('determiner', i, 0) for i in range(2)]
  yield from [('adjective', i, 0) for i in range(task.num_adjectives)]
  nouns = itertools.product(range(task.num_nouns), range(2))
  yield from [('noun', *form) for form in nouns]
  yield from [('verb', i, 0) for i in range(first.size - first.verb)]


def _translate_noun_phrase(task, phrase):
  (_, noun, number), target = phrase[-1], task.target
  form = target.gender[noun], number
  both = [target.noun[noun, number], target.second[noun]]
  adjectives = [target.adjective[i][form] for _, i, _ in phrase[1:-1]]
  return [target.determiner[phrase[0][1]][form], *filter(None, both)] + (
    adjectives
  )


def _translate_clause(task, clause):
  kinds = [kind for kind, _, _ in clause]
  verb, noun = kinds.index('verb'), kinds.index('noun')
  negated = 'not' in kinds
  assert not negated or kinds.index('not') == verb - 1
  number = clause[noun][2]
  action = [task.target.verb[clause[verb][1], number]]
  if negated:
    before, after = task.target.negation
    action = [before, *action, after]
  subject, object_ = clause[: noun + 1], clause[verb + 1 :]
  assert noun + 1 + negated == verb
  return [
    *_translate_noun_phrase(task, subject),
    *_translate_noun_phrase(task, object_),
    *action,
  ]


def test_translations_are_those_of_a_slow_translator():
  """Clause by clause; with everything that the grammar has."""
  words = list(_words(TRANSLATION))
  seen = collections.Counter()
  for source, target in _pairs(_drawn(TRANSLATION)):
    sentence = [words[token] for token in source]
    clauses = [
      list(group)
      for is_and, group in itertools.groupby(sentence, lambda w: w[0] == 'and')
      if not is_and
    ]
    expected = _translate_clause(TRANSLATION, clauses[0])
    for clause in clauses[1:]:
      expected.append(TRANSLATION.target.conjunction)
      expected += _translate_clause(TRANSLATION, clause)
    assert target == expected
    seen[len(clauses)] += 1
    seen['longer'] += len(target) > len(source)
    seen['not'] += 'not' in [kind for kind, _, _ in sentence]
    seen.update(len(clause) for clause in clauses)
  assert all(seen[what] > 10 for what in (1, 2, 'longer', 'not', 5, 9))


def test_a_language_has_a_number_for_every_word():
  """Each once; a quarter of the nouns has two words; seeds differ."""
  target = TRANSLATION.target
  tables = [np.ravel(table) for table in target[:7]]
  used = np.concatenate(tables)
  used = used[used > 0]
  assert sorted(used) == list(range(1, target.size))
  assert np.count_nonzero(target.second) == 2
  other = Translation(num_nouns=8, num_adjectives=3, num_verbs=3, seed=6)
  assert not np.array_equal(target.noun, other.target.noun)


def test_phrases_are_what_listing_them_gives():
  """Joined and mixed, outcome by outcome."""
  one, two = (
    language.word(np.array([0, 0, 1]), 3),
    language.word(np.array(2), 3),
  )
  some = language.mix(
    [language.nothing(3), language.join(two, one)], [1 / 4, 3 / 4]
  )
  phrase = language.join(one, some)
  assert phrase[1].probability == 1 / 4 and phrase[3].probability == 3 / 4
  listed = np.zeros((3, 3))
  for first, last in itertools.product([0, 0, 1], repeat=2):
    for i, word in enumerate([first, 2, last]):
      listed[i, word] += 3 / 4 / 9
  np.testing.assert_allclose(phrase[3].joint, listed)
  np.testing.assert_allclose(phrase[1].joint, [[2 / 12, 1 / 12, 0]])
  right, words = language.best_guesses(phrase)
  assert right == pytest.approx(2 / 12 + 3 / 4 * (2 / 3 + 1 + 2 / 3))
  assert words == pytest.approx(1 / 4 + 3 * 3 / 4)


def test_held_out_sentences_have_many_clauses():
  """One clause has too few to hold any out; the bits are those of a count."""
  task = Translation(4, num_adjectives=1, num_verbs=1, max_clauses=1)
  # Determiners, nouns, not; lists of 0, 1, 2 adjectives, all of one kind.
  assert 2.0**-task.bits == pytest.approx((1 / 2 / 8 / 3) ** 2 / 2)
  assert TRANSLATION.held_out_clauses == (2,)
  with pytest.raises(ValueError, match='24 are needed to hold some out'):
    Translation(max_clauses=1).batch(jax.random.key(0), 0, 2, 'test')


@pytest.mark.parametrize(
  'kind, options, message',
  [
    (Transduction, {'operation': 'srot'}, "'srot'. Did you mean 'sort'"),
    (Transduction, {'num_symbols': 1}, 'num_symbols of at least 2'),
    (Transduction, {'positions': 19}, 'positions of at least 20'),
    (Translation, {'num_nouns': 3}, 'num_nouns of at least 4'),
    (Translation, {'num_adjectives': 0}, 'num_adjectives of at least 1'),
    (Translation, {'max_clauses': 0}, 'max_clauses of at least 1'),
    (Translation, {'seed': -1}, 'seed of at least 0'),
  ],
)
def test_bad_options_are_refused_at_construction(kind, options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    kind(**options)
