"""The report card: properties are read by other experiments' own functions."""

import numpy as np
import pytest

from experiments import axes, beside, folders
from experiments.card import (
  claims,
  clipping,
  main,
  measures,
  plot,
  sweep,
  timings,
)
from experiments.recall import main as recall
from seqjax import results
from seqjax.analysis import timing
from seqjax.nn import MIXERS, WindowMLP
from tests.experiments import refusals

MACHINE = {
  'device': 'cpu', 'cpus': 2, 'jax': '0.10.2', 'precision': 'float32',
  'commit': 'abc',
}  # fmt: skip


def recall_rows(beyond, steps=50, lags=(1, 8, 32, 64, 128, 256), seeds=5):
  """Rows of networks that learnt, and score `beyond` at longer lags."""
  return [
    {'seed': seed, 'tested_lag': lag, 'trained_lag': 32, 'examples': 1024,
     'accuracy': 1.0 if lag <= 32 else beyond, 'chance': 0.125,
     'steps_to_solve': steps, 'steps_taken': 300}
    for seed in range(seeds) for lag in lags
  ]  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
  """Replaces recall's training by rows; returns what it was asked for."""
  asked = []

  def run(config, workdir, mixers):
    asked.append((config, mixers))
    return {'rows': recall_rows(0.5), 'chance': 0.125}

  monkeypatch.setattr(recall, 'run', run)
  return asked


def test_a_cell_asks_another_experiment_and_reads_its_rows(measured, tmp_path):
  """At the budget of all mixers; a caller's mixer takes part."""
  mine = {'mine': lambda features, context: WindowMLP(features, tau=4)}
  config = main.Config('mine', 'recall')
  rows = main.run(config, tmp_path, mine)['rows']
  ((asked, mixers),) = measured
  assert asked == recall.Config(
    mixer='mine', lag=32, seeds=5, tuning_seeds=1, steps=300
  )
  assert {'mine', 'lstm'} <= set(mixers)
  found = {row['property']: row for row in rows if row['seed'] == 3}
  assert found['recall: lost by 1x the trained lag']['value'] == 0
  assert found['recall: lost by 1x the trained lag']['solved'] is True
  assert found['recall: lost by 8x the trained lag']['value'] == 0.5
  assert found['recall: lost by 8x the trained lag']['solved'] is False
  assert found['recall: updates to solve']['value'] == 50
  assert main.run(config, tmp_path, mine)['rows'] == rows
  assert len(measured) == 1


def test_what_was_not_solved_has_no_number_of_updates():
  """And counts as not learnt."""
  rows = [
    row | {'mixer': 'lstm', 'design': 'mixed', 'parameters': 25000, 'lag': 32,
           'steps': 300, 'batch_size': 32}
    for row in recall_rows(1.0, steps=None)
  ]  # fmt: skip
  *_, updates = measures.of_recall(rows)
  assert np.isnan(updates.values).all() and not updates.solved.any()


def test_gradients_are_not_clipped_where_the_card_says_so(
  monkeypatch, tmp_path
):
  """Everything else is as in the recall that stands beside it."""
  plans = []

  def fitted(models, task, plan, record, tests):
    plans.append(plan)
    assert (task.lag, task.design) == (32, 'mixed') and list(models)
    return [
      {'seed': seed, 'steps_to_solve': [None, 75][seed]} for seed in (0, 1)
    ]

  monkeypatch.setattr(clipping.fit, 'fit', fitted)
  with_clip, without = (
    main.Config('gru', name, seeds=2).cell for name in ('recall', 'unclipped')
  )
  assert vars(with_clip) == vars(without)
  rows = clipping.run(without, tmp_path)['rows']
  assert [plan.clip for plan in plans] == [0] and plans[0].seeds == 2
  (updates,) = measures.of_unclipped(rows)
  np.testing.assert_array_equal(updates.values, [np.nan, 75])
  assert updates.solved.tolist() == [False, True]


class Halved(WindowMLP):
  """Reads a step otherwise than a sequence."""

  def step(self, carry, x_t):
    carry, y_t = super().step(carry, x_t)
    return carry, y_t / 2


def test_what_steps_give_otherwise_is_no_rounding():
  """Rounding of what is exact; a half of what is halved."""
  exact = timings.difference(WindowMLP(8, tau=4), seed=0)
  assert 0 <= exact < measures.EXACT / 10
  halved = timings.difference(Halved(8, tau=4), seed=0)
  assert halved == pytest.approx(1, abs=1e-4)


def test_times_are_ratios_of_one_process(monkeypatch, tmp_path):
  """A single number each; four times as long for four is linear."""
  names = []

  def compare(contestants, rounds, flops):
    assert set(flops) == set(contestants)
    names.append(tuple(contestants))
    seconds = {'512': 1.0, '2048': 4.0, 'lstm': 2.0, 'mixer': 1.0}
    return {
      n: timing.Timing(0.0, (seconds[n],) * rounds, None, None, None)
      for n in contestants
    }

  monkeypatch.setattr(timings.timing, 'compare', compare)
  config = timings.Config('gru', features=8, seeds=2)
  rows = timings.run(config, tmp_path)['rows']
  difference, reach, exponent, token = measures.of_timings(rows)
  assert names == [('512', '2048'), ('lstm', 'mixer')]
  assert difference.solved.all() and difference.values.shape == (2,)
  np.testing.assert_array_equal(reach.values, [2048])
  np.testing.assert_allclose(exponent.values, [1.0])
  np.testing.assert_allclose(token.values, [0.5])
  assert timings.run(config, tmp_path)['rows'] == rows


@pytest.mark.parametrize('device, joined', [('cpu', 3), ('gpu', 1)])
def test_times_of_another_device_are_not_joined(
  device, joined, monkeypatch, tmp_path
):
  """Every other property of the committed card stands beside a new mixer's."""
  names = (timings.EXPONENT, timings.TOKEN, 'S3: at 1x')
  known, mine = (
    [row for name in names for row in table([0.5], None, [mixer], name)]
    for mixer in ('lstm', 'mine')
  )
  (tmp_path / 'card').mkdir()
  results.table.write(known, tmp_path / 'card' / 'results.csv')
  card = folders.find('card')
  assert card.main and card.sweep  # before its folder is another one
  monkeypatch.setattr(folders, 'ROOT', tmp_path)
  rows, _ = beside.joined(card, [row | {'device': device} for row in mine])
  assert len(rows) == len(mine) + joined


def test_every_measure_fits_the_config_of_its_experiment():
  """With the number of seeds of the card, and nothing compiled."""
  for name in measures.MEASURES:
    config = main.Config('gru', name, seeds=7)
    assert config.cell.seeds == 7 and config.cell.mixer == 'gru'
    main.check(config)


def test_the_full_card_has_all_mixers_and_all_measures():
  """Each once."""
  found = folders.find('card')
  configs = axes.cells(found, **found.axes('full'))
  assert len(set(configs)) == len(configs)
  assert {c.mixer for c in configs} == set(MIXERS)
  assert {c.measure for c in configs} == set(measures.MEASURES)
  assert set(sweep.SOME) <= set(MIXERS)


def table(values, solved, mixers=('lstm', 'mine'), name='parity: at 8x'):
  """Rows of a card, each seed of a mixer with a value."""
  return [
    {'mixer': mixer, 'property': name, 'seed': seed, 'value': value,
     'solved': solved} | MACHINE
    for mixer in mixers for seed, value in enumerate(values)
  ]  # fmt: skip


def test_an_entry_has_number_interval_and_share_of_seeds():
  """A planted error in one seed changes them."""
  good = claims.entries(table([1, 1, 1, 1, 1], True))['mine']['parity: at 8x']
  assert good.text == '1 5/5'
  rows = table([1, 1, 1, 1, 0.5], True)
  rows[-1] = rows[-1] | {'solved': False}
  bad = claims.entries(rows)['mine']['parity: at 8x']
  assert bad.solved == (4, 5) and bad.interval.low < 0.9 < bad.mean + 0.01
  assert 'mine' in claims.summary(rows) and '4/5' in claims.summary(rows)
  empty = table([None] * 5, False)
  assert claims.entries(empty)['mine']['parity: at 8x'].text == '- 0/5'
  with pytest.raises(ValueError, match='two of mine'):
    claims.entries([*rows, rows[-1]])


def test_the_heat_map_colours_by_what_is_better():
  """More accuracy, less lost, a rate nearer to 0; no value is the worst.

  Accuracies between chance and the best, so that noise has no colour.
  """

  def goodness(name, ours, theirs, solved=(None, None)):
    rows = [
      *table(ours, solved[0], ['a'], name),
      *table(theirs, solved[1], ['b'], name),
    ]
    found = claims.entries(rows)
    return [plot._good(found, mixer, name) for mixer in ('a', 'b')]

  s3 = [(accuracy - 1 / 6) / (5 / 6) for accuracy in (0.9, 0.5)]
  assert goodness('S3: at 1x', [0.9], [0.5]) == pytest.approx(s3)
  assert goodness('parity: at 8x', [1.0], [0.495]) == [1, 0]
  assert goodness('parity: at 8x', [0.503], [0.495]) == pytest.approx(
    [0.006, 0]
  )
  lost = goodness('recall: lost by 8x the trained lag', [0.9], [0.5])
  assert lost == pytest.approx([0, 3 / 7])
  assert goodness('gradient: nats per position', [-0.4], [0.01]) == [0, 1]
  updates = 'recall: updates to solve'
  assert goodness(updates, [50], [100], (True, True)) == [1, 0]
  assert goodness(updates, [None], [100], (False, True)) == [0, 0.5]
  assert goodness(timings.EXPONENT, [1.9], [0.9]) == [0, 1]
  assert goodness(timings.DIFFERENCE, [1e-7], [0.0], (True, True)) == [0.5, 0.5]


def test_the_interval_of_an_accuracy_ends_at_0_and_at_1():
  """One of anything else does not."""
  values = [1, 1, 1, 1, 0.2]
  parity = claims.entries(table(values, True))['mine']['parity: at 8x']
  assert parity.interval.high == 1 and 0 < parity.interval.low < parity.mean
  assert '1.18' not in parity.text and parity.bounds.endswith(', 1]')
  lost = 'recall: lost by 8x the trained lag'
  lost = claims.entries(table([0, 0, 0, 0, 0.01], True, name=lost))
  assert lost['mine']['recall: lost by 8x the trained lag'].interval.low == 0
  rate = claims.entries(table(values, None, name=measures.RATE))['mine']
  assert rate[measures.RATE].interval.high > 1


def test_a_heading_names_chance_and_the_best():
  """Headings name chance and the best of accuracies; of the rest, the best."""
  assert '(chance 0.5,\nbest 1)' in plot.heading('parity: at 8x')
  assert '(chance 0.167,' in plot.heading('S3: at 1x')
  assert '(best: least)' in plot.heading(timings.TOKEN)
  assert 'grey' in plot.heading(timings.DIFFERENCE)


def test_every_property_is_in_one_panel_of_the_heat_map():
  """One that is not known is in the last."""
  names = [timings.TOKEN, 'parity: at 8x', 'mine: alone', measures.RATE]
  parts = plot.themes(names)
  assert sorted(sum(parts.values(), [])) == sorted(names)
  assert [*parts.values()][-1] == ['parity: at 8x', 'mine: alone']


def test_the_heat_map_names_every_mixer_and_number(tmp_path):
  """Also where a mixer lacks a property."""
  rows = [*table([0.25, 0.25], True), *table([3.0], None, ['gru'], 'x: y')]
  plot.draw(rows, str(tmp_path / 'figure.svg'))
  drawn = (tmp_path / 'figure.svg').read_text()
  for words in ('lstm', 'mine', 'gru', '0.25', '2/2', 'parity'):
    assert words in drawn


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'measure': 'party'}, "Did you mean 'parity'"),
    ({'seeds': 0}, 'seeds=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


def test_the_table_has_the_properties_and_not_what_they_were_read_from():
  """Rows of the other experiment lie below a cell's folder."""
  rows = table([1.0], True)
  rows = [row | {'measure': 'parity'} for row in rows]
  assert sweep.tabulate([*rows, {'mixer': 'lstm', 'lag': 3}]) == rows
  later = [row | {'measure': 's3'} for row in rows]
  elman = [row | {'mixer': 'elman'} for row in rows[:1]]
  assert sweep.tabulate([*later, *rows, *elman])[0] == elman[0]
  of_lstm = [r for r in sweep.tabulate([*later, *rows]) if r['mixer'] == 'lstm']
  assert [r['measure'] for r in of_lstm] == ['parity', 's3']


def test_two_machines_have_two_rows_of_the_heat_map(tmp_path):
  """One mixer on both of them is no error."""
  rows = table([1.0], True)
  rows += [row | {'device': 'gpu'} for row in rows]
  plot.draw(rows, str(tmp_path / 'figure.svg'))
  drawn = (tmp_path / 'figure.svg').read_text()
  assert 'lstm cpu' in drawn and 'lstm gpu' in drawn


def test_mixers_of_two_machines_are_on_one_card(tmp_path):
  """Unless a time, which cannot be compared, was measured on both."""

  def drawn(name):
    ours = table([1.0], True, ['lstm'], name)
    theirs = table([1.0], True, ['mine'], name)
    rows = ours + [row | {'device': 'gpu'} for row in theirs]
    plot.draw(rows, str(tmp_path / 'figure.svg'))
    return (tmp_path / 'figure.svg').read_text()

  assert 'mine gpu' not in drawn('parity: at 8x')
  assert 'mine gpu' in drawn(timings.TOKEN)
