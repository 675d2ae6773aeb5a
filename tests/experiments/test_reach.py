"""The experiment on windows, layers and state, at sizes that take seconds."""

import math

import jax
import numpy as np
import pytest

from experiments import axes, fit, folders
from experiments.reach import claims, main, plot, sweep
from seqjax.analysis.statistics import LEVEL
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import TCN, WindowMLP
from tests.experiments import refusals

TINY = {
  'parameters': 340, 'steps': 2, 'batch_size': 4, 'seeds': 1,
  'tuning_seeds': 1, 'learning_rates': (1e-2,),
}  # fmt: skip
MINE = {'mine': lambda features, context: WindowMLP(features, tau=4)}


def test_a_cell_gives_a_row_for_each_seed_and_lag(tmp_path):
  """Also of a mixer of the caller's: its window is followed back."""
  found = main.run(main.Config(mixer='mine', **TINY), tmp_path, MINE)
  lags = [row['lag'] for row in found['rows']]
  assert lags == [1, 2, 3, 4, 8, 16, 32, 64]
  assert found['receptive_field'] == 4 and found['farthest'] == 3
  assert found['layers'] == 1
  assert abs(found['mixer_parameters'] - 340) <= 34
  again = main.run(main.Config(mixer='mine', **TINY), tmp_path, MINE)
  assert again['rows'] == found['rows']


@pytest.mark.parametrize(
  'name, layers, reach', [('convolutions, 2 layers', 2, 9), ('tcn', 1, 63)]
)
def test_a_cell_is_validated_within_its_window(
  name, layers, reach, monkeypatch, tmp_path
):
  """And tested on both sides of its edge; all its layers share the budget."""
  seen = []
  monkeypatch.setattr(fit, 'fit', lambda *given: seen.append(given) or [])
  monkeypatch.setattr(main, 'farthest', lambda *given: reach - 1)
  found = main.run(main.Config(mixer=name, parameters=4000), tmp_path)
  _, task, plan, _, ((test, batches),) = seen[0]
  assert max(task.lags) == reach - 1 and {reach - 1, reach} <= set(test.lags)
  assert task.lag == test.lag == main.LAG and plan.stop_when_solved
  assert batches * fit.BATCH_SIZE == main.EXAMPLES * len(test.lags)
  assert abs(found['mixer_parameters'] - 4000) <= 400


def test_derivatives_end_at_the_edge_of_a_stack():
  """Two layers that see three positions each see five together."""
  stacked = (TCN(4, kernel_size=3, levels=1),) * 2
  assert main.farthest(stacked, 5) == 4
  assert main.farthest(stacked, 4) == 4  # more than it was said to see
  assert main.farthest(stacked, None) is None
  assert main.window(stacked) == 5
  assert main.window((TCN(4, kernel_size=main.LAG + 1, levels=1),)) is None


def test_a_token_that_comes_alone_is_a_sequence_of_its_own():
  """Every token starts anew if nothing is carried."""
  alone = main.SeenByTokens(carried=False).batch(jax.random.key(0), 0, 2)
  carried = main.SeenByTokens().batch(jax.random.key(0), 0, 2)
  np.testing.assert_array_equal(alone.inputs, carried.inputs)
  assert alone.segments.start.all() and carried.segments is None


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'question': 'lag'}, "Did you mean 'lags'"),
    ({'steps': 0}, 'steps=0'),
    ({'seeds': 0}, 'seeds=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_presets_train_what_the_claims_need(preset):
  """Every primary network and what it is compared with, each cell once."""
  found = folders.find('reach')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  asked = {(config.question, config.mixer) for config in configs}
  for id, (question, _, besides, *_) in claims._JUDGES.items():
    for name in (claims.PRIMARY[id], *besides):
      assert (question, name) in asked
  if preset == 'full':
    assert {name for _, name in asked} >= set(claims.WAYS)
  alone = {config.mixer for config in configs if not config.carried}
  assert 'tcn' in alone <= set(sweep.STATELESS)


def test_a_mixer_of_ones_own_is_asked_every_question():
  """As it stands in no list of roles."""
  found = folders.find('reach')
  given = found.axes('quick') | {'mixers': ('mine',)}
  configs = axes.cells(found, MINE, **given)
  assert [config.question for config in configs] == list(main.QUESTIONS)


REACH = {
  'dilated, 3 layers': 29, 'dilated, 4 layers': 61, 'window of 9': 9,
  'window of 17': 17, 'convolutions, 2 layers': 9, 'attention': None,
}  # fmt: skip
DEPTH = {'convolutions, 2 layers': 2, 'dilated, 3 layers': 3,
         'dilated, 4 layers': 4}  # fmt: skip
STATE = {'tcn': 0.7, 'window of 1': 0.7, 'lstm': 0.95}
MOTIFS = {'tcn of 2 taps': 0.9, 'lstm': 0.6, 'gru': 0.6}


def rows(lags=None, state=STATE, motifs=MOTIFS, seeds=8, farthest=None):
  """Accuracies of windows that end where they should, and of two tasks.

  Args:
    lags: {(mixer, lag): accuracy} that differ from it.
    state, motifs: {mixer: accuracy}, plus a little noise.
    seeds: how many.
    farthest: {mixer: where its derivatives end}, if not at its edge.
  """
  common = {
    'parameters': 8000, 'steps': 300, 'batch_size': 32, 'learning_rate': 0.01,
    'at_edge': False, 'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
    'precision': 'float32', 'commit': 'abc',
  }  # fmt: skip
  found = []
  for name, reach in REACH.items():
    tested = {1, 8, 32, 64} | (set() if reach is None else {reach - 1, reach})
    ends = None if reach is None else (farthest or {}).get(name, reach - 1)
    for lag in sorted(tested):
      sees = reach is None or lag < reach
      accuracy = (lags or {}).get((name, lag), 1.0 if sees else 0.125)
      found += [
        common
        | {'question': 'lags', 'mixer': name, 'lag': lag, 'accuracy': accuracy,
           'seed': seed, 'chance': 0.125, 'examples': 512,
           'receptive_field': reach, 'farthest': ends,
           'layers': DEPTH.get(name, 1)}
        for seed in range(seeds)
      ]  # fmt: skip
  for question, given, chance in (
    ('state', state, 0.7), ('motifs', motifs, 0.25),
  ):  # fmt: skip
    found += [
      common
      | {'question': question, 'mixer': name, 'lag': None, 'seed': seed,
         'accuracy': accuracy + 0.002 * math.sin(seed), 'chance': chance,
         'examples': 512, 'receptive_field': None, 'farthest': None,
         'layers': 1, 'carried': name not in sweep.STATELESS}
      for name, accuracy in given.items() for seed in range(seeds)
    ]  # fmt: skip
  return found


def judged(**given):
  return {verdict.id: verdict for verdict in claims.verdicts(rows(**given))}


def test_claims_are_supported_where_windows_end_and_state_helps():
  """Each with effect, p and scope."""
  found = judged()
  assert {verdict.verdict for verdict in found.values()} == {SUPPORTED}
  assert set(found) == set(claims.CLAIMS)
  for verdict in found.values():
    assert verdict.p < LEVEL and verdict.effect > 0 and verdict.seeds == 8
    assert '8,000 parameters' in verdict.scope
  assert 'attention 64' in found['0.14'].sentence


@pytest.mark.parametrize(
  'id, given, word',
  [
    ('0.13', {'lags': {('dilated, 3 layers', 29): 1.0}}, UNDECIDED),
    ('0.13', {'farthest': {'dilated, 3 layers': 40}}, CONDITIONAL),
    ('0.13', {'farthest': dict.fromkeys(REACH, 40)}, REFUTED),
    ('0.13', {'lags': {('dilated, 3 layers', 28): 0.5}}, UNDECIDED),
    ('0.13', {'farthest': {'dilated, 4 layers': 59}}, CONDITIONAL),
    ('1.4', {'lags': {('window of 9', 8): 0.5}}, UNDECIDED),
    ('1.4', {'farthest': {'window of 17': 9}}, CONDITIONAL),
    ('0.14', {'lags': {('convolutions, 2 layers', 32): 1.0}}, UNDECIDED),
    ('0.14', {'lags': {('dilated, 4 layers', 32): 0.5}}, UNDECIDED),
    ('0.11', {'state': STATE | {'lstm': 0.75}}, UNDECIDED),
    ('0.11', {'state': STATE | {'tcn': 0.75}}, UNDECIDED),
    ('0.12', {'motifs': MOTIFS | {'lstm': 0.95, 'gru': 0.95}}, REFUTED),
    ('0.12', {'motifs': MOTIFS | {'gru': 0.95}}, CONDITIONAL),
    ('0.12', {'motifs': MOTIFS | {'lstm': 0.9}}, UNDECIDED),
  ],
)
def test_one_planted_number_changes_one_verdict(id, given, word):
  """And leaves the claims about other tasks alone."""
  found = judged(**given)
  assert found.pop(id).verdict == word
  others = {'0.11', '0.12'} - {id}
  assert all(found[other].verdict == SUPPORTED for other in others)


@pytest.mark.parametrize(
  'id, entry',
  [('0.13', ('dilated, 4 layers', 60)), ('0.14', ('attention', 32))],
)
def test_what_another_network_does_not_learn_is_no_condition(id, entry):
  """It is named, and says nothing about what its window allows."""
  verdict = judged(seeds=11, lags={entry: 0.2})[id]
  assert verdict.verdict == SUPPORTED
  assert f'undecided for {entry[0]}' in verdict.sentence


@pytest.mark.parametrize(
  'id, given',
  [
    ('0.13', {'lags': {(n, r): 1.0 for n, r in REACH.items()}}),
    ('1.4', {'lags': {('window of 9', 9): 1.0, ('window of 17', 17): 1.0}}),
    ('0.14', {'lags': {('convolutions, 2 layers', 32): 1.0}}),
    ('0.11', {'state': dict.fromkeys(STATE, 0.95)}),
  ],
)
def test_most_seeds_beyond_a_window_refute(id, given):
  """It takes eleven that agree, or more."""
  found = judged(seeds=11, **given)[id]
  assert found.verdict == REFUTED and found.p < LEVEL


def test_few_seeds_lean_and_missing_rows_name_the_command():
  """Four seeds decide nothing, and an empty table is not judged."""
  assert judged(seeds=4)['0.13'].verdict == UNDECIDED
  assert judged(seeds=5)['1.4'].leans == 'to SUPPORTED (5 of 5 seeds)'
  (one, *_) = claims.verdicts([])
  assert one.verdict == UNDECIDED and claims.COMMAND in one.sentence
  lost = [r for r in rows() if (r['mixer'], r['lag']) != ('window of 9', 9)]
  assert 'not both tested' in {
    verdict.id: verdict for verdict in claims.verdicts(lost)
  }['1.4'].sentence  # fmt: skip


def test_what_is_not_finite_is_chance_and_budgets_are_not_mixed():
  """One sentence for two budgets, and for a row that is there twice."""
  part = claims.entries(rows(), 'state')['lstm']
  lost = [row | {'accuracy': None} if row['seed'] == 3 else row for row in part]
  assert claims.scores(lost)[3] == 0.7
  table = rows()
  with pytest.raises(ValueError, match='steps is 300 and 600'):
    claims.verdicts([*table, table[0] | {'steps': 600}])
  with pytest.raises(ValueError, match='two of dilated, 3 layers, seed 0'):
    claims.verdicts([*table, table[0]])


def test_layers_grow_as_the_lag_or_its_logarithm():
  """Fitted through the longest lags that are learnt."""
  said = claims.exponents(claims.entries(rows(), 'lags'))
  slope = 1 / (math.log2(60) - math.log2(28))
  assert f'dilated layers by {slope:.2f}' in said


def test_figure_and_card_are_drawn_from_rows(tmp_path):
  """Panels are those of the questions that were asked."""
  path = tmp_path / 'figure.svg'
  table = [row for row in rows(seeds=5) if row['question'] != 'motifs']
  plot.draw(table, str(path))
  text = path.read_text()
  for question, title in plot.TITLES.items():
    assert (title in text) == (question != 'motifs')
  assert 'window of 9 (R = 9)' in text and 'lag / R' in text
  card = claims.summary(table)
  assert 'derivatives' in card and 'window of 1 ' in card
  assert 'tcn, no state' in text and 'lstm, no state' not in text


@pytest.mark.parametrize(
  'ours, theirs, votes',
  [(10, 0, (10, 11)), (6, 5, (0, 0)), (3, 0, (0, 0)), (6, 8, (3, 11))],
)
def test_seeds_lean_where_one_side_alone_has_most(ours, theirs, votes):
  """Six against five are no reason to prefer either."""
  passed = [np.arange(11) < n for n in (ours, theirs)]
  assert claims.more_learn(*passed).votes == votes
