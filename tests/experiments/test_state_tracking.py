"""The experiment on state beyond the trained length, at sizes of seconds."""

import pytest

from experiments import axes, fit, folders
from experiments.state_tracking import claims, main, plot, sweep
from seqjax.analysis.statistics import LEVEL
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import MinGRU
from tests.experiments import refusals

TINY = {
  'parameters': 200, 'steps': 2, 'batch_size': 4, 'seeds': 1,
  'tuning_seeds': 1, 'learning_rates': (1e-2,),
}  # fmt: skip


def test_a_cell_gives_a_row_for_each_seed_and_multiple(monkeypatch, tmp_path):
  """Also of a mixer of the caller's; and it is not trained twice."""
  monkeypatch.setattr(main, 'DEPTHS', {'1 bare block': (1, 0)})
  config = main.Config(mixer='mine', **TINY)
  found = main.run(config, tmp_path, {'mine': MinGRU})
  assert [row['times'] for row in found['rows']] == list(main.TIMES)
  for row in found['rows']:
    assert 0 <= row['accuracy'] <= 1 and row['examples'] == main.EXAMPLES
    assert abs(row['mixer_parameters'] - 200) <= 20
  assert found['chance'] == pytest.approx(1 / 6)
  again = main.run(config, tmp_path, {'mine': MinGRU})
  assert again['rows'] == found['rows']


def test_positions_are_averaged_up_to_a_multiple():
  """The last T positions before it; what is between multiples is left out."""
  rows = [
    {'seed': 0, 'group': position, 'score': position, 'examples': 8}
    for position in range(12 * 10)
  ]
  found = main.by_times(rows, 10)
  assert {row['times']: row['accuracy'] for row in found} == {
    1: 4.5, 2: 14.5, 4: 34.5, 8: 74.5, 12: 114.5,
  }  # fmt: skip
  lost = [{'seed': 3, 'group': None, 'score': float('nan'), 'examples': 0}]
  (row,) = main.by_times(lost, 10)
  assert row['times'] is None and row['seed'] == 3


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'task': 's4'}, "'s4'. Did you mean 's"),
    ({'task': 'z2', 'length': 10}, 'length=10 have 10'),
    ({'length': 0}, 'length=0'),
    ({'seeds': 0}, 'seeds=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_presets_train_what_a_claim_needs(preset):
  """The LSTM and all schemes of attention, each cell once, at one budget."""
  found = folders.find('state_tracking')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  tasks = {config.task for config in configs}
  assert tasks <= set(claims.NAMES)
  assert preset == 'quick' or tasks >= set(claims.PARTS.values())
  for task in tasks & set(claims.PARTS.values()):
    mixers = {config.mixer for config in configs if config.task == task}
    assert mixers >= {claims.PRIMARY, *claims.ATTENTION}
    budgets = {
      (config.parameters, config.steps, config.batch_size, config.length)
      for config in configs
      if config.task == task
    }
    assert len(budgets) == 1


NAMES = ('lstm', *claims.ATTENTION)


def rows(far, names=NAMES, seeds=11, tasks=('z2', 's3'), trained=1.0):
  """Accuracies that are far(name, seed) from 4 times the length on."""
  return [
    {'mixer': name, 'task': task, 'seed': seed, 'times': times,
     'accuracy': trained if times < 4 else far(name, seed), 'chance': 1 / 6,
     'examples': 512, 'parameters': 8000, 'steps': 500, 'batch_size': 64,
     'length': 10, 'steps_to_solve': 100, 'learning_rate': 0.01,
     'at_edge': False, 'variant': '2 blocks',
     'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
     'precision': 'float32', 'commit': 'abc'}
    for task in tasks for name in names for seed in range(seeds)
    for times in main.TIMES
  ]  # fmt: skip


def judged(table):
  return {verdict.id: verdict for verdict in claims.verdicts(table)}


def only(*generalising):
  """Gives 1 at every length to these names, and .2 to others."""
  return lambda name, seed: 1.0 if name in generalising else 0.2


@pytest.mark.parametrize(
  'far, word',
  [
    (only('lstm'), REFUTED),
    (only(*NAMES), SUPPORTED),
    (only(*claims.ATTENTION), SUPPORTED),
    (only(), UNDECIDED),
    (only('lstm', 'attention (ALiBi)'), CONDITIONAL),
    (lambda name, seed: float(name == 'lstm' or seed < 5), UNDECIDED),
    (lambda name, seed: 0.94 + 0.02 * (name == 'lstm'), REFUTED),
  ],
)
def test_verdicts_follow_the_shares_of_seeds(far, word):
  """Either way and in between, by each task's own rows."""
  found = judged(rows(far))
  assert {verdict.verdict for verdict in found.values()} == {word}


def test_a_refutation_shows_the_scheme_that_does_best():
  """Its p is the one that was tested, its effect that scheme's."""
  far = lambda name, seed: {  # noqa: E731
    'lstm': 1.0, 'attention (ALiBi)': float(seed == 0),
  }.get(name, 0.2)  # fmt: skip
  found = judged(rows(far))['2.8b']
  assert (
    found.verdict == REFUTED and 'minus attention (ALiBi)' in found.quantity
  )
  assert 1e-5 < found.p < LEVEL and found.seeds == 11
  assert found.effect == pytest.approx(1 - 1 / 11)
  assert 'attention (ALiBi) 11 and 1 of 11' in found.sentence
  assert '8,000 parameters' in found.scope and '500 updates' in found.scope


@pytest.mark.parametrize(
  'steps, word', [(claims.ENOUGH, REFUTED), (claims.ENOUGH - 1, UNDECIDED)]
)
def test_attention_that_learns_nothing_counts_after_enough_updates(steps, word):
  """A network at chance where it was trained solves no length."""
  table = [
    row | {'accuracy': 0.17 if row['mixer'] != 'lstm' else 1.0, 'steps': steps}
    for row in rows(only('lstm'))
  ]
  found = judged(table)['2.8a']
  assert found.verdict == word
  assert 'attention 0 and 0 of 11' in found.sentence
  if word == UNDECIDED:
    assert 'attention is learnt by 0 of 11 seeds in 2999' in found.sentence
    assert found.leans == '' and found.more == '--steps=3000'


def test_one_planted_error_changes_the_verdict():
  """The accuracies of the LSTM in the place of a scheme's."""
  table = rows(only('lstm'))
  for row in table:
    if row['mixer'] == 'attention (no positions)':
      row['accuracy'] = 1.0
  assert judged(table)['2.8a'].verdict == CONDITIONAL


def test_few_seeds_lean_and_missing_rows_name_the_command():
  """To the side of most of attention's seeds."""
  found = judged(rows(only('lstm'), seeds=4))['2.8a']
  assert found.verdict == UNDECIDED
  few = judged(rows(only('lstm'), seeds=5))['2.8a']
  assert few.verdict == UNDECIDED and few.leans == 'to REFUTED (5 of 5 seeds)'
  lacking = judged(rows(only('lstm'), names=('lstm', 'attention')))['2.8a']
  assert claims.COMMAND in lacking.sentence and 'ALiBi' in lacking.sentence
  missing = [r for r in rows(only('lstm')) if r['seed'] or r['times'] < 8]
  assert judged(missing)['2.8a'].verdict == UNDECIDED


def test_what_is_not_finite_is_chance_and_budgets_are_not_mixed():
  """One sentence for two budgets, and for a row that is there twice."""
  table = rows(only(*NAMES))
  lost = [r for r in table if r['mixer'] != 'attention' or r['seed']]
  lost += [
    r | {'times': None, 'accuracy': None} for r in table
    if r['mixer'] == 'attention' and not r['seed'] and r['times'] == 1
  ]  # fmt: skip
  assert claims.curves(lost, 's3')['attention'].scores.min() == 1 / 6
  with pytest.raises(ValueError, match='steps is 500 and 600'):
    claims.verdicts([*table, table[0] | {'steps': 600}])
  with pytest.raises(ValueError, match='two of lstm, seed 0'):
    claims.verdicts([*table, table[0]])


def test_figure_and_card_show_a_mixer_of_ones_own(tmp_path):
  """With the seeds that generalise beside its name; it has no vote."""
  seeds = 5
  table = rows(only('lstm', 'mine'), ('lstm', 'attention', 'mine'), seeds)
  path = tmp_path / 'figure.svg'
  plot.draw(table, str(path))
  text = path.read_text()
  assert f'mine {seeds}/{seeds}' in text and f'attention 0/{seeds}' in text
  card = claims.summary(table)
  (mine, _) = [line for line in card.splitlines() if ' mine' in line]
  assert f'{seeds} of {seeds}' in mine


def test_the_budget_of_a_cell_reaches_fit(monkeypatch, tmp_path):
  """Each network has its whole schedule: it is tested beyond training."""
  seen = []
  monkeypatch.setattr(fit, 'fit', lambda *given: seen.append(given) or [])
  main.run(main.Config(mixer='lstm', task='z2', length=24), tmp_path)
  models, task, plan, _, ((test, batches),) = seen[0]
  assert set(models) == set(main.DEPTHS)
  assert not plan.stop_when_solved
  assert (task.length, test.length) == (24, 288)
  assert batches * fit.BATCH_SIZE == main.EXAMPLES
