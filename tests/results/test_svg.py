"""A compact SVG is the same picture."""

import io
import re
from xml.etree import ElementTree

import pytest

from seqjax.results import plotting, svg

NUMBER = re.compile(r'-?\d+(?:\.\d+)?(?:e-\d+)?')


@pytest.fixture(scope='module')
def pictures():
  """The text that matplotlib writes for a figure, and its compact form."""
  import matplotlib

  figure, (left, right) = plotting.new('Left', 'Right')
  plotting.line(left, [1, 2, 4], [0.1, 0.25, 1.0], 'lstm', low=[0, 0.2, 0.9],
                high=[0.2, 0.3, 1.0])  # fmt: skip
  right.set_xlabel("a label's <words>", fontweight='bold')
  right.plot([1, 2], [3, 1], 'o--')
  right.plot([1.5], [2], 'o-')  # a line of one point draws nothing
  whole = io.StringIO()
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'a'}):
    figure.savefig(whole, format='svg')
  return whole.getvalue(), svg.compact(whole.getvalue())


def drawn(text, kind):
  """Returns what a kind of element draws, in that order."""
  found = ElementTree.fromstring(text).iter(f'{{{svg._SVG}}}{kind}')
  return [e for e in found if kind != 'path' or not draws_nothing(e)]


def draws_nothing(path):
  return set(re.sub(r'[-.\d\s]', '', path.get('d'))) == {'M'}


@pytest.mark.parametrize('kind', ['path', 'use', 'text', 'clipPath', 'rect'])
def test_every_element_stays_where_it_was(pictures, kind):
  """To a tenth of a point, in the same order."""
  before, after = (drawn(text, kind) for text in pictures)
  assert len(before) == len(after) > 0
  for one, other in zip(before, after, strict=True):
    assert one.text == other.text or not one.text.strip()
    for name in svg._DRAWN:
      numbers = [
        list(map(float, NUMBER.findall(each.get(name, ''))))
        for each in (one, other)
      ]
      if name == 'transform' and not numbers[1]:
        assert numbers[0][:1] in ([], [0])  # no rotation
      else:
        assert numbers[1] == pytest.approx(numbers[0], abs=0.051)


def test_styles_are_kept(pictures):
  """On the element or on the group of its line; fonts stand in one rule."""
  before, after = pictures
  for kind in ('path', 'text'):
    for one, other in zip(drawn(before, kind), drawn(after, kind), strict=True):
      kept = svg._style(one.get('style', ''))
      assert other.get('style', '') == kept
      assert ('weight' in kept) == ('weight' in one.get('style', ''))
  assert after.count('font-family') == 1 < before.count('font-family')
  markers = {e.get('style') for e in drawn(before, 'use')}
  assert all(svg._style(style) in after for style in markers)


def test_it_takes_a_sixth_of_the_lines(pictures):
  """And the names of panels and axes are kept; no path draws nothing."""
  before, after = (text.count('\n') for text in pictures)
  assert after < before / 6
  paths = ElementTree.fromstring(pictures[1]).iter(f'{{{svg._SVG}}}path')
  assert not any(map(draws_nothing, paths))
  assert 'id="axes_1"' in pictures[1] and '"matplotlib.axis_2"' in pictures[1]
  assert 'line2d_' not in pictures[1] and 'metadata' not in pictures[1]
