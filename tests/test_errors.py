"""The sentence that an unknown name gets, and the dict that says it."""

import copy
import pickle
import sys

import pytest

from seqjax.errors import (
  MOST_LISTED,
  Catalog,
  Importable,
  UnknownName,
  is_imported,
  misfits,
  require,
  unknown,
)

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


def test_all_that_is_missing_is_named_at_once(monkeypatch):
  """With one command that installs it, from a checkout."""
  modules = {'matplotlib': 'plot', 'jinja2': 'report', 'numpy': 'data'}
  require({'numpy': 'data'})
  for hidden, said in (
    ({'jinja2'}, "module jinja2 is not installed: in the checkout of seqjax, "
     "pip install '.[report]' installs it."),
    ({'matplotlib', 'jinja2'}, 'modules matplotlib and jinja2 are not installed'
     ": in the checkout of seqjax, pip install '.[plot,report]' installs "
     'them.'),
  ):  # fmt: skip
    for name in hidden:
      monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as error:
      require(modules)
    assert str(error.value) == f'The {said}'


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


def test_what_a_module_defines_is_in_a_catalogue_of_importable_things():
  """Their names are module:name, unlike a hybrid's or a file's."""
  cells = Importable('cell', {'elman': 1}) | {'gru': 2}
  assert cells['math:sqrt'](4) == 2 and 'math:sqrt' in cells
  assert cells['gru'] == 2 and 'elman' in cells and 'lstm' not in cells
  assert not is_imported('gru+math:sqrt') and not is_imported('C:x.py')


@pytest.mark.parametrize(
  'name, message',
  [
    ('lstn', "Did you mean 'lstm'"),
    ('math:sqr', "cell of math 'sqr'. Did you mean 'sqrt'"),
    ('no_such_module:Cell', "'no_such_module', which cannot be imported"),
    ('math:pi', "cell of math 'pi'"),
  ],
)
def test_what_cannot_be_imported_is_refused_in_a_sentence(name, message):
  """Like an unknown name, with what is nearest."""
  cells = Importable('cell', dict(CELLS))
  assert name not in cells
  with pytest.raises(UnknownName, match=message) as error:
    cells[name]
  assert len(str(error.value).splitlines()) == 1


def test_arrays_that_do_not_fit_are_named_with_both_descriptions():
  """Nothing is said of those that do; many are counted."""
  expected = {'a': '[1]', 'b': '[2]', 'c': '[3]'}
  assert misfits(expected, expected) == misfits({}, {}) == ''
  assert misfits(expected, {'b': '[2]', 'c': '[4]', 'd': '[5]'}) == (
    'a is missing, and [1] is expected; d is unknown, and [5] is given; '
    'c is [4], but [3] is expected'
  )
  many = {f'name{i}': '[1]' for i in range(MOST_LISTED + 2)}
  said = misfits(many, {})
  assert said.count('is missing') == MOST_LISTED
  assert said.endswith('; and 2 more')
