"""The page of results: what it says, of all that there may be or be missing."""

import html.parser
import json
import re
import sys

import pytest

from experiments import command, drawing, folders, page, report, reproduce
from seqjax.analysis.thresholds import Bracket
from seqjax.analysis.verdicts import Claim, Verdict
from tests.experiments import template_experiment
from tests.experiments.template import claims, plot
from tests.experiments.template_experiment import rows

GOOD = (0.99, 0.98, 1.0, 0.99, 0.97)


class Elements(html.parser.HTMLParser):
  """Collects the elements of a page: tags with attributes, and the text."""

  def __init__(self, text: str):
    super().__init__()
    self.found, self.words = [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.words.append(data)

  @property
  def text(self) -> str:
    return ' '.join(' '.join(self.words).split())

  def all(self, tag: str, **attributes) -> list[dict[str, str]]:
    return [
      given
      for name, given in self.found
      if name == tag and attributes.items() <= given.items()
    ]


@pytest.fixture
def write(tmp_path):
  """write(rows, **part) -> the elements of the page of the template alone."""

  def write(measured, **given):
    folder = tmp_path / 'template'
    found = template_experiment.published(folder, measured)
    files = {'table': folder / 'results.csv', 'figure': folder / 'figure.svg'}
    part = page.Part(found, **(files | given))
    written = page.write([part], tmp_path / 'report', 'results of a test')
    assert written == tmp_path / 'report' / 'index.html'
    return Elements(written.read_text(encoding='utf-8'))

  return write


def test_a_claim_has_its_verdict_its_rule_and_all_behind_it(write, tmp_path):
  """Question, effect, figure, table, command, time, machine and versions."""
  found = write(rows(*GOOD), command='python -m experiments.template --seeds=5')
  claim = claims.CLAIMS['T.1']
  for said in (
    *(claim.statement, claim.rule),
    'Measures how far back each mixer copies a symbol.',
    'SUPPORTED cpu, 2 cores; 2,000 parameters',
    'The LSTM copies 0.99 of the symbols at lag 16.',
    'accuracy at lag 16 0.986 [0.972, 1] 5 seeds',
    'python -m experiments.template --seeds=5',
    '7.5 s, summed over 5 runs',
    'results.csv of template , 10 rows',
    'template cpu 2 0.10.2 float32 abc',
  ):
    assert said in found.text, said
  links = [given['href'] for given in found.all('a')]
  assert '../template/results.csv' in links
  anchors = {given['id'] for _, given in found.found if 'id' in given}
  for link in links:
    if link.startswith('#'):
      assert link[1:] in anchors
    else:
      assert (tmp_path / 'report' / link).is_file(), link


def test_a_page_of_one_experiment_asks_its_question(write, tmp_path):
  """As its title and its heading; a page of several is about claims."""
  question = 'How far back does each mixer copy a symbol?'
  found = write(rows(*GOOD))
  assert found.text.startswith(f'{question} results of a test')
  assert found.text.count(question) == 2 and 'Textbooks' not in found.text
  folder = tmp_path / 'template'
  part = page.Part(
    template_experiment.Template(),
    folder / 'results.csv',
    folder / 'figure.svg',
  )
  several = page.write([part, part], tmp_path / 'report', 'results of a test')
  text = Elements(several.read_text(encoding='utf-8')).text
  assert text.startswith('Claims about sequence models, measured: results of')
  assert 'Textbooks' in text and text.count(question) == 2


def test_the_figure_is_beside_the_page_and_described_in_words(write, tmp_path):
  """Title, axes and entries are read from the figure itself."""
  found = write(rows(*GOOD))
  (image,) = found.all('img')
  copied = tmp_path / 'report' / image['src']
  assert (
    copied.read_bytes() == (tmp_path / 'template' / 'figure.svg').read_bytes()
  )
  assert image['alt'] == (
    'How far back does each mixer copy a symbol? '
    'Copying a symbol (accuracy against lag). Shown: lstm.'
  )
  assert int(image['width']) > int(image['height']) > 300


def test_what_a_claim_says_is_no_html(write, monkeypatch):
  """A sentence, a scope or a reason may hold any character."""
  bad = '<script>alert("1")</script> & <b>'
  verdict = Verdict(
    'T.1', 'UNDECIDED', sentence=bad, scope=bad, quantity=bad, leans=bad
  )
  monkeypatch.setattr(claims, 'verdicts', lambda rows: [verdict])
  monkeypatch.setitem(claims.CLAIMS, 'T.1', Claim(bad, bad))
  found = write(rows(*GOOD), command=bad, failed=[(bad, bad)], cells=1)
  assert not found.all('script') and not found.all('b')
  assert found.text.count('alert("1")') >= 8


def test_every_machine_has_its_own_verdict(write):
  """A row for each in the table, and their times are added up."""
  measured = rows(*GOOD) + rows(*[0.2] * 4, 0.3, device='gpu', seconds=60)
  found = write(measured)
  assert found.text.count('SUPPORTED cpu, 2 cores; 2,000 parameters') == 2
  assert found.text.count('REFUTED gpu, 2 cores; 2,000 parameters') == 2
  assert '2 verdicts: 1 SUPPORTED, 1 REFUTED.' in found.text
  assert '5.1 minutes (308 s), summed over 10 runs' in found.text
  assert 'template gpu 2 0.10.2 float32 abc' in found.text


def test_a_table_without_times_has_none_on_the_page(write):
  """Nor is a command made up."""
  found = write(rows(*GOOD, seconds=None))
  assert 'Command not recorded Time not recorded' in found.text


def test_a_missing_figure_is_missed_in_a_sentence(write, tmp_path):
  """The one of an earlier page is not left beside the new one."""
  write(rows(*GOOD))
  found = write(rows(*GOOD), figure=None)
  assert not found.all('img') and 'There is no figure.' in found.text
  assert not list((tmp_path / 'report' / 'figures').iterdir())


def test_a_figure_that_cannot_be_read_is_missed_in_a_sentence(write, tmp_path):
  """The page is written all the same."""
  (tmp_path / 'mine.svg').write_text('<svg/>', encoding='utf-8')
  found = write(rows(*GOOD), figure=tmp_path / 'mine.svg')
  assert not found.all('img') and "mine.svg' is no figure" in found.text


def test_claims_without_any_row_are_undecided(write):
  """An experiment of which no cell has finished is shown nevertheless."""
  found = write(rows(*GOOD), table=None, figure=None)
  assert '1 verdict: 1 UNDECIDED.' in found.text
  assert 'there are no rows to judge it by' in found.text
  assert 'none: no cell has finished' in found.text


def test_a_claim_without_a_verdict_is_undecided(write, monkeypatch):
  """No claim is left out of the table; verdicts without a claim are in it."""
  alone = Verdict('T.2', 'REFUTED', sentence='It stands alone.')
  monkeypatch.setattr(claims, 'verdicts', lambda rows: [alone])
  found = write(rows(*GOOD))
  assert '2 verdicts: 1 REFUTED, 1 UNDECIDED.' in found.text
  assert found.text.count('It stands alone.') == 2
  assert 'It was not judged.' in found.text


def test_rows_of_another_experiment_are_not_judged(write, monkeypatch):
  """The page says which column is missing, and shows the rows."""
  monkeypatch.setattr(plot, 'draw', lambda rows, path: None)
  other = [{'a': 1.5, 'device': 'cpu', 'cpus': 2}]
  found = write(other, figure=None)
  assert "The table has no column 'lag'" in found.text
  assert 'UNDECIDED' in found.text and '1.5' in found.text


def test_cells_that_failed_are_listed_with_the_reason(write):
  """Judges nothing by those that happened to finish."""
  found = write(
    rows(1.0, 1.0), figure=None, failed=[('runs/seed=2', 'No memory.')], cells=3
  )
  assert 'template: 1 of 3 cells failed' in found.text
  assert 'failed seed=2 No memory.' in found.text
  assert 'UNDECIDED' in found.text and '5 seeds of the LSTM' in found.text
  assert 'drawn once all cells have finished' in found.text


def test_an_experiment_without_a_summary_shows_its_first_rows(write):
  """Without the columns that the foot of the page holds."""
  found = write(rows(*([0.9] * page.MOST_ROWS)))
  heads = [given for given in found.all('th') if given.get('scope') == 'col']
  assert heads and 'mixer lag seed score chance' in found.text
  assert 'The first 20 of 40 rows' in found.text
  assert found.text.count('lstm 16') == page.MOST_ROWS / 2


def test_a_summary_stands_open_if_it_is_short(write, monkeypatch):
  """A long one is opened by the reader."""
  for lines, closed in ((page.MOST_LINES, 0), (page.MOST_LINES + 1, 1)):
    text = '\n'.join(f'line {i} of <many>' for i in range(lines))
    monkeypatch.setattr(claims, 'summary', lambda r, t=text: t, raising=False)
    found = write(rows(*GOOD))
    assert len(found.all('details')) == closed
    assert f'line {lines - 1} of <many>' in found.text


def test_the_page_is_the_same_whenever_it_is_written(write, tmp_path):
  """From the same files."""
  write(rows(*GOOD))
  before = (tmp_path / 'report' / 'index.html').read_bytes()
  write(rows(*GOOD))
  assert (tmp_path / 'report' / 'index.html').read_bytes() == before


def test_the_page_needs_nothing_from_elsewhere(write):
  """No script, no style sheet, no font, no address."""
  found = write(rows(*GOOD))
  assert not found.all('script') and not found.all('link', rel='stylesheet')
  text = json.dumps(found.found) + found.text
  assert not re.search(r'https?:|@import|url\(', text)


def test_tables_and_regions_have_names(write):
  """Captions, headers with a scope, labels of what scrolls."""
  found = write(rows(*GOOD), failed=[('cell', 'why')], cells=9)
  assert len(found.all('table')) == len(found.all('caption')) == 3
  assert all(given.get('scope') in ('col', 'row') for given in found.all('th'))
  regions = found.all('div', role='region')
  assert regions and all(
    r['aria-label'] and r['tabindex'] == '0' for r in regions
  )
  assert found.all('html', lang='en') and found.all('main', id='main')


@pytest.fixture(scope='module')
def committed(tmp_path_factory):
  """The page of the committed tables, written anew."""
  to = tmp_path_factory.mktemp('docs') / 'report'
  page.write(page.saved(folders.ROOT), to, 'committed results')
  return to


def test_every_committed_table_is_on_the_page(committed):
  """Experiments with claims come first, else in the order of their names."""
  text = (committed / 'index.html').read_text(encoding='utf-8')
  tables = sorted(folders.ROOT.glob('*/results.csv'))
  names = [path.parent.name for path in tables]
  named = re.findall(r'<li><a href="#([\w-]+)"', text)
  judged = {n for n in names if (folders.ROOT / n / 'verdicts.md').exists()}
  ordered = sorted(names, key=lambda n: n not in judged)
  assert named == [*(n.replace('_', '-') for n in ordered), 'machines']
  shown = Elements(text).text
  for name in names:
    assert f'python -m experiments.{name} --preset=' in shown
  for path in tables:
    heading = (path.parent / 'README.md').read_text('utf-8').splitlines()[0]
    assert heading.removeprefix('# ') in shown


@pytest.mark.parametrize(
  'id, claim',
  [
    ('2.1', '2.1'),
    ('2.1 training', '2.1'),
    ('2.1a', '2.1'),
    ('2.10', '2.10'),
    ('2.10.3', '2.10'),
    ('2.12', '2.12'),
    ('3', '3'),
  ],
)
def test_a_verdict_belongs_to_the_claim_that_its_id_begins_with(id, claim):
  """Or to none, and then it is its own."""
  assert page.claim_of(id, ['2.1', '2.10', '2.3']) == claim


@pytest.mark.parametrize(
  'seconds, text',
  [
    (0.25, '0.25 s'),
    (119.4, '119 s'),
    (120, '2.0 minutes (120 s)'),
    (7199, '120.0 minutes (7,199 s)'),
    (36000, '10.0 hours (36,000 s)'),
  ],
)
def test_a_duration_is_read_at_a_glance(seconds, text):
  """In seconds, and in minutes or hours where there are several."""
  assert page.duration(seconds) == text


def test_the_words_of_a_figure_name_each_panel_once(tmp_path):
  """Without titles of axes, the rows of a panel are its entries."""
  from seqjax.results import plotting

  figure, panels = plotting.new('Loss', 'Loss', 'Gain')
  for panel in panels[:2]:
    plotting.lengths_axis(panel, [8, 16], 'length')
    panel.set_ylabel('bits')
    plotting.line(panel, [8, 16], [1, 2], 'gru')
  panels[2].set_yticks(range(14), [f'row {i}' for i in range(14)])
  plotting.save(figure, tmp_path / 'figure.svg')
  listed = '; '.join(f'row {i}' for i in range(11))
  assert drawing.read(tmp_path / 'figure.svg').words == (
    '3 panels. Loss (bits against length). Gain. '
    f'Shown: gru; {listed}; and 3 more.'
  )


@pytest.fixture
def without_jinja2(monkeypatch):
  monkeypatch.setitem(sys.modules, 'jinja2', None)


def test_without_jinja2_no_cell_is_run(without_jinja2, tmp_path, capsys):
  """One sentence names the extra, exit code 2, and nothing is written."""
  argv = ['recall', '--mixers=lstm', '--lag=8', f'--workdir={tmp_path}']
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.recall', argv)
  assert exit.value.code == 2
  (said,) = capsys.readouterr().err.splitlines()
  assert "pip install '.[report]'" in said
  assert not list(tmp_path.iterdir())


def test_all_that_is_missing_is_named_before_a_cell_is_run(
  without_jinja2, monkeypatch, tmp_path, capsys
):
  """Page and figure, so that one command installs both."""
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  argv = ['recall', '--mixers=lstm', '--lag=8', f'--workdir={tmp_path}']
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.recall', argv)
  assert exit.value.code == 2
  (said,) = capsys.readouterr().err.splitlines()
  assert 'matplotlib and jinja2' in said
  assert "pip install '.[plot,report]'" in said
  assert not list(tmp_path.iterdir())


def test_without_jinja2_no_report_is_written(without_jinja2, tmp_path):
  """Not even that part of it which needs none."""
  template_experiment.published(tmp_path / 'recall', rows(*GOOD))
  with pytest.raises(ModuleNotFoundError, match=r'\.\[report\]'):
    report.run_report(report.Config(), str(tmp_path))
  assert not list(tmp_path.rglob('verdicts.md'))


@pytest.fixture
def pages(monkeypatch, tmp_path):
  """pages(committed, failed) -> the pages that a job writes."""
  monkeypatch.setattr(page, 'DOCS', tmp_path / 'docs')
  monkeypatch.setattr(folders, 'ROOT', tmp_path / 'experiments')
  found = template_experiment.published(tmp_path / 'run', rows(*GOOD))

  def pages(committed, failed):
    files = tmp_path / 'run' / 'results.csv', None, ''
    part = page.Part(found, *files, failed, cells=9)
    said = reproduce.write_page([part], tmp_path / 'own', 'x', committed)
    written = [p.parent for p in tmp_path.rglob('index.html')]
    assert sorted(said.splitlines()) == sorted(
      f'Page: {folder / "index.html"}' for folder in written
    )
    return {folder.name for folder in written}

  return pages


@pytest.mark.parametrize(
  'committed, failed, written',
  [
    (False, [], {'own'}),
    (False, [('cell', 'why')], {'own'}),
    (True, [], {'docs'}),
    (True, [('cell', 'why')], {'docs', 'own'}),
  ],
)
def test_the_committed_page_follows_the_committed_tables(
  committed, failed, written, pages
):
  """A job with failures has a page of its own, too, that lists them."""
  assert pages(committed, failed) == written


def test_a_job_with_failures_shows_no_figure_of_an_earlier_one(tmp_path):
  """Nor a table, where no cell has finished."""
  found = template_experiment.published(tmp_path, rows(*GOOD))
  job = reproduce.Job(found, [], tmp_path)
  part = reproduce.part(job, [('cell', 'why')], tmp_path, '')
  assert (part.table, part.figure) == (None, None)


@pytest.mark.skipif(not page.DOCS.exists(), reason='docs/report is not there')
def test_the_committed_page_is_what_the_committed_tables_say(committed):
  """Written anew it is the same, but for the way to the tables."""
  there, anew = (
    {
      path.relative_to(root): re.sub(
        rb'"[^"]*experiments/', b'"', path.read_bytes()
      )
      for path in root.rglob('*')
      if path.is_file()
    }
    for root in (page.DOCS, committed)
  )
  assert there == anew


def test_a_bracket_is_shown_with_what_it_is_of(write, monkeypatch):
  """As an interval is: its ends alone could be of anything."""
  verdict = Verdict(
    'T.1', 'SUPPORTED', sentence='So.', quantity='ratio of thresholds',
    unit='times', effect=Bracket(2, 8),
  )  # fmt: skip
  monkeypatch.setattr(
    template_experiment.Template, 'verdicts', lambda *_: [verdict]
  )
  assert 'ratio of thresholds between 2 and 8 times' in write(rows(*GOOD)).text
