"""Tasks of arrays and of iterators, as a researcher has them."""

import jax
import jaxtyping
import numpy as np
import pytest

from seqjax import testing, training
from seqjax.models import model_for
from seqjax.nn import GRU
from seqjax.tasks import ArrayTask, IteratorTask, Metric
from seqjax.typing import Batch, Spec, TaskShape

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 7, (300, 6))
LABELS = RNG.integers(0, 3, 300) * RNG.integers(0, 2, 300)
VALUES = RNG.normal(size=(300, 7)).cumsum(axis=1)
LENGTHS = RNG.integers(1, 7, 300)


@pytest.fixture
def untyped(monkeypatch):
  """Turns checks of annotations off, as for users."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)


def examples(split):
  """Yields batches of five; those of splits differ."""
  rng = np.random.default_rng(len(split))
  for _ in range(6):
    tokens = rng.integers(0, 7, (5, 6))
    yield tokens, tokens[:, 0] % 3


def test_labels_of_rows_make_a_classification():
  """Specs, chance and splits follow from the arrays."""
  task = ArrayTask(TOKENS, LABELS, LENGTHS)
  assert task.input == Spec((), 7) and task.output == Spec((), 3)
  assert task.shape is TaskShape.MANY_TO_ONE
  assert task.metric is Metric.ACCURACY
  rows = task.rows
  assert [len(rows[split]) for split in rows] == [240, 30, 30]
  assert sorted(np.concatenate([*rows.values()])) == list(range(300))
  assert task.chance == np.mean(LABELS[rows['train']] == 0)
  batch = task.batch(KEY, 0, 240)
  assert sorted(batch.targets) == sorted(LABELS[rows['train']])
  np.testing.assert_array_equal(
    batch.segments.valid.sum(axis=1).sum(), LENGTHS[rows['train']].sum()
  )


@pytest.mark.parametrize(
  'task',
  [
    ArrayTask(TOKENS, LABELS, LENGTHS),
    ArrayTask(VALUES[:, :-1], VALUES[:, 1:]),
    ArrayTask(VALUES[:, :-1, None], VALUES[:, :2], per_position=False),
    ArrayTask(TOKENS, TOKENS[:, ::-1], weights=TOKENS > 2),
  ],
  ids=['classes', 'next value', 'values of rows', 'labels of positions'],
)
def test_arrays_keep_the_contract_and_train(task):
  """Every shape of targets, with what chance they have."""
  testing.assert_task_contract(task, batches=4)
  model = model_for(task, (GRU(8),))
  ((state, _),) = training.train(
    model, task, training.adamw(2), KEY, steps=2, batch_size=4
  )
  scores = training.evaluate(model, state.params, task, batches=1, batch_size=8)
  assert np.isfinite(training.overall(scores))


def test_what_is_ignored_or_missing_has_weight_zero():
  """PyTorch's -100, a NaN, and all padding."""
  labels = np.where(TOKENS > 3, -100, TOKENS)
  task = ArrayTask(TOKENS, labels, LENGTHS)
  batch = task.batch(KEY, 0, 64)
  assert task.output.vocab == 4 and batch.targets.min() == 0
  np.testing.assert_array_equal(
    batch.weights, (batch.inputs <= 3) & batch.segments.valid
  )
  values = VALUES[:, 1:].copy()
  values[::2, 3] = np.nan
  batch = ArrayTask(VALUES[:, :-1], values).batch(KEY, 0, 64)
  assert np.isfinite(batch.targets).all() and not batch.weights.all()


@pytest.mark.parametrize('count', [3, 4, 12])
def test_a_dozen_examples_are_enough(count):
  """Each split has one, and batches go through them again and again."""
  task = ArrayTask(TOKENS[:count], LABELS[:count], num_classes=3)
  for split in ('train', 'validation', 'test'):
    assert len(task.batch(KEY, 0, 8, split).targets) == 8
  found = {tuple(row) for row in task.batch(KEY, 0, 64, 'train').inputs}
  for split in ('validation', 'test'):
    assert not found & set(map(tuple, task.batch(KEY, 0, 8, split).inputs))


def test_splits_may_be_given():
  """As indices or masks."""
  last = np.arange(300) >= 290
  task = ArrayTask(
    TOKENS, LABELS, splits={'train': range(9), 'validation': [9], 'test': last}
  )
  np.testing.assert_array_equal(task.rows['test'], np.arange(290, 300))
  assert (task.batch(KEY, 0, 4, 'validation').targets == LABELS[9]).all()


def test_labelled_sequences_come_from_a_file(tmp_path):
  """inputs, lengths and labels in an .npz."""
  path = tmp_path / 'data.npz'
  np.savez(path, inputs=TOKENS, lengths=LENGTHS, labels=LABELS)
  task, same = ArrayTask.from_npz(path), ArrayTask(TOKENS, LABELS, LENGTHS)
  assert task.fingerprint == same.fingerprint
  np.savez(path, inputs=TOKENS, lengths=LENGTHS)
  with pytest.raises(ValueError, match='no array called labels or targets'):
    ArrayTask.from_npz(path)
  path.write_bytes(b'PK\x03\x04')
  with pytest.raises(ValueError, match='no file of NumPy arrays'):
    ArrayTask.from_npz(path)
  with pytest.raises(FileNotFoundError, match='There is no file'):
    ArrayTask.from_npz(tmp_path / 'none.npz')


@pytest.mark.parametrize(
  'arrays, message',
  [
    ({'inputs': TOKENS[:, 0]}, r'inputs is \[examples, positions'),
    ({'inputs': TOKENS[:9]}, r'targets has a row for each.*\[300\]'),
    ({'inputs': TOKENS - 1}, r'inputs lie in 0\.\..*-1\.\.5'),
    ({'vocab': 5}, r'inputs lie in 0\.\.4.*0\.\.6'),
    ({'num_classes': 2}, r'targets lie in 0\.\.1.*0\.\.2'),
    ({'targets': LABELS - 1}, 'targets lie in'),
    ({'lengths': LENGTHS + 6}, r'lengths are whole numbers of 0\.\.6'),
    ({'lengths': LENGTHS / 2}, 'lengths are whole numbers'),
    ({'weights': np.ones((300, 2))}, r'weights has the shape \[300\]'),
    ({'targets': TOKENS[:, :2]}, 'A label is one integer'),
    ({'splits': {'train': [0]}}, 'those of validation are missing'),
    ({'targets': np.array(['a'] * 300)}, 'targets is an array of numbers'),
    ({'num_classes': 2.5}, 'num_classes to be a whole number or None'),
    ({'targets': np.full(300, -100)}, 'No target of the training rows'),
  ],
)
def test_arrays_that_do_not_belong_together_are_refused(
  arrays, message, untyped
):
  """When the task is made."""
  with pytest.raises(ValueError, match=message):
    ArrayTask(**{'inputs': TOKENS, 'targets': LABELS} | arrays)


def test_an_iterator_is_cut_into_batches():
  """Of any size, in order, again from its beginning where it ends."""
  task = IteratorTask(examples, Spec((), 7), Spec((), 3))
  tokens = np.concatenate([inputs for inputs, _ in examples('train')])
  around = np.concatenate([tokens, tokens, tokens])
  for step in (0, 1, 5, 3, 3):
    batch = task.batch(KEY, step, 8)
    np.testing.assert_array_equal(batch.inputs, around[8 * step : 8 * step + 8])
    np.testing.assert_array_equal(batch.targets, batch.inputs[:, 0] % 3)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
  assert task.chance is None and task.shape is TaskShape.MANY_TO_ONE


def test_an_iterator_trains_and_resumes():
  """A run that was stopped reads on where it stood."""
  task = IteratorTask(examples, Spec((), 7), Spec((), 3))
  model, optimizer = model_for(task, (GRU(8),)), training.adamw(4)
  options = {'batch_size': 8, 'log_every': 2}
  runs = list(training.train(model, task, optimizer, KEY, steps=4, **options))
  (again, _) = list(
    training.train(
      model, task, optimizer, KEY, steps=4, state=runs[0][0], **options
    )
  )[-1]
  jax.tree.map(np.testing.assert_array_equal, again.params, runs[-1][0].params)
  scores = training.evaluate(model, again.params, task, batches=1, batch_size=8)
  assert scores.share == 1


def test_what_an_iterator_may_not_yield_is_refused(untyped):
  """In a sentence, at the first batch."""
  spec = Spec((), 7)
  with pytest.raises(ValueError, match='needs a function from the name'):
    IteratorTask([1, 2], spec, spec)
  with pytest.raises(ValueError, match='output to be a Spec.*but 3'):
    IteratorTask(examples, spec, 3)
  with pytest.raises(ValueError, match='yields no example'):
    IteratorTask(lambda split: iter([]), spec, spec).batch(KEY, 0, 2)
  with pytest.raises(ValueError, match='but a dict came'):
    IteratorTask(lambda split: iter([{}]), spec, spec).batch(KEY, 0, 2)
  labels = np.array([1, -100])
  batch = Batch(TOKENS[:2], labels, None)
  found = IteratorTask(lambda split: iter([batch]), spec, spec)
  np.testing.assert_array_equal(found.batch(KEY, 0, 2).weights, [1, 0])
