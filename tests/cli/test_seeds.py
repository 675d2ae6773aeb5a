"""seqjax/cli/seeds.py: what is said of many seeds, worked out by hand."""

import itertools
import math

import numpy as np
import pytest

from seqjax.cli import seeds


def runs(scores, **columns):
  """A row for each seed, with the same validation as test score."""
  return [
    {'seed': seed, 'test': score, 'validation': score, **columns}
    for seed, score in enumerate(scores)
  ]


def test_a_cell_has_one_row_with_all_that_its_seeds_reach():
  """Beside chance and ceiling; one seed of eight never learns."""
  scores = [0.1, 0.9, 0.92, 0.94, 0.96, 0.98, 1.0, 1.0]
  rows = runs(scores, mixer='gru', chance=0.5, ceiling=1.0, metric='accuracy')
  (found,) = seeds.summarize(rows, ['mixer', 'seed'], 'test', solved=0.95)
  assert found['mixer'] == 'gru' and found['seeds'] == 8
  assert found['mean'] == pytest.approx(np.mean(scores))
  assert found['median'] == found['iqm'] == pytest.approx(0.95)
  assert found['iqm_low'] < 0.95 < found['iqm_high'] <= 1
  assert (found['share_solved'], found['best']) == (0.5, 1.0)
  assert (found['chance'], found['ceiling']) == (0.5, 1.0)
  shown = seeds.text([found])
  assert 'share_solved' in shown and 'rank' not in shown
  (few,) = seeds.summarize(rows[:4], [], 'test')
  assert few['mean'] is not None
  assert few['iqm_low'] is few['share_solved'] is None
  assert 'share_solved' not in seeds.text([few])


def test_the_learning_rate_is_chosen_on_validation_and_never_on_test():
  """Over all seeds; for every cell its own, whatever test would say."""
  rows = []
  validation = {('gru', 1e-3): [0.7, 0.9], ('gru', 3e-3): [1.0, 0.0]}
  validation |= {('lstm', 1e-3): [0.1, 0.2], ('lstm', 3e-3): [0.2, 0.3]}
  for (mixer, rate), scores in validation.items():
    for run in runs(scores, mixer=mixer, learning_rate=rate):
      rows.append(run | {'test': 1 - run['validation']})
  by = ['mixer', 'learning_rate', 'seed']
  gru, lstm = seeds.summarize(rows, by, 'test')
  assert 'learning_rate' not in gru and gru['chosen_learning_rate'] == 1e-3
  assert gru['mean'] == pytest.approx(0.2) and gru['seeds'] == 2
  assert lstm['chosen_learning_rate'] == 3e-3
  assert lstm['mean'] == pytest.approx(0.75)
  without = [{k: v for k, v in r.items() if k != 'validation'} for r in rows]
  found = seeds.summarize(without, by, 'test')  # nothing is chosen by test
  assert [row['learning_rate'] for row in found] == [1e-3, 3e-3] * 2


@pytest.mark.parametrize('metric, chosen', [('accuracy', 3e-3), ('bits', 1e-3)])
def test_the_metric_says_which_direction_is_better(metric, chosen):
  """For the choice, the best and the share solved."""
  rows = runs([1.0, 2.0], learning_rate=1e-3, metric=metric)
  rows += runs([3.0, 4.0], learning_rate=3e-3, metric=metric)
  (found,) = seeds.summarize(rows, ['learning_rate'], 'test', solved=1.5)
  assert found['chosen_learning_rate'] == chosen and found['metric'] == metric
  assert found['best'] == (4.0 if metric == 'accuracy' else 1.0)
  assert found['share_solved'] == (1.0 if metric == 'accuracy' else 0.5)
  (found,) = seeds.summarize(
    [row | {'seconds': row['test']} for row in rows],
    *([], 'seconds'),
    lower_is_better=True,
  )
  assert found['best'] == (3.0 if metric == 'accuracy' else 1.0)


def test_a_learning_rate_that_failed_somewhere_is_not_chosen():
  """A seed that is missing or not finite; if all are out, nothing is said."""
  good = runs([0.5, 0.5], learning_rate=1e-3)
  missing = runs([0.9], learning_rate=3e-3)
  infinite = runs([0.9, math.nan], learning_rate=1e-2)
  (found,) = seeds.summarize(missing + good + infinite, [], 'test')
  assert found['chosen_learning_rate'] == 1e-3 and found['mean'] == 0.5
  (found,) = seeds.summarize(missing + infinite, [], 'test')
  assert found['seeds'] == 0
  assert found['chosen_learning_rate'] is found['mean'] is None
  (found,) = seeds.summarize(infinite, [], 'test')
  assert found['seeds'] == 2 and found['mean'] is None


def test_values_of_one_option_are_ranked():
  """The only one that differs, or the one that is named, task by task.

  Fewer than five seeds of one say too little.
  """
  rows = []
  reached = {'gru': 0.9, 'lstm': 0.5, 'elman': 0.1}
  for task, (mixer, score) in itertools.product('ab', reached.items()):
    score = score if task == 'a' else 1 - score
    count = 4 if (task, mixer) == ('a', 'lstm') else 5
    scores = score + 0.01 * np.arange(count)
    rows += runs(scores.tolist(), mixer=mixer, task=task)
  of_b = [row for row in rows if row['task'] == 'b']
  found = seeds.summarize(of_b, ['mixer', 'seed'], 'test')
  assert [row['rank'] for row in found] == [3, 2, 1]
  assert [row['ranked_first'] for row in found] == [0, 0, 1]
  assert all(r['rank_low'] <= r['rank'] <= r['rank_high'] for r in found)
  assert 'rank' not in seeds.summarize(rows, ['task', 'mixer'], 'test')[0]
  found = seeds.summarize(rows, ['task', 'mixer'], 'test', compare='mixer')
  assert [row['rank'] for row in found] == [None] * 3 + [3, 2, 1]


@pytest.mark.parametrize(
  'score, by, message',
  [
    ('tset', [], "column of scores 'tset'. Did you mean 'test'"),
    ('mixer', [], "column of scores 'mixer'.*There are: seed, test"),
    ('test', ['lga'], "column 'lga'. Did you mean 'lag'"),
    ('test', ['mixer'], 'several: name the column'),
  ],
)
def test_what_cannot_be_summed_up_gets_a_sentence(score, by, message):
  """A column that is not there; rows of one run that are no seeds."""
  rows = runs([1.0], mixer='gru', lag=1) + runs([0.5], mixer='gru', lag=2)
  with pytest.raises(ValueError, match=message):
    seeds.summarize(rows, by, score)
  assert len(seeds.summarize(rows, ['lag'], 'test')) == 2
