"""Committed rows beside those of a mixer that nobody has measured."""

import pytest

from experiments import beside, folders
from seqjax.results import table

RECALL = folders.find('recall')


@pytest.fixture(scope='module')
def committed():
  return table.read(RECALL.folder / 'results.csv')


def renamed(rows, mixer='lstm', name='my.mixers:Mine', **changed):
  """Returns the rows of one mixer as those of another."""
  return [
    row | {'mixer': name} | changed for row in table.select(rows, mixer=mixer)
  ]


def test_a_new_mixer_stands_among_the_committed_ones(committed):
  """Judged by the same functions; nothing is lost or counted twice."""
  own = renamed(committed)
  rows, said = beside.joined(RECALL, own)
  assert len(rows) == len(own) + len(committed)
  assert {row['mixer'] for row in own} == {'my.mixers:Mine'}
  assert 'beside those of my.mixers:Mine' in said
  assert 'my.mixers:Mine' in RECALL.summary(rows)
  before, after = RECALL.verdicts(committed), RECALL.verdicts(rows)
  assert [v.verdict for v in before] == [v.verdict for v in after]


def test_its_baseline_replaces_the_committed_one(committed):
  """A baseline of the same job takes the place of the committed one."""
  again = table.select(committed, mixer='elman', design='mixed')
  rows, _ = beside.joined(RECALL, [*renamed(committed), *again])
  assert len(rows) == len(committed) + len(renamed(committed))


@pytest.mark.parametrize(
  'changed, why', [({'steps': 20}, 'steps=20'), ({'seeds': 5}, 'seeds=5')]
)
def test_other_settings_are_not_compared(changed, why, committed):
  """And the sentence says which differ."""
  own = renamed(committed, **changed)
  rows, said = beside.joined(RECALL, own)
  assert rows == own and why in said and '--preset=full' in said


@pytest.mark.parametrize('name', ['parallelism', 'exact'])
def test_times_and_tables_without_mixers_stay_as_they_are(name):
  """A time is compared with those of its own run alone."""
  rows = [{'mixer': 'mine', 'seconds': 1.0}]
  assert beside.joined(folders.find(name), rows) == (rows, '')


def test_known_mixers_are_not_joined(committed):
  """A job of the catalogue's mixers is judged by itself."""
  own = table.select(committed, mixer='lstm')
  assert beside.joined(RECALL, own) == (own, '')


def test_a_job_that_has_all_of_the_committed_rows_needs_none(committed):
  """Nothing is said of rows that were not added."""
  own = [*committed, *renamed(committed)]
  assert beside.joined(RECALL, own) == (own, '')
