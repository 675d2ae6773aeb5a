"""Draws figures in one style, from rows of a table to SVG, PNG or PDF.

A name (of a mixer) has the same colour, dashes and marker in every figure;
dashes and marker alone tell names apart, so figures survive greyscale. Lines
are labelled at their ends, not in a legend. Three lines make a figure:

    figure, (panel,) = plotting.new('Accuracy against lag')
    plotting.line(panel, lags, accuracy, 'gru', seeds=accuracy_of_each_seed)
    plotting.save(figure, 'figure.svg')

matplotlib is imported inside functions, and its global state (pyplot, the
current figure) is never touched.
"""

import os
import pathlib
import textwrap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from seqjax.errors import needs
from seqjax.results import json_files, labels, svg

Values = Sequence[Any] | np.ndarray


class Style(NamedTuple):
  """The colour, dashes and marker of a name."""

  color: str
  dashes: Any
  marker: str


# Okabe and Ito's colours, which colour-blind readers can tell apart, darkened
# where a thin line or a word on white would be too pale.
_COLORS = {
  'black': '#1a1a1a',
  'green': '#00875f',
  'blue': '#0060a8',
  'sky': '#2f9bd8',
  'red': '#d04a00',
  'pink': '#b8508f',
  'gold': '#b07800',
  'grey': '#6b6b6b',
}
# Further ones for names that stand beside those of the first eight.
_MORE_COLORS = {
  'purple': '#6b3fb5',
  'brown': '#7d4420',
  'olive': '#6d7a00',
  'wine': '#a3123f',
}
_DASHES = {
  'solid': '-',
  'dashed': (0, (5, 1.5)),
  'dotted': (0, (1, 1)),
  'dash-dot': (0, (5, 1.5, 1, 1.5)),
}
# Further ones for the variants of one mixer, which share its colour.
_MORE_DASHES = {
  'long': (0, (10, 2)),
  'sparse': (0, (1, 3)),
}
_MARKERS = ('o', 's', '^', 'v', 'D', 'P', 'X', '*', '<', '>', 'p', 'h')


def look(color: str, dashes: str, marker: str) -> Style:
  """Returns a style by the names of its colour and its dashes."""
  return Style(
    (_COLORS | _MORE_COLORS)[color], (_DASHES | _MORE_DASHES)[dashes], marker
  )


_STYLES = {
  'elman': look('red', 'solid', 'o'),
  'gru': look('sky', 'dashed', 's'),
  'lstm': look('blue', 'solid', 'D'),
  'mingru': look('green', 'solid', '^'),
  'mamba': look('gold', 'solid', 'v'),
  'mamba2': look('brown', 'dashed', 'p'),
  'deltanet': look('purple', 'dash-dot', 'h'),
  'attention': look('black', 'solid', '*'),
  'tcn': look('pink', 'dash-dot', 'P'),
  'window_mlp': look('wine', 'dashed', 'X'),
  'slstm': look('olive', 'dash-dot', 'X'),
  'minlstm': look('green', 'dotted', '<'),
  'lru': look('brown', 'dotted', '>'),
  's4d': look('sky', 'dotted', 'v'),
  's5': look('sky', 'dash-dot', '>'),
  'linoss': look('olive', 'dotted', '^'),
  'rglru': look('sky', 'solid', 'X'),
  'linear_attention': look('grey', 'solid', 'P'),
  'retention': look('red', 'dash-dot', 's'),
  'gla': look('grey', 'dotted', 'D'),
  'mlstm': look('gold', 'dotted', 'X'),
  'gated_deltanet': look('purple', 'solid', 'h'),
  'deltaproduct': look('purple', 'dotted', 's'),
  'kda': look('purple', 'dashed', 'D'),
  'rwkv7': look('wine', 'solid', 'p'),
  'local_attention': look('black', 'dotted', '*'),
  'forgetting_attention': look('black', 'dashed', 'P'),
  'gated_conv': look('pink', 'dashed', '^'),
  'bidirectional': look('blue', 'dash-dot', 'o'),
  'full_attention': look('black', 'dash-dot', '<'),
}
_FILLS = ('full', 'none', 'left', 'bottom')  # the first machine, the second ...

_TEXT = {'fontsize': 9, 'color': '#222222'}
_SMALL = {'fontsize': 7.5, 'color': '#555555'}
_PER_INCH, _LINE = 17, 0.15  # characters of that size; inches of a line
_NO_BREAK = '\xa0'  # a space that no line is broken at
_METADATA = {  # no date and no version, so that equal figures are equal files
  '.svg': {'Date': None, 'Creator': None},
  '.png': {'Software': None},
  '.pdf': {'CreationDate': None, 'Creator': None, 'Producer': None},
}


def style(name: str) -> Style:
  """Returns the look of a name; of one that is not listed, by its checksum."""
  if name in _STYLES:
    return _STYLES[name]
  number = zlib.crc32(name.encode())  # unlike hash(), the same in every process
  number, color = divmod(number, len(_COLORS))
  number, dashes = divmod(number, len(_DASHES))
  return look(
    [*_COLORS][color], [*_DASHES][dashes], _MARKERS[number % len(_MARKERS)]
  )


def new(
  *titles: str, columns: int = 2, width: Real = 5.6, height: Real = 3.6
) -> tuple[Any, list[Any]]:
  """Returns a figure with a panel per title, `columns` in a row, and panels.

  Sizes are those of a panel, in inches.
  """
  with needs('plot'):
    import matplotlib.figure

  columns = min(columns, len(titles))
  rows = -(-len(titles) // columns)
  figure = matplotlib.figure.Figure(
    figsize=(width * columns, height * rows), layout='constrained'
  )
  figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
  panels = []
  for number, title in enumerate(titles, start=1):
    panels.append(figure.add_subplot(rows, columns, number))
    _dress(panels[-1], title)
  return figure, panels


def _dress(axes, title):
  """Draws no box, a faint grid, and the title to the left."""
  axes.set_title(title, loc='left', fontsize=10, fontweight='bold', pad=8)
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color('#888888')
  axes.grid(True, color='#e6e6e6', linewidth=0.6)
  axes.set_axisbelow(True)
  axes.tick_params(labelsize=8.5, color='#888888', labelcolor='#222222')


def line(
  axes: Any,
  x: Values,
  y: Values,
  label: str,
  *,
  name: str | None = None,
  appearance: Style | None = None,
  low: Values | None = None,
  high: Values | None = None,
  seeds: Values = (),
  machine: int = 0,
  together: str | None = None,
  steps: bool = False,
):
  """Draws y against x; `save` writes the label at the line's end.

  Lines that end in one place share a label: their names, one below the other.

  Args:
    axes: a panel.
    x: one value a point.
    y: as many; NaN or None leaves a gap.
    label: what stands at the end of the line.
    name: whose style it takes; the label's where None.
    appearance: its style, where that is of no name.
    low: lower edge of the band around the line.
    high: its upper edge.
    seeds: y of every seed. Fewer than five are drawn one by one and allow no
      band; five or more need one.
    machine: from 0; another machine has another filling of the markers.
    together: heading of the label that lines of the same heading share.
    steps: holds each value back to the point before, as a ceiling does.
  """
  _check_band(low, high, len(seeds), label)
  chosen = appearance or style(label if name is None else name)
  x, y = np.asarray(x, float), np.asarray(y, float)
  if low is not None:
    low, high = np.asarray(low, float), np.asarray(high, float)
    axes.fill_between(
      x, low, high, color=chosen.color, alpha=0.15, linewidth=0, zorder=1
    )
  elif len(seeds) > 1:
    for seed in np.asarray(seeds, float):
      axes.plot(
        x, seed, color=chosen.color, linewidth=0.7, alpha=0.45, zorder=2
      )
  (drawn,) = axes.plot(
    x,
    y,
    label=label,
    color=chosen.color,
    linestyle=chosen.dashes,
    linewidth=1.7,
    marker=chosen.marker,
    markersize=_marker_size(chosen),
    fillstyle=_FILLS[machine % len(_FILLS)],
    markeredgewidth=1.0,
    drawstyle='steps-pre' if steps else 'default',
    zorder=3,
  )
  drawn.together = together  # read by `labels`


def _check_band(low, high, num_seeds, label):
  if (low is None) != (high is None):
    raise ValueError(f'A band has two edges: give {label!r} low and high.')
  if 0 < num_seeds < 5 and low is not None:
    raise ValueError(
      f'{label!r} has {num_seeds} seeds, and a band takes five or more;'
      f' without low and high every seed is drawn.'
    )
  if num_seeds >= 5 and low is None:
    raise ValueError(
      f'{label!r} has {num_seeds} seeds; from five on, give low and high.'
    )


def chance_line(axes: Any, value: Real, label: str = 'chance'):
  """Draws a dotted line across the panel at the score of guessing.

  `save` moves its label to where no curve runs.
  """
  axes.axhline(value, color='#777777', linewidth=1, linestyle=':', zorder=1.5)
  axes.annotate(
    f'{label} {value:.3g}',
    (0, value),
    xycoords=('axes fraction', 'data'),
    xytext=(4, 3),
    textcoords='offset points',
    gid=labels.REFERENCE,
    **_SMALL,
  )


def limit_line(axes: Any, x: Real):
  """Draws a dashed line from foot to top, beyond which a limit is exceeded."""
  axes.axvline(x, color='#777777', linewidth=1, linestyle='--', zorder=1.5)


def does_not_fit(
  axes: Any,
  x: Real,
  label: str,
  num_bytes: Real,
  name: str | None = None,
  appearance: Style | None = None,
):
  """Marks, at the top of a panel, a point that was too large to measure."""
  from matplotlib import transforms

  chosen = appearance or style(label if name is None else name)
  row = sum(text.get_gid() == labels.MISSING for text in axes.texts)
  below = transforms.ScaledTranslation(
    0, -labels.MISSING_GAP * row / 72, axes.figure.dpi_scale_trans
  )
  axes.plot(
    [x],
    [1],
    transform=axes.get_xaxis_transform() + below,
    color=chosen.color,
    marker=chosen.marker,
    markersize=_marker_size(chosen),
    fillstyle='none',
    linestyle='none',
    clip_on=False,
    zorder=4,
  )
  axes.annotate(
    f'{label} {labels.MISSING} ({bytes_text(num_bytes)})',
    (x, 1),
    xycoords=axes.get_xaxis_transform(),
    xytext=(-7, -labels.MISSING_GAP * row),
    textcoords='offset points',
    ha='right',
    va='center',
    gid=labels.MISSING,
    fontsize=7.5,
    color=chosen.color,
  )


def _marker_size(chosen: Style) -> Real:
  return 8 if chosen.marker == '*' else 5.5  # a star looks smaller than it is


def lengths_axis(axes: Any, lengths: Iterable[int], title: str):
  """Scales x in powers of two, with a tick and a plain number per length."""
  lengths = sorted(set(lengths))
  axes.set_xscale('log', base=2)
  axes.set_xticks(lengths, [str(length) for length in lengths])
  axes.set_xticks([], minor=True)
  axes.set_xlabel(title, **_TEXT)


def names_axis(axes: Any, names: Sequence[str]):
  """Puts a row for each name on the y axis, the first at the top."""
  axes.set_yticks(range(len(names)), names, **_TEXT)
  axes.set_ylim(len(names) - 0.5, -0.5)


def share_disc(axes: Any, x: Real, y: Real, share: Real, color: str):
  """Draws a disc: full for 1, empty for 0, half with the share beside it."""
  level = max(0.0, min(1.0, float(share)))
  axes.plot(
    x, y, marker='o', markersize=11, color=color, linestyle='none',
    fillstyle={0.0: 'none', 1.0: 'full'}.get(level, 'bottom'),
    markerfacecoloralt='white', markeredgewidth=1.2,
  )  # fmt: skip
  if 0 < level < 1:
    axes.annotate(
      f'{level:.0%}', (x, y), xytext=(0, 8), textcoords='offset points',
      ha='center', **_SMALL,
    )  # fmt: skip


def seconds_axis(axes: Any, title: str):
  """Scales y in seconds, logarithmically: 10 µs, 1 ms, 2 s."""
  _engineering_axis(axes, title, seconds_text)


def bytes_axis(axes: Any, title: str):
  """Scales y in bytes, logarithmically: 500 kB, 1 MB, 2 GB (powers of ten)."""
  _engineering_axis(axes, title, bytes_text)


def fraction_axis(axes: Any, title: str):
  """Scales y from 0 to 1, as accuracies are."""
  axes.set_ylim(-0.02, 1.03)
  axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
  axes.set_ylabel(title, **_TEXT)


def _engineering_axis(axes, title, show):
  """Labels decades, and 2 and 5 where there are few of them."""
  from matplotlib import ticker

  def minor(value, _):
    low, high = sorted(axes.get_ylim())
    digit = round(value / 10 ** np.floor(np.log10(value)))
    labelled = (2, 5) if high < 1000 * low else ()
    return show(value) if digit in labelled else ''

  axes.set_yscale('log')
  axes.yaxis.set_major_locator(ticker.LogLocator(numticks=12))
  axes.yaxis.set_minor_locator(ticker.LogLocator(subs=(2, 5), numticks=12))
  axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: show(v)))
  axes.yaxis.set_minor_formatter(ticker.FuncFormatter(minor))
  axes.tick_params(which='minor', labelsize=7.5, color='#bbbbbb')
  axes.set_ylabel(title, **_TEXT)


def seconds_text(seconds: Real) -> str:
  """Returns '1.2 ms' for 0.0012."""
  units = {1e-9: 'ns', 1e-6: 'µs', 1e-3: 'ms', 1.0: 's'}
  return _engineering(seconds, units)


def bytes_text(num_bytes: Real) -> str:
  """Returns '17.2 GB' for 17.2e9."""
  units = {1.0: 'B', 1e3: 'kB', 1e6: 'MB', 1e9: 'GB', 1e12: 'TB'}
  return _engineering(num_bytes, units)


def _engineering(value: Real, units: Mapping[float, str]) -> str:
  """Returns the value in the largest unit that it reaches, to three digits."""
  value = float(f'{value:.3g}')  # 999.9 MB is 1 GB
  reached = [scale for scale in units if value >= scale * (1 - 1e-9)]
  scale = max(reached, default=min(units))
  return f'{float(f"{value / scale:.3g}"):g} {units[scale]}'


def by_machine(
  rows: Iterable[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Groups rows by where they come from, first seen first.

  That is the file they were read from, where there are several, and the device.
  The keys are for labels: the device, with the file's name where one device is
  met in several files, and '' where all come from one place.
  """
  places = {}
  for row in rows:
    places.setdefault((row['device'], row.get('source')), []).append(row)
  if len(places) == 1:
    return {'': next(iter(places.values()))}
  devices = [device for device, _ in places]
  return {
    device if devices.count(device) == 1 else f'{device}, {source}': part
    for (device, source), part in places.items()
  }


def footer(figure: Any, rows: Iterable[Mapping[str, Any]], note: str = ''):
  """Writes at the foot where rows come from: device, versions, commit.

  `note` goes before it: 'Thin lines are the three seeds.' A figure grows by
  the lines that are longer than it is wide.
  """
  sources = dict.fromkeys(map(_source, rows))
  width = int(_PER_INCH * figure.get_figwidth())
  paragraphs = [*note.splitlines(), *sources]
  lines = [
    line.replace(_NO_BREAK, ' ')
    for each in paragraphs
    for line in textwrap.wrap(each, width)
  ]
  more = len(lines) - len(paragraphs)  # for which there was no room
  figure.set_figheight(figure.get_figheight() + _LINE * more)
  figure.supxlabel('\n'.join(lines), x=0.01, ha='left', **_SMALL)


def _source(row: Mapping[str, Any]) -> str:
  """Returns where a row comes from; lines break between its parts alone."""
  parts = (
    f'{row["device"]}, {_cpus(row["cpus"])}',
    row['precision'],
    f'jax {row["jax"]}',
    f'commit {_short_commit(row["commit"])}',
  )
  device, *others = parts  # a device may be longer than a line
  unbroken = [device, *(part.replace(' ', _NO_BREAK) for part in others)]
  return f'{_NO_BREAK}· '.join(unbroken)


def _cpus(count: int) -> str:
  return f'{count} cpu{"s" * (count != 1)}'


def _short_commit(commit: str) -> str:
  head, dash, dirty = str(commit).partition('-')
  return head[:10] + dash + dirty


def check_path(path: str | os.PathLike):
  """Raises ValueError unless the suffix is known and the folder is there.

  Programs that draw for a while call it before they begin.
  """
  if os.path.splitext(path)[1] not in _METADATA:
    raise ValueError(
      f'Figures are {", ".join(_METADATA)} files, but {str(path)!r} is none.'
    )
  folder = os.path.dirname(path) or '.'
  if not os.path.isdir(folder):
    raise ValueError(
      f'There is no folder {folder!r} to write the figure {str(path)!r} to.'
    )


def save(figure: Any, path: str | os.PathLike):
  """Labels the ends of lines and writes SVG, PNG or PDF, by the path's suffix.

  One figure gives one file, byte by byte (with one version of matplotlib);
  text in an SVG stays text.
  """
  check_path(path)
  with needs('plot'):
    import matplotlib

  for _ in range(2):  # labels change the size of a panel, hence their places
    figure.draw_without_rendering()
    for axes in figure.axes:
      labels.make_headroom(axes)
      labels.label_ends(axes)
  settings = {'svg.hashsalt': 'seqjax', 'svg.fonttype': 'none'}
  suffix = os.path.splitext(path)[1]

  def write(temporary):
    figure.savefig(
      temporary, dpi=160, metadata=_METADATA[suffix], facecolor='white'
    )
    if suffix == '.svg':
      drawn = pathlib.Path(temporary)
      text = svg.compact(drawn.read_text(encoding='utf-8'))
      drawn.write_text(text, encoding='utf-8')

  with matplotlib.rc_context(settings):
    json_files.write_atomically(path, write)
