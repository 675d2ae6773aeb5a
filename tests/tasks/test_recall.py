"""Recall: the layout, the draws, chance and ceiling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.tasks.synthetic.recall import DESIGNS, Recall

KEY = jax.random.key(3)
LAG = 11
EXAMPLES = 8192


def _batch(
  design, split='train', batch_size=EXAMPLES, lag=LAG, step=0, key=KEY
):
  task = Recall(num_facts=5, num_distractors=6, lag=lag, design=design)
  batch = _draw(KEY, step, task=task, batch_size=batch_size, split=split)
  return task, jax.tree.map(np.asarray, batch)


@functools.partial(jax.jit, static_argnames=('task', 'batch_size', 'split'))
def _draw(key, step, *, task, batch_size, split):
  return task.batch(key, step, batch_size, split)


def _facts(batch):
  return batch.targets[:, -1]


@pytest.mark.parametrize('design', DESIGNS)
@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_fact_is_stated_once_and_asked_for_at_the_end(design, split):
  """One fact, `group` positions before the one question; else distractors."""
  task, batch = _batch(design, split)
  assert batch.inputs.shape == batch.targets.shape == (EXAMPLES, LAG + 1)
  is_fact = batch.inputs < task.num_facts
  is_question = batch.inputs == task.question
  assert np.all(batch.inputs < task.input.vocab)
  assert np.all(is_fact.sum(axis=1) == 1)
  np.testing.assert_array_equal(is_question.nonzero()[1], LAG)
  np.testing.assert_array_equal(is_fact.argmax(axis=1), LAG - batch.group)
  np.testing.assert_array_equal(batch.inputs[is_fact], _facts(batch))
  np.testing.assert_array_equal(batch.weights, is_question)


def test_the_fixed_design_has_one_lag():
  """The fact stands first, in every split."""
  for split in ('train', 'test'):
    _, batch = _batch('fixed', split)
    assert np.all(batch.group == LAG)


def test_the_mixed_design_trains_on_log_uniform_lags():
  """P(l) = log(1 + 1/l) / log(lag + 1), within four standard errors."""
  _, batch = _batch('mixed')
  lags = np.arange(1, LAG + 1)
  expected = np.log1p(1 / lags) / np.log(LAG + 1)
  share = np.array([np.mean(batch.group == lag) for lag in lags])
  error = np.sqrt(expected * (1 - expected) / EXAMPLES)
  assert batch.group.min() == 1 and batch.group.max() == LAG
  assert np.all(np.abs(share - expected) < 4 * error)


@pytest.mark.parametrize(
  'lag, lags', [(11, [1, 2, 4, 8, 11]), (16, [1, 2, 4, 8, 16])]
)
def test_the_mixed_design_is_evaluated_at_every_power_of_two(lag, lags):
  """And at the longest lag; each as often as the others, over the batches."""
  groups = [
    _batch('mixed', 'validation', batch_size=4, lag=lag, step=step)[1].group
    for step in range(5)
  ]
  found, counts = np.unique(np.concatenate(groups), return_counts=True)
  assert list(found) == lags
  assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize('design', DESIGNS)
def test_chance_is_what_ignoring_the_inputs_gives(design):
  """Every constant answer scores 1 / num_facts, within four errors."""
  task, batch = _batch(design)
  error = np.sqrt(task.chance * (1 - task.chance) / EXAMPLES)
  for fact in range(task.num_facts):
    guess = np.broadcast_to(
      np.eye(task.num_facts, dtype=np.float32)[fact],
      (*batch.targets.shape, task.num_facts),
    )
    score, weight = task.score(guess, batch)
    assert abs(np.average(score, weights=weight) - 1 / 5) < 4 * error
  assert task.chance == 1 / 5


@pytest.mark.parametrize('design', DESIGNS)
def test_the_solver_reaches_the_ceiling_from_the_inputs_alone(design):
  """Without the targets, in score and in loss."""
  task, batch = _batch(design)
  hidden = batch._replace(targets=None, weights=None, group=None)
  solved = np.asarray(task.solve(hidden))
  np.testing.assert_array_equal(solved, batch.targets)
  outputs = 50.0 * jax.nn.one_hot(solved, task.num_facts)
  score, weight = task.score(outputs, batch)
  assert np.average(score, weights=weight) == task.ceiling
  assert task.loss(outputs, batch) < 1e-6
  assert score.shape == batch.group.shape


def test_only_the_answer_to_the_question_is_scored():
  """Outputs elsewhere change neither loss nor score, NaN included."""
  task, batch = _batch('fixed')
  outputs = jax.random.normal(KEY, (*batch.targets.shape, task.num_facts))
  dirty = outputs.at[:, :-1].set(jnp.nan)
  assert task.loss(outputs, batch) == task.loss(dirty, batch)
  clean_score, _ = task.score(outputs, batch)
  dirty_score, _ = task.score(dirty, batch)
  np.testing.assert_array_equal(clean_score, dirty_score)


def test_nothing_but_the_fact_tells_the_fact():
  """Neither its position nor a distractor goes with it."""
  task, batch = _batch('mixed')
  facts, lags = _facts(batch), batch.group
  error = np.sqrt(0.2 * 0.8 / 800)
  for told in (
    lags == 1,
    lags > 3,
    (batch.inputs[:, LAG - 1] == 6) & (lags > 1),
    (batch.inputs[:, 0] == 7) & (lags < LAG),
  ):
    assert told.sum() > 800
    share = np.bincount(facts[told], minlength=5) / told.sum()
    assert np.all(np.abs(share - 1 / task.num_facts) < 4 * error)


@pytest.mark.parametrize('design', DESIGNS)
@pytest.mark.parametrize('split', ['train', 'validation'])
def test_a_batch_is_a_function_of_key_and_step(design, split):
  """The same inside `jit` with a traced step, and mapped over keys."""
  task = Recall(lag=8, design=design)
  keys = jax.random.split(KEY, 3)

  draw = functools.partial(_draw, task=task, batch_size=8, split=split)
  mapped = jax.vmap(draw, in_axes=(0, None))(keys, 4)
  for i, key in enumerate(keys):
    alone = task.batch(key, 4, 8, split)
    row = jax.tree.map(lambda leaf, i=i: leaf[i], mapped)
    jax.tree.map(np.testing.assert_array_equal, alone, row)
  assert not np.array_equal(alone.inputs, draw(key, 5).inputs)
  same = np.array_equal(mapped.inputs[0], mapped.inputs[1])
  assert same == (split == 'validation')


@pytest.mark.parametrize(
  'options, message',
  [
    ({'lag': 0}, 'lag of at least 1, but lag=0'),
    ({'lag': -3}, 'lag of at least 1, but lag=-3'),
    ({'num_facts': 1}, 'num_facts of at least 2, but num_facts=1'),
    ({'num_distractors': 0}, 'num_distractors of at least 1'),
    ({'design': 'mixd'}, "design 'mixd'. Did you mean 'mixed'.*fixed"),
  ],
)
def test_bad_options_are_refused_at_construction(options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    Recall(**options)
