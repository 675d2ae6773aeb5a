"""The recall experiment, at sizes that take seconds."""

import dataclasses
import math

import numpy as np
import pytest

from experiments import axes, folders
from experiments.recall import claims, main, plot, sweep
from experiments.recall.curves import curves, half_lag, show_half_lag
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.models import num_parameters
from seqjax.nn import MIXERS, WindowMLP
from seqjax.results import plotting


def test_a_run_gives_a_row_a_lag_also_for_a_mixer_of_the_callers(tmp_path):
  """And is not done again."""
  config = main.Config(
    mixer='mine', design='mixed', lag=8, beyond=2, steps=60, batch_size=8,
    parameters=2700,
  )  # fmt: skip
  mixers = {'mine': lambda features, context: WindowMLP(features, tau=4)}
  summary = main.run(config, tmp_path, mixers)
  assert [row['tested_lag'] for row in summary['rows']] == [1, 2, 4, 8, 16]
  assert all(0 <= row['accuracy'] <= 1 for row in summary['rows'])
  assert summary['chance'] == 0.125 and summary['ceiling'] == 1
  assert summary['steps_taken'] == 60
  assert main.run(config, tmp_path, mixers) == summary


def test_an_unknown_mixer_is_named_with_its_neighbour(tmp_path):
  """Before anything is written."""
  with pytest.raises(ValueError, match="'ltsm'. Did you mean 'lstm'"):
    main.run(main.Config(mixer='ltsm'), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'lag': 0}, 'lag=0'),
    ({'steps': -1}, 'steps=-1'),
    ({'beyond': -1}, 'beyond=-1'),
    ({'learning_rate': 0.0}, 'learning_rate=0.0'),
    ({'design': 'fix'}, "mean 'fixed'"),
  ],
)
def test_bad_knobs_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  with pytest.raises(ValueError, match=message):
    main.run(main.Config(**bad), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


def test_every_contestant_has_the_same_number_of_parameters():
  """Within a tenth of it; those of a figure within a tenth of each other."""
  assert set(MIXERS) <= set(main.ENTRIES)
  counts = {}
  for name in main.ENTRIES:
    config = main.Config(mixer=name)
    task = main.Recall(lag=config.lag)
    mixer, model = main.make_model(config, task, main.ENTRIES)
    counts[name] = num_parameters(mixer)
    assert abs(counts[name] / config.parameters - 1) <= 0.1
    assert mixer.features % 4 == 0 and len(model.mixers) == 1
  drawn = [counts[name] for name in sweep.EVERY]
  assert max(drawn) <= 1.1 * min(drawn)


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_runs_that_share_a_compiled_function_stand_together(preset):
  """A group is a stretch of the sweep, and every config is there once."""
  found = folders.find('recall')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  groups = found.groups(configs)
  assert [config for group in groups for config in group] == configs
  assert len(groups) < len(configs)
  for group in groups:
    same = {
      dataclasses.replace(config, seed=0, learning_rate=1.0) for config in group
    }
    assert len(same) == 1


def rows(accuracy, seeds=5, rates=(1e-3,)):
  """accuracy(mixer, design, lag, seed, rate) as the experiment writes it."""
  made = []
  for mixer in ('elman', 'gru', 'lstm', 'attention'):
    for design, lags in (('fixed', (8, 32, 128)), ('mixed', (128,))):
      for lag in lags:
        tested = (lag,) if design == 'fixed' else (8, 16, 32, 64, 128, 256)
        for seed in range(seeds):
          for rate in rates:
            for test in tested:
              score = accuracy(mixer, design, test, seed, rate)
              made.append({
                'mixer': mixer, 'design': design, 'lag': lag,
                'learning_rate': rate, 'seed': seed, 'tested_lag': test,
                'accuracy': score, 'examples': 128, 'validation': score,
                'chance': 0.125, 'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
                'precision': 'float32', 'commit': 'abc',
              })  # fmt: skip
  return made


def fades_when_fixed(mixer, design, lag, seed, rate):
  reach = {'elman': 8, 'gru': 32, 'lstm': 32, 'attention': 999}[mixer]
  return 1.0 if design == 'mixed' or lag <= reach else 0.125


def verdicts(*args, **kwargs):
  return {v.id: v.verdict for v in claims.verdicts(rows(*args, **kwargs))}


def test_verdicts_depend_on_the_design():
  """What fades only when every lag is long holds on a condition."""
  found = verdicts(fades_when_fixed)
  assert found == {'2.2': CONDITIONAL, '2.7': SUPPORTED, '2.9': CONDITIONAL}


def test_verdicts_are_reversed_by_reversed_scores():
  """RNNs that keep everything, and an attention that fades."""

  def reversed_scores(mixer, design, lag, seed, rate):
    return 1.0 if mixer != 'attention' else 1.0 - 0.1 * math.log2(lag / 8)

  found = verdicts(reversed_scores)
  assert found == {'2.2': REFUTED, '2.7': REFUTED, '2.9': REFUTED}


def test_fewer_than_five_seeds_decide_nothing():
  """Every seed is drawn, no interval is claimed."""
  assert set(verdicts(fades_when_fixed, seeds=4).values()) == {UNDECIDED}


def test_seeds_that_disagree_decide_nothing():
  """Noise never counts as support."""

  def noisy(mixer, design, lag, seed, rate):
    return 1.0 if lag <= 8 or seed else 0.125

  assert verdicts(noisy)['2.7'] == UNDECIDED


def test_mixers_that_learnt_nothing_decide_nothing():
  """Flat at chance is no memory, and no fading either."""
  assert set(verdicts(lambda *_: 0.125).values()) == {UNDECIDED}


def test_the_learning_rate_is_the_best_in_validation():
  """For every mixer, design and trained lag on its own."""

  def by_rate(mixer, design, lag, seed, rate):
    return 1.0 if rate == (1e-3 if lag == 8 else 1e-2) else 0.2

  found = curves(rows(by_rate, rates=(1e-3, 1e-2)))
  fixed = [curve for curve in found if curve.design == 'fixed']
  assert len(fixed) == 4 and all((c.accuracy == 1).all() for c in fixed)


def test_half_lag_is_interpolated_in_the_logarithm():
  """Half-way between chance and 1, at the first fall below it."""
  (curve, *_) = curves(rows(fades_when_fixed))
  half = np.array([1.0, 0.125, 0.125])
  assert half_lag(curve, half) == pytest.approx(16)
  assert half_lag(curve, np.array([0.125, 1, 1])) == 0
  assert math.isinf(half_lag(curve, np.ones(3)))
  assert show_half_lag(curve).startswith('16')
  at_chance = curve._replace(accuracy=np.full((5, 3), 0.13))
  assert show_half_lag(at_chance) == 'unlearnt'


def test_a_figure_is_drawn_with_chance_and_every_seed(tmp_path):
  """Bands from five seeds on; below, lines."""
  for seeds in (3, 5):
    path = tmp_path / f'{seeds}.svg'
    plot.draw(rows(fades_when_fixed, seeds=seeds), str(path))
    assert 'chance 0.125' in path.read_text()
  assert 'elman' in claims.summary(rows(fades_when_fixed))


def test_a_rate_whose_validation_is_not_finite_is_never_chosen():
  """Nor does a curve appear that has no other rate."""

  def by_rate(mixer, design, lag, seed, rate):
    return 1.0 if rate == 1e-3 else 0.2

  made = rows(by_rate, rates=(1e-3, 1e-2))
  for row in made:
    if row['mixer'] == 'gru' or row['learning_rate'] == 1e-3:
      row['validation'] = math.nan
  found = curves(made)
  assert {curve.mixer for curve in found} == {'elman', 'lstm', 'attention'}
  assert all((curve.accuracy == 0.2).all() for curve in found)


def test_claims_about_mixers_that_were_not_run_are_undecided():
  """Each says what is missing; the others are judged."""
  made = [row for row in rows(fades_when_fixed) if row['mixer'] != 'attention']
  found = {verdict.id: verdict for verdict in claims.verdicts(made)}
  assert found['2.7'].verdict == UNDECIDED
  assert 'attention (fixed), attention (mixed)' in found['2.7'].sentence
  assert found['2.2'].verdict == CONDITIONAL


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  mixers = [plotting.style(name) for name in sweep.EVERY if name in MIXERS]
  looks = [*plot.LOOKS.values(), *mixers]
  assert len(set(looks)) == len(looks)
  assert len({(look.dashes, look.marker) for look in looks}) == len(looks)
