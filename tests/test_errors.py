"""The sentence that an unknown name gets, and the dict that says it."""

import copy
import pickle

import pytest

from seqjax.errors import Catalog, UnknownName, unknown

CELLS = Catalog('cell', {'elman': 1, 'gru': 2, 'lstm': 3})


@pytest.mark.parametrize('name', ['lsmt', 'LSTM', 'Lstm_'])
def test_the_nearest_name_is_suggested_whatever_its_case(name):
  """And all names follow where they are few."""
  assert unknown('cell', name, CELLS) == (
    f"Unknown cell {name!r}. Did you mean 'lstm'? There are: elman, gru, lstm."
  )


def test_many_names_are_counted_and_not_listed():
  """A message stays one line; it says where the names are."""
  many = [f'name{i}' for i in range(66)]
  assert unknown('mixer', 'zzz', many) == (
    "Unknown mixer 'zzz'. 66 names are known; seqjax-train --mixer=help lists"
    ' them.'
  )
  assert unknown('x', 'zzz', many, 'a page lists them').endswith(
    '66 names are known; a page lists them.'
  )
  assert unknown('x', 'zzz', many).endswith('66 names are known.')


def test_a_catalog_says_the_sentence_as_key_and_as_value_error():
  """Without the quotes that KeyError puts around its text."""
  for error in (UnknownName, KeyError, ValueError):
    with pytest.raises(error) as raised:
      CELLS['gruu']
    assert str(raised.value) == unknown('cell', 'gruu', CELLS)
  assert CELLS['gru'] == 2 and CELLS.get('gruu') is None and 'no' not in CELLS


def test_a_catalog_is_a_dict():
  """Unions, copies and pickles keep what it is of."""
  for same in (
    pickle.loads(pickle.dumps(CELLS)),
    copy.deepcopy(CELLS),
    CELLS | {},
  ):
    assert same == CELLS and list(same) == list(CELLS) and same.what == 'cell'
  assert type(dict(CELLS)) is dict and {**CELLS} == CELLS
  assert (CELLS | {'mine': 4})['mine'] == 4 and 'mine' not in CELLS
  assert ({'mine': 4} | CELLS)['mine'] == 4
