"""The runner of trained cells: settings are chosen alike for everyone."""

import json
import math

import jax
import numpy as np
import pytest

from experiments import fit
from seqjax import results, training
from seqjax.models import model_for
from seqjax.nn import LSTM
from seqjax.tasks import TASKS


def member(validation, loss=0.0):
  return fit.Member({}, validation, loss, 100, None)


def trained(score):
  """A `train` whose validation score is a function of (rate, seed)."""
  calls = []

  def train(rate, seeds):
    calls.append(rate)
    return {seed: member(*np.atleast_1d(score(rate, seed))) for seed in seeds}

  return train, calls


GRID = (1e-3, 3e-3, 1e-2)


def test_a_grid_is_extended_while_its_best_rate_is_at_the_edge():
  """Upwards and downwards, by the ratio of its last two rates, to an end."""
  train, calls = trained(lambda rate, _: -abs(math.log(rate / 0.012)))
  found = fit.tune('a', train, GRID, range(3))
  assert calls == [*GRID, pytest.approx(1e-2 * 1e-2 / 3e-3, rel=1e-4)]
  assert found.choice.rate == 1e-2 and not found.choice.at_edge
  train, calls = trained(lambda rate, _: rate)
  found = fit.tune('a', train, GRID, range(3))
  assert found.choice.at_edge and 0.03 < found.choice.rate <= 0.1
  train, calls = trained(lambda rate, _: -rate)
  found = fit.tune('a', train, GRID, range(3))
  assert found.choice.at_edge and 1e-4 <= found.choice.rate < 2e-4
  train, calls = trained(lambda rate, _: float(rate == 3e-3))
  assert fit.tune('a', train, GRID, range(3)).choice.rate == 3e-3
  assert calls == list(GRID)


def test_equal_scores_are_told_apart_by_their_loss():
  """Among rates, and among variants."""
  train, _ = trained(lambda rate, _: (1.0, abs(rate - 3e-3)))
  assert fit.tune('a', train, GRID, range(3)).choice.rate == 3e-3
  worse, _ = trained(lambda rate, _: (1.0, 0.5))
  better, _ = trained(lambda rate, _: (1.0, 0.4))
  tuned = [
    fit.tune('worse', worse, GRID, range(2)),
    fit.tune('better', better, GRID, range(2)),
  ]
  assert fit.best_of(tuned).variant == 'better'
  assert fit.best_of(tuned[::-1]).variant == 'better'


def test_the_better_variant_is_chosen_by_its_score_first():
  """Whatever the loss; and of errors the smaller one."""
  good, _ = trained(lambda rate, _: (0.9, 9.0))
  bad, _ = trained(lambda rate, _: (0.8, 1.0))
  tuned = [fit.tune('bad', bad, GRID, [0]), fit.tune('good', good, GRID, [0])]
  assert fit.best_of(tuned).variant == 'good'
  tuned = [
    fit.tune('bad', bad, GRID, [0], higher_is_better=False),
    fit.tune('good', good, GRID, [0], higher_is_better=False),
  ]
  assert fit.best_of(tuned, higher_is_better=False).variant == 'bad'


def test_a_rate_that_does_not_stay_finite_is_never_chosen():
  """However good its other seeds are; without another one it is refused."""
  train, _ = trained(
    lambda rate, seed: math.nan if (rate, seed) == (3e-3, 1) else 1 - rate
  )
  assert fit.tune('a', train, GRID, range(3)).choice.rate != 3e-3
  train, _ = trained(lambda *_: math.nan)
  broken = fit.tune('broken', train, GRID, range(3))
  with pytest.raises(ValueError, match='every seed stays finite, but none'):
    fit.best_of([broken])
  fine, _ = trained(lambda *_: 0.5)
  tuned = [broken, fit.tune('fine', fine, GRID, range(3))]
  assert fit.best_of(tuned).variant == 'fine'  # one variant fails no entry


TASK = TASKS['lag_copy'](lag=1, length=8)


def model(task):
  return model_for(task, (LSTM(8),))


def fitted(workdir, **changes):
  """Rows of a tiny fit, and the lines that it logged."""
  plan = fit.Plan((3e-3, 3e-2), 20, 8, solved=0.99, seeds=3, tuning_seeds=2,
                  log_every=10)  # fmt: skip
  plan = plan.__class__(**{**vars(plan), **changes})
  with results.Run(workdir, plan) as record:
    rows = fit.fit({'only': model}, TASK, plan, record, [(TASK, 2)])
    record.finish(rows=rows)
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return rows, [json.loads(line) for line in lines]


def test_every_seed_of_what_was_chosen_is_tested(tmp_path):
  """The others are trained with a few seeds, and no further."""
  rows, lines = fitted(tmp_path, learning_rates=(1e-3, 3e-3, 1e-2))
  assert [row['seed'] for row in rows] == [0, 1, 2]
  assert all(0 <= row['score'] <= 1 and row['examples'] for row in rows)
  assert len({row['learning_rate'] for row in rows}) == 1
  chosen = rows[0]['learning_rate']
  seeds = {}
  for line in lines:
    seeds.setdefault(line['learning_rate'], set()).add(line['seed'])
  assert seeds.pop(chosen) == {0, 1, 2}
  assert len(seeds) >= 2 and all(tried == {0, 1} for tried in seeds.values())
  assert rows[0]['steps_taken'] == 20
  assert rows[0]['rates_tried'] == tuple(sorted([*seeds, chosen]))


def test_a_training_is_that_of_train(tmp_path):
  """The validation of a row is what `train` and `evaluate` alone give."""
  rows, _ = fitted(tmp_path, seeds=1, tuning_seeds=1, learning_rates=(3e-3,))
  net = model(TASK)
  states = training.train(
    net,
    TASK,
    training.adamw(20, weight_decay=fit.WEIGHT_DECAY),
    jax.random.key(0),
    steps=20,
    batch_size=8,
    learning_rate=3e-3,
  )
  *_, (state, _) = states
  scores = training.evaluate(net, state.params, TASK, batches=16, batch_size=64)
  assert rows[0]['validation'] == pytest.approx(training.overall(scores))
  assert rows[0]['steps_to_solve'] is rows[0]['seconds_to_solve'] is None


def test_a_training_ends_once_it_is_solved_if_so_planned(tmp_path):
  """Otherwise it has its whole schedule, and says when it was solved."""
  easy = {'solved': 0.0, 'seeds': 1, 'tuning_seeds': 1}
  (row,), _ = fitted(tmp_path / 'a', **easy, stop_when_solved=True)
  assert row['steps_taken'] == row['steps_to_solve'] == 10
  assert row['seconds_to_solve'] > 0
  (row,), _ = fitted(tmp_path / 'b', **easy)
  assert (row['steps_taken'], row['steps_to_solve']) == (20, 10)


def test_a_bound_on_gradients_changes_the_training(tmp_path):
  """Unless it is far above them; 0 is no bound."""
  losses = []
  for clip in (0.0, 1e6, 1e-6):
    rows, _ = fitted(tmp_path / str(clip), clip=clip, learning_rates=(1e-2,))
    losses.append([row['validation_loss'] for row in rows])
  free, loose, tight = map(np.array, losses)
  np.testing.assert_allclose(loose, free, rtol=1e-5)
  assert (abs(tight - free) > 1e-3 * free).all()


def test_a_seed_that_does_not_stay_finite_is_a_row_without_a_score(
  tmp_path, monkeypatch
):
  """It is not lost, and never counts as tested."""
  group = fit._train_group

  def fails(*args):
    if 2 in args[-2]:
      raise training.NotFinite(3, jax.random.key(2), 'loss')
    return group(*args)

  monkeypatch.setattr(fit, '_train_group', fails)
  rows, _ = fitted(tmp_path)
  assert [row['examples'] > 0 for row in rows] == [True, True, False]
  assert math.isnan(rows[2]['score']) and rows[2]['group'] is None
