"""The recall experiment, at sizes that take seconds."""

import math

import numpy as np
import pytest

from experiments import axes, folders
from experiments.recall import claims, counting, main, plot, sweep
from experiments.recall.curves import Key, curves
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.models import num_parameters
from seqjax.nn import MIXERS, WindowMLP
from seqjax.results import plotting

TINY = {
  'steps': 20, 'batch_size': 8, 'parameters': 2700, 'seeds': 2,
  'tuning_seeds': 1, 'learning_rates': (3e-3,),
}  # fmt: skip
MINE = {'mine': lambda features, context: WindowMLP(features, tau=4)}


def test_mixed_lags_give_a_row_a_seed_and_lag_also_for_mixers_of_callers(
  tmp_path,
):
  """And a cell that has finished is not done again."""
  config = main.Config('mine', lag=8, beyond=4, **TINY)
  summary = main.run(config, tmp_path, MINE)
  tested = [1, 2, 4, 8, main.LAG_OF_COUNTS, 16, 32]
  assert [(r['seed'], r['tested_lag']) for r in summary['rows']] == [
    (seed, lag) for seed in (0, 1) for lag in tested
  ]
  assert all(0 <= row['accuracy'] <= 1 for row in summary['rows'])
  assert all(row['examples'] == main.EXAMPLES for row in summary['rows'])
  assert summary['chance'] == 0.125 and summary['ceiling'] == 1
  assert summary['rows'][0]['steps_taken'] == 20
  assert main.run(config, tmp_path, MINE) == summary


def test_a_search_tries_the_ladder_and_skips_what_a_mixer_cannot_see(
  tmp_path, monkeypatch
):
  """A window of four is at chance from lag 4 on, without any training."""
  trained = []
  monkeypatch.setattr(
    main.fit, 'fit',
    lambda models, task, plan, record, tests: trained.append(task.lag) or [],
  )  # fmt: skip
  monkeypatch.setattr(main, 'LADDER', (3, 16))
  config = main.Config('mine', design='fixed', lag=32, **TINY)
  rows = main.run(config, tmp_path, MINE)['rows']
  assert trained == [3]
  assert {row['tested_lag'] for row in rows} >= {16, 32}
  assert all(row['accuracy'] == 0.125 for row in rows)
  assert all(row['examples'] == row['steps_taken'] == 0 for row in rows)


def test_a_search_narrows_the_longest_lag_that_is_learnt(tmp_path, monkeypatch):
  """Ends of the bracket lie within a factor of 1.5, with all seeds at each."""

  def learns_to_20(models, task, plan, record, tests):
    del models, record, tests
    score = 1.0 if task.lag <= 20 else 0.125
    row = {'group': task.lag, 'score': score, 'examples': 1024}
    return [row | {'seed': seed} for seed in range(plan.seeds)]

  monkeypatch.setattr(main.fit, 'fit', learns_to_20)
  config = main.Config('lstm', design='fixed', lag=64, **TINY)
  rows = main.run(config, tmp_path)['rows']
  passed = {r['tested_lag'] for r in rows if r['accuracy'] == 1}
  failed = {r['tested_lag'] for r in rows if r['accuracy'] < 1}
  assert {8, 32, 64} <= passed | failed
  assert max(passed) <= 20 < min(failed) <= 1.5 * max(passed)
  assert len(rows) == 2 * len(passed | failed)


def test_a_mixed_network_has_its_whole_schedule():
  """What is measured beyond training is not read off in mid-schedule."""
  assert not main.Config(design='mixed').plan.stop_when_solved
  assert main.Config(design='fixed').plan.stop_when_solved
  assert main.Config(seeds=4, first_seed=7).plan.first_seed == 7


def test_each_recurrent_network_has_as_many_initialisations():
  """They are part of its tuning."""
  counts = {
    len(main.models(main.Config(n), main.ENTRIES)) for n in claims.RECURRENT
  }
  assert counts == {2}
  assert len(main.models(main.Config('mine'), MINE)) == 1


def test_an_unknown_mixer_is_named_with_its_neighbour(tmp_path):
  """Before anything is written."""
  with pytest.raises(ValueError, match="'ltsm'. Did you mean 'lstm'"):
    main.run(main.Config(mixer='ltsm'), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'lag': 0}, 'lag=0'),
    ({'lag': 4}, 'but 24 are needed'),
    ({'steps': -1}, 'steps=-1'),
    ({'beyond': 0}, 'beyond=0'),
    ({'learning_rates': ()}, 'learning_rates'),
    ({'learning_rates': (0.0,)}, 'learning_rates'),
    ({'learning_rates': (0.1, 0.1)}, 'each stands there once'),
    ({'seeds': 0}, 'seeds=0'),
    ({'tuning_seeds': 0}, 'tuning_seeds=0'),
    ({'first_seed': -1}, 'first_seed=-1'),
    ({'design': 'fix'}, "mean 'fixed'"),
    ({'mixer': '5-gram', 'design': 'fixed'}, 'mixed design'),
    ({'parameters': 10}, 'parameters'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  with pytest.raises(ValueError, match=message):
    main.run(main.Config(**bad), tmp_path / 'run')
  assert not list(tmp_path.iterdir())


def test_every_entry_has_the_same_number_of_parameters():
  """Within a tenth of it; those of a figure within a tenth of each other."""
  assert set(MIXERS) <= set(main.ENTRIES)
  counts, config = {}, main.Config()
  for name, make in main.ENTRIES.items():
    mixer = main.make_mixer(make, config, config.lag)
    counts[name] = num_parameters(mixer)
    assert abs(counts[name] / config.parameters - 1) <= 0.1
    assert mixer.features % 4 == 0
  drawn = [counts[name] for name in (*sweep.MIXERS, *sweep.SCHEMES)]
  assert max(drawn) <= 1.1 * min(drawn)


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_every_entry_of_a_preset_has_the_same_budget(preset):
  """The same grid, steps and seeds; every cell is there once."""
  found = folders.find('recall')
  configs = axes.cells(found, **found.axes(preset))
  assert len(set(configs)) == len(configs)
  for name in (
    'learning_rates',
    'steps',
    'seeds',
    'tuning_seeds',
    'batch_size',
  ):
    assert len({getattr(config, name) for config in configs}) == 1
  designs = {(c.mixer, c.design) for c in configs}
  assert all((m, 'mixed') in designs for m, _ in designs)


def test_n_grams_know_what_their_context_holds_and_no_more():
  """A 5-gram spans the question and three tokens before it."""
  config = main.Config('5-gram', lag=8, steps=300, seeds=1)
  (task, _), (far, _) = main.tests(config)[:2]
  rows = counting.rows(5, config, [task, far])
  scores = {row['tested_lag']: row['accuracy'] for row in rows}
  assert scores[1] > 0.99 and scores[2] > 0.99
  for lag in (4, 8, main.LAG_OF_COUNTS):
    assert abs(scores[lag] - 0.125) < 0.02
  assert {row['examples'] for row in rows} == {counting.EXAMPLES}


LAGS = (1, 8, 30, 64, 128, 256, 512)


def rows(accuracy, seeds=8, examples=4096, mixers=None, **columns):
  """accuracy(mixer, design, lag, seed), as the experiment writes it."""
  made = []
  names = mixers or (*claims.RECURRENT, 'attention', '5-gram')
  for mixer in names:
    for design, tested in (('fixed', (8, 32, 128)), ('mixed', LAGS)):
      if mixer == '5-gram' and design == 'fixed':
        continue
      for seed in range(seeds):
        for lag in tested:
          made.append({
            'mixer': mixer, 'design': design, 'parameters': 25000,
            'lag': 64 if design == 'mixed' else 128, 'steps': 600,
            'trained_lag': 64 if design == 'mixed' else lag,
            'tested_lag': lag, 'seed': seed, 'examples': examples,
            'accuracy': accuracy(mixer, design, lag, seed),
            'steps_to_solve': 100 if seed else None, 'variant': 'default',
            'learning_rate': 3e-3, 'at_edge': False, 'chance': 0.125,
            'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
            'precision': 'float32', 'commit': 'abc',
          } | columns)  # fmt: skip
  return made


def textbook(mixer, design, lag, seed):
  """Scores by which every claim is right."""
  del seed
  if mixer == '5-gram':
    return 1.0 if lag < 3 else 0.125
  if mixer == 'attention':
    return 1.0
  if design == 'fixed':
    return 1.0 if lag <= {'lstm': 32}.get(mixer, 8) else 0.125
  return 1.0 if lag < 64 else 0.96 if lag == 64 else 0.5


def contrary(mixer, design, lag, seed):
  """Scores by which every claim that can be refuted is wrong."""
  del seed
  if mixer == '5-gram':
    return 1.0
  if mixer == 'attention':
    if design == 'fixed':
      return 1.0 if lag <= 8 else 0.125
    return 1.0 if lag < 64 else 0.96 if lag == 64 else 0.3
  if design == 'fixed':
    return 1.0 if lag <= {'lstm': 32}.get(mixer, 128) else 0.125
  return 1.0


def judged(*args, **kwargs):
  return {v.id: v for v in claims.verdicts(rows(*args, **kwargs))}


def words(*args, **kwargs):
  return {name: v.verdict for name, v in judged(*args, **kwargs).items()}


def test_every_claim_can_be_supported():
  """By the scores that its textbook expects."""
  assert words(textbook) == dict.fromkeys(claims.CLAIMS, SUPPORTED)


def test_every_claim_can_be_refuted():
  """By the opposite; claim 1.12 in part, since networks do reach back."""
  found = words(contrary)
  assert found.pop('1.12') == CONDITIONAL
  assert found == dict.fromkeys(found, REFUTED)


def test_a_verdict_has_scope_quantity_and_p():
  """So that a reader knows what the number is, and where it holds."""
  for verdict in judged(textbook).values():
    assert verdict.scope == '25,000 parameters, 600 updates, trained to lag 64'
    assert verdict.seeds == 8 and verdict.quantity
    assert verdict.p < 0.05 / 43
  eased = judged(textbook)['2.9a']
  assert eased.effect is None or eased.low <= eased.effect <= eased.high


def test_fewer_than_five_seeds_decide_nothing_and_lean():
  """Each says to which side most of its seeds lean."""
  found = judged(textbook, seeds=3)
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert all('3 seeds' in v.sentence for v in found.values())


def test_five_seeds_lean_where_eight_decide():
  """Fisher's test of five against five cannot pass .05 / 43."""
  found = judged(textbook, seeds=5)['2.9a']
  assert found.verdict == UNDECIDED
  assert found.leans == 'to SUPPORTED (1 of 1 lags)'
  assert judged(textbook)['2.9a'].verdict == SUPPORTED


def test_one_seed_of_five_that_fails_leaves_it_open():
  """It is said which way it leans."""

  def one_fails(mixer, design, lag, seed):
    if mixer == 'attention' and design == 'mixed' and seed == 0 and lag >= 64:
      return 0.5
    return textbook(mixer, design, lag, seed)

  found = judged(one_fails, seeds=5)['2.7a']
  assert found.verdict == UNDECIDED and '4 of 5 seeds' in found.sentence


def test_what_was_not_learnt_says_nothing_about_memory():
  """Flat at chance is no memory, and no fading either."""
  found = words(lambda *_: 0.125)
  assert found.pop('1.12') == CONDITIONAL
  assert set(found.values()) == {UNDECIDED}


def test_a_rung_that_is_left_out_does_not_change_a_verdict():
  """A threshold is a bracket: without a rung it is wider, not elsewhere."""
  made = [row for row in rows(textbook) if row['tested_lag'] != 32]
  fixed = curves(made, 'fixed')
  assert len(fixed) == 4
  found = {v.id: v for v in claims.verdicts(made)}
  assert found['2.9a'].verdict == UNDECIDED
  assert 'pass and fail at the same points' in found['2.9a'].sentence


def test_a_cliff_at_the_longest_lag_is_fading():
  """In attention as in the LSTM."""

  def cliff(mixer, design, lag, seed):
    return 0.88 if (design, lag) == ('mixed', 64) else 1.0

  found = words(cliff)
  assert found['2.2a'] == SUPPORTED
  assert found['2.7a'] == UNDECIDED  # .88 at a trained lag is not learnt


def test_ceilings_on_both_sides_are_undecided():
  """Longer lags were not tried."""
  found = words(lambda *_: 1.0)
  assert found['2.9a'] == found['2.9b'] == UNDECIDED


def test_two_sizes_that_differ_make_it_conditional():
  """The sentence names them; the primary one is the smaller."""
  small = rows(textbook)
  large = rows(contrary, mixers=('lstm',), parameters=250000)
  found = {v.id: v for v in claims.verdicts(small + large)}
  assert found['2.2a'].verdict == CONDITIONAL
  assert 'it does not hold for lstm (250k parameters)' in found['2.2a'].sentence
  assert found['2.2a'].quantity.endswith('(lstm)')


def test_two_machines_are_judged_apart():
  """By the folder, for every experiment alike."""
  made = rows(textbook) + rows(contrary, device='gpu')
  found = folders.find('recall').verdicts(made)
  assert len(found) == 2 * len(claims.CLAIMS)
  scopes = {v.scope.partition(';')[0]: v for v in found if v.id == '2.2a'}
  assert scopes['cpu, 2 cores'].verdict == SUPPORTED
  assert scopes['gpu, 2 cores'].verdict == REFUTED


def test_a_training_that_was_not_finite_scores_as_guessing():
  """It is not left out, which would leave the better seeds."""

  def broken(mixer, design, lag, seed):
    return math.nan if seed == 0 else textbook(mixer, design, lag, seed)

  curve = curves(rows(broken), 'mixed')[Key('attention', 'mixed', 25000)]
  np.testing.assert_array_equal(curve.scores[0], 0.125)
  assert (curve.scores[1:] == 1).all()


def test_claims_about_mixers_that_were_not_run_name_the_command():
  """The others are judged."""
  made = rows(textbook, mixers=('elman', 'lstm', 'gru', '5-gram'))
  found = {verdict.id: verdict for verdict in claims.verdicts(made)}
  assert found['2.7a'].verdict == UNDECIDED
  assert 'attention (mixed lags)' in found['2.7a'].sentence
  assert claims.COMMAND in found['2.7a'].sentence
  assert found['2.2a'].verdict == SUPPORTED


def test_any_mixer_has_a_line_in_the_report_card():
  """A user's own is judged by the same rules as a textbook's."""
  card = claims.summary(rows(textbook, mixers=('mine', 'lstm')))
  (mine,) = [line for line in card.splitlines() if line.startswith('mine')]
  assert 'yes' in mine and '8 of 8' in mine


@pytest.mark.parametrize('seeds', [3, 8])
def test_a_figure_is_drawn_with_chance_and_every_panel(seeds, tmp_path):
  """Bands from five seeds on; below, lines."""
  path = tmp_path / 'figure.svg'
  plot.draw(rows(textbook, seeds=seeds), str(path))
  text = path.read_text()
  assert 'chance 0.125' in text
  assert all(title in text for title in plot.TITLES.values())


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  mixers = [plotting.style(name) for name in sweep.MIXERS]
  looks = [*plot.LOOKS.values(), *mixers]
  assert len(set(looks)) == len(looks)
  assert len({(look.dashes, look.marker) for look in looks}) == len(looks)
