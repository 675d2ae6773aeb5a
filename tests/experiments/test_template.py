"""A new folder is an experiment: nothing else has to know it."""

import pathlib
import re
import shutil

import pytest

from experiments import folders
from seqjax.results import plotting, table
from tests import processes
from tests.experiments import template_experiment
from tests.experiments.template import plot

ROOT = pathlib.Path(__file__).parent.parent.parent
TEMPLATE = pathlib.Path(__file__).parent / 'template'
PEERS = ROOT / 'experiments' / 'peers' / 'results.csv'


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
  """The programs that experiments share, and a folder that is new to them."""
  root = tmp_path_factory.mktemp('checkout')
  (root / 'experiments').mkdir()
  for path in (ROOT / 'experiments').glob('*.*'):
    shutil.copy(path, root / 'experiments')
  shutil.copytree(TEMPLATE, root / 'experiments' / 'template')
  return root


def call(checkout, module, *options):
  """Runs a module of the checkout, in a process of its own."""
  return processes.call(f'experiments.{module}', *options, cwd=checkout)


AXES = ('--mixers=lstm', '--lags=2', '--seeds=2', '--rates=0.003', '--steps=51')


@pytest.fixture(scope='module')
def done(checkout):
  """The run of a cell of one's own."""
  return call(checkout, 'template', *AXES, '--workdir=runs/mine')


def test_the_template_is_short():
  """An experiment fits on two pages."""
  lines = [len(p.read_text().splitlines()) for p in TEMPLATE.glob('*.py')]
  assert sum(lines) <= 120


def test_the_template_runs_plots_and_gives_a_verdict(done, checkout):
  """One command, with axes of one's own."""
  assert done.returncode == 0, done.stderr
  said = ' '.join(done.stdout.split())
  assert '5 seeds of the LSTM are needed' in said
  assert folders.commands_in(said)[0] == (
    'python -m experiments.template --preset=full'
  )
  mine = checkout / 'runs' / 'mine'
  rows = table.read(mine / 'results.csv')
  assert [(row['lag'], row['seed']) for row in rows] == [(2, 0), (2, 1)]
  assert 'T.1' in (mine / 'verdicts.md').read_text()
  assert 'chance' in (mine / 'figure.svg').read_text()
  assert 'Page: ' in done.stdout
  page = (mine / 'report' / 'index.html').read_text(encoding='utf-8')
  assert '--lags=2' in page and 'summed over 1 run' in page
  assert '<h1>How far back does each mixer copy a symbol?</h1>' in page
  assert (mine / 'report' / 'figures' / 'template.svg').exists()


@pytest.mark.parametrize(
  'scores, verdict',
  [
    ([0.99, 0.98, 1.0, 0.99, 0.97], 'SUPPORTED'),
    ([0.2, 0.3, 0.25, 0.2, 0.3], 'REFUTED'),
    ([1.0, 0.5, 1.0, 0.5, 1.0], 'UNDECIDED'),
    ([1.0] * 4, 'UNDECIDED'),
    ([], 'UNDECIDED'),
  ],
)
def test_the_verdict_of_the_template_follows_its_rows(scores, verdict):
  """Fewer than five seeds decide nothing."""
  namespace = {}
  exec((TEMPLATE / 'claims.py').read_text(encoding='utf-8'), namespace)
  rows = [{'mixer': 'lstm', 'lag': 4, 'score': score} for score in scores]
  rows.append({'mixer': 'attention', 'lag': 4, 'score': 1.0})
  (found,) = namespace['verdicts'](rows)
  assert found.verdict == verdict and found.seeds == len(scores)


@pytest.mark.parametrize('num_seeds', [2, 4, 5])
def test_the_figure_of_the_template_shows_every_seed(
  num_seeds, monkeypatch, tmp_path
):
  """Fewer than five as lines, five or more as a band."""
  drawn = []
  monkeypatch.setattr(plotting, 'line', lambda *_, **given: drawn.append(given))
  scores = [i / 8 for i in range(num_seeds)]
  plot.draw(template_experiment.rows(*scores), str(tmp_path / 'figure.svg'))
  (given,) = drawn
  assert given['seeds'].tolist() == [[score, score] for score in scores]
  assert ('low' in given) == (num_seeds >= 5)
  if 'low' in given:
    assert given['low'].tolist() == [0, 0]
    assert given['high'].tolist() == [scores[-1], scores[-1]]


def test_finished_cells_are_skipped(done, checkout):
  """Running the command again measures nothing."""
  again = call(checkout, 'template', *AXES, '--workdir=runs/mine')
  assert again.returncode == 0
  assert '1 have finished and are skipped' in again.stdout


def test_its_figure_is_drawn_from_tables_and_from_runs(done, checkout):
  """As .svg, .png and .pdf."""
  for source, to in (
    ('--results=runs/mine/results.csv', 'a.png'),
    ('--runs=runs/mine/cells', 'b.pdf'),
  ):
    drawn = call(checkout, 'plot', 'template', source, f'--to={to}')
    assert drawn.returncode == 0, drawn.stderr
    assert (checkout / to).stat().st_size > 1000


def test_a_report_covers_it(done, checkout):
  """Verdicts are computed again from the table, and the page is written."""
  (checkout / 'runs' / 'tables').mkdir()
  shutil.copytree(
    checkout / 'runs' / 'mine', checkout / 'runs' / 'tables' / 'template'
  )
  said = call(checkout, 'report', '--workdir=runs/tables')
  assert said.returncode == 0 and 'T.1' in said.stdout
  index = checkout / 'runs' / 'tables' / 'report' / 'index.html'
  assert f'Page: {index}' in said.stdout and 'T.1' in index.read_text()


def test_it_takes_part_in_reproduce(checkout):
  """With its presets, although no other file was edited."""
  another = checkout / 'experiments' / 'another'
  shutil.copytree(TEMPLATE, another)
  (another / 'sweep.py').write_text(
    "PRESETS = {'first': {'mixers': ('lstm',), 'lags': (2,), 'seeds': 2,"
    " 'steps': 51}}\n"
  )
  done = call(checkout, 'reproduce', '--preset=first')
  assert done.returncode == 0, done.stderr
  assert 'T.1' in done.stdout
  assert (checkout / 'runs/first/another/figure.svg').exists()
  page = checkout / 'runs/first/report/index.html'
  assert f'Page: {page}' in done.stdout
  assert 'experiments.another' in page.read_text(encoding='utf-8')


@pytest.mark.parametrize(
  'module, options, message',
  [
    ('template', ['--mixers=LSTM'], "Did you mean 'lstm'"),
    ('template', ['--mixers=lst'], 'known; --mixers=help lists them.'),
    ('template', ['--preset=quik'], "Did you mean 'quick'"),
    ('template', ['--lags=0.5'], 'lags'),
    ('template', ['lags=4'], 'Options are written --name=value'),
    ('template', ['--lag=4'], 'lag'),
    ('plot', ['tmplate', '--to=x.svg'], "Did you mean 'template'"),
    ('plot', ['--to=x.svg'], 'Name one experiment'),
    ('plot', ['template', '--to=x.gif'], '.svg'),
    ('plot', ['template', '--to=none/x.svg'], "no folder 'none'"),
    ('plot', ['template', '--to=x.svg', f'--results={PEERS}'], 'not of the'),
    ('template', ['--seeds=0'], 'at least 1, but 0'),
    ('template', ['--mixers='], 'at least one value'),
    ('plot', ['template', '--to=x.svg', '--results=none.csv'], 'none.csv'),
    ('plot', ['template', '--to=x.svg', '--runs=none'], 'none'),
    ('report', ['--only=tmplate'], "Did you mean 'template'"),
    ('report', ['--workdir=none'], 'There is no table'),
  ],
)
def test_bad_input_is_one_sentence(module, options, message, checkout):
  """Exit code 2, and nothing is written."""
  before = sorted(checkout.rglob('*.csv'))
  done = call(checkout, module, *options)
  assert done.returncode == 2, done.stderr
  assert message in done.stderr and 'Traceback' not in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
  assert sorted(checkout.rglob('*.csv')) == before


def test_contributing_describes_every_file_of_the_template():
  """And no other one, and every name that a folder may define."""
  page = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
  described = re.findall(r'^\| `(\w+\.(?:py|md))` \|', page, re.MULTILINE)
  there = [path.name for path in TEMPLATE.iterdir() if path.is_file()]
  assert sorted(described) == sorted(there)
  for name in re.findall(
    r'^      (\w+\.\w+)', folders.Experiment.__doc__, re.M
  ):
    assert name.partition('.')[2] in page, name
