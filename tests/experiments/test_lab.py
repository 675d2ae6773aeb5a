"""All experiments together: every claim is judged in one place."""

import collections
import dataclasses
import types

import pytest

from experiments import folders
from experiments.recall import sweep
from seqjax.analysis.verdicts import UNDECIDED, Verdict
from seqjax.errors import Importable
from seqjax.results import table

IDS = {
  f'{text}.{number}'
  for text, last in enumerate((18, 16, 9))
  for number in range(1, last + 1)
}


def whole(id: str) -> str:
  """Returns the number of a claim, given that of one of its parts."""
  return id.rstrip('abcdefgh')


def test_every_claim_is_judged_by_one_experiment():
  """43 claims, each with all of its parts in one folder."""
  judges = collections.defaultdict(set)
  for name in folders.names():
    for id in folders.find(name).claims:
      judges[whole(id)].add(name)
  assert set(judges) == IDS and len(IDS) == 43
  assert {id: names for id, names in judges.items() if len(names) > 1} == {}


@pytest.mark.parametrize('name', folders.names())
def test_a_claim_is_a_sentence_with_a_rule(name):
  """Both end with a full stop, and the rule says when it is decided."""
  for id, claim in folders.find(name).claims.items():
    for said in claim:
      assert said[0].isupper() and said.endswith('.'), (id, said)
      assert '  ' not in said, (id, said)


@pytest.mark.parametrize('name', folders.names())
def test_what_is_undecided_names_a_command_that_may_decide_it(name):
  """A claim that stays open without saying how to close it helps nobody."""
  found = folders.find(name)
  path = found.folder / 'results.csv'
  for verdict in found.verdicts(table.read(path)) if path.is_file() else []:
    if verdict.verdict == UNDECIDED:
      assert folders.commands_in(verdict.sentence), verdict.id


def test_commands_are_read_off_a_sentence():
  """Without the full stop after them."""
  one = (
    'python -m experiments.recall --preset=full --mixers=lstm,gru --seeds=33'
  )
  two = 'python -m experiments.exact'
  assert folders.commands_in(f'It is open: {one}, {two}.') == [one, two]
  assert folders.commands_in('It is open.') == []


@pytest.mark.parametrize(
  'seeds, sentence, options',
  [
    (5, 'open', ' --preset=full.'),
    (None, 'open', ' --preset=full.'),
    (11, 'open', ' --preset=full --seeds=33.'),
    (11, 'lstm is learnt by 3 seeds', ' --preset=full --steps=900.'),
  ],
)
def test_a_command_that_may_decide_has_more_than_was_run(
  seeds, sentence, options, monkeypatch
):
  """More seeds, or more updates where the reason is that few have learnt."""
  found = folders.find('recall')
  open_ = Verdict('2.2b', UNDECIDED, sentence=sentence, seeds=seeds)
  claims = types.SimpleNamespace(verdicts=lambda rows: [open_])
  monkeypatch.setattr(found, '_module', lambda *_, **__: claims)
  monkeypatch.setattr(type(found), 'presets', {'full': sweep.FULL})
  (verdict,) = found.verdicts([{'device': 'cpu'}])
  assert verdict.sentence.endswith('python -m experiments.recall' + options)


@pytest.mark.parametrize('name', folders.names())
def test_every_experiment_on_mixers_takes_those_of_a_module(name):
  """Named by module:name; peers compares whole libraries."""
  fields = dataclasses.fields(folders.find(name).main.Config)
  for field in fields:
    if field.name in ('mixer', 'mixers'):
      among = field.metadata['among']
      assert isinstance(among, Importable), field.name
      assert 'tests.experiments.test_command:windowed' in among
