"""The experiment on gradients through time, at sizes that take seconds."""

import math

import pytest

from experiments import axes, folders
from experiments.gradients import claims, main, plot, sweep
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import WindowMLP
from tests.experiments import refusals

TINY = {'features': 4, 'length': 17, 'seeds': 2}
MINE = {'mine': lambda features, context: WindowMLP(features, tau=4)}


def test_a_cell_gives_a_row_for_each_seed_and_lag(tmp_path):
  """At rest the rate is the logarithm of the spectral radius, either way."""
  config = main.Config('elman (radius 1.1)', drive=0.0, **TINY)
  rows = main.run(config, tmp_path)['rows']
  assert [(row['seed'], row['lag']) for row in rows] == [
    (seed, lag) for seed in (0, 1) for lag in (1, 2, 4, 6, 8, 10, 12, 14, 16)
  ]
  assert {row['of'] for row in rows} == {'state'}
  assert claims.rates(rows) == pytest.approx(math.log(1.1), rel=1e-3)
  for row in rows:
    assert row['lyapunov'] == pytest.approx(math.log(1.1), rel=1e-3)
    assert row['clipped_norm'] == pytest.approx(main.CLIP, rel=1e-4)
    assert row['clip_bends'] < 1e-4
  assert main.run(config, tmp_path)['rows'] == rows


def test_gradients_of_a_window_are_those_of_its_inputs(tmp_path):
  """And end where it does, which a report card says."""
  config = main.Config('mine', **TINY)
  rows = main.run(config, tmp_path, MINE)['rows']
  found = {row['lag']: row['log_norm'] for row in rows if row['seed'] == 0}
  assert found[2] is not None and found[4] is None
  assert {row['of'] for row in rows} == {'inputs'}
  rows = [row | {'mixer': 'mine', 'drive': 1.0} for row in rows]
  assert 'exactly 0' in claims.summary(rows)


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'length': 20}, 'length=20'),
    ({'length': 9}, 'length=9'),
    ({'seeds': 0}, 'seeds=0'),
    ({'drive': -1.0}, 'drive=-1.0'),
    ({'mixer': 'attention', 'features': 3}, 'features=3'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_presets_measure_what_the_claims_need(preset):
  """At one size, every cell once, also the networks at rest."""
  found = folders.find('gradients')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  driven = {config.mixer for config in configs if config.drive}
  assert set(claims.PRIMARY.values()) <= driven <= set(main.ENTRIES)
  assert driven != {config.mixer for config in configs if not config.drive}
  assert len({(c.features, c.length, c.seeds) for c in configs}) == 1


def rows(rate, names=('elman', 'elman (radius 1.1)', 'lstm'), seeds=8):
  """Log norms that change at rate(name, seed), as the experiment writes it."""
  return [
    {'mixer': name.removesuffix(', at rest'),
     'drive': 0.0 if name.endswith(', at rest') else 1.0,
     'features': 32, 'length': 257, 'seed': seed, 'of': 'state', 'lag': lag,
     'log_norm': (None if lag > 32 else -1.0) if rate(name, seed) is None
     else -1.0 + lag * rate(name, seed),
     'lyapunov': None if name == 'mine' else -0.408,
     'clipped_norm': 1.0, 'clip_bends': 1e-6,
     'device': 'cpu', 'cpus': 2, 'jax': '0.10.2', 'precision': 'float32',
     'commit': 'abc'}
    for name in names for seed in range(seeds) for lag in (1, 32, 64, 128, 256)
  ]  # fmt: skip


def at(value, spread=1e-4):
  """A rate for all networks, with a little noise."""
  return lambda name, seed: value + spread * math.sin(seed + len(name))


def judged(*args, **kwargs):
  return {v.id: v for v in claims.verdicts(rows(*args, **kwargs))}


@pytest.mark.parametrize(
  'rate, vanish, explode',
  [
    (at(-0.4), SUPPORTED, REFUTED),
    (at(0.4), REFUTED, SUPPORTED),
    (at(0.0), REFUTED, REFUTED),
    (at(-0.01), UNDECIDED, REFUTED),
    (at(0.0, spread=0.1), UNDECIDED, UNDECIDED),
    (
      lambda name, seed: at({'lstm': 0.0}.get(name, -0.4))(name, seed),
      CONDITIONAL,
      REFUTED,
    ),
    (
      lambda name, seed: None if name == 'lstm' else at(-0.4)(name, seed),
      SUPPORTED,
      REFUTED,
    ),
    (
      lambda name, seed: None if name == 'lstm' and seed else 0.1,
      UNDECIDED,
      UNDECIDED,
    ),
    (
      lambda name, seed: at({'lstm': 0.1}.get(name, -0.4))(name, seed),
      CONDITIONAL,
      CONDITIONAL,
    ),
  ],
)
def test_verdicts_follow_the_rates(rate, vanish, explode):
  """Either way, and in between; a wrong sign would turn them around."""
  found = judged(rate)
  assert found['2.4a'].verdict == vanish
  assert found['2.4b'].verdict == explode


def test_a_verdict_has_scope_effect_and_p():
  """The effect is the rate of the network that the rule names."""
  found = judged(lambda name, seed: at(-0.1 * len(name))(name, seed))
  vanishes, explodes = found['2.4a'], found['2.4b']
  assert vanishes.effect == pytest.approx(-0.5, abs=1e-3)
  assert vanishes.low < vanishes.effect < vanishes.high < -claims.MARGIN
  assert 'width 32, 257 positions' in vanishes.scope
  assert vanishes.unit == 'nats per step' and vanishes.seeds == 8
  assert vanishes.p < 0.05 / 43 and explodes.p < 0.05 / 43
  # A refutation shows the best case: the LSTM's rate is the highest.
  assert '(lstm)' in explodes.quantity
  assert explodes.effect == pytest.approx(-0.4, abs=1e-3)


def test_a_network_at_rest_is_another_setting():
  """The sentence names it."""
  names = ('elman', 'elman (radius 1.1)', 'elman (radius 1.1), at rest')
  found = judged(
    lambda name, seed: at(0.095 if 'rest' in name else -0.4)(name, seed), names
  )['2.4b']
  assert found.verdict == CONDITIONAL
  assert 'holds for elman (radius 1.1), at rest (+0.095)' in found.sentence


def test_few_seeds_decide_nothing_and_lean():
  """To the side of most of them."""
  found = judged(at(-0.4), seeds=3)
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert found['2.4a'].leans == 'to SUPPORTED (3 of 3 seeds)'
  assert found['2.4b'].leans == 'to REFUTED (3 of 3 seeds)'


def test_missing_rows_name_the_command():
  """Names the Elman network of radius 1.1 that is not there."""
  found = judged(at(-0.4), names=('elman', 'lstm'))
  assert found['2.4a'].verdict == SUPPORTED
  assert found['2.4b'].verdict == UNDECIDED
  assert 'elman (radius 1.1)' in found['2.4b'].sentence
  assert claims.COMMAND in found['2.4b'].sentence


def test_a_mixer_of_ones_own_has_a_line_and_no_vote():
  """A claim about textbooks' networks is not changed by another."""
  rate = lambda name, seed: at({'mine': 0.4}.get(name, -0.4))(name, seed)  # noqa: E731
  names = ('elman', 'elman (radius 1.1)', 'mine')
  assert judged(rate, names)['2.4a'].verdict == SUPPORTED
  card = claims.summary(rows(rate, names))
  (mine,) = [line for line in card.splitlines() if line.startswith('mine')]
  assert 'differ by 2.0% at most' in card
  assert '+0.4' in mine and mine.split()[-3:] == ['no', 'yes', '8']


@pytest.mark.parametrize('seeds', [3, 8])
def test_a_figure_is_drawn_of_every_rate(seeds, tmp_path):
  """Also where a gradient is exactly zero."""
  path = tmp_path / 'figure.svg'
  names = ('elman', 'lstm', 'tcn', 'elman, at rest')
  rate = lambda name, seed: None if name == 'tcn' else -0.4  # noqa: E731
  plot.draw(rows(rate, names, seeds), str(path))
  text = path.read_text()
  assert (
    'elman -0.400' in text
    and f'tcn: exactly 0 in {seeds} of {seeds} seeds' in text
  )
  assert 'elman, at rest' in text
  assert all(title in text for title in plot.TITLES)


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  looks = [plot._look(name) for name in sweep.FULL['mixers']]
  assert len({(look.color, look.dashes) for look in looks}) == len(looks)
