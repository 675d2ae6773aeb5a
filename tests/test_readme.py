"""What the README says runs."""

import csv
import pathlib
import re

import pytest

from experiments import folders, headline, readme
from experiments import report as experiments_report
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.results import table
from seqjax.tasks import TASKS

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')
QUESTIONS = (ROOT / 'docs' / 'experiments.md').read_text(encoding='utf-8')


def test_the_code_of_the_readme_runs():
  """The layer that a newcomer begins with."""
  (block,) = re.findall(r'^```python\n(.*?)^```', README, re.M | re.S)
  namespace = {'__name__': 'readme'}
  exec(compile(block, 'README.md', 'exec'), namespace)
  assert namespace['y'].shape == (4, 100, 32)


def test_the_readme_is_read_in_one_sitting():
  """Everything else has a page of its own, which it links."""
  assert len(README.splitlines()) <= 160
  pages = {page.name for page in (ROOT / 'docs').glob('*.*') if page.is_file()}
  pages = {name for name in pages if name.endswith(('.md', '.ipynb'))}
  assert pages == set(re.findall(r'\(docs/(\w+\.\w+)\)', README)) - {
    'headline.svg'
  }


def test_every_path_that_the_readme_names_exists():
  """Links and scripts."""
  prose = re.sub(r'^```.*?^```', '', README, flags=re.M | re.S)
  links = re.findall(r'\]\(([^)#:]+)\)', prose)
  scripts = re.findall(r'\b(?:scripts|seqjax)/[\w./]*\w', README)
  assert links and scripts
  for path in links + scripts:
    assert (ROOT / path).exists(), path


JUDGED = [
  name
  for name in folders.names()
  if (folders.ROOT / name / 'verdicts.md').exists()
]


@pytest.mark.parametrize('name', JUDGED)
def test_every_committed_verdict_is_what_the_table_says(name):
  """Computed anew from the committed rows, to the letter."""
  found = folders.find(name)
  rows = table.read(found.folder / 'results.csv')
  page = (found.folder / 'verdicts.md').read_text('utf-8')
  assert experiments_report.markdown(found, rows) == page


@pytest.mark.parametrize('name', JUDGED)
def test_every_committed_table_comes_from_one_commit(name):
  """And from one machine, unless it has the rows of several, each of one."""
  path = folders.ROOT / name / 'results.csv'
  with path.open(encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  for machine in table.machines(rows).values():
    assert len({row['commit'] for row in machine}) == 1
    assert not machine[0]['commit'].endswith('-dirty')


def test_the_readme_holds_the_verdicts_of_all_committed_tables():
  """With the claim in words, as `python -m experiments.report` writes them."""
  found = readme.judged()
  assert readme.with_verdicts(README, found) == README
  for each in found:
    for id, claim in each.claims.items():
      assert f'| {id} {claim.statement} |' in README
    assert f'| `{each.name}` |' in QUESTIONS


def test_the_readme_links_the_folder_of_every_experiment():
  """Beside the page of results, which is a page in a browser alone."""
  linked = re.findall(r'\]\(experiments/(\w+)\)', README)
  assert linked == folders.names()
  for name in ('README.md', 'docs/index.md', 'docs/experiments.md'):
    text = ' '.join((ROOT / name).read_text(encoding='utf-8').split())
    said = text.partition('report/index.html)')[2]
    assert 'in a browser' in said[:200], name


def test_the_first_figure_is_drawn_from_the_committed_tables(tmp_path):
  """As `python -m experiments.headline` draws it."""
  headline.draw(tmp_path / 'headline.svg')
  assert (tmp_path / 'headline.svg').read_text() == headline.PATH.read_text()


@pytest.mark.parametrize(
  'page',
  [ROOT / 'README.md', *sorted(ROOT.glob('experiments/*/README.md'))],
  ids=lambda p: p.parent.name,
)
def test_every_figure_of_a_page_is_there(page):
  """And no place is left to be filled in."""
  text = page.read_text(encoding='utf-8')
  assert '@@' not in text
  for path in re.findall(r'!\[[^\]]*\]\(([^)]+)\)', text):
    assert (page.parent / path).exists(), path


def test_how_it_is_used_comes_before_what_it_finds():
  """A newcomer scrolls past no table of verdicts."""
  assert re.findall('^## (.*)', README, re.M) == ['Use it', 'What it finds']


def test_the_first_screen_has_install_code_and_the_two_commands():
  """Before the first heading, in this order, on 40 lines."""
  first = README.partition('\n## ')[0]
  assert len(first.splitlines()) <= 40
  places = [
    first.index(part)
    for part in ('pip install', "MIXERS['lstm']", 'scripts/run.sh', 'test.sh')
  ]
  assert places == sorted(places)
  assert f'{len(MIXERS | NONCAUSAL_MIXERS)} layers' in first
  assert f'{len(TASKS)} tasks' in first.replace('\n', ' ')
