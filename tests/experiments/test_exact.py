"""The checks of claims that are computations, and how they are judged."""

import math

import jaxtyping
import numpy as np
import pytest

from experiments import axes, folders
from experiments.exact import checks, claims, main, plot, shapes, sweep
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
)
from seqjax.nn import MIXERS, WindowMLP
from seqjax.results import table

PLACE = {
  'device': 'cpu', 'cpus': 2, 'jax': '0.10.2', 'precision': 'float32',
  'commit': 'abc',
}  # fmt: skip
EACH = ('0.1', '0.10', '1.5')  # claims that may hold for some
CHEAP = ('0.3', '1.3', '1.8', '1.14', '1.16')


@pytest.mark.parametrize('claim', CHEAP)
def test_cheap_checks_hold_in_the_suite_as_well(claim, tmp_path):
  """A finished cell is not run again."""
  config = main.Config(claim, ('lstm', 'tcn'))
  summary = main.run(config, tmp_path)
  assert summary['rows'] and all(row['holds'] for row in summary['rows'])
  assert main.run(config, tmp_path) == summary


@pytest.mark.parametrize('claim', ['0.2', '0.10', '1.5'])
def test_checks_hold_for_a_mixer_of_ones_own(claim, tmp_path):
  """It need not be in the catalogue."""
  mine = {'mine': lambda features, context: WindowMLP(features, tau=4)}
  rows = main.run(main.Config(claim, ('mine',)), tmp_path, mine)['rows']
  assert 'mine' in {row['subject'] for row in rows}
  assert all(row['holds'] for row in rows)


@pytest.mark.parametrize('kind', shapes.SUPPORTED)
def test_models_take_the_shapes_that_they_are_for_and_refuse_others(
  kind, monkeypatch
):
  """One task of each shape, without training, as users run it."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
  for shape, (name, _) in shapes.EXAMPLES.items():
    task = main.shapes.TASKS[name]()
    model = shapes.build(kind, task, MIXERS['gru'](8))
    takes = checks.accepted(lambda m=model, t=task: shapes.fits(m, t))
    assert takes == (shape in shapes.SUPPORTED[kind]), shape


def test_two_tasks_stand_for_each_of_the_five_shapes():
  """And their shape is what they say."""
  assert len(shapes.EXAMPLES) == 5
  for shape, names in shapes.EXAMPLES.items():
    assert {main.shapes.TASKS[n]().shape for n in names} == {shape}


def test_a_check_holds_up_to_its_tolerance():
  """An exact one at equality alone; NaN never holds."""
  assert checks.check('', 's', 1, 2, 2.5, 0.5)['holds']
  assert not checks.check('', 's', 1, 2, 2.6, 0.5)['holds']
  assert not checks.check('', 's', 1, 2, math.nan, 0.5)['holds']
  assert not checks.check('', 's', 1, 0, 1e-30)['holds']
  assert checks.furthest([np.ones(2), 1], [np.array([1, 3]), 1]) == 2
  assert math.isnan(checks.furthest(np.ones(2), np.array([1, np.nan])))


def rows(claim=None, subject=None, got=3):
  """Two checks of each claim; one of them may have another result."""
  made = []
  for each in main.CHECKS:
    for mixer, tolerance in (('gru', 1e-5), ('tcn', 0.0)):
      found = got if (each, mixer) == (claim, subject) else 3
      row = checks.check('change', mixer, 8, 3, found, tolerance)
      made.append({'claim': f'claim {each}', **row, **PLACE})
  return made


def judged(made):
  return {verdict.id: verdict for verdict in claims.verdicts(made)}


@pytest.fixture
def elsewhere(monkeypatch):
  """The answers of other folders, which are all True until they are changed."""
  answers = dict.fromkeys(claims.ELSEWHERE, True)
  monkeypatch.setattr(claims, '_elsewhere', answers.get)
  return answers


def test_every_claim_is_supported_where_all_checks_hold(elsewhere):
  """With how many they are, the largest deviation, and no seeds."""
  found = judged(rows())
  assert {v.verdict for v in found.values()} == {SUPPORTED}
  assert list(found) == list(claims.CLAIMS)
  for verdict in found.values():
    assert verdict.seeds is None and verdict.p is None
  near = judged(rows(claim='0.2', subject='gru', got=3 + 5e-6))['0.2']
  assert near.verdict == SUPPORTED and '0.5 times its' in near.sentence
  assert f'{near.effect:g} {near.unit}' == '2 of 2'


@pytest.mark.parametrize('claim', main.CHECKS)
@pytest.mark.parametrize('wrong', [4, math.nan])
def test_a_planted_error_flips_the_verdict_and_is_named(
  claim, wrong, elsewhere
):
  """In whatever claim it is, and in 0.17 if it stands for a part of that."""
  found = judged(rows(claim=claim, subject='gru', got=wrong))
  assert found[claim].verdict == (CONDITIONAL if claim in EACH else REFUTED)
  assert '"change" of gru at size 8' in found[claim].sentence
  checked = float(found[claim].unit.removeprefix('of '))
  assert found[claim].effect == checked - 1
  parts = [id for ids in claims.GAPS.values() for id in ids]
  wanted = CONDITIONAL if claim in parts else SUPPORTED
  assert found['0.17'].verdict == wanted
  others = {v.verdict for id, v in found.items() if id not in (claim, '0.17')}
  assert others == {SUPPORTED}


@pytest.mark.parametrize('claim', EACH)
def test_a_claim_that_no_subject_keeps_is_refuted(claim):
  """One that keeps it makes the claim conditional."""
  made = rows()
  made = [
    row | {'got': 4} if row['claim'] == f'claim {claim}' else row
    for row in made
  ]
  assert judged(made)[claim].verdict == REFUTED


def test_claims_without_rows_name_the_command():
  """The others are judged."""
  found = judged([row for row in rows() if row['claim'] == 'claim 1.3'])
  assert found.pop('1.3').verdict == SUPPORTED
  assert {verdict.verdict for verdict in found.values()} == {UNDECIDED}
  assert all('experiments.exact' in v.sentence for v in found.values())


def test_the_three_gaps_wait_for_the_folders_that_measure_them(elsewhere):
  """Their runs are named; what was measured does not decide alone."""
  elsewhere['0.8'] = elsewhere['0.9'] = None
  found = judged(rows())['0.17']
  assert found.verdict == UNDECIDED
  assert 'python -m experiments.positions --preset=full' in found.sentence
  assert 'experiments.reach' not in found.sentence
  for id in elsewhere:
    elsewhere[id] = False
  assert judged(rows())['0.17'].verdict == CONDITIONAL
  made = [row | {'got': 4} for row in rows()]
  assert judged(made)['0.17'].verdict == REFUTED


def test_another_folder_answers_by_its_committed_table(tmp_path, monkeypatch):
  """No table is no answer; several parts answer if they agree."""
  monkeypatch.setattr(claims.folders, 'ROOT', tmp_path)
  assert claims._elsewhere('0.11') is None
  (tmp_path / 'reach').mkdir()
  table.write([{'size': 3}], tmp_path / 'reach' / 'results.csv')

  class Reach:
    words = (SUPPORTED, SUPPORTED)

    def __init__(self, name):
      assert name == 'reach'

    def verdicts(self, rows):
      assert rows[0]['size'] == 3
      ids, words = ('0.11a', '0.11b', '0.12'), (*self.words, REFUTED)
      return [
        claims.Verdict(id, word, sentence='')
        for id, word in zip(ids, words, strict=True)
      ]

  monkeypatch.setattr(claims.folders, 'find', Reach)
  uncached = claims._judged_in.__wrapped__
  monkeypatch.setattr(claims, '_judged_in', uncached)
  assert claims._elsewhere('0.11') is True
  Reach.words = (REFUTED, REFUTED)
  assert claims._elsewhere('0.11') is False
  Reach.words = (SUPPORTED, CONDITIONAL)
  assert claims._elsewhere('0.11') is False
  Reach.words = (SUPPORTED, UNDECIDED)
  assert claims._elsewhere('0.11') is None
  monkeypatch.setattr(claims, 'PARTS', {'0.11': ('0.11a',)})
  assert claims._elsewhere('0.11') is True


@pytest.mark.parametrize('preset', sweep.PRESETS)
def test_a_preset_has_a_cell_for_each_claim(preset):
  """The full one has all claims, and all mixers of the catalogue."""
  found = folders.find('exact')
  configs = axes.cells(found, **found.axes(preset))
  assert len({config.claim for config in configs}) == len(configs)
  if preset == 'full':
    assert {c.claim for c in configs} | {'0.17'} == set(claims.CLAIMS)
    assert all(c.mixers == tuple(MIXERS) for c in configs)


def test_the_figure_has_a_panel_for_each_check_that_has_rows(tmp_path):
  """And is drawn without any of them."""
  path, made = tmp_path / 'figure.svg', rows()
  plot.draw(made, str(path))
  assert not any(title in path.read_text() for title in plot.PANELS.values())
  for name in plot.PANELS:
    row = checks.check(name, 'gru', 8, 1, 1)
    made += [{'claim': 'claim 0.3', **row, **PLACE}]
  plot.draw(made, str(path))
  assert all(title in path.read_text() for title in plot.PANELS.values())
