"""Places the labels of a figure's lines: at their ends, none over another."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

Values = Sequence[Any] | np.ndarray
MISSING = 'does not fit'  # the mark of a note on a point that was not measured
MISSING_GAP = 12  # points from one such note to the next
END = 'end of a line'


def make_headroom(axes):
  """Raises the upper limit until lines keep below what `does_not_fit` wrote."""
  rows = sum(text.get_gid() == MISSING for text in axes.texts)
  tops = [y for artist in axes.get_lines() for y in points_of(artist)[:, 1]]
  if not rows or not tops:
    return
  share = MISSING_GAP * (rows + 0.5) / height(axes)
  scale = axes.yaxis.get_transform()
  bottom, _ = scale.transform(np.array(axes.get_ylim()))
  top = scale.transform(np.array([max(tops)]))[0]
  needed = bottom + (top - bottom) / max(1 - share, 0.2)
  limit = scale.inverted().transform(np.array([needed]))[0]
  axes.set_ylim(top=max(limit, axes.get_ylim()[1]))


def height(axes) -> float:
  """Returns the height of a panel, in points."""
  return axes.bbox.height / axes.figure.dpi * 72


def label_ends(axes):
  """Writes each line's label to the right of the panel, none over another."""
  for text in list(axes.texts):
    if text.get_gid() == END:
      text.remove()
  points = {artist: points_of(artist) for artist in axes.get_lines()}
  ends = {artist: tuple(p[-1]) for artist, p in points.items() if len(p)}
  if not ends:
    return
  pixels = axes.transData.transform(list(ends.values()))
  wanted = axes.transAxes.inverted().transform(pixels)[:, 1]
  places = spread(wanted, 11.5 / height(axes))
  for (artist, end), place in zip(ends.items(), places, strict=True):
    _label_end(axes, artist, end, place)


def points_of(artist) -> np.ndarray:
  """Returns the points of a labelled line that are there."""
  if artist.get_label().startswith('_'):
    return np.empty((0, 2))
  points = np.asarray(artist.get_xydata(), float)
  return points[np.isfinite(points).all(axis=1)]


def _label_end(axes, artist, end, place):
  color = artist.get_color()
  axes.annotate(
    artist.get_label(),
    end,
    xytext=(1.06, place),
    textcoords='axes fraction',
    va='center',
    gid=END,
    annotation_clip=False,
    fontsize=8.5,
    color=color,
    arrowprops={
      'arrowstyle': '-',
      'color': color,
      'linewidth': 0.6,
      'alpha': 0.6,
      'relpos': (0, 0.5),  # the leader meets the text's left edge
      'shrinkA': 0,
      'shrinkB': 4,
    },
  )


def spread(wanted: Values, gap: Real) -> np.ndarray:
  """Places in [0, 1], `gap` apart or more, as near as can be to those wanted.

  Least squares: with p_i = place_i - i gap, the places must not fall and must
  stay in [0, 1 - (n - 1) gap], which is isotonic regression: neighbours that
  would fall are pooled at their mean. Too many to fit are centred.
  """
  wanted = np.asarray(wanted, float)
  order = np.argsort(wanted, kind='stable')
  steps = gap * np.arange(len(wanted))
  pools = []
  for value in wanted[order] - steps:
    pools.append([value])
    while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
      pools[-2:] = [pools[-2] + pools[-1]]
  level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
  highest = 1 - steps[-1]
  level = np.clip(level, min(0, highest / 2), max(highest, highest / 2))
  places = np.empty_like(wanted)
  places[order] = steps + level
  return places
