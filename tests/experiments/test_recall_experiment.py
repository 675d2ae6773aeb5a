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
from seqjax.models import SequenceModel, num_parameters
from seqjax.nn import MIXERS, WindowMLP
from seqjax.results import plotting
from seqjax.tasks import Recall
from tests.experiments import refusals

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


def test_a_mixer_that_sees_further_than_it_says_is_refused():
  """Nothing is trained beyond a receptive field, so it is held to it."""

  class Claims4(WindowMLP):
    @property
    def receptive_field(self):
      return 4

  def model(task):
    mixer = Claims4(8, tau=8)
    return SequenceModel(task.input, task.output, (mixer,), expansion=0)

  near, far = Recall(lag=6), Recall(lag=9)
  with pytest.raises(ValueError, match='receptive_field=4'):
    main._check_blind(model(near), near)
  main._check_blind(model(far), far)


def test_a_search_narrows_the_longest_lag_that_is_learnt(tmp_path, monkeypatch):
  """Ends of the bracket lie within a factor of 1.5, with all seeds at each."""

  def learns_to_20(models, task, plan, record, tests):
    del models, record, tests
    assert plan.stop_when_solved
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
  assert not main.Config(design='mixed').plan().stop_when_solved
  assert main.Config(seeds=4, first_seed=7).plan().first_seed == 7


def test_each_recurrent_network_has_as_many_initialisations():
  """At a fixed lag they are tuned; in mixed lags each is an entry."""
  for name in claims.RECURRENT:
    fixed = main.Config(name, design='fixed')
    assert len(main.models(fixed, main.ENTRIES)) == 2
    assert list(main.models(main.Config(name), main.ENTRIES)) == ['default']
  assert len(main.models(main.Config('mine', design='fixed'), MINE)) == 1
  full = folders.find('recall').axes('full')
  designs = {n: set() for n in main.HOLDING}
  for config in sweep.cells(**full):
    if config.mixer in designs:
      designs[config.mixer].add(config.design)
  assert all(each == {'mixed'} for each in designs.values())


def test_initialisations_that_differ_make_it_conditional():
  """Both learn all mixed lags; which one validation prefers is chance."""
  others = [name for name in NAMES if name != 'lstm (chrono)']
  for one, other in ((textbook, contrary), (contrary, textbook)):
    made = rows(one, mixers=others) + rows(other, mixers=('lstm (chrono)',))
    assert judge(made)['2.2b'].verdict == CONDITIONAL


@pytest.mark.parametrize('left_out', [*main.HOLDING, *main.SCHEMES])
def test_an_entry_that_is_left_out_decides_no_claim(left_out):
  """It might have answered otherwise; the lean stays."""
  found = judged(textbook, mixers=[n for n in NAMES if n != left_out])
  id = '2.7b' if left_out in main.SCHEMES else '2.2b'
  assert found[id].verdict == UNDECIDED
  assert f'no rows of {left_out} (mixed lags)' in found[id].sentence
  assert found[id].leans == 'to SUPPORTED (11 of 11 seeds)'


def test_a_network_of_mixed_lags_is_not_of_two_initialisations():
  """Rows of a version that tuned them are refused."""
  made = rows(textbook, variant='chrono')
  with pytest.raises(ValueError, match="variant='chrono': the table is of"):
    claims.verdicts(made)


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
    ({'learning_rates': (0.1, 0.1)}, 'positive and distinct'),
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
  refusals.check(main, bad, message, tmp_path / 'run')


def test_every_entry_has_the_same_number_of_parameters():
  """Within a tenth of it; those of a figure within a tenth of each other."""
  assert set(MIXERS) <= set(main.ENTRIES)
  counts, config = {}, main.Config()
  for name, make in main.ENTRIES.items():
    mixer = main.make_mixer(make, config, config.lag)
    counts[name] = num_parameters(mixer)
    assert abs(counts[name] / config.parameters - 1) <= 0.1
    assert mixer.features % 4 == 0
  drawn = [counts[n] for n in (*sweep.MIXERS, *main.SCHEMES) if n in counts]
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


@pytest.mark.parametrize(
  'preset, given, highest',
  [
    ('first', {}, 32),
    ('full', {}, 128),
    ('gpu', {}, 512),
    ('first', {'lag': 8}, 8),
    ('full', {'lag': 16}, 32),
    ('first', {'lag': 8, 'search_up_to': 32}, 32),
    ('first', {'lag': 8, 'search_times': 4}, 32),
  ],
)
def test_fixed_lags_are_searched_as_far_as_the_longest_mixed_one(
  preset, given, highest
):
  """Times what the preset says, unless the longest fixed lag is given."""
  found = folders.find('recall')
  configs = axes.cells(found, **found.axes(preset) | given)
  assert {c.lag for c in configs if c.design == 'fixed'} == {highest}
  mixed = given.get('lag', found.axes(preset)['lag'])
  assert {c.lag for c in configs if c.design == 'mixed'} == {mixed}


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
MIXED = (*main.COUNTS, *main.HOLDING, *main.SCHEMES)  # not at fixed lags
NAMES = (
  *claims.RECURRENT, *main.HOLDING, 'attention', *main.SCHEMES, '5-gram',
)  # fmt: skip


def rows(accuracy, seeds=11, examples=4096, mixers=None, **columns):
  """accuracy(mixer, design, lag, seed), as the experiment writes it.

  Initialisations and schemes score as the mixer that they are of.
  """
  made = []
  for mixer in mixers or NAMES:
    for design, tested in (('fixed', (8, 32, 128)), ('mixed', LAGS)):
      if mixer in MIXED and design == 'fixed':
        continue
      for seed in range(seeds):
        for lag in tested:
          made.append({
            'mixer': mixer, 'design': design, 'parameters': 25000,
            'lag': 64 if design == 'mixed' else 128, 'steps': 300,
            'batch_size': 32,
            'trained_lag': 64 if design == 'mixed' else lag,
            'tested_lag': lag, 'seed': seed, 'examples': examples,
            'accuracy': accuracy(
              mixer.partition(' (')[0], design, lag, seed
            ),
            'steps_to_solve': 100 if seed else None, 'variant': 'default',
            'learning_rate': 3e-3, 'at_edge': False, 'chance': 0.125,
            'device': 'cpu', 'cpus': 2, 'jax': '0.10.2',
            'precision': 'float32', 'commit': 'abc',
          } | columns)  # fmt: skip
  return made


def counted(lag):
  return 1.0 if lag < 3 else 0.125


def textbook(mixer, design, lag, seed):
  """Scores by which every claim is right."""
  del seed
  if mixer in main.COUNTS:
    return counted(lag)
  if mixer == 'attention':
    return 1.0
  if design == 'fixed':
    return 1.0 if lag <= {'lstm': 32}.get(mixer, 8) else 0.125
  return 1.0 if lag < 64 else 0.96 if lag == 64 else 0.5


def contrary(mixer, design, lag, seed):
  """Scores by which every claim that can be refuted is wrong."""
  del seed
  if mixer in main.COUNTS:
    return 1.0
  if mixer == 'attention':
    if design == 'fixed':
      return 1.0 if lag <= 8 else 0.125
    return 1.0 if lag < 64 else 0.96 if lag == 64 else 0.3
  if design == 'fixed':
    return 1.0 if lag <= {'lstm': 32}.get(mixer, 128) else 0.125
  return 1.0


def solved_by_lstm(mixer, design, lag, seed):
  """The LSTM learns all fixed lags, the Elman network one."""
  if design == 'fixed':
    return 1.0 if mixer != 'elman' or lag <= 8 else 0.125
  return textbook(mixer, design, lag, seed)


def judge(made):
  return {v.id: v for v in claims.verdicts(made)}


def judged(*args, **kwargs):
  return judge(rows(*args, **kwargs))


def words(*args, **kwargs):
  return {name: v.verdict for name, v in judged(*args, **kwargs).items()}


def test_every_claim_can_be_supported():
  """By the scores that its textbook expects."""
  assert words(textbook) == dict.fromkeys(claims.CLAIMS, SUPPORTED)


def test_every_claim_can_be_refuted():
  """By the opposite; 2.9b where the LSTM learns all that others do not."""
  found = words(contrary)
  assert found.pop('2.9b') == UNDECIDED
  assert found == dict.fromkeys(found, REFUTED)
  assert words(solved_by_lstm)['2.9b'] == REFUTED


def test_an_lstm_that_fails_has_not_solved_the_problem_for_being_best():
  """Attention that learns even less refutes nothing about the LSTM."""
  found = judged(contrary)['2.9b']
  assert found.verdict == UNDECIDED
  assert 'lstm first fails at a lag between 32 and 128' in found.sentence


def test_a_verdict_has_scope_quantity_and_p():
  """So that a reader knows what the number is, and where it holds."""
  for name, verdict in judged(textbook).items():
    lags = 'lags up to 128' if '2.9' in name else 'trained up to lag 64'
    assert verdict.scope == f'25,000 parameters, 300 updates, {lags}'
    assert verdict.seeds == 11 and verdict.quantity
    assert verdict.p < 0.05 / 43
    assert verdict.low <= verdict.high


def test_fewer_than_five_seeds_decide_nothing():
  """Each says how many there are."""
  found = judged(textbook, seeds=3)
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert all('3 seeds' in v.sentence or v.id == '1.12' for v in found.values())


def test_five_seeds_lean_where_eleven_decide():
  """So that the small preset says more than that nothing is decided."""
  found = judged(textbook, seeds=5)
  assert {v.verdict for v in found.values()} == {UNDECIDED}
  assert found['2.2a'].leans == found['2.7a'].leans
  assert found['2.2a'].leans == 'to SUPPORTED (5 of 5 seeds)'
  assert found['2.9a'].leans == 'to SUPPORTED (1 of 1 lags)'


def test_one_seed_that_fails_leaves_it_open():
  """It is said how many, and which way it leans."""

  def one_fails(mixer, design, lag, seed):
    if mixer == 'attention' and design == 'mixed' and seed == 0 and lag == 64:
      return 0.5
    return textbook(mixer, design, lag, seed)

  found = judged(one_fails)['2.7a']
  assert found.verdict == UNDECIDED and '1 of 11 seeds' in found.sentence
  assert found.leans == 'to SUPPORTED (10 of 11 seeds)'


def test_the_same_curve_is_judged_alike_whoever_has_it():
  """An LSTM that falls to a half fades, and so does attention."""

  def falls(mixer, design, lag, seed):
    if mixer in main.COUNTS:
      return counted(lag)
    return 0.5 if (design, lag) == ('mixed', 64) else 1.0

  found = words(falls)
  assert found['2.2a'] == SUPPORTED and found['2.7a'] == REFUTED


def test_a_hole_in_the_middle_is_fading():
  """Its ends alone are equal."""

  def hole(mixer, design, lag, seed):
    return 0.125 if (design, lag) == ('mixed', 8) else 1.0

  assert words(hole)['2.2a'] == SUPPORTED


def test_what_was_not_learnt_says_nothing_about_memory():
  """Flat at chance is no memory, and no fading either."""
  found = words(lambda *_: 0.125)
  assert set(found.values()) == {UNDECIDED}


def test_n_grams_need_a_network_that_can_answer():
  """Where nobody learns lags so long, chance says nothing of n-grams."""

  def unlearnt(mixer, design, lag, seed):
    return counted(lag) if mixer in main.COUNTS else 0.125

  assert words(unlearnt)['1.12'] == UNDECIDED

  def lstm_alone_fails(mixer, design, lag, seed):
    return 0.125 if mixer == 'lstm' else textbook(mixer, design, lag, seed)

  assert words(lstm_alone_fails)['1.12'] == SUPPORTED


def test_a_rung_that_is_left_out_does_not_turn_a_verdict():
  """A threshold is a bracket: without a rung it is wider, not elsewhere."""
  made = [row for row in rows(textbook) if row['tested_lag'] != 32]
  found = judge(made)['2.9a']
  assert (
    found.verdict == UNDECIDED and 'as many of the points' in found.sentence
  )
  whole = judged(textbook)['2.9a']
  assert found.low <= whole.low <= whole.high <= found.high


def test_rows_that_are_missing_are_no_guesses():
  """Without the farthest lag of most seeds nothing is decided."""
  made = [
    row for row in rows(contrary) if row['tested_lag'] != 512 or row['seed'] > 6
  ]
  found = judge(made)['2.2b']
  assert found.verdict == UNDECIDED and 'lacks rows' in found.sentence


def test_ceilings_on_both_sides_are_undecided():
  """Longer lags were not tried."""
  found = words(lambda *_: 1.0)
  assert found['2.9a'] == found['2.9b'] == UNDECIDED


def test_the_primary_network_decides_and_others_only_qualify():
  """Where the LSTM is open, the claim is, whatever two others say."""

  def scores(mixer, design, lag, seed):
    if (mixer, design, lag) == ('lstm', 'mixed', 64):
      return 1.0 if seed % 2 else 0.5
    return (textbook if mixer == 'elman' else contrary)(
      mixer, design, lag, seed
    )

  found = judged(scores)['2.2a']
  assert found.verdict == UNDECIDED
  assert 'undecided for lstm' in found.sentence


def test_a_network_that_leans_otherwise_makes_it_conditional():
  """Nine of eleven are too few to decide, and too many to be passed over."""

  def scores(mixer, design, lag, seed):
    if (mixer, design, lag) == ('elman', 'mixed', 64) and seed < 9:
      return 0.5
    return contrary(mixer, design, lag, seed)

  found = judged(scores)['2.2a']
  assert found.verdict == CONDITIONAL and '9 of 11 seeds' in found.sentence


def test_two_sizes_that_differ_make_it_conditional():
  """The sentence names them; the primary one is the smaller."""
  small = rows(textbook)
  large = rows(contrary, mixers=('lstm',), parameters=250000)
  found = judge(small + large)
  assert found['2.2a'].verdict == CONDITIONAL
  assert 'it does not hold for lstm (250k parameters)' in found['2.2a'].sentence
  assert '(lstm, median over seeds)' in found['2.2a'].quantity


def test_a_refutation_shows_the_best_case_for_the_claim():
  """The network that loses most, of those that lose nothing to speak of."""

  def scores(mixer, design, lag, seed):
    if (mixer, design, lag) == ('gru', 'mixed', 64):
      return 0.99
    return contrary(mixer, design, lag, seed)

  found = judged(scores)['2.2a']
  assert found.verdict == REFUTED and '(gru, ' in found.quantity
  assert found.effect == pytest.approx(0.01)


def test_two_machines_are_judged_apart():
  """By the folder, for every experiment alike; cards too."""
  made = rows(textbook) + rows(contrary, device='gpu')
  recall = folders.find('recall')
  found = recall.verdicts(made)
  assert len(found) == 2 * len(claims.CLAIMS)
  scopes = {v.scope.partition(';')[0]: v for v in found if v.id == '2.2a'}
  assert scopes['cpu, 2 cores'].verdict == SUPPORTED
  assert scopes['gpu, 2 cores'].verdict == REFUTED
  assert recall.summary(made).count('On ') == 2


def test_two_precisions_are_two_machines():
  """A mean over both would be a number that nobody measured."""
  made = rows(textbook) + rows(contrary, precision='bfloat16')
  found = folders.find('recall').verdicts(made)
  assert len(found) == 2 * len(claims.CLAIMS)


@pytest.mark.parametrize('name, value', [('steps', 6000), ('batch_size', 64)])
def test_two_budgets_are_not_compared(name, value):
  """An LSTM that trained for longer is no fair opponent."""
  made = rows(textbook)
  made += rows(textbook, mixers=('gru',), parameters=9, **{name: value})
  with pytest.raises(ValueError, match=f'one budget, but {name} is '):
    claims.verdicts(made)


def test_two_rows_of_one_training_are_refused():
  """None of them is the right one."""
  with pytest.raises(ValueError, match='two of elman, seed 0'):
    claims.verdicts(rows(textbook) + rows(textbook))


@pytest.mark.parametrize('bad', [math.nan, None])
def test_a_training_that_was_not_finite_scores_as_guessing(bad):
  """It is not left out, which would leave the better seeds."""

  def broken(mixer, design, lag, seed):
    return bad if seed == 0 else textbook(mixer, design, lag, seed)

  curve = curves(rows(broken), 'mixed')[Key('attention', 'mixed', 25000)]
  np.testing.assert_array_equal(curve.scores[0], 0.125)
  assert (curve.scores[1:] == 1).all()


def test_a_training_that_was_not_finite_has_one_row_for_all_lags():
  """As the runner writes it."""
  made = [r for r in rows(textbook) if (r['seed'], r['mixer']) != (0, 'lstm')]
  (lost,) = rows(textbook, seeds=1, mixers=('lstm',))[-1:]
  made.append(lost | {'tested_lag': None, 'accuracy': math.nan, 'examples': 0})
  curve = curves(made, 'mixed')[Key('lstm', 'mixed', 25000)]
  np.testing.assert_array_equal(curve.scores[0], 0.125)


@pytest.mark.parametrize('missing', ['elman', 'gru', 'lstm', 'attention'])
def test_claims_about_mixers_that_were_not_run_name_the_command(missing):
  """A claim about recurrent networks is not one about the LSTM alone."""
  names = [n for n in NAMES if n != missing]
  found = judged(textbook, mixers=names)
  claim = '2.7a' if missing == 'attention' else '2.2a'
  assert found[claim].verdict == UNDECIDED
  assert f'{missing} (mixed lags)' in found[claim].sentence
  assert claims.COMMAND in found[claim].sentence
  assert (
    found['2.2a' if missing == 'attention' else '2.7a'].verdict == SUPPORTED
  )


def test_any_mixer_has_a_line_in_the_report_card():
  """A user's own is judged by the same rules as a textbook's."""
  found = claims.summary(rows(textbook, mixers=('mine', 'lstm', '5-gram')))
  (mine,) = [line for line in found.splitlines() if line.startswith('mine')]
  assert 'yes (11 of 11)' in mine and '100 (10 of 11 seeds)' in mine


def test_a_name_that_begins_with_attention_is_not_a_scheme_of_it():
  """A user's mixer changes no verdict of the textbook's."""
  made = rows(textbook) + rows(contrary, mixers=('attention mine',))
  assert judge(made)['2.7b'].verdict == SUPPORTED


@pytest.mark.parametrize('seeds', [3, 11])
def test_a_figure_is_drawn_with_chance_and_every_panel(seeds, tmp_path):
  """Bands from five seeds on; below, lines."""
  path = tmp_path / 'figure.svg'
  plot.draw(rows(textbook, seeds=seeds), str(path))
  text = path.read_text()
  assert 'chance 0.125' in text
  assert all(title in text for title in plot.TITLES.values())


@pytest.mark.parametrize('only', ['2-gram', '5-gram', 'lstm'])
def test_a_figure_of_one_entry_has_no_empty_panel(only, tmp_path):
  """Nor are the only entries hidden."""
  path = tmp_path / 'figure.svg'
  plot.draw(rows(textbook, mixers=(only,)), str(path))
  assert only in path.read_text()


def test_a_figure_tells_machines_apart(tmp_path):
  """A line for each."""
  path = tmp_path / 'figure.svg'
  plot.draw(rows(textbook) + rows(contrary, device='gpu'), str(path))
  assert 'lstm gpu' in path.read_text()


def test_mixers_of_callers_beside_those_of_the_library_change_no_tuning():
  """A dict of one's own has the same two initialisations of an LSTM."""
  mine = dict(MIXERS) | MINE
  found = main.models(main.Config('lstm', design='fixed'), mine)
  assert list(found) == ['default', 'lstm (chrono)']


def test_variants_look_like_nothing_else():
  """Neither like each other nor like a mixer, also in black and white."""
  mixers = [plotting.style(name) for name in sweep.MIXERS if name in MIXERS]
  looks = [*plot.LOOKS.values(), *mixers]
  assert len(set(looks)) == len(looks)
  assert len({(look.dashes, look.marker) for look in looks}) == len(looks)
