"""Reads the size of a figure from its SVG, and describes it in words.

`seqjax.results.plotting` writes text as text, inside matplotlib's groups: a
panel is `axes_N`, and holds two `matplotlib.axis_N` with their ticks, titles
and notes as texts `text_N`, and the labels of lines by a name of their own.
"""

import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from seqjax.results import labels

MOST_LISTED = 12  # names that a description holds
_SVG = '{http://www.w3.org/2000/svg}'
_BOLD = re.compile(r'font(-weight)?: *(bold|700)')  # as titles alone are
_ANY = re.compile('')
_SIZES = ('width', 'height')
_PIXELS = 4 / 3  # per point


class Drawing(NamedTuple):
  """A figure's width and height in pixels, and what it shows in words."""

  width: int
  height: int
  words: str


class _Panel(NamedTuple):
  title: str
  x: str
  y: str
  entries: tuple[str, ...]


def read(path: pathlib.Path) -> Drawing:
  """Reads an SVG that `seqjax.results.plotting` has saved.

  Raises:
    ValueError: it is another file.
  """
  try:
    root = ElementTree.parse(path).getroot()
    points = [float(root.attrib[k].removesuffix('pt')) for k in _SIZES]
  except (ElementTree.ParseError, KeyError, ValueError) as error:
    raise ValueError(
      f'{str(path)!r} is no figure that matplotlib has saved as .svg'
      f' ({error}): draw it again.'
    ) from error
  width, height = (round(size * _PIXELS) for size in points)
  return Drawing(width, height, _describe(root))


def _describe(root: ElementTree.Element) -> str:
  """Returns a sentence per panel, and one that names the entries."""
  panels = [
    _panel(group)
    for figure in _groups(root, 'figure_')
    for group in _groups(figure, 'axes_')
  ]
  number = f'{len(panels)} panels.' if len(panels) > 1 else ''
  names = dict.fromkeys(name for panel in panels for name in panel.entries)
  said = [number, *dict.fromkeys(map(_sentence, panels)), _listed([*names])]
  return ' '.join(filter(None, said))


def _panel(group: ElementTree.Element) -> _Panel:
  axes = list(_groups(group, 'matplotlib.axis_'))
  titles = [' '.join(_texts(axis, 'text_')) for axis in axes]
  x, y, *_ = *titles, '', ''
  entries = _texts(group, labels.END)
  if not y:  # each row of the panel is an entry then
    ticks = [tick for axis in axes for tick in _groups(axis, 'ytick_')]
    entries += [text for tick in ticks for text in _texts(tick)]
  title = ' '.join(_texts(group, 'text_', _BOLD))
  return _Panel(title, x, y, tuple(entries))


def _groups(element: ElementTree.Element, name: str) -> Iterator:
  """Yields the groups right inside an element whose id begins with a name."""
  for group in element.iterfind(f'{_SVG}g'):
    if group.get('id', '').startswith(name):
      yield group


def _texts(
  element: ElementTree.Element, name: str = '', style: re.Pattern = _ANY
) -> list[str]:
  """Returns the texts of a name that are in a style."""
  return [
    ' '.join(''.join(text.itertext()).split())
    for text in element.iterfind(f'{_SVG}text')
    if text.get('id', '').startswith(name)
    and style.search(text.get('style', ''))
  ]


def _sentence(panel: _Panel) -> str:
  """Returns 'TITLE (Y against X).', of what there is."""
  axes = ' against '.join(filter(None, (panel.y, panel.x)))
  return f'{panel.title}{f" ({axes})" if axes else ""}.'


def _listed(names: Sequence[str]) -> str:
  if not names:
    return ''
  more = len(names) - MOST_LISTED
  rest = f'; and {more} more' if more > 0 else ''
  return f'Shown: {"; ".join(names[:MOST_LISTED])}{rest}.'
