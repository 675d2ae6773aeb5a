"""Labelled texts in files of lines with tabs, left on disk until they are read.

The files of Long Range Arena have no quotes: a tab always ends a field, and a
newline a line.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

AT_ONCE = 2**26  # bytes that are searched at a time
TAB, NEWLINE = 9, 10


class LabelledTexts(NamedTuple):
  """The texts of one split in a row of bytes, and the class of each example.

  Attributes:
    content: all bytes, perhaps on disk.
    begins, ends: where each text of each example lies.
    labels: of the examples.
  """

  content: UInt8[np.ndarray, 'N']
  begins: Int[np.ndarray, 'M F']
  ends: Int[np.ndarray, 'M F']
  labels: Int[np.ndarray, 'M']

  def texts(self, index: int) -> list[bytes]:
    """Returns the texts of an example, one or more."""
    places = zip(self.begins[index], self.ends[index], strict=True)
    return [self.content[begin:end].tobytes() for begin, end in places]


def in_memory(texts: Sequence[bytes], labels: Sequence[int]) -> LabelledTexts:
  """Returns examples of one text each."""
  ends = np.cumsum([len(text) for text in texts], dtype=np.int64)[:, None]
  begins = np.concatenate([np.zeros((1, 1), np.int64), ends[:-1]])
  content = np.frombuffer(b''.join(texts), np.uint8)
  return LabelledTexts(content, begins, ends, np.array(labels, np.int32))


def read_table(
  path: str | os.PathLike,
  columns: Sequence[str],
  texts: Sequence[str],
  label: str,
  num_classes: int,
  header: bool,
) -> LabelledTexts:
  """Opens a file with an example per line.

  Args:
    path: of the file.
    columns: the names of its columns.
    texts: those that hold the texts.
    label: the one that holds the class, a number from 0 on.
    num_classes: the number of classes.
    header: whether the first line holds the names of the columns.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is empty, a line has more or fewer fields or no text, the
      header names other columns, or a label is none; says which line.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  if not path.stat().st_size:
    raise ValueError(f'{path} is empty: there is nothing at byte 0.')
  content = np.memmap(path, np.uint8, 'r')
  begins, ends = _fields(content, path, len(columns))
  if header:
    named = [
      _text(content, *place) for place in zip(begins[0], ends[0], strict=True)
    ]
    if named != list(columns):
      raise ValueError(
        f'{path} should begin with the columns {", ".join(columns)}, but '
        f'begins with {", ".join(map(repr, named))}.'
      )
    begins, ends = begins[1:], ends[1:]
  if not len(begins):
    raise ValueError(f'{path} has a line of names, but no example.')
  column = columns.index(label)
  labels = [
    _label(content, begin, end, path, line, num_classes)
    for line, (begin, end) in enumerate(
      zip(begins[:, column], ends[:, column], strict=True), start=1 + header
    )
  ]
  kept = [columns.index(name) for name in texts]
  begins, ends = begins[:, kept], ends[:, kept]
  blank = np.flatnonzero(np.all(begins == ends, axis=1))
  if len(blank):
    raise ValueError(
      f'{path} should hold a text in each line, but line '
      f'{blank[0] + 1 + header} has none.'
    )
  return LabelledTexts(content, begins, ends, np.array(labels, np.int32))


def _fields(
  content, path: pathlib.Path, num_fields: int
) -> tuple[Int[np.ndarray, 'M F'], Int[np.ndarray, 'M F']]:
  """Returns where the fields of every line begin and end."""
  newlines = _places(content, NEWLINE)
  if content[-1] != NEWLINE:
    newlines = np.append(newlines, len(content))
  starts = np.concatenate([[0], newlines[:-1] + 1])
  tabs = _places(content, TAB)
  counts = np.searchsorted(tabs, newlines) - np.searchsorted(tabs, starts)
  wrong = np.flatnonzero(counts != num_fields - 1)
  if len(wrong):
    raise ValueError(
      f'{path} should have {num_fields} fields in a line, with tabs between '
      f'them, but line {wrong[0] + 1} has {counts[wrong[0]] + 1}.'
    )
  # Files of Python's csv end their lines by \r\n.
  ended = newlines - (content[np.maximum(newlines - 1, 0)] == ord('\r'))
  tabs = tabs.reshape(len(starts), num_fields - 1)
  begins = np.concatenate([starts[:, None], tabs + 1], axis=1)
  return begins, np.concatenate([tabs, ended[:, None]], axis=1)


def _places(content, value: int) -> Int[np.ndarray, 'P']:
  """Returns where a byte stands, by parts of the content."""
  return np.concatenate(list(_found(content, value)))


def _found(content, value: int) -> Iterator[Int[np.ndarray, 'P']]:
  for begin in range(0, len(content), AT_ONCE):
    yield begin + np.flatnonzero(content[begin : begin + AT_ONCE] == value)


def _text(content, begin, end) -> str:
  return content[begin:end].tobytes().decode('utf-8', errors='replace')


def _label(content, begin, end, path, line: int, num_classes: int) -> int:
  """Returns a label, which may be written as 1 or 1.0."""
  text = _text(content, begin, end)
  try:
    number = float(text)
  except ValueError:
    number = -1.0
  if number not in range(num_classes):
    raise ValueError(
      f'{path} should hold labels of 0..{num_classes - 1}, but that of line '
      f'{line} is {text[:40]!r}.'
    )
  return int(number)
