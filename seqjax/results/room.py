"""Finds room in a panel for a text, where it hides no curve and no other text.

Everything is in pixels of the figure, as matplotlib's boxes are, so that a
panel must have been laid out before room is looked for.
"""

import copy
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

Values = Sequence[Any] | np.ndarray
_STEP = 2.0  # pixels from one point of a curve that is looked at to the next
_CLEAR = 1.5  # points that stay free around a text
_HIDDEN = 1000.0  # the price of a text over another or beyond the panel
_CROSSED = 100.0  # of a text over a curve, and 1 more for each of its points


class Box(NamedTuple):
  """A rectangle, in pixels."""

  x0: float
  y0: float
  x1: float
  y1: float


class Room:
  """A panel with the points that its curves and markers cover."""

  def __init__(self, axes: Any, texts: Sequence[Any] = ()):
    self._panel = axes.bbox
    self._point = axes.figure.dpi / 72
    marks = [_marks(line, self._point) for line in axes.get_lines()]
    x, y, reach = np.concatenate([np.empty((0, 3)), *marks]).T
    self._x, self._y, self._reach = x, y, reach
    self._taken = [Box(*text.get_window_extent().extents) for text in texts]

  def covered(self, box: Box) -> int:
    """Counts the points of curves and markers that a box would hide."""
    x, y, reach = self._x, self._y, self._reach + _CLEAR * self._point
    inside = (box.x0 - reach <= x) & (x <= box.x1 + reach)
    inside &= (box.y0 - reach <= y) & (y <= box.y1 + reach)
    return int(inside.sum())

  def price(self, box: Box) -> float:
    """Returns how much a text in this box would hide; 0 where it is free."""
    hit = self.covered(box)
    crossed = hit and _CROSSED + hit
    aside = 2 * _CLEAR * self._point  # or two names would read as one
    apart = box._replace(x0=box.x0 - aside, x1=box.x1 + aside)
    over = sum(_overlap(apart, other) for other in self._taken)
    panel, slack = self._panel, 6 * self._point
    within = panel.x0 <= box.x0 and box.x1 <= panel.x1 + slack
    within &= panel.y0 <= box.y0 and box.y1 <= panel.y1 + slack
    return crossed + _HIDDEN * (over + (not within))

  def copy(self) -> 'Room':
    """Returns room of which what is taken is not taken here."""
    copied = copy.copy(self)
    copied._taken = [*self._taken]
    return copied

  def crossed(self, start: Values, end: Values) -> int:
    """Counts the points of a straight line that lie on texts."""
    points = _between(np.array(start, float), np.array(end, float))
    return sum(
      bool(np.all((box[:2] <= point) & (point <= box[2:])))
      for box in map(np.array, self._taken)
      for point in points
    )

  def cover(self, start: Values, end: Values):
    """Keeps later texts off a straight line, from start to end."""
    points = _between(np.array(start, float), np.array(end, float))
    self._x = np.append(self._x, points[:, 0])
    self._y = np.append(self._y, points[:, 1])
    self._reach = np.append(self._reach, np.zeros(len(points)))

  def take(
    self, boxes: Sequence[Box], prices: Sequence[Real]
  ) -> tuple[int, float]:
    """Takes the best of some boxes, each with a price of its own.

    Returns:
      Its number and its whole price; no later text is put over it.
    """
    total = [
      price + self.price(box) for box, price in zip(boxes, prices, strict=True)
    ]
    best = int(np.argmin(total))
    self._taken.append(boxes[best])
    return best, total[best]


def _overlap(one: Box, other: Box) -> bool:
  across = one.x0 < other.x1 and other.x0 < one.x1
  return bool(across and one.y0 < other.y1 and other.y0 < one.y1)


def _marks(line: Any, point: float) -> np.ndarray:
  """Returns x, y and half a width of points along a line and its markers."""
  path = line.get_path().vertices  # with the corners of steps
  found = line.get_transform().transform(np.asarray(path, float))
  found = found[np.isfinite(found).all(axis=1)]
  has_marker = line.get_marker() not in (None, '', ' ', 'None', 'none')
  reach = point * (line.get_markersize() / 2 if has_marker else 1)
  marks = [np.column_stack([found, np.full(len(found), reach)])]
  if line.get_linestyle() not in ('None', 'none', '', ' '):
    for one, other in zip(found[:-1], found[1:], strict=True):
      between = _between(one, other)
      marks.append(np.column_stack([between, np.full(len(between), point)]))
  return np.concatenate(marks)


def _between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
  """Returns points from start to end, both included."""
  number = int(np.hypot(*(end - start)) / _STEP) + 2
  return start + np.linspace(0, 1, min(number, 5000))[:, None] * (end - start)
