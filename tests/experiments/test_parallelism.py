"""The parallelism experiment, at sizes that take seconds."""

import dataclasses
import functools

import numpy as np
import pytest

from experiments.parallelism import claims, main, plot, sweep
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.models import num_parameters
from seqjax.nn import LSTM, MIXERS, Attention
from seqjax.results import plotting, table

MINE = {'lstm': LSTM, 'mine': functools.partial(Attention, positions='none')}


@pytest.mark.parametrize('work', main.WORKS)
def test_a_cell_gives_a_row_a_mixer_also_for_a_mixer_of_the_callers(
  work, tmp_path
):
  """Every column is there; a second call reads what the first has written."""
  config = main.Config(work=work, length=16, batch_size=2, parameters=2200)
  summary = main.run(config, tmp_path / 'cell', MINE)
  assert [row['mixer'] for row in summary['rows']] == ['lstm', 'mine']
  for row in summary['rows']:
    assert len(row['round_seconds']) == 11
    low, middle, high = (
      row[c] for c in ('lower_quartile', 'seconds', 'upper_quartile')
    )
    assert 0 < low <= middle <= high
    assert abs(row['mixer_parameters'] / 2200 - 1) <= 0.1
    assert 0 < row['share_of_peak'] <= 1.1
    assert row['matmul_flops'] > 0 and row['peak_bytes'] > 0
  again = main.run(config, tmp_path / 'cell', MINE)
  assert again == summary


def test_what_would_not_fit_is_listed_and_not_run(tmp_path, monkeypatch):
  """The bytes are those that the compiler predicts."""
  monkeypatch.setattr(main, 'SHARE', 1e-9)
  config = main.Config(length=16, parameters=2200)
  with pytest.raises(ValueError, match='nothing to time'):
    main.run(config, tmp_path / 'none', MINE)
  monkeypatch.setattr(main, 'needed_bytes', lambda mixer, config: (
    10**15 if isinstance(mixer, Attention) else 0))  # fmt: skip
  monkeypatch.setattr(main, 'SHARE', 0.25)
  lstm, mine = main.run(config, tmp_path / 'one', MINE)['rows']
  assert 'seconds' in lstm and 'seconds' not in mine
  assert mine['needed_bytes'] == 10**15


def test_every_contestant_has_the_same_number_of_parameters():
  """Within a tenth of each other, at widths in multiples of 8."""
  config = main.Config(length=64)
  made = [
    main.make_mixer(make, config)
    for make in map(main.ENTRIES.get, main.COMPARED)
  ]
  counts = [num_parameters(mixer) for mixer in made]
  assert max(counts) <= 1.1 * min(counts)
  assert all(mixer.features % 8 == 0 for mixer in made)


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'length': 0}, 'length=0'),
    ({'batch_size': -1}, 'batch_size=-1'),
    ({'work': 'forwards'}, "mean 'forward'"),
  ],
)
def test_bad_knobs_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  with pytest.raises(ValueError, match=message):
    main.run(main.Config(**bad), tmp_path / 'cell')
  assert not list(tmp_path.iterdir())


def test_another_configs_folder_is_refused(tmp_path):
  """And nothing in it is overwritten."""
  config = main.Config(length=16, parameters=2200)
  main.run(config, tmp_path, {'lstm': LSTM})
  before = {p: p.read_bytes() for p in tmp_path.iterdir()}
  with pytest.raises(ValueError, match='length'):
    main.run(dataclasses.replace(config, length=32), tmp_path, {'lstm': LSTM})
  assert before == {p: p.read_bytes() for p in tmp_path.iterdir()}


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_every_preset_has_every_cell_once(preset):
  """All works, both batch sizes, all lengths."""
  axes = sweep.PRESETS[preset]
  cells = sweep.cells(**axes)
  expected = 3 * len(axes['batch_sizes']) * len(axes['lengths'])
  assert len(set(cells)) == len(cells) == expected
  assert sum(cell.resident for cell in cells) == 1


def rows(lstm_exponent, attention_exponent, factor, works=('training',)):
  """Made-up times: two power laws with a little noise."""
  rng = np.random.default_rng(0)
  made = []
  for work in works:
    for length in (64, 256, 1024, 4096):
      for name, power, scale in (
        ('lstm', lstm_exponent, factor),
        ('attention', attention_exponent, 1.0),
      ):
        rounds = scale * 1e-5 * length**power * rng.uniform(0.98, 1.02, 11)
        made.append({
          'work': work, 'batch_size': 1, 'length': length, 'mixer': name,
          'seconds': float(np.median(rounds)),
          'lower_quartile': float(np.quantile(rounds, 0.25)),
          'upper_quartile': float(np.quantile(rounds, 0.75)),
          'round_seconds': tuple(rounds), 'compile_seconds': 0.5,
          'share_of_peak': 0.1,
          'peak_bytes': 1000 * length, 'state_floats': 10,
          'features': 8, 'mixer_parameters': 100, 'resident_bytes': None,
          'needed_bytes': 0, 'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
          'precision': 'float32', 'commit': 'abc',
        })  # fmt: skip
  return made


@pytest.mark.parametrize(
  'factor, power, verdict',
  [(100.0, 1.0, SUPPORTED), (0.01, 2.0, REFUTED), (1000.0, 2.0, CONDITIONAL)],
)
def test_verdicts_follow_the_times(factor, power, verdict):
  """Slower everywhere, faster everywhere, or by length."""
  found = {v.id: v for v in claims.verdicts(rows(1.0, power, factor))}
  assert found['2.1'].verdict == found['2.6'].verdict == verdict
  expected = factor * 4096 ** (1.0 - power)
  assert found['2.1'].low <= expected * 1.02
  assert found['2.1'].high >= expected * 0.98


def test_the_summary_has_exponents_and_crossovers():
  """1 and 2, crossing where 100 T = T^2."""
  (lstm, attention) = claims.exponents(rows(1.0, 2.0, 100.0))
  assert lstm['training B=1'].startswith(('1.00', '0.99', '1.01'))
  assert attention['training B=1'].startswith(('2.00', '1.99', '2.01'))
  (crossing,) = claims.crossovers(rows(1.0, 2.0, 100.0))
  assert abs(float(crossing['training B=1'].split()[0]) - 100) < 5
  (none,) = claims.crossovers(rows(1.0, 2.0, 0.001))
  assert none['training B=1'] == 'none in range: cheaper'


def test_a_figure_is_drawn_from_tables_of_two_machines(tmp_path):
  """With a cell that did not fit."""
  ours, theirs = rows(1.0, 2.0, 100.0), rows(1.0, 2.0, 10.0)
  ours[-1] |= {'seconds': None, 'peak_bytes': None, 'needed_bytes': 2 * 10**10}
  theirs = [row | {'device': 'gpu'} for row in theirs]
  for name, part in (('a', ours), ('b', theirs)):
    table.write(part, tmp_path / f'{name}.csv')
  read = table.read(tmp_path / 'a.csv', tmp_path / 'b.csv')
  plot.draw(read, str(tmp_path / 'figure.svg'))
  text = (tmp_path / 'figure.svg').read_text()
  assert 'does not fit (20 GB)' in text and 'lstm gpu' in text
  assert 'attention' in claims.summary(ours) and '20 GB' in claims.summary(ours)


def test_flops_of_attention_are_those_of_pairs_that_meet():
  """Half of the dense ones and the diagonal; no fewer for a plain form."""
  config = main.Config(work='training', length=300)
  (fast, plain) = (Attention(8, 300, algorithm=a) for a in ('auto', 'plain'))
  useful = main.useful_flops(fast, config)
  assert useful == main.useful_flops(plain, config)
  projections = 3 * 4 * 2 * 300 * 8 * 8
  assert useful == projections + 6 * 2 * 8 * (300 * 301 // 2)


def test_the_summary_says_how_the_crossover_moves():
  """A row for the fast forms, and one for the plain ones."""
  fast = rows(1.0, 2.0, 200.0)
  plain = [
    {**row, 'mixer': f'{row["mixer"]} (plain)'} for row in rows(1.0, 2.0, 800.0)
  ]
  first, second = claims.moved([*fast, *plain])
  assert first['pair'] == 'lstm and attention'
  early, late = (
    float(entry['training B=1'].split()[0]) for entry in (first, second)
  )
  assert late > 2 * early


def test_without_both_mixers_the_claims_are_undecided():
  """The rows of a sweep over mixers of one's own may lack them."""
  alone = [row for row in rows(1.0, 2.0, 1.0) if row['mixer'] == 'lstm']
  found = claims.verdicts(alone)
  assert [verdict.verdict for verdict in found] == [UNDECIDED] * 2
  assert 'training times of lstm and attention' in found[0].sentence
  assert 'lstm' in claims.summary(alone)


def test_mixers_are_named_once_and_are_known(tmp_path):
  """A typo is refused before anything is written."""
  with pytest.raises(ValueError, match='each mixer once'):
    main.Config(mixers=('lstm', 'lstm'))
  with pytest.raises(ValueError, match="'ltsm'. Did you mean 'lstm'"):
    main.run(main.Config(mixers=('ltsm',)), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  mixers = [plotting.style(name) for name in main.COMPARED if name in MIXERS]
  looks = [*plot.LOOKS.values(), *mixers]
  assert len(set(looks)) == len(looks)
  assert len({(look.dashes, look.marker) for look in looks}) == len(looks)
