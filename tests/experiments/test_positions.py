"""The experiment on positions, at sizes that take seconds."""

import math

import numpy as np
import pytest

from experiments import axes, folders
from experiments.positions import claims, main, plot, scores, sweep
from experiments.positions.main import MLP
from seqjax.analysis.thresholds import Bracket
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import WindowMLP
from tests.experiments import refusals

TINY = {
  'steps': 10, 'batch_size': 8, 'parameters': 2700, 'seeds': 2,
  'tuning_seeds': 1, 'learning_rates': (3e-3,), 'length': 16,
}  # fmt: skip
MINE = {'mine': lambda features, context: WindowMLP(features, tau=4)}
PLACE = {'device': 'cpu', 'cpus': 2, 'jax': '0.10.2', 'precision': 'float32',
         'commit': 'abc'}  # fmt: skip
BUDGET = {'parameters': 12000, 'steps': 400, 'batch_size': 32, 'chance': 0.25}
NUMBERS = (16, 64, 256, 1024, 4096)


def row(question, mixer, seed, accuracy=1.0, **more):
  """One row as the experiment writes it."""
  return {
    'question': question, 'mixer': mixer, 'seed': seed, 'accuracy': accuracy,
    'length': 32, 'labels': 128, 'position': None, 'examples': 4096,
    'validation_loss': 1e-4,
  } | BUDGET | PLACE | more  # fmt: skip


def textbook(**changed):
  """Scores that textbooks expect, {name: of a seed}; some may differ."""
  return {
    'cut': 0.14, 'whole': 1.0, MLP: 1.0, 'mlp permuted': 1.0, 'gru': 1.0,
    'gru permuted': 0.6, 'tcn permuted': 0.6, 'mlp far': 0.26, 'gru far': 1.0,
    'tcn far': 1.0, 'attention far': 1.0, 'attention (ALiBi) far': 1.0,
    'attention (learned) far': 0.3, 'gradient': 0.0, 'seen': 0.01,
    'mlp loss': 1e-4, 'tcn loss': 1e-4, 'mlp needs': {12: 64, 32: 4096},
    'gru needs': {12: 64, 32: 64}, 'tcn needs': {12: 64, 32: 64},
  } | changed  # fmt: skip


def rows(seeds=11, **changed):
  """A table of all questions; a score may be a function of the seed."""
  told = textbook(**changed)
  made = []
  for seed in range(seeds):

    def of(name, default=1.0, seed=seed):
      value = told.get(name, default)
      return value(seed) if callable(value) else value

    for kept, position in ((16, 15), (16, 16), (32, 15), (32, 16)):
      name = 'cut' if (kept, position) == (16, 16) else 'whole'
      made.append(row('truncation', MLP, seed, of(name), kept=kept,
                      position=position, chance=0.125))  # fmt: skip
    for name in sweep.ASKED['permutation']:
      for order in ('plain', 'permuted'):
        score = of(name if order == 'plain' else f'{name} permuted')
        made.append(row('permutation', name, seed, score, order=order))
    for name in sweep.ASKED['transfer']:
      gradients = {}
      if name == MLP:
        gradients = {'gradient_unseen': of('gradient'),
                     'gradient_seen': of('seen')}  # fmt: skip
      for place in (0, 8, 12, 17, 28):
        score = of(name if place < 9 else f'{name} far')
        made.append(row('transfer', name, seed, score, position=place,
                        trained_to=8, examples=800, **gradients))  # fmt: skip
    for name in sweep.ASKED['data']:
      for length, needed in of(f'{name} needs').items():
        for number in NUMBERS:
          score = 1.0 if number >= needed else 0.4
          made.append(row('data', name, seed, score, length=length,
                          num_examples=number))  # fmt: skip
    for name in sweep.ASKED['memory']:
      loss = of(f'{name} loss', 1e-4)
      made.append(row('memory', name, seed, validation_loss=loss))
  return made


def words(**changed):
  return {v.id: v.verdict for v in claims.verdicts(rows(**changed))}


EXPECTED = dict.fromkeys(claims.CLAIMS, SUPPORTED) | {
  '0.8c': CONDITIONAL, '0.9a': CONDITIONAL, '0.9b': CONDITIONAL,
}  # fmt: skip


def test_textbook_scores_support_the_claims():
  """But learned positions share nothing, and at length 12 it is no order."""
  found = {v.id: v for v in claims.verdicts(rows())}
  assert {id: v.verdict for id, v in found.items()} == EXPECTED
  for id, verdict in found.items():
    assert verdict.quantity and verdict.scope and verdict.seeds == 11
    assert verdict.p < 0.05 / 43, id
    assert '12,000 parameters, 400 updates' in verdict.scope
    assert not verdict.leans
  assert found['0.4'].effect == pytest.approx(0.86)
  assert found['0.8a'].effect == pytest.approx(0.74)
  assert (found['0.9a'].low, found['0.9a'].high) == (16, 256)
  assert '0.25 to 4 at length 12' in found['0.9a'].sentence
  assert 'does not hold for attention (learned)' in found['0.8c'].sentence
  assert 'rows of 32 positions' in found['0.8a'].scope


def test_a_refutation_shows_the_best_case_for_the_claim():
  """The network that comes nearest to it."""
  told = rows(**{'gru far': 0.8, 'tcn far': 0.9})
  (found,) = [v for v in claims.verdicts(told) if v.id == '0.8b']
  assert found.verdict == REFUTED
  assert found.effect == pytest.approx(0.1) and '(tcn' in found.quantity


@pytest.mark.parametrize(
  'changed, claim, word',
  [
    ({'cut': 1.0}, '0.4', REFUTED),
    ({'cut': lambda seed: 1.0 if seed == 3 else 0.1}, '0.4', UNDECIDED),
    ({'whole': 0.5}, '0.4', UNDECIDED),
    ({'mlp permuted': 0.9}, '0.6a', REFUTED),
    ({MLP: 0.6, 'mlp permuted': 0.6}, '0.6a', UNDECIDED),
    ({'gru permuted': 1.0}, '0.6b', CONDITIONAL),
    ({'gru permuted': 1.0, 'tcn permuted': 0.99}, '0.6b', REFUTED),
    ({'mlp far': 1.0}, '0.8a', REFUTED),
    ({'mlp far': 0.33}, '0.8a', REFUTED),
    ({'gradient': lambda seed: 1e-9 * (seed == 2)}, '0.8a', REFUTED),
    ({'seen': 0.0}, '0.8a', UNDECIDED),
    ({'tcn far': 0.9}, '0.8b', CONDITIONAL),
    ({'tcn far': 0.9, 'gru far': 0.9}, '0.8b', REFUTED),
    ({'gru': 0.3, 'gru far': 0.3}, '0.8b', UNDECIDED),
    ({'gru far': lambda seed: 0.9 if seed == 3 else 1}, '0.8b', UNDECIDED),
    ({'attention (learned) far': 0.99}, '0.8c', SUPPORTED),
    ({'mlp needs': {12: 4096, 32: 4096}}, '0.9a', SUPPORTED),
    ({'mlp needs': {12: 4096, 32: 64}}, '0.9a', UNDECIDED),
    ({'mlp needs': {12: 16, 32: 16}}, '0.9a', REFUTED),
    ({'mlp needs': {12: 64, 32: 64}}, '0.9a', UNDECIDED),
    ({'mlp needs': {12: 9999, 32: 9999}}, '0.9a', UNDECIDED),
    ({'tcn needs': {12: 9999, 32: 9999}}, '0.9b', UNDECIDED),
    ({'mlp needs': {12: 4096, 32: 256}}, '0.7', REFUTED),
    ({'mlp needs': {12: 9999, 32: 9999}}, '0.7', REFUTED),
    ({'mlp needs': {12: 256, 32: 256}}, '0.7', UNDECIDED),
    ({'mlp needs': {12: 256, 32: 9999}}, '0.7', SUPPORTED),
    ({'mlp loss': lambda seed: 1e-2 * (seed == 2)}, '0.16', UNDECIDED),
    ({'tcn loss': math.nan}, '0.16', UNDECIDED),
    ({'gru loss': 0.1}, '0.16', SUPPORTED),
  ],
)
def test_a_planted_score_changes_its_verdict(changed, claim, word):
  """And no other claim's that does not speak of it."""
  assert words(**changed)[claim] == word


def test_an_order_of_magnitude_is_told_by_the_near_ends_of_brackets():
  """Between twice and ten times it is conditional, at any length."""
  ours, theirs = [Bracket(640, 1024)] * 8, [Bracket(16, 64)] * 8
  found = claims.more_data(ours, theirs)
  assert found.holds and found.effect == (10, 64)
  assert found.p < 0.05 / 43
  between = claims.more_data([Bracket(600, 700)] * 8, theirs)
  assert between.holds is None and claims._word(between) == CONDITIONAL
  assert claims.more_data(theirs, [Bracket(64, 90)] * 8).holds is False
  assert claims.more_data(ours[:4], theirs[:4]).effect is None
  one = [*ours[:7], Bracket(64, 128)]
  assert claims._word(claims.more_data(one, theirs)) == UNDECIDED


def test_few_seeds_decide_nothing_and_lean():
  """To the side of most of them."""
  found = claims.verdicts(rows(seeds=5))
  assert {v.verdict for v in found} == {UNDECIDED}
  leans = {v.id: v.leans for v in found}
  assert leans['0.4'] == 'to SUPPORTED (5 of 5 seeds)'
  assert leans['0.7'] == 'to SUPPORTED (5 of 5 seeds)'


@pytest.mark.parametrize('question', sweep.ASKED)
def test_missing_rows_name_the_command(question):
  """Rows are missing of everybody, or of one network."""
  table = [r for r in rows() if r['question'] != question]
  found = [v for v in claims.verdicts(table) if 'no rows' in v.sentence]
  assert found and all(claims.COMMAND in v.sentence for v in found)
  assert {v.verdict for v in found} == {UNDECIDED}
  table = [r for r in rows() if r['mixer'] != 'gru']
  undecided = {v.id for v in claims.verdicts(table) if v.verdict == UNDECIDED}
  assert undecided == {'0.6b', '0.7', '0.8b', '0.9a'}


def test_other_budgets_and_rows_that_stand_twice_are_refused():
  """Nobody compares a network with one that was trained for longer."""
  with pytest.raises(ValueError, match='steps is 400 and 800'):
    claims.verdicts([*rows(), row('memory', 'gru', 0, steps=800)])
  with pytest.raises(ValueError, match='but two of mlp'):
    claims.verdicts([*rows(), rows()[0]])


def test_a_training_without_a_score_is_at_chance():
  """At every place, and drawn there."""
  table = [r for r in rows() if (r['seed'], r['mixer']) != (0, 'gru')]
  broken = row('transfer', 'gru', 0, None, trained_to=8, examples=0)
  table = [r for r in [*table, broken] if r['mixer'] == 'gru']
  own = [r for r in table if r['question'] == 'transfer']
  near, far = scores.near_and_far(own)
  assert near[0] == far[0] == 0.25 and near[1] == 1
  places, found = scores.by_place(own)
  assert places == [0, 8, 12, 17, 28]
  np.testing.assert_array_equal(found[0], 0.25)


def test_a_mixer_of_ones_own_has_a_line_and_no_vote():
  """A claim about textbooks' networks is not changed by another."""
  mine = [
    r | {'mixer': 'mine', 'accuracy': 0.99 if r['position'] is None else 0.97}
    for r in rows()
    if r['mixer'] == 'gru'
  ]
  table = [*rows(), *mine]
  assert {v.id: v.verdict for v in claims.verdicts(table)} == EXPECTED
  card = claims.summary(table)
  (line,) = [x for x in card.splitlines() if x.startswith('mine')]
  assert 'yes (11 of 11)' in line and '0.97' in line and '11 of 11' in line


@pytest.mark.parametrize('seeds', [3, 8])
def test_a_figure_is_drawn_of_every_network(seeds, tmp_path):
  """Also where a number of examples lies beyond what was tried."""
  path = tmp_path / 'figure.svg'
  needs = {'mlp needs': {12: 16, 32: 9999}}
  plot.draw(rows(seeds, **needs), str(path))
  text = path.read_text()
  assert 'attention (learned)' in text and 'chance 0.25' in text
  assert all(title in text for title in plot.TITLES.values())


@pytest.mark.parametrize(
  'bad, message',
  [
    ({'mixer': 'ltsm'}, "Did you mean 'lstm'"),
    ({'question': 'memmory'}, "Did you mean 'memory'"),
    ({'question': 'truncation', 'mixer': 'gru'}, 'Only mlp truncates'),
    ({'length': 8}, 'length=8'),
    ({'most_examples': 32}, 'most_examples=32'),
    ({'labels': 30}, 'num_examples=30'),
    ({'parameters': 100}, 'parameters=100'),
    ({'steps': 0}, 'steps=0'),
  ],
)
def test_bad_options_are_refused_before_anything_is_written(
  bad, message, tmp_path
):
  """One sentence, no folder."""
  refusals.check(main, bad, message, tmp_path / 'run')


def test_presets_measure_what_the_claims_need():
  """Each cell once; the full one has enough seeds for every test."""
  found = folders.find('positions')
  full = axes.cells(found, **found.axes('full'))
  assert len(set(full)) == len(full)
  for question, names in sweep.ASKED.items():
    own = [c for c in full if c.question == question]
    assert {c.mixer for c in own} == set(names)
    seeds = {'data': 8, **dict.fromkeys(sweep.MANY, 33)}.get(question, 11)
    assert {c.seeds for c in own} == {seeds}
  quick = axes.cells(found, **found.axes('quick'))
  assert {c.mixer for c in quick} == {MLP, 'gru'}
  mine = axes.cells(found, MINE, **found.axes('quick') | {'mixers': ('mine',)})
  assert {c.question for c in mine} == {*sweep.ASKED} - {'truncation'}


def faked(monkeypatch):
  """Replaces training by scores that a test can read; returns its calls."""
  calls = []

  def fit(models, task, plan, record, tests):
    ((tested, batches),) = tests
    calls.append((models['default'](task), task, plan, tested, batches))
    enough = getattr(task, 'num_examples', 10**6) >= 100
    return [
      {'seed': seed, 'group': None, 'score': float(enough), 'examples': 4096}
      for seed in range(plan.seeds)
    ]

  monkeypatch.setattr(main.fit, 'fit', fit)
  return calls


def test_numbers_of_examples_are_narrowed_to_a_factor(monkeypatch, tmp_path):
  """The ladder first; every seed has a training set of its own."""
  calls = faked(monkeypatch)
  config = main.Config(question='data', most_examples=1024, **TINY)
  found = main.run(config, tmp_path)['rows']
  numbers = [task.num_examples for _, task, *_ in calls]
  assert numbers == [16, 64, 256, 1024, 128, 91]
  assert all(task.seed is None for _, task, *_ in calls)
  assert scores.fewest(found) == dict.fromkeys((0, 1), Bracket(91, 128))


def test_truncation_asks_on_both_sides_of_the_cut(monkeypatch, tmp_path):
  """Compares networks of one size that read half of a row, or all of it."""
  calls = faked(monkeypatch)
  main.run(main.Config(question='truncation', **TINY), tmp_path)
  asked = [(model.max_length, task.position) for model, task, *_ in calls]
  assert {(8, 7), (8, 8), (16, 8)} <= set(asked) and len(asked) == 12


def test_motifs_are_tested_at_all_places(monkeypatch, tmp_path):
  """An MLP has a gradient at positions of training, and nowhere else."""
  calls = faked(monkeypatch)
  found = main.run(main.Config(**TINY), tmp_path)['rows']
  ((_, trained, plan, tested, batches),) = calls
  assert trained.positions == (0, 4) and tested.positions is None
  assert not plan.stop_when_solved and batches * 64 == main.EXAMPLES
  assert {(r['trained_to'], r['gradient_unseen']) for r in found} == {(4, 0.0)}
  assert all(r['gradient_seen'] > 0 for r in found)
  assert main.run(main.Config(**TINY), tmp_path)['rows'] == found


def test_a_mixer_of_the_callers_takes_part(tmp_path):
  """It fits random labels, scored on the training set itself."""
  options = TINY | {'seeds': 1}
  config = main.Config(question='memory', mixer='mine', labels=8, **options)
  (found,) = main.run(config, tmp_path, MINE)['rows']
  assert found['seed'] == 0 and 0 < found['validation_loss'] < 3
