"""The forecasting experiment, at sizes that take seconds."""

import math

import numpy as np
import pytest

from experiments import axes, folders
from experiments.forecasting import claims, main, plot, sweep
from experiments.forecasting.curves import growth, rollouts
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import WindowMLP
from tests.experiments import refusals

TINY = {
  'steps': 4, 'batch_size': 4, 'parameters': 800, 'seeds': 1,
  'tuning_seeds': 1, 'learning_rates': (3e-3,),
}  # fmt: skip
MINE = {'mine': lambda features, context: WindowMLP(features, tau=2)}


def test_a_cell_gives_a_row_for_each_seed_and_horizon(tmp_path):
  """Also of a mixer of the caller's; a finished cell is not done again."""
  config = main.Config(mixer='mine', series='lorenz', **TINY)
  summary = main.run(config, tmp_path, MINE)
  rows = summary['rows']
  assert [(row['seed'], row['horizon']) for row in rows] == [
    (0, horizon) for horizon in main.HORIZONS
  ]
  assert all(row['relative_error'] > 0 for row in rows)
  assert rows[0]['movement'] is None and rows[-1]['movement'] >= 0
  assert summary['lyapunov_per_step'] == pytest.approx(0.045, rel=0.1)
  assert main.run(config, tmp_path, MINE) == summary


def test_the_equation_errs_as_chaos_foretells(tmp_path):
  """Its typical error grows by twice the exponent, as it is a square."""
  config = main.Config(mixer='perfect', series='lorenz', seeds=1)
  summary = main.run(config, tmp_path)
  errors = [row['typical_error'] for row in summary['rows']]
  assert errors[0] < 1e-5
  foretold = 2 * 63 * summary['lyapunov_per_step']
  assert math.log(errors[-1] / errors[0]) == pytest.approx(foretold, rel=0.4)


def test_errors_and_movement_are_those_of_the_definition():
  """A flat line errs by the variance; a copy that is out of step by twice."""
  t = np.arange(64)[None] + np.linspace(0, 128, 512, endpoint=False)[:, None]
  truth = np.sin(2 * np.pi * t / 32)
  flat = main.compare(truth, np.zeros_like(truth))[-1]
  assert flat['relative_error'] == pytest.approx(1, abs=1e-6)
  assert flat['movement'] == 0
  late = main.compare(truth, np.cos(2 * np.pi * t / 32))[-1]
  assert late['relative_error'] == pytest.approx(2, abs=1e-6)
  assert late['movement'] == pytest.approx(1)
  assert main.compare(truth, truth)[-1]['relative_error'] == 0


def test_a_training_that_is_not_finite_has_a_row_without_horizon(
  tmp_path, monkeypatch
):
  """And counts as not learnt."""
  lost = {'seed': 0, 'group': None, 'score': math.nan, 'examples': 0}
  monkeypatch.setattr(main.fit, 'fit', lambda *a, examine: [lost])
  config = main.Config(mixer='mine', **TINY)
  (row,) = main.run(config, tmp_path, MINE)['rows']
  assert row['horizon'] is None and 'score' not in row
  row |= {'series': 'lorenz', 'mixer': 'mine', 'solved': 0.05}
  (found,) = rollouts([row]).values()
  assert not found.learnt.any() and np.isinf(found.errors).all()


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'series': 'lorentz'}, "Did you mean 'lorenz'"),
    ({'context': 16}, 'context=16'),
    ({'parameters': 10}, 'parameters'),
    ({'seeds': 0}, 'seeds=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_presets_measure_what_the_claims_need(preset):
  """The primary network, another one, and the equation; one budget."""
  found = folders.find('forecasting')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  pairs = {(config.series, config.mixer) for config in configs}
  assert claims.PRIMARY in pairs
  assert {(name, main.PERFECT) for name in main.SERIES} <= pairs
  for name in ('learning_rates', 'steps', 'seeds', 'tuning_seeds'):
    assert len({getattr(config, name) for config in configs}) == 1


@pytest.mark.parametrize(
  'law, sign',
  [(lambda k: 1e-4 * k**2, 1), (lambda k: 1e-4 * np.exp(0.1 * k), -1)],
)
def test_growth_tells_a_power_law_from_an_exponential(law, sign):
  """It reads neither what has saturated nor too few horizons."""
  horizons = np.array(main.HORIZONS)
  errors = np.minimum(law(horizons), 1.0)
  found = growth(horizons, errors)
  assert np.sign(found.preference) == sign
  slope = found.power if sign > 0 else found.rate
  assert slope == pytest.approx(2 if sign > 0 else 0.1)
  assert growth(horizons, np.where(horizons > 3, 1.0, 0.1)) is None


def rows(law, names=sweep.MIXERS, series=main.SERIES, seeds=11, movement=1.0):
  """Errors of law(mixer, k), as the experiment writes them."""
  return [
    {'series': s, 'mixer': name, 'seed': seed, 'horizon': k, 'solved': 0.05,
     'relative_error': law(name, k) * (1 + 0.01 * math.sin(seed + len(name))),
     'typical_error': law(name, k),
     'movement': movement if k >= main.MOVES_FROM else None,
     'lyapunov_per_step': 0.006, 'parameters': 8000, 'steps': 300,
     'context': 32, 'device': 'cpu', 'cpus': 1, 'jax': '0.10.2',
     'precision': 'float32', 'commit': 'abc'}
    for s in series for name in names for seed in range(seeds)
    for k in main.HORIZONS
  ]  # fmt: skip


def power(name, k):
  """Every mixer alike, but for a factor."""
  return 1e-4 * len(name) * k**1.5


def judged(*args, **kwargs):
  return {v.id: v for v in claims.verdicts(rows(*args, **kwargs))}


@pytest.mark.parametrize(
  'law, accumulates, exponential',
  [
    (power, SUPPORTED, REFUTED),
    (lambda name, k: 1e-4 * len(name) * math.exp(0.08 * k), SUPPORTED,
     SUPPORTED),
    (lambda name, k: 1e-4 * len(name) * k**0.1, REFUTED, REFUTED),
    (lambda name, k: 0.06 * k, UNDECIDED, UNDECIDED),
    (lambda name, k: 1e-3 * (math.exp(0.08 * k) if name == 'gru' else k**1.5),
     SUPPORTED, CONDITIONAL),
    (lambda name, k: 1e-3 * k ** (0.3 if name == 'gru' else 1.5), CONDITIONAL,
     REFUTED),
  ],
)  # fmt: skip
def test_verdicts_follow_the_errors(law, accumulates, exponential):
  """Either way, in between, and of networks that learnt nothing."""
  found = judged(law)
  assert found['1.6a'].verdict == accumulates
  assert found['1.6b'].verdict == exponential


@pytest.mark.parametrize(
  'movement, word', [(0.02, SUPPORTED), (0.9, REFUTED), (0.1, REFUTED)]
)
def test_a_flat_line_is_told_by_its_variance(movement, word):
  """The error says nothing about it."""
  assert judged(power, movement=movement)['1.6c'].verdict == word


def crossing(name, k):
  """The perceptron on 4 values is the best at one step, and then the worst."""
  first = name == 'window_mlp (tau 4)'
  return 1e-4 * k**2 if first else 1e-4 * len(name) * k


def test_a_model_that_is_overtaken_is_misleading():
  """One that stays ahead is not; names, effect and p are those of the rule."""
  found = judged(crossing)['1.6d']
  assert found.verdict == SUPPORTED and found.p < 0.05 / 43
  assert 'window_mlp (tau 4) over gru' in found.quantity
  assert found.effect == pytest.approx(64 / 3, rel=0.05)
  ahead = judged(power)['1.6d']
  assert ahead.verdict == REFUTED and ahead.effect < 1


def test_a_series_on_which_the_rule_is_blind_is_left_out():
  """As told by the equation, whose own errors grow exponentially."""

  def law(name, k):
    if name == main.PERFECT:
      return 1e-6 * math.exp(0.1 * k)
    return 1e-3 * k**1.5

  names = (*sweep.MIXERS, main.PERFECT)
  made = rows(law, names)
  for row in made:
    row['lyapunov_per_step'] = 0.045 if row['series'] == 'lorenz' else 0.006
  seen = {v.id: v for v in claims.verdicts(made)}['1.6b']
  assert seen.verdict == REFUTED and 'gru on lorenz' in seen.sentence
  for row in made:
    if row['mixer'] == main.PERFECT:
      row['relative_error'] = 1e-6 * row['horizon'] ** 2
  blind = {v.id: v for v in claims.verdicts(made)}['1.6b']
  assert blind.verdict == REFUTED and 'Left out: lorenz' in blind.sentence
  assert 'gru on lorenz' not in blind.sentence


def test_a_second_series_can_make_a_claim_depend():
  """One swapped table turns SUPPORTED into CONDITIONAL."""
  made = rows(crossing, series=('mackey_glass',)) + rows(
    power, series=('lorenz',)
  )
  found = {v.id: v for v in claims.verdicts(made)}
  assert found['1.6d'].verdict == CONDITIONAL
  assert 'on lorenz the best at one step is gru' in found['1.6d'].sentence


def test_equals_and_few_seeds_decide_nothing():
  """They lean."""
  same = judged(lambda name, k: 1e-3 * k)['1.6d']
  assert same.verdict == UNDECIDED
  few = judged(power, seeds=5)
  assert {few[c].verdict for c in ('1.6a', '1.6b', '1.6c')} == {UNDECIDED}
  assert few['1.6a'].leans == 'to SUPPORTED (5 of 5 seeds)'


def test_missing_rows_name_the_command():
  """Planted errors in the primary network's rows, or in another's."""
  found = judged(power, names=('gru',))
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert all(claims.COMMAND in v.sentence for v in found.values())
  assert 'window_mlp (tau 4) on mackey_glass' in found['1.6a'].sentence


def test_two_rows_of_one_training_are_refused():
  """As where two tables were joined."""
  with pytest.raises(ValueError, match='one row for each training'):
    rollouts(rows(power) + rows(power, names=('gru',)))


def test_a_mixer_of_ones_own_has_a_line_and_no_vote():
  """A claim about textbooks' networks is not changed by another."""
  law = lambda name, k: 1e-3 if name == 'mine' else power(name, k)  # noqa: E731
  names = (*sweep.MIXERS, 'mine')
  assert judged(law, names)['1.6a'].verdict == SUPPORTED
  card = claims.summary(rows(law, names))
  lines = [line for line in card.splitlines() if ' mine ' in line]
  assert len(lines) == 2 and '11 of 11' in lines[0]


def test_a_figure_is_drawn(tmp_path):
  """A column for each series, with the equation beside the networks."""
  path = tmp_path / 'figure.svg'
  few = rows(power, (main.PERFECT,), seeds=2)
  plot.draw(rows(power, ('gru',), seeds=5) + few, str(path))
  text = path.read_text()
  assert 'Lorenz' in text and 'Lyapunov' in text and 'flat below' in text
