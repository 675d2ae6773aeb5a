"""All experiments together: every claim is judged in one place."""

import collections
import dataclasses

import pytest

from experiments import folders
from seqjax.errors import Importable

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
def test_every_experiment_on_mixers_takes_those_of_a_module(name):
  """Named by module:name; peers compares whole libraries."""
  fields = dataclasses.fields(folders.find(name).main.Config)
  for field in fields:
    if field.name in ('mixer', 'mixers'):
      among = field.metadata['among']
      assert isinstance(among, Importable), field.name
      assert 'tests.experiments.test_command:windowed' in among
