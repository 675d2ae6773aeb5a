"""Places the labels of a figure's lines: at their ends, none over another.

A line that ends at the right of its panel is labelled beside the panel, and a
leader joins the label to it. Lines that end in one place have one label, which
is the stack of their names with one leader. A line that ends early is labelled
beside its end, since its leader would cross the panel as if it were data.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from seqjax.results.room import Box, Room

Values = Sequence[Any] | np.ndarray
MISSING = 'does not fit'  # the mark of a note on a point that was not measured
MISSING_GAP = 12  # points from one such note to the next
END = 'end of a line'
HEADING = 'heading of lines'  # of what names nothing: a heading, a leader
REFERENCE = 'reference'  # the mark of a line across the panel and its label
_GAP = 11.5  # points from a name to the next
_TOGETHER = 5.0  # points between ends whose markers hide each other
_EARLY = 0.85  # the share of the panel before which a line ends early
_FAR = 13.0  # points from the end of a line to a name that needs a leader
_ASIDE = '_aside'  # the label of lines that belong to labels
_GREY = '#777777'


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
  """Labels each line, and moves the labels of reference lines off the lines."""
  for artist in [*axes.texts, *axes.get_lines()]:
    if artist.get_gid() in (END, HEADING) or artist.get_label() == _ASIDE:
      artist.remove()
  references = [t for t in axes.texts if t.get_gid() == REFERENCE]
  room = Room(axes, [text for text in axes.texts if text not in references])
  ends = _ends(axes)
  inside = [end for end in ends if end.x < _EARLY and end.heading is None]
  room = _label_inside(axes, room, inside)
  _label_outside(axes, [end for end in ends if end not in inside])
  for text in references:
    _move_reference(axes, room, text)


class _End(NamedTuple):
  """The end of a line: its last point, and where in the panel it lies."""

  artist: Any
  point: tuple[float, float]
  x: float
  y: float
  heading: str | None


def _ends(axes) -> list[_End]:
  points = {artist: points_of(artist) for artist in axes.get_lines()}
  lasts = {artist: tuple(p[-1]) for artist, p in points.items() if len(p)}
  if not lasts:
    return []
  pixels = axes.transData.transform(list(lasts.values()))
  places = axes.transAxes.inverted().transform(pixels)
  return [
    _End(artist, last, x, y, getattr(artist, 'together', None))
    for (artist, last), (x, y) in zip(lasts.items(), places, strict=True)
  ]


def points_of(artist) -> np.ndarray:
  """Returns the points of a labelled line that are there."""
  if artist.get_label().startswith('_'):
    return np.empty((0, 2))
  points = np.asarray(artist.get_xydata(), float)
  return points[np.isfinite(points).all(axis=1)]


def _label_outside(axes, ends: Sequence[_End]):
  """Labels groups of lines to the right of the panel."""
  if not ends:
    return
  gap = _GAP / height(axes)
  groups = _groups(ends, _TOGETHER / height(axes))
  middles = [np.mean([end.y for end in group]) for group in groups]
  lines = [len(group) + bool(group[0].heading) for group in groups]
  places = spread(middles, gap, lines)
  for group, place, number in zip(groups, places, lines, strict=True):
    if number == 1:
      _label_end(axes, group[0], place)
    else:
      _label_group(axes, group, place, gap)


def _groups(ends: Sequence[_End], tolerance: Real) -> list[list[_End]]:
  """Returns the ends that share a label, each group from its top down."""
  groups = {}
  for end in ends:
    if end.heading is not None:
      groups.setdefault(end.heading, []).append(end)
  alone, top = [], np.inf
  for end in sorted((e for e in ends if e.heading is None), key=lambda e: -e.y):
    if top - end.y > tolerance or not alone:
      alone.append([])
      top = end.y
    alone[-1].append(end)
  named = [sorted(group, key=lambda e: -e.y) for group in groups.values()]
  return [*alone, *named]


def _label_end(axes, end: _End, place: float):
  """Writes one name, with its leader."""
  color = end.artist.get_color()
  axes.annotate(
    end.artist.get_label(),
    end.point,
    xytext=(1.06, place),
    textcoords='axes fraction',
    va='center',
    gid=END,
    annotation_clip=False,
    fontsize=8.5,
    color=color,
    arrowprops=_leader(color),
  )


def _leader(color: str) -> dict[str, Any]:
  return {
    'arrowstyle': '-',
    'color': color,
    'linewidth': 0.6,
    'alpha': 0.6,
    'relpos': (0, 0.5),  # the leader meets the text's left edge
    'shrinkA': 0,
    'shrinkB': 4,
  }


def _label_group(axes, group: Sequence[_End], place: float, gap: float):
  """Writes names below each other, each with its look, behind one leader."""
  heading = group[0].heading
  rows = ([heading] if heading else []) + [end.artist for end in group]
  tops = place + gap * (len(rows) - 1) / 2 - gap * np.arange(len(rows))
  point = axes.figure.dpi / 72 / axes.bbox.width
  left = 1.06 - 2 * point
  _aside(axes, [left] * 2, [tops[0] + gap * 0.4, tops[-1] - gap * 0.4])
  last = max(group, key=lambda end: end.x)
  text = {'textcoords': 'axes fraction', 'va': 'center', 'fontsize': 8.5,
          'annotation_clip': False}  # fmt: skip
  axes.annotate('', (last.x, np.mean([end.y for end in group])),
                xycoords='axes fraction', xytext=(left, place), gid=HEADING,
                arrowprops=_leader(_GREY), **text)  # fmt: skip
  for row, top in zip(rows, tops, strict=True):
    if row is heading:
      axes.annotate(row, last.point, xytext=(1.06 + 2 * point, top),
                    gid=HEADING, color='#444444', **text)  # fmt: skip
      continue
    places = 1.06 + point * np.array([2, 11, 20])
    _aside(axes, places, [top] * 3, row)
    end = next(end for end in group if end.artist is row)
    axes.annotate(row.get_label(), end.point, xytext=(places[-1] + 4 * point,
                  top), gid=END, color=row.get_color(), **text)  # fmt: skip


def _aside(axes, x, y, like=None):
  """Draws, beside the panel, a bracket, or a look like that of a line."""
  from matplotlib.lines import Line2D

  drawn = Line2D(x, y, color=_GREY, linewidth=0.8)
  if like is not None:
    drawn.update_from(like)
    drawn.set(linewidth=1.3, markersize=0.8 * like.get_markersize(),
              markevery=[1], drawstyle='default')  # fmt: skip
  drawn.set(transform=axes.transAxes, clip_on=False, label=_ASIDE)
  axes.add_artist(drawn)
  drawn.set_clip_path(None)


class _Beside(NamedTuple):
  """The places that a name may have beside the end of its line."""

  end: _End
  pixels: tuple[float, float]  # of the end
  wide: float  # of the name, in points
  offsets: list[tuple[float, float]]  # from the end, in points
  boxes: list[Box]
  far: list[float]  # from the end to the name, in points


def _label_inside(axes, room: Room, ends: Sequence[_End]) -> Room:
  """Writes names beside points of the panel, where they hide least.

  The first name takes the best place that there is, so that the last may find
  none: of a few orders, the one whose places are best together is kept.
  """
  if not ends:
    return room
  names = [_beside(axes, end) for end in ends]
  across = sorted(names, key=lambda name: name.end.x)
  orders = names, names[::-1], across, across[::-1]
  trials = [(order, *_take(room.copy(), order)) for order in orders]
  order, room, places, _ = min(trials, key=lambda trial: trial[-1])
  places = dict(zip(map(id, order), places, strict=True))
  for name in names:
    _write_beside(axes, name, places[id(name)])
  return room


def _take(room: Room, names: Sequence[_Beside]):
  """Takes a place for each name; returns them, and what they cost."""
  places, whole = [], 0.0
  for name in names:
    nearest = [np.clip(name.pixels, box[:2], box[2:]) for box in name.boxes]
    prices = [
      far + (10 * room.crossed(name.pixels, point) if far > _FAR else 0)
      for far, point in zip(name.far, nearest, strict=True)
    ]
    place, price = room.take(name.boxes, prices)
    if name.far[place] > _FAR:
      room.cover(name.pixels, nearest[place])
    places.append(place)
    whole += price
  return room, places, whole


def _beside(axes, end: _End) -> _Beside:
  text = axes.text(0, 0, end.artist.get_label(), fontsize=8.5)
  size = text.get_window_extent()
  text.remove()
  point = axes.figure.dpi / 72
  wide, high = float(size.width / point), float(size.height / point)
  x, y = axes.transData.transform(end.point)
  offsets = _offsets(wide, high)
  corners = [(x + dx * point, y + dy * point) for dx, dy in offsets]
  boxes = [Box(x, y, x + size.width, y + size.height) for x, y in corners]
  far = [
    float(np.hypot(np.clip(0, dx, dx + wide), np.clip(0, dy, dy + high)))
    for dx, dy in offsets
  ]
  return _Beside(end, (float(x), float(y)), wide, offsets, boxes, far)


def _write_beside(axes, name: _Beside, place: int):
  """Writes a name; farther off it has a leader."""
  color = name.end.artist.get_color()
  dx, dy = name.offsets[place]
  side = 0 if dx >= 0 else 1 if dx + name.wide <= 0 else 0.5
  far = name.far[place] > _FAR
  axes.annotate(
    name.end.artist.get_label(),
    name.end.point,
    xytext=(dx, dy),
    textcoords='offset points',
    gid=END,
    fontsize=8.5,
    color=color,
    arrowprops=_leader(color) | {'relpos': (side, 0.5)} if far else None,
  )


def _offsets(wide: float, high: float) -> list[tuple[float, float]]:
  """Returns where a text may begin, in points from its point, best first."""
  found = []
  for away in (7.0, 12.0, 18.0, 26.0, 36.0, 48.0):
    middle, left, centre = -high / 2, -away - wide, -wide / 2
    found += [(away, middle), (centre, away - 2), (centre, -away - high + 2)]
    found += [(left, middle)]
    slant = 0.7 * away
    for dx in (slant, -slant - wide):
      found += [(dx, slant), (dx, -slant - high)]
  return found


def _move_reference(axes, room: Room, text):
  """Moves the label of a line across the panel to where it hides least."""
  text.set_position((4, 3))
  size = text.get_window_extent()
  point = axes.figure.dpi / 72
  free = axes.bbox.width - size.width - 8 * point
  _, level = axes.transData.transform((0, text.xy[1]))
  candidates = []
  for share in np.linspace(0, 1, 13):
    left = axes.bbox.x0 + 4 * point + share * free
    for up in (3, 6, 9, 13, -3, -6, -9, -13):
      low = level + point * up - (0 if up > 0 else size.height)
      box = Box(left, low, left + size.width, low + size.height)
      candidates.append((share, up, box))
  prices = [abs(up) + 12 * share for share, up, _ in candidates]
  chosen, _ = room.take([box for *_, box in candidates], prices)
  share, up, _ = candidates[chosen]
  text.set_position((4 + share * free / point, up))
  text.set_verticalalignment('bottom' if up > 0 else 'top')


def spread(
  wanted: Values, gap: Real, lines: Sequence[int] | None = None
) -> np.ndarray:
  """Places in [0, 1], `gap` apart or more, as near as can be to those wanted.

  Least squares: with p_i = place_i - i gap, the places must not fall and must
  stay in [0, 1 - (n - 1) gap], which is isotonic regression: neighbours that
  would fall are pooled at their mean. Too many to fit are centred. A label of
  several `lines` takes as many gaps, and its place is its middle.
  """
  wanted = np.asarray(wanted, float)
  order = np.argsort(wanted, kind='stable')
  sizes = np.ones(len(wanted)) if lines is None else np.asarray(lines)[order]
  steps = gap * (np.cumsum(sizes) - (sizes + 1) / 2)  # middles, from line 0 on
  pools = []
  for value in wanted[order] - steps:
    pools.append([value])
    while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
      pools[-2:] = [pools[-2] + pools[-1]]
  level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
  highest = 1 - gap * (sizes.sum() - 1)
  level = np.clip(level, min(0, highest / 2), max(highest, highest / 2))
  places = np.empty_like(wanted)
  places[order] = steps + level
  return places
