"""Tables of one value of an axis: what a user gets who asks for that alone."""

import functools

import pytest

from experiments import axes, folders
from seqjax.results import table

PARTS = ('parts', 'questions', 'measures')  # each measures something else


def alone(rows, column, value):
  """Returns the rows with one value, in the columns that they have."""
  own = [row for row in rows if str(row.get(column)) == str(value)]
  columns = [c for c in rows[0] if any(row[c] is not None for row in own)]
  return [{column: row[column] for column in columns} for row in own]


@functools.cache
def tables(found):
  """Returns {axis: {value: its rows}} of a committed table.

  Values of axes that are no column of it, as of the number of seeds, have none.
  """
  preset = next(name for name in folders.COMMITTED if name in found.presets)
  rows = table.read(found.folder / 'results.csv')
  made = {}
  for axis, values in found.axes(preset).items():
    if isinstance(values, tuple | list) and len(values) > 1:
      column = axes.field(found, axis)
      own = {value: alone(rows, column, value) for value in values}
      made[axis] = {value: part for value, part in own.items() if part}
  return made


def cases():
  """Lists every value of every axis; the barest table of an axis is quick."""
  for found in map(folders.find, folders.names()):
    if not (found.folder / 'results.csv').exists():
      continue
    for axis, parts in tables(found).items():
      barest = min(parts, key=lambda value: len(parts[value][0]), default=None)
      for value in parts:
        quick = value == barest and axis in PARTS
        marks = () if quick else (pytest.mark.slow,)
        yield pytest.param(found.name, axis, value, marks=marks)


def test_every_part_has_rows():
  """Or it would be left out of the cases."""
  for found in map(folders.find, folders.names()):
    for axis in {*found.axes(next(iter(found.presets)))} & {*PARTS}:
      preset = next(name for name in folders.COMMITTED if name in found.presets)
      assert {*tables(found)[axis]} == {*found.axes(preset)[axis]}


@pytest.mark.parametrize(('name', 'axis', 'value'), list(cases()))
def test_one_value_of_an_axis_is_judged_and_drawn(name, axis, value, tmp_path):
  """Its table lacks what the other values alone have columns of."""
  found = folders.find(name)
  path = tmp_path / 'results.csv'
  table.write(tables(found)[axis][value], path)
  rows = table.read(path)
  assert isinstance(found.summary(rows), str)
  assert isinstance(found.verdicts(rows), list)
  figure = tmp_path / 'figure.svg'
  assert found.draw(rows, str(figure)) == figure.exists()
