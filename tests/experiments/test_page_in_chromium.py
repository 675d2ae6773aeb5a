"""The page of results as a reader meets it, in a headless Chromium."""

import pytest

from experiments import folders, page
from tests import chromium
from tests.experiments import template_experiment
from tests.experiments.template_experiment import rows

pytestmark = pytest.mark.skipif(
  chromium.PROGRAM is None, reason='there is no chromium on the PATH'
)

VIEWS = [(width, dark) for width in (390, 1400) for dark in (False, True)]
LEAST_PIXELS = 14  # of any text
LEAST_CONTRAST = 4.5  # of WCAG 2.2, success criterion 1.4.3
TAB, ENTER, RIGHT = ('Tab', 9), ('Enter', 13, '\r'), ('ArrowRight', 39)
FOCUSABLE = 'a[href], summary, [tabindex="0"]'

# Every text that is seen: its size, and its contrast with what lies behind it.
TEXTS = """
(() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * linear(r / 255) + .7152 * linear(g / 255) +
      .0722 * linear(b / 255);
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
  };
  const walker = document.createTreeWalker(
    document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement;
    const shown = element.checkVisibility() && text.data.trim();
    if (!shown) continue;
    const style = getComputedStyle(element);
    const pair = [channels(style.color), behind(element)].map(luminance);
    pair.sort((a, b) => b - a);
    found.push({
      text: text.data.trim().slice(0, 40),
      pixels: parseFloat(style.fontSize),
      contrast: (pair[0] + .05) / (pair[1] + .05),
    });
  }
  return found;
})()
"""
# The elements that reach out of the window, but for those that scroll within.
OUTSIDE = """
[...document.body.querySelectorAll('*')]
  .filter(e => e.checkVisibility() && !e.parentElement.closest('.scroll'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + .5)
  .map(e => e.outerHTML.slice(0, 80))
"""
FOCUSED = f"""
[...document.querySelectorAll('{FOCUSABLE}')].indexOf(document.activeElement)
"""


@pytest.fixture(scope='module')
def index(tmp_path_factory):
  """The committed tables, two machines, cells that failed, a long table."""
  root = tmp_path_factory.mktemp('page')
  measured = rows(*[0.99] * 5, seconds=3600) + rows(*[0.2] * 5, device='gpu')
  found = template_experiment.published(root / 'template', measured)
  part = page.Part(
    found,
    root / 'template' / 'results.csv',
    root / 'template' / 'figure.svg',
    'python -m experiments.template --mixers=lstm,attention --lags=4,16',
    [('runs/mixer=lstm,lag=512', 'ValueError: ' + 'No width. ' * 30)],
    cells=9,
  )
  parts = [*page.saved(folders.ROOT), part]
  return page.write(parts, root / 'report', 'results of a test')


@pytest.fixture(scope='module')
def tab(tmp_path_factory):
  """A tab that the tests share; says which browser it is of."""
  with chromium.browser(tmp_path_factory.mktemp('profile')) as browser:
    print(f'\n{chromium.version(browser)}')
    yield chromium.Page(browser)


@pytest.fixture(params=VIEWS, ids=lambda view: f'{view[0]}-{view[1]}')
def view(request, tab, index):
  """The page in each width, light and dark."""
  width, dark = request.param
  tab.open(index, width, dark)
  return tab


def test_nothing_is_missing_and_nothing_complains(view, index):
  """Figures are drawn and described, files are all local, errors none."""
  pictures = view.evaluate(
    '[...document.images].map(e => [e.naturalWidth, e.alt, e.currentSrc])'
  )
  assert len(pictures) == len(list((index.parent / 'figures').iterdir())) > 1
  for width, alternative, source in pictures:
    assert width > 100 and len(alternative) > 40, source
  assert view.complaints() == []
  assert all(url.startswith(('file:', 'data:')) for url in view.requested())


def test_it_is_legible(view):
  """No text is small or pale, and none of it lies outside of the window."""
  view.evaluate('document.querySelectorAll("details").forEach(e => e.open = 1)')
  texts = view.evaluate(TEXTS)
  assert len(texts) > 100
  assert not [t for t in texts if t['pixels'] < LEAST_PIXELS]
  assert not [t for t in texts if t['contrast'] < LEAST_CONTRAST]
  assert view.evaluate(OUTSIDE) == []
  assert view.evaluate('document.documentElement.scrollWidth <= innerWidth')


def test_it_is_light_or_dark_as_the_reader_wishes(tab, index):
  """The ground changes, and figures stay on white."""
  grounds = []
  for dark in (False, True):
    tab.open(index, 1400, dark)
    grounds.append(
      tab.evaluate('getComputedStyle(document.body).backgroundColor')
    )
    card = 'getComputedStyle(document.images[0].parentElement).backgroundColor'
    assert tab.evaluate(card) == 'rgb(255, 255, 255)'
  light, dark = (
    sum(map(int, ground.removeprefix('rgb(').removesuffix(')').split(',')))
    for ground in grounds
  )
  assert light > 600 and dark < 150


def test_the_keyboard_reaches_everything_in_order(tab, index):
  """Links, tables that open, and regions that scroll, each with an outline."""
  tab.open(index, 1400, dark=False)
  number = tab.evaluate(f"document.querySelectorAll('{FOCUSABLE}').length")
  hidden = tab.evaluate(
    f"[...document.querySelectorAll('{FOCUSABLE}')]"
    '.flatMap((e, i) => e.checkVisibility() ? [] : [i])'
  )
  reached, outlines = [], set()
  for _ in range(number - len(hidden)):
    tab.press(*TAB)
    reached.append(tab.evaluate(FOCUSED))
    outlines.add(
      tab.evaluate('getComputedStyle(document.activeElement).outlineStyle')
    )
  assert number > 20 and hidden
  assert reached == [i for i in range(number) if i not in hidden]
  assert outlines == {'solid'}


def test_the_first_key_offers_to_skip_to_the_verdicts(tab, index):
  """The link is seen once it has the focus, and leads there."""
  tab.open(index, 390, dark=False)
  left = 'document.querySelector(".skip").getBoundingClientRect().left'
  assert tab.evaluate(left) < 0
  tab.press(*TAB)
  assert tab.evaluate(left) == 0
  tab.press(*ENTER)
  assert tab.evaluate('location.hash') == '#main'
  tab.press(*TAB)
  assert tab.evaluate('!!document.activeElement.closest("main")')


def test_a_table_opens_and_scrolls_by_the_keyboard(tab, index):
  """Opens by a key what is closed, and moves by arrows what is wide."""
  tab.open(index, 390, dark=False)
  tab.evaluate('document.querySelector("summary").focus()')
  tab.press(*ENTER)
  assert tab.evaluate('document.querySelector("details").open')
  tab.press(*TAB)
  moved = """
  new Promise(resolve => {
    document.activeElement.addEventListener(
      'scroll', e => resolve(e.target.className), {once: true});
    setTimeout(() => resolve('nothing scrolled'), 5000);
  })"""
  assert tab.evaluate('document.activeElement.getAttribute("role")') == 'region'
  tab.press(*RIGHT)
  assert (
    tab.evaluate(f'document.activeElement.scrollLeft > 0 ? "scroll" : {moved}')
    == 'scroll'
  )


def test_the_table_of_verdicts_stays_a_table(tab, index):
  """For those who hear it, also where its rows are shown as cards."""
  trees = []
  for width in (390, 1400):
    tab.open(index, width, dark=False)
    nodes = tab.call('Accessibility.getFullAXTree')['nodes']
    roles = [node['role'].get('value') for node in nodes if not node['ignored']]
    trees.append({r: roles.count(r) for r in ('columnheader', 'rowheader')})
  assert trees[0] == trees[1] and trees[0]['rowheader'] > 5
