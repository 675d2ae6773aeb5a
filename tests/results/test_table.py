"""Rows written are rows read."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.results import table

ROWS = [
  {'mixer': 'gru', 'T': 64, 'seconds': 0.25, 'fits': True, 'lags': (8, 32)},
  {'mixer': 'a, "b"\nc', 'T': -3, 'seconds': 1e-300, 'lags': (0.5,), 'L': None},
  {'mixer': 'mingru (x)', 'seconds': math.inf, 'fits': False, 'lags': ()},
  {'mixer': 'tcn', 'T': 10**15, 'seconds': -1.5e10, 'lags': ('gru', 'lstm')},
]


def test_rows_survive_a_file(tmp_path):
  """Numbers, text, truth, None and tuples; columns in order of appearance."""
  path = tmp_path / 'results.csv'
  table.write(ROWS, path)
  columns = ['mixer', 'T', 'seconds', 'fits', 'lags', 'L']
  wanted = [{column: row.get(column) for column in columns} for row in ROWS]
  read = table.read(path)
  assert read == wanted
  assert [list(row) for row in read] == [columns] * len(ROWS)
  assert read[0]['fits'] is True and isinstance(read[0]['T'], int)


def test_floats_keep_six_digits_and_a_second_trip_changes_no_byte(tmp_path):
  """So a result that did not change is no difference."""
  rng = np.random.default_rng(0)
  values = rng.normal(size=200) * 10.0 ** rng.integers(-12, 12, size=200)
  rows = [{'x': value, 'pair': (value, math.nan)} for value in values]
  first, second = tmp_path / 'a.csv', tmp_path / 'b.csv'
  table.write(rows, first)
  read = table.read(first)
  np.testing.assert_allclose([row['x'] for row in read], values, rtol=5e-6)
  assert math.isnan(read[0]['pair'][1])
  table.write(read, second)
  assert first.read_bytes() == second.read_bytes()


def test_arrays_of_one_number_are_numbers(tmp_path):
  """As they come out of a computation."""
  row = {'a': jnp.float32(0.5), 'b': np.int64(3), 'c': [np.float32(2.5)]}
  table.write([row], tmp_path / 'a.csv')
  assert table.read(tmp_path / 'a.csv') == [{'a': 0.5, 'b': 3, 'c': (2.5,)}]


@pytest.mark.parametrize(
  'value', ['64', 'nan', 'True', '1e5', 'a;b', (None,), {'a': 1}, np.zeros(2)]
)
def test_what_would_not_be_read_back_is_refused(tmp_path, value):
  """With the column's name, and the file is not begun."""
  with pytest.raises(ValueError, match="[cC]olumn 'note'"):
    table.write([{'note': value}], tmp_path / 'a.csv')
  assert not list(tmp_path.iterdir())


def test_files_of_several_machines_follow_each_other(tmp_path):
  """Each row says which file it is from; what that lacks is None there."""
  a, b = tmp_path / 'a.csv', tmp_path / 'b.csv'
  table.write([{'device': 'cpu', 'x': 1}], a)
  table.write([{'device': 'gpu', 'y': 2}], b)
  assert table.read(a, b) == [
    {'device': 'cpu', 'x': 1, 'source': str(a), 'y': None},
    {'device': 'gpu', 'x': None, 'source': str(b), 'y': 2},
  ]
  assert table.read(a) == [{'device': 'cpu', 'x': 1}]


def test_a_file_that_is_no_table_is_told(tmp_path):
  """Absent, ragged, or nothing at all."""
  with pytest.raises(ValueError, match='no file'):
    table.read(tmp_path / 'none.csv')
  (tmp_path / 'a.csv').write_text('a,b\n1,2\n3\n')
  with pytest.raises(ValueError, match='Row 2 .* has 1 cells.* has 2'):
    table.read(tmp_path / 'a.csv')
  with pytest.raises(ValueError, match='at least one'):
    table.read()
  with pytest.raises(ValueError, match='no rows'):
    table.write([], tmp_path / 'b.csv')


def test_a_formatted_table_is_aligned():
  """Numbers to the right, text to the left, '-' for nothing."""
  rows = [
    {'mixer': 'gru', 'L50': 12.34567, 'n': None},
    {'mixer': 'lstm', 'L50': None, 'n': 128},
  ]
  assert table.text(rows, ['mixer', 'L50', 'n']).splitlines() == [
    'mixer    L50    n',
    '-----  -----  ---',
    'gru    12.35    -',
    'lstm       -  128',
  ]
  assert table.text([], ['a']).splitlines() == ['a', '-']
  with pytest.raises(ValueError, match="no column 'l50'; they have: mixer"):
    table.text(rows, ['l50'])


def test_a_column_of_nothing_is_text():
  """It has no number that would stand to the right."""
  rows = [{'a': '-', 'b': 1, 'c': None}, {'a': '-', 'b': '-', 'c': None}]
  rule = table.markdown(rows, ['a', 'b', 'c']).splitlines()[1]
  assert rule == '| --- | ---: | --- |'


def test_a_markdown_table_escapes_its_bars():
  """A bar in a cell would be a column."""
  assert table.markdown([{'a': 'x|y', 'b': 1}], ['a', 'b']).splitlines() == [
    '| a | b |',
    '| --- | ---: |',
    '| x\\|y | 1 |',
  ]


def test_rows_of_two_machines_are_split():
  """Cores count: times on one core are not those on two."""
  rows = [
    {'device': 'cpu', 'cpus': 2, 'x': 1},
    {'device': 'gpu', 'cpus': 2, 'x': 2},
    {'device': 'cpu', 'cpus': 1, 'x': 3},
    {'device': 'cpu', 'cpus': 2, 'x': 4, 'source': 'b.csv'},
    {'x': 5},
  ]
  found = table.machines(rows)
  assert {name: [row['x'] for row in part] for name, part in found.items()} == {
    'cpu, 2 cores': [1, 4],
    'gpu, 2 cores': [2],
    'cpu, 1 core': [3],
    '': [5],
  }
