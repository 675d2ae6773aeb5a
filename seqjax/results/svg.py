"""Writes an SVG of matplotlib's compactly: the same picture in fewer lines."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

_SVG, _LINK = 'http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'
_HREF = f'{{{_LINK}}}href'
_NUMBER = re.compile(r'-?\d+\.\d+|-0(?![\d.])')
_FONTS = re.compile(r"'DejaVu Sans'[^;]*sans-serif")
# Names of groups that say nothing; those of panels, axes and texts are read.
_AUTOMATIC = re.compile(r'(?!(figure|axes|xtick|ytick|text)_)\w+_\d+$')
_DOT = re.compile(r'M [^a-zA-Z]*$')  # a path that begins and draws nothing
_DRAWN = ('d', 'x', 'y', 'width', 'height', 'transform')  # lengths in points
_RULE = "text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif}"


def compact(text: str) -> str:
  """Returns the same picture with a tick, a curve or a row of markers per line.

  Groups that hold nothing in common are gone, and paths without a line; the
  fonts stand in one rule, and coordinates have a tenth of a point, those of
  markers a hundredth.

  Args:
    text: an SVG as matplotlib writes it, with text as text.
  """
  ElementTree.register_namespace('', _SVG)
  ElementTree.register_namespace('xlink', _LINK)
  root = ElementTree.fromstring(text)
  for metadata in root.findall(f'{{{_SVG}}}metadata'):
    root.remove(metadata)
  style = root.find(f'.//{{{_SVG}}}style')
  if style is not None:
    style.text = f'{style.text}{_RULE}'
  for child in root.iter():
    _shorten(child, 1)
  for marker in root.iterfind(f'.//{{{_SVG}}}defs//*'):
    if 'd' in marker.attrib:
      _shorten(marker, 2)
  root[:] = [kept for child in root for kept in _flat(child)]
  _break_lines(root)
  return ElementTree.tostring(root, encoding='unicode') + '\n'


def _shorten(element: ElementTree.Element, digits: int):
  """Rounds the coordinates of an element, and leaves out what says nothing."""
  attributes = element.attrib
  if element.tag != f'{{{_SVG}}}svg':  # whose size is the figure's
    for name in _DRAWN:
      if name in attributes:
        attributes[name] = _rounded(attributes[name], digits)
  if attributes.get('transform', '').startswith('rotate(0 '):
    del attributes['transform']
  if 'style' in attributes:
    attributes['style'] = _style(attributes['style'])


def _rounded(numbers: str, digits: int) -> str:
  """Rounds the numbers of a path, in one line."""

  def shorter(found: re.Match) -> str:
    return f'{round(float(found[0]), digits) + 0:g}'

  return ' '.join(_NUMBER.sub(shorter, numbers).split())


def _style(style: str) -> str:
  """Returns a style without the fonts that the rule of all texts names."""
  parts = [part.strip() for part in _FONTS.sub('', style).split(';')]
  return '; '.join(part for part in parts if part and part != 'font-family:')


def _flat(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
  """Yields an element, or its children where it only holds them together."""
  children = [kept for child in element for kept in _flat(child)]
  children = [kept for kept in children if not _DOT.match(kept.get('d', ''))]
  if element.tag != f'{{{_SVG}}}g':
    element[:] = children
    yield element
    return
  name = element.get('id', '')
  if _AUTOMATIC.match(name):
    del element.attrib['id']
  alone = len(children) == 1 and children[0].tag == f'{{{_SVG}}}text'
  if alone and set(element.attrib) == {'id'} and 'id' not in children[0].attrib:
    children[0].set('id', name)
    yield children[0]
  elif element.attrib:
    element[:] = children
    _share_style(element)
    yield element
  else:
    yield from children


def _share_style(group: ElementTree.Element):
  """Moves the style of all markers of a line to their group."""
  styles = {child.get('style', '') for child in group}
  if (
    len(group) > 1
    and len(styles) == 1
    and all(_HREF in c.attrib for c in group)
  ):
    group.set('style', styles.pop())
    for child in group:
      child.attrib.pop('style', None)


def _break_lines(element: ElementTree.Element):
  """Puts each tick, row of markers and other element on a line."""
  if element.tag == f'{{{_SVG}}}text' or not len(element):
    return
  separator = '' if _is_short(element) else '\n'
  element.text = separator
  for child in element:
    child.tail = separator
    _break_lines(child)
  element[-1].tail = ''


def _is_short(element: ElementTree.Element) -> bool:
  """Tells if an element holds a tick, a row of markers or a definition."""
  if element.get('id', '').startswith(('figure', 'axes', 'matplotlib.axis')):
    return False
  return element.tag != f'{{{_SVG}}}svg'
