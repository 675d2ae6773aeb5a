"""Figures: what is told apart, where labels stand, what a file holds."""

import itertools
import sys

import numpy as np
import pytest

from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.results import labels, plotting, table

NAMES = (
  'elman',
  'gru',
  'lstm',
  'mingru',
  'attention',
  'tcn',
  'window_mlp',
)
# Those that stand beside each other in the figures of this library.
SHOWN = (*NAMES, 'mamba', 'mamba2', 'deltanet', 'slstm')
LENGTHS = (64, 256, 1024, 4096)
SOURCE = {
  'device': 'cpu Somebody',
  'cpus': 2,
  'jax': '0.10.2',
  'precision': 'float32 (matmul default)',
  'commit': 'abcdef0123456789-dirty',
}


def rows(**source):
  return [
    {'mixer': name, 'T': length, 's': 1e-6 * length, **SOURCE, **source}
    for name in NAMES
    for length in LENGTHS
  ]


def draw(rows):
  figure, (panel,) = plotting.new('Time against length')
  for number, (machine, part) in enumerate(plotting.by_machine(rows).items()):
    for name in dict.fromkeys(row['mixer'] for row in part):
      points = [row for row in part if row['mixer'] == name]
      plotting.line(
        panel,
        [row['T'] for row in points],
        [row['s'] for row in points],
        f'{name} {machine}'.strip(),
        name=name,
        machine=number,
      )
  plotting.lengths_axis(panel, LENGTHS, 'length')
  plotting.seconds_axis(panel, 'a call')
  plotting.footer(figure, rows)
  return figure, panel


def end_labels(panel):
  return [text for text in panel.texts if text.get_gid() == labels.END]


def test_mixers_are_told_apart_with_colour_and_without():
  """All of the catalogue; the common ones by their markers alone."""
  looks = {name: plotting.style(name) for name in MIXERS | NONCAUSAL_MIXERS}
  for a, b in itertools.combinations(looks, 2):
    one, other = looks[a], looks[b]
    assert (one.dashes, one.marker) != (other.dashes, other.marker), (a, b)
    assert (one.color, one.dashes) != (other.color, other.dashes), (a, b)
    assert {a, b} - set(NAMES) or one.marker != other.marker
    assert {a, b} - set(SHOWN) or one.color != other.color, (a, b)


def test_an_unlisted_name_has_one_look_forever():
  """Not that of this process's hash seed."""
  assert plotting.style('mine') == plotting.style('mine')
  assert plotting.style('mine') == plotting.Style('#2f9bd8', (0, (1, 1)), 'o')
  assert plotting.style('mine') != plotting.style('yours')


def test_a_figure_is_made_of_a_table_alone_and_is_the_same_twice(tmp_path):
  """Byte by byte, with text as text and no date."""
  table.write(rows(), tmp_path / 'results.csv')
  for name in ('a.svg', 'b.svg'):
    figure, _ = draw(table.read(tmp_path / 'results.csv'))
    plotting.save(figure, tmp_path / name)
  svg = (tmp_path / 'a.svg').read_text()
  assert svg == (tmp_path / 'b.svg').read_text()
  for words in (*NAMES, '>1024<', 'commit abcdef0123-dirty', 'jax 0.10.2'):
    assert words in svg, words
  assert 'dc:date' not in svg and 'Matplotlib' not in svg


def test_saving_twice_labels_once(tmp_path):
  """The same figure as PNG and as SVG."""
  figure, panel = draw(rows())
  plotting.save(figure, tmp_path / 'a.png')
  plotting.save(figure, tmp_path / 'a.svg')
  assert [text.get_text() for text in end_labels(panel)] == list(NAMES)
  assert (tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')


def test_a_figure_is_a_pdf_too_and_the_same_twice(tmp_path):
  """A file of another kind is refused before anything is drawn."""
  for name in ('a.pdf', 'b.pdf'):
    figure, _ = draw(rows())
    plotting.save(figure, tmp_path / name)
  assert (tmp_path / 'a.pdf').read_bytes().startswith(b'%PDF')
  assert (tmp_path / 'a.pdf').read_bytes() == (tmp_path / 'b.pdf').read_bytes()
  for check in (plotting.check_path, lambda path: plotting.save(None, path)):
    with pytest.raises(ValueError, match='.svg, .png, .pdf.*a.jpg. is none'):
      check(tmp_path / 'a.jpg')


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch):
  """It is an extra."""
  for name in ('matplotlib', 'matplotlib.figure'):
    monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(ModuleNotFoundError, match=r"install '.\[plot\]'"):
    plotting.new('Nothing')


def test_labels_do_not_overlap_where_lines_meet(tmp_path):
  """Eight lines that end in one point."""
  figure, panel = draw(rows())
  plotting.save(figure, tmp_path / 'a.svg')
  figure.draw_without_rendering()
  boxes = sorted(
    (label.get_window_extent() for label in end_labels(panel)),
    key=lambda box: box.y0,
  )
  # The extent of an annotation holds its leader too, hence the right edges.
  centres = [
    panel.transAxes.transform((0, label.xyann[1]))[1]
    for label in end_labels(panel)
  ]
  steps = np.diff(sorted(centres))
  assert len(boxes) == len(NAMES)
  assert steps.min() > 8.5 * figure.dpi / 72
  assert figure.bbox.y0 < boxes[0].y0 and boxes[-1].y1 < figure.bbox.y1
  assert max(box.x1 for box in boxes) < figure.bbox.x1


@pytest.mark.parametrize(
  ('wanted', 'placed'),
  [
    ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
    ([0.5, 0.5], [0.45, 0.55]),
    ([0.9, 0.5, 0.52], [0.9, 0.46, 0.56]),
    ([1.0, 1.0, 1.0], [0.8, 0.9, 1.0]),
    ([-3.0, 0.0], [0.0, 0.1]),
    ([0.0] * 13, list(-0.1 + 0.1 * np.arange(13))),
  ],
)
def test_places_are_spread_as_little_as_needed(wanted, placed):
  """Checked by hand, gap 0.1; too many to fit are centred."""
  np.testing.assert_allclose(labels.spread(wanted, 0.1), placed, atol=1e-12)


def test_a_place_of_several_lines_is_the_middle_of_them():
  """By hand, gap 0.1: three lines in the middle, one above, one at the foot."""
  placed = labels.spread([0.5, 0.55, 0.0], 0.1, lines=[3, 1, 1])
  np.testing.assert_allclose(placed, [0.425, 0.625, 0.0], atol=1e-12)
  top = labels.spread([1.0], 0.1, lines=[3])
  np.testing.assert_allclose(top, [0.9], atol=1e-12)


def leaders(panel):
  """Returns the lines that join labels to what they name."""
  return [text for text in panel.texts if getattr(text, 'arrow_patch', None)]


def test_lines_that_end_in_one_place_share_a_label(tmp_path):
  """Their names below each other, behind one leader; another has its own."""
  figure, (panel,) = plotting.new('Accuracy')
  for name in ('gru', 'lstm', 'elman'):
    plotting.line(panel, [8, 32], [1.0, 0.1], name)
  plotting.line(panel, [8, 32], [1.0, 0.9], 'attention')
  plotting.save(figure, tmp_path / 'a.svg')
  names = [text.get_text() for text in end_labels(panel)]
  assert names == ['attention', 'gru', 'lstm', 'elman']
  assert len(leaders(panel)) == 2
  centres = [text.xyann[1] * labels.height(panel) for text in end_labels(panel)]
  np.testing.assert_allclose(np.diff(centres[1:]), -11.5, rtol=1e-3)


def test_lines_of_one_heading_share_a_label_wherever_they_end(tmp_path):
  """The heading is above their names, and is the name of no line."""
  figure, (panel,) = plotting.new('Accuracy')
  for end, name in ((8, 'gru'), (16, 'lstm'), (32, 'elman')):
    plotting.line(panel, [1, end], [1, end / 64], name, together='all low:')
  plotting.save(figure, tmp_path / 'a.svg')
  headings = [t for t in panel.texts if t.get_text() == 'all low:']
  assert len(headings) == len(leaders(panel)) == 1
  assert headings[0].xyann[1] > max(t.xyann[1] for t in end_labels(panel))
  assert {t.get_text() for t in end_labels(panel)} == {'gru', 'lstm', 'elman'}


def hidden(panel, text):
  """Counts the points of all lines of a panel that a text stands over."""
  box = text.get_window_extent()
  drawn = [line for line in panel.get_lines() if line.get_label()[0] != '_']
  points = [panel.transData.transform(line.get_xydata()) for line in drawn]
  return sum(box.contains(*point) for each in points for point in each)


def test_a_line_that_ends_early_is_labelled_beside_its_end(tmp_path):
  """No leader crosses the panel, and no name hides a marker."""
  figure, (panel,) = plotting.new('Accuracy')
  plotting.line(panel, range(1, 101), [0.5] * 100, 'attention')
  for place, name in ((20, 'gru'), (20, 'lstm'), (24, 'elman')):
    plotting.line(panel, [place], [0.52], name)
  plotting.save(figure, tmp_path / 'a.svg')
  figure.draw_without_rendering()
  beside = [t for t in end_labels(panel) if t.get_text() != 'attention']
  assert len(beside) == 3
  for text in beside:
    box = text.get_window_extent()
    place, _ = panel.transData.transform(text.xy)
    assert box.x0 - 50 < place < box.x1 + 50
    assert hidden(panel, text) == 0


@pytest.mark.parametrize('level', [0.0, 0.125, 0.5, 1.0])
def test_the_label_of_chance_stands_over_no_marker(level, tmp_path):
  """Where curves run along the line too; it stays near to its line."""
  figure, (panel,) = plotting.new('Accuracy')
  lags = [2**i for i in range(10)]
  plotting.lengths_axis(panel, lags, 'lag')
  plotting.fraction_axis(panel, 'accuracy')
  plotting.line(panel, lags, np.full(10, level), 'gru')
  plotting.line(panel, lags, np.linspace(1, level, 10), 'lstm')
  plotting.chance_line(panel, level)
  plotting.save(figure, tmp_path / 'a.svg')
  figure.draw_without_rendering()
  (text,) = [t for t in panel.texts if t.get_gid() == labels.REFERENCE]
  box = text.get_window_extent()
  assert hidden(panel, text) == 0
  line = panel.transData.transform((1, level))[1]
  assert abs((box.y0 + box.y1) / 2 - line) < 20 * figure.dpi / 72


def test_steps_hold_a_value_back_to_the_point_before(tmp_path):
  """As a ceiling does."""
  _, (panel,) = plotting.new('Layers')
  plotting.line(panel, [1, 2, 3], [1, 1, 2], 'layers', steps=True)
  (line,) = panel.get_lines()
  assert [2, 2] in line.get_path().vertices.tolist()


def test_machines_overlay_with_their_names_and_fillings(tmp_path):
  """The footer names both; a machine alone needs no name."""
  both = rows() + rows(device='gpu Other', source='b.csv')
  both += rows(device='gpu Other', source='c.csv', cpus=9)
  assert list(plotting.by_machine(rows())) == ['']
  assert list(plotting.by_machine(both)) == [
    'cpu Somebody',
    'gpu Other, b.csv',
    'gpu Other, c.csv',
  ]
  figure, panel = draw(both)
  labels = [line.get_label() for line in panel.get_lines()]
  assert 'gru gpu Other, c.csv' in labels and len(labels) == 3 * len(NAMES)
  first, second = panel.get_lines()[0], panel.get_lines()[len(NAMES)]
  assert first.get_color() == second.get_color()
  assert first.get_fillstyle() != second.get_fillstyle()
  assert figure.get_supxlabel().count('\n') == 2


def test_fewer_than_five_seeds_are_drawn_one_by_one():
  """No band is claimed of them; from five on there is one."""
  _, (panel,) = plotting.new('Seeds')
  y = [0.1, 0.2]
  plotting.line(panel, [1, 2], y, 'gru', seeds=[y] * 3)
  assert len(panel.get_lines()) == 4 and not panel.collections
  plotting.line(panel, [1, 2], y, 'tcn', low=y, high=y, seeds=[y] * 5)
  assert len(panel.get_lines()) == 5 and len(panel.collections) == 1
  with pytest.raises(ValueError, match="'gru' has 3 seeds, and a band takes"):
    plotting.line(panel, [1, 2], y, 'gru', low=y, high=y, seeds=[y] * 3)
  with pytest.raises(ValueError, match='from five on, give low and high'):
    plotting.line(panel, [1, 2], y, 'gru', seeds=[y] * 5)
  with pytest.raises(ValueError, match='two edges'):
    plotting.line(panel, [1, 2], y, 'gru', low=y)


def test_what_does_not_fit_is_told_above_the_lines(tmp_path):
  """The label stands at the last point that was measured."""
  figure, (panel,) = plotting.new('Memory')
  plotting.line(panel, LENGTHS, [1e6, 1e7, 1e8, np.nan], 'attention')
  plotting.line(panel, LENGTHS, [None] * 4, 'lstm')
  plotting.does_not_fit(panel, 4096, 'attention', 17.2e9)
  plotting.does_not_fit(panel, 4096, 'lstm', 3e9)
  plotting.bytes_axis(panel, 'peak')
  plotting.lengths_axis(panel, LENGTHS, 'length')
  plotting.save(figure, tmp_path / 'a.svg')
  svg = (tmp_path / 'a.svg').read_text()
  assert 'attention does not fit (17.2 GB)' in svg
  assert 'lstm does not fit (3 GB)' in svg
  (label,) = end_labels(panel)
  assert label.xy == (1024, 1e8)
  height = panel.transData.transform((1024, 1e8))[1]
  lowest = min(
    text.get_window_extent().y0
    for text in panel.texts
    if text.get_gid() == labels.MISSING
  )
  assert height < lowest


def test_chance_is_a_line_with_its_value(tmp_path):
  """Across the panel, and no contestant: it has no label at its end."""
  figure, (panel,) = plotting.new('Accuracy')
  plotting.line(panel, [8, 32], [1.0, 0.2], 'gru')
  plotting.chance_line(panel, 0.125)
  plotting.fraction_axis(panel, 'accuracy')
  plotting.save(figure, tmp_path / 'a.svg')
  assert 'chance 0.125' in (tmp_path / 'a.svg').read_text()
  assert [text.get_text() for text in end_labels(panel)] == ['gru']


def test_units_are_those_people_read():
  """The largest unit reached, three digits."""
  seconds = [3e-10, 1e-6, 1.23456e-3, 0.9999, 1, 90]
  assert [plotting.seconds_text(s) for s in seconds] == [
    '0.3 ns',
    '1 µs',
    '1.23 ms',
    '1 s',
    '1 s',
    '90 s',
  ]
  sizes = [512, 1e3, 17.2e9, 999.9e6]
  assert [plotting.bytes_text(size) for size in sizes] == [
    '512 B',
    '1 kB',
    '17.2 GB',
    '1 GB',
  ]


def test_drawing_leaves_the_global_state_of_matplotlib_alone(tmp_path):
  """No settings changed."""
  import matplotlib

  before = dict(matplotlib.rcParams)
  figure, _ = draw(rows())
  plotting.save(figure, tmp_path / 'a.svg')
  assert dict(matplotlib.rcParams) == before


def test_a_long_footer_goes_on_in_another_line():
  """Nothing of it is cut off at the edge, in a narrow figure or a wide one."""
  long = rows(device='a machine whose name is as long as ' + 'this ' * 20)
  for inches in (5.0, 9.0):
    figure, _ = plotting.new('Title', columns=1, width=inches)
    plotting.footer(figure, long, 'A note.\nAnd another one.')
    text = figure._supxlabel
    figure.canvas.draw()
    box = text.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= figure.bbox.x1
    assert text.get_text().startswith('A note.\nAnd another one.\n')
    assert not any(line[0] == '·' for line in text.get_text().splitlines())
    assert 'commit abcdef0123-dirty' in text.get_text()
