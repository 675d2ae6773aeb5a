"""Writes and reads rows of results as CSV, and formats them as text.

A row is a dict of column -> bool, int, float, text, None, or a flat tuple of
numbers or of texts. In a file a float has six significant digits, None is an
empty cell (and so is empty text), and a tuple is joined by ';' (with one at the
end where it has fewer than two items, so that every cell with a ';' is one).
"""

import csv
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seqjax.results import json_files

_INTEGER = re.compile(r'[-+]?\d+')
_FLOAT = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|-?inf')
_WORDS = {'': None, 'True': True, 'False': False}


def write(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike):
  """Writes rows as CSV; columns stand in the order in which they first appear.

  ValueError for text that would be read back as something else.
  """
  rows = list(rows)
  columns = _columns(rows)
  if not columns:
    raise ValueError(f'There are no rows to write to {str(path)!r}.')
  lines = [[_cell(row.get(c), c) for c in columns] for row in rows]

  def write_lines(temporary):
    with open(temporary, 'w', newline='', encoding='utf-8') as file:
      csv.writer(file, lineterminator='\n').writerows([columns, *lines])

  json_files.write_atomically(path, write_lines)


def read(*paths: str | os.PathLike) -> list[dict[str, Any]]:
  """Reads the rows of one file, or of several (machines, say) in turn.

  Every row has every column; what its file lacks is None. Rows of several files
  say in the column `source` which one they come from.
  """
  if not paths:
    raise ValueError('read takes the path of at least one CSV file.')
  rows = []
  for path in paths:
    source = {'source': str(path)} if len(paths) > 1 else {}
    rows += [row | source for row in _read_file(pathlib.Path(path))]
  columns = _columns(rows)
  return [{column: row.get(column) for column in columns} for row in rows]


def select(
  rows: Iterable[Mapping[str, Any]], **fields: Any
) -> list[Mapping[str, Any]]:
  """Returns the rows that have these values in these columns."""
  return [
    row
    for row in rows
    if all(row.get(name) == value for name, value in fields.items())
  ]


def machines(
  rows: Iterable[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Splits rows by the machine that they were measured on, first seen first.

  The keys name it: the device and how many of its cores were used, and the
  precision where rows differ in that, which are kept apart too. Rows of one
  machine read from several files stay together.
  """
  rows = list(rows)
  precisions = {row.get('precision') for row in rows}
  found = {}
  for row in rows:
    cores = row.get('cpus')
    cores = f'{cores} core{"s" * (cores != 1)}' if cores else ''
    precision = row.get('precision') if len(precisions) > 1 else ''
    name = ', '.join(filter(None, (row.get('device'), cores, precision)))
    found.setdefault(name, []).append(row)
  return found


def text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """Returns an aligned table: numbers to the right, text to the left.

  A column that no row has is an error; None is '-'.
  """
  header, *body = shown(list(rows), columns)
  cells = [header, *body]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  right = [_is_numeric(column) for column in zip(*body, strict=True)]
  right = right or [False] * len(columns)
  lines = [
    '  '.join(
      cell.rjust(width) if to_right else cell.ljust(width)
      for cell, width, to_right in zip(line, widths, right, strict=True)
    ).rstrip()
    for line in [header, ['-' * width for width in widths], *body]
  ]
  return '\n'.join(lines)


def markdown(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """Returns a Markdown table of these columns; one of '-' alone is text."""
  header, *body = shown(list(rows), columns)
  right = [
    _is_numeric(column) and set(column) != {'-'}
    for column in zip(*body, strict=True)
  ]
  rule = ['---:' if r else '---' for r in right or [False] * len(columns)]
  escaped = [[cell.replace('|', '\\|') for cell in line] for line in body]
  lines = [header, rule, *escaped]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
  return list(dict.fromkeys(column for row in rows for column in row))


def _cell(value: Any, column: str) -> str:
  """Returns a value as it stands in a file."""
  if isinstance(value, (list, tuple)):
    items = [_scalar_cell(item, column) for item in value]
    if '' in items:
      raise ValueError(
        f'Column {column!r} holds a tuple with an empty item: {value!r}.'
      )
    return ';'.join(items) + ';' * (len(items) < 2)
  return _scalar_cell(value, column)


def _scalar_cell(value: Any, column: str) -> str:
  value = json_files.scalar(value, f'Column {column!r}')
  if value is None or value == '':
    return ''
  if isinstance(value, float):
    return f'{value:.6g}'
  text = str(value)
  if isinstance(value, str) and (';' in text or _parse_scalar(text) != text):
    raise ValueError(
      f'Column {column!r} holds the text {text!r}, which would be read back'
      f' as {_parse(text)!r}; write it differently.'
    )
  return text


def _parse(cell: str) -> Any:
  """Returns the value that `_cell` wrote."""
  if ';' not in cell:
    return _parse_scalar(cell)
  items = cell.split(';')
  return tuple(_parse_scalar(item) for item in items if item)


def _parse_scalar(cell: str) -> bool | int | float | str | None:
  if cell in _WORDS:
    return _WORDS[cell]
  if _INTEGER.fullmatch(cell):
    return int(cell)
  return float(cell) if _FLOAT.fullmatch(cell) else cell


def _read_file(path: pathlib.Path) -> list[dict[str, Any]]:
  if not path.is_file():
    raise ValueError(f'There is no file {str(path)!r} to read rows from.')
  with open(path, newline='', encoding='utf-8') as file:
    header, *lines = list(csv.reader(file)) or [[]]
  for number, line in enumerate(lines, start=1):
    if len(line) != len(header):
      raise ValueError(
        f'Row {number} of {str(path)!r} has {len(line)} cells, but its header'
        f' has {len(header)}.'
      )
  return [dict(zip(header, map(_parse, line), strict=True)) for line in lines]


def shown(
  rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> list[list[str]]:
  """Returns header and rows as text; ValueError for an unknown column."""
  known = _columns(rows)
  unknown = [column for column in columns if rows and column not in known]
  if unknown:
    raise ValueError(
      f'The rows have no column {unknown[0]!r}; they have: {", ".join(known)}.'
    )
  body = [[_show(row.get(column)) for column in columns] for row in rows]
  return [list(columns), *body]


def _show(value: Any) -> str:
  if isinstance(value, (list, tuple)):
    return ' '.join(map(_show, value))
  value = json_files.scalar(value, 'A cell')
  if value is None:
    return '-'
  if isinstance(value, float) and math.isfinite(value):
    return f'{value:.4g}'
  return str(value)


def _is_numeric(cells: Iterable[str]) -> bool:
  return all(_FLOAT.fullmatch(cell) or cell == '-' for cell in cells)
