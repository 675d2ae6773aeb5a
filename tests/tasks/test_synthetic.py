"""Synthetic tasks against plain loops, their drawings, their options."""

import functools
import itertools
import math
import re

import jax
import numpy as np
import pytest

from seqjax.tasks import TASKS
from seqjax.tasks.synthetic.adding import Adding
from seqjax.tasks.synthetic.agreement import Agreement
from seqjax.tasks.synthetic.automata import RegBench
from seqjax.tasks.synthetic.compression import Compression
from seqjax.tasks.synthetic.copying import CopyMemory, LagCopy, SelectiveCopying
from seqjax.tasks.synthetic.formal.groups import GroupWord
from seqjax.tasks.synthetic.formal.regular import Parity
from seqjax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from seqjax.tasks.synthetic.in_context_recall import InContextRecall
from seqjax.tasks.synthetic.induction import InductionHeads, Needle
from seqjax.tasks.synthetic.label_at_position import LabelAtPosition
from seqjax.tasks.synthetic.memorization import Memorization
from seqjax.tasks.synthetic.motifs import HierarchicalMotifs, Motifs
from seqjax.tasks.synthetic.mqar import MQAR, CompositionalMQAR
from seqjax.tasks.synthetic.one_to_many import Oscillator, Unpacking
from seqjax.tasks.synthetic.points import Multiplexer, TwoSpirals
from seqjax.tasks.synthetic.random_labels import RandomLabels
from seqjax.tasks.synthetic.recall import Recall
from seqjax.tasks.synthetic.seen_before import SeenBefore
from seqjax.tasks.synthetic.synonyms import Synonyms
from seqjax.tasks.synthetic.trajectories import (
  TrajectoryDirection,
  TrajectoryNext,
)
from seqjax.tasks.synthetic.wrappers import FixedTrainingSet, PermutedPositions
from seqjax.typing import Batch

KEY = jax.random.key(1)


def induction_heads(row):
  """({position: target}, group) of one row, by a plain loop; so below."""
  first = row.index(8)
  return {0: row[first + 1]}, len(row) - 1 - first


def needle(row):
  first = row.index(row[-1])
  return {0: row[first + 1]}, len(row) - 1 - first


def copy_memory(row):
  assert row[3:] == [0, 0, 0, 0, 9, 0, 0, 0]
  return {8 + i: row[i] - 1 for i in range(3)}, None


def selective_copying(row):
  assert row[8:] == [9, 9, 9]
  symbols = [token - 1 for token in row[:8] if token]
  return dict(enumerate(symbols, start=8)), None


def lag_copy(row):
  return {t: row[t - 3] for t in range(3, len(row))}, None


def adding(row):
  (first, a), (second, b) = [(t, x) for t, (x, mark) in enumerate(row) if mark]
  assert first < len(row) // 2 <= second
  return {0: a + b}, len(row) - 1 - first


def seen_before(row):
  ages = []
  for t, token in enumerate(row):
    before = [s for s in range(t) if row[s] == token]
    ages.append(t - before[-1] if before else 0)
  return {t: int(age > 0) for t, age in enumerate(ages)}, ages


def motifs(row):
  places = [t for t, token in enumerate(row) if token < 3]
  motif = row[places[0] : places[0] + 3]
  assert len(places) == 3
  assert motif in ([0, 1, 2], [1, 2, 0], [2, 0, 1])
  return {0: motif[0]}, places[0]


def label_at_position(row):
  return {0: row[2]}, None


def agreement(row):
  plural = row[0] >= 2
  attractors = [token for token in row if token < 4 and (token >= 2) != plural]
  return {7: 7 + plural}, [0] * 7 + [len(attractors)]


def unpacking(row):
  bits = [int(bit) for bit in row[0]]
  return {t: 2 * bits[2 * t] + bits[2 * t + 1] for t in range(4)}, None


def oscillator(row):
  cosine, sine, frequency = row[0]
  amplitude, phase = math.hypot(cosine, sine), math.atan2(sine, cosine)
  wave = [amplitude * math.cos(frequency * t + phase) for t in range(6)]
  return dict(enumerate(wave)), None


def multiplexer(row):
  bits = [int(bit) for bit in row[0]]
  return {0: bits[2 + 2 * bits[0] + bits[1]]}, None


PLAIN = {
  InductionHeads(num_symbols=8, length=12): induction_heads,
  Needle(num_words=6, num_keys=4, num_needles=2, length=13): needle,
  CopyMemory(num_symbols=8, num_copied=3, delay=5): copy_memory,
  SelectiveCopying(num_symbols=8, num_copied=3, context=8): selective_copying,
  LagCopy(num_symbols=8, lag=3, length=10): lag_copy,
  Adding(length=8): adding,
  SeenBefore(num_symbols=6, length=10): seen_before,
  Motifs(num_motifs=3, num_noise=4, length=10): motifs,
  LabelAtPosition(num_symbols=8, position=2, length=8): label_at_position,
  Agreement(num_nouns=2, num_others=3, distance=8): agreement,
  Unpacking(num_bits=2, length=4): unpacking,
  Oscillator(length=6): oscillator,
  Multiplexer(address_bits=2): multiplexer,
}


def _name(value):
  return type(value).__name__


@functools.cache
def _batch(task, split='train', batch_size=256):
  draw = jax.jit(task.batch, static_argnums=(2, 3))
  return jax.tree.map(np.asarray, draw(KEY, 0, batch_size, split))


@pytest.mark.parametrize('task', PLAIN, ids=_name)
def test_targets_are_what_a_plain_loop_says(task):
  """Targets, weights and groups of every example of a batch."""
  batch = _batch(task)
  for i, row in enumerate(batch.inputs.tolist()):
    expected, group = PLAIN[task](row)
    targets, weights = np.atleast_1d(batch.targets[i], batch.weights[i])
    assert np.flatnonzero(weights).tolist() == list(expected)
    given = targets[list(expected)]
    np.testing.assert_allclose(given, list(expected.values()), atol=1e-5)
    if group is not None:
      assert batch.group[i].tolist() == group


DRAWN = [
  *(task for task in PLAIN if task.input.vocab is not None),
  InContextRecall(4, 4, length=14, noise=0.2, num_noise=2),
  FuzzyRecall(3, 3, key_size=2, value_size=2, length=15),
  Memorization(num_keys=8, length=10),
  Compression(num_symbols=8, length=7),
  MQAR(vocab=16, length=14, num_pairs=2, num_overwrites=1),
  CompositionalMQAR(vocab=16, length=14, num_pairs=2),
  HierarchicalMotifs(depth=3, num_symbols=4, num_synonyms=2),
  PermutedPositions(HierarchicalMotifs(depth=3)),
]


@pytest.mark.parametrize('task', DRAWN, ids=_name)
def test_a_drawing_shows_the_targets_of_its_inputs(task):
  """The solver says so, given the inputs in the docstring."""
  drawn = re.search(
    r'^ +inputs +([0-9 ]+)\n +targets? +([-0-9 ]+)', type(task).__doc__, re.M
  )
  inputs, targets = (numbers.split() for numbers in drawn.groups())
  blind = Batch(np.array([inputs], np.int32), targets=None, weights=None)
  solved = np.atleast_1d(np.asarray(task.solve(blind))[0])
  assert len(solved) == len(targets)
  for answer, target in zip(solved, targets, strict=True):
    assert target in ('-', str(answer))


def test_chance_of_having_been_seen_is_exact():
  """The best constant at each position, over all sequences."""
  task = SeenBefore(num_symbols=3, length=4)
  rows = list(itertools.product(range(3), repeat=4))
  best = 0
  for t in range(4):
    seen = sum(row[t] in row[:t] for row in rows) / len(rows)
    best += max(seen, 1 - seen) / 4
  assert task.chance == pytest.approx(best, rel=1e-12)


def _tasks_of_tokens():
  """{name: task} of the synthetic ones, and of those that count their bits."""
  found = {}
  for name, make in TASKS.items():
    kind = getattr(make, 'func', make)
    if kind.__module__.startswith('seqjax.tasks.synthetic'):
      task = make()
      task = getattr(task, 'task', task)  # a wrapper draws no rows
      if task.on_device and (task.input.vocab or hasattr(task, 'bits')):
        found[name] = task
  return found


TASKS_OF_TOKENS = _tasks_of_tokens()


@pytest.mark.parametrize('name', TASKS_OF_TOKENS)
def test_examples_are_held_out_by_the_bits_of_a_task(name):
  """Enough by default; of too few, training has all, and the others none."""
  task = TASKS_OF_TOKENS[name]
  assert task.bits >= 24

  class Few(type(task)):
    bits = 23.9

  few = Few(**vars(task))
  jax.eval_shape(lambda key: few.batch(key, 0, 2), KEY)
  for split in ('validation', 'test'):
    with pytest.raises(ValueError, match=f'23.9 bits .*24 are .* for {split}'):
      few.batch(KEY, 0, 2, split)


@pytest.mark.parametrize(
  'task, num_begun',
  [
    (HierarchicalMotifs(depth=2, num_symbols=3, num_synonyms=2), 4),
    (LagCopy(num_symbols=3, lag=1, length=4), 4),
    (Unpacking(num_bits=1, length=4), 4),
    (MQAR(vocab=8, length=6, num_pairs=1, num_overwrites=1), 4),
    (CompositionalMQAR(vocab=8, length=6, num_pairs=1), 4),
    (Recall(num_facts=2, num_distractors=3, lag=4), 5),
    (CopyMemory(num_symbols=3, num_copied=3, delay=1), 7),
    (Compression(num_symbols=3, length=5), 5),
    (Memorization(num_keys=3, length=8), 8),
    (SelectiveCopying(num_symbols=3, num_copied=2, context=4), 6),
    (InductionHeads(num_symbols=2, length=5), 5),
    (Needle(num_words=2, num_keys=2, num_needles=2, length=7), 7),
    (SeenBefore(num_symbols=3, length=4), 4),
    (Motifs(num_motifs=2, num_noise=2, length=4), 4),
    (LabelAtPosition(num_symbols=3, position=0, length=4), 4),
    (RandomLabels(num_symbols=2, length=4), 4),
    (GroupWord('s3', length=2), 2),
    (Parity(length=5, min_length=5), 5),
  ],
  ids=_name,
)
def test_bits_count_the_examples_that_there_are(task, num_begun):
  """Up to where noise begins, which has a token of its own at every place."""
  rows = _batch(task, batch_size=2048).inputs
  found = len(np.unique(rows[:, :num_begun], axis=0))
  noise = rows.shape[1] - num_begun
  if isinstance(task, MQAR | CompositionalMQAR):
    noise -= task.num_pairs
  bits = math.log2(found) + noise * math.log2(task.input.vocab or 1)
  assert task.bits == pytest.approx(bits)


@pytest.mark.parametrize(
  'task',
  [
    Agreement(num_nouns=1, num_others=3, distance=3),
    Synonyms(num_classes=3, num_synonyms=2, num_unseen=0, length=3),
  ],
  ids=_name,
)
def test_bits_of_rows_that_are_not_equally_likely(task):
  """How many pairs of 4096 draws are the same, within a tenth of a bit."""
  rows = _batch(task, batch_size=4096).inputs
  _, counts = np.unique(rows, axis=0, return_counts=True)
  same = np.sum(counts * (counts - 1)) / (4096 * 4095)
  assert task.bits == pytest.approx(-math.log2(same), abs=0.1)


def test_motifs_count_the_places_where_they_are_held_out():
  """And a recall of many lags the rows of one of them."""
  motifs = Motifs(num_motifs=2, length=10, evaluation_positions=(3, 3))
  assert motifs.bits == 1 + 8 * 3
  mixed = Recall(lag=8, design='mixed')
  assert mixed.bits == Recall(lag=8).bits == 24
  mixed.batch(KEY, 0, 2, 'test')


ALL = [
  *PLAIN,
  *DRAWN[-8:],
  RegBench(),
  Synonyms(),
  RandomLabels(),
  FixedTrainingSet(),
  TrajectoryDirection(),
  TrajectoryNext(),
  TwoSpirals(),
]


@pytest.mark.parametrize('task', ALL, ids=_name)
def test_a_batch_does_not_widen_where_wide_types_are_on(task):
  """Neither in what comes out, nor in what is drawn, which would be another."""

  def trace():
    return jax.make_jaxpr(lambda key: task.batch(key, 0, 4))(jax.random.key(0))

  narrow = trace()
  with jax.enable_x64(True):
    wide = trace()
  assert wide.out_avals == narrow.out_avals
  assert not re.search(r'f64\[[0-9]', str(wide))  # a scalar does no harm


@pytest.mark.parametrize(
  'kind, options, message',
  [
    (InductionHeads, {'length': 2}, 'length of at least 3, but length=2'),
    (Needle, {'num_keys': 3}, 'num_keys of at least 4, but num_keys=3'),
    (Needle, {'length': 8}, 'length of at least 9, but length=8'),
    (
      RegBench,
      {'max_edges': 5},
      'min_symbols of at least 5, but min_symbols=4',
    ),
    (RegBench, {'max_states': 3}, 'max_states of at least 4, but max_states=3'),
    (RegBench, {'max_edges': 4}, 'min_states of at least 5, but min_states=4'),
    (RegBench, {'num_symbols': 999}, 'num_symbols of at most 256'),
    (RegBench, {'max_strings': 9}, 'max_strings of at least 10'),
    (
      RegBench,
      {'min_strings': 1, 'max_strings': 1, 'max_length': 1},
      'max_strings=1 and max_length=1 leave none',
    ),
    (Compression, {'length': 1}, 'length of at least 2, but length=1'),
    (Memorization, {'length': 7}, 'even length, but length=7'),
    (InContextRecall, {'length': 7}, 'even length, but length=7'),
    (InContextRecall, {'noise': 1.0}, 'below 1, but noise=1.0'),
    (InContextRecall, {'num_noise': 0}, 'num_noise of at least 1'),
    (FuzzyRecall, {'length': 11}, 'length of at least 12, but length=11'),
    (FuzzyRecall, {'key_size': 8}, 'key_size of at most 7, but key_size=8'),
    (FuzzyRecall, {'num_keys': 9999}, 'num_keys=9999 and key_size=3'),
    (CopyMemory, {'delay': 0}, 'delay of at least 1, but delay=0'),
    (SelectiveCopying, {'context': 9}, 'context of at least 10'),
    (LagCopy, {'length': 8}, 'length of at least 9, but length=8'),
    (Adding, {'length': 7}, 'even length, but length=7'),
    (SeenBefore, {'num_symbols': 1}, 'num_symbols of at least 2'),
    (Motifs, {'positions': (3, 29)}, r'last <= 28, but positions=\(3, 29\)'),
    (Motifs, {'evaluation_positions': (3, 2)}, r'evaluation_positions=\(3, 2'),
    (HierarchicalMotifs, {'num_synonyms': 9}, 'at most 8 .* num_synonyms=9'),
    (LabelAtPosition, {'position': 32}, 'at least 33, but length=32'),
    (Synonyms, {'num_unseen': 8}, 'num_synonyms of at least 9'),
    (Synonyms, {'probability': 1.0}, 'below 1, but probability=1.0'),
    (Agreement, {'attraction': 1.5}, 'and 1, but attraction=1.5'),
    (RandomLabels, {'num_examples': 30}, 'num_classes=4, but num_examples=30'),
    (FixedTrainingSet, {'num_examples': 0}, 'num_examples of at least 1'),
    (PermutedPositions, {'task': LagCopy()}, 'many-to-one task .*LagCopy'),
    (PermutedPositions, {'task': TrajectoryDirection()}, 'without padding'),
    (TrajectoryNext, {'min_length': 2}, 'at least 3, but min_length=2'),
    (Multiplexer, {'address_bits': 5}, '2, 3 or 4 .* address_bits=5'),
    (TwoSpirals, {'turns': -1.0}, 'turns of at least 0, but turns=-1.0'),
    (Unpacking, {'num_bits': 0}, 'num_bits of at least 1, but num_bits=0'),
    (Oscillator, {'length': 0}, 'length of at least 1, but length=0'),
  ],
)
def test_bad_options_are_refused_at_construction(kind, options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    kind(**options)
