"""The wheel and the sdist: their files, their version, what they need."""

import importlib.metadata
import importlib.util
import inspect
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from scripts.minima import minima

ROOT = pathlib.Path(__file__).parent.parent
SETUP = (ROOT / 'setup.py').read_text(encoding='utf-8')


def test_every_command_is_a_function_without_arguments():
  """One per program of seqjax/cli that has a main."""
  commands = importlib.metadata.distribution('seqjax').entry_points
  names = {command.value.partition(':')[0] for command in commands}
  programs = [
    f'seqjax.cli.{path.stem}'
    for path in (ROOT / 'seqjax' / 'cli').glob('*.py')
    if '\ndef main(' in path.read_text(encoding='utf-8')
  ]
  assert names == set(programs)
  for command in commands:
    assert command.name.startswith('seqjax-')
    inspect.signature(command.load()).bind()


def test_the_citation_and_the_changelog_have_the_version_of_setup():
  """Which is the one place where it is changed first."""
  (version,) = re.findall(r"version='([\d.]+)'", SETUP)
  citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
  assert re.findall(r'^version: (\S+)$', citation, re.M) == [version]
  assert citation.startswith('cff-version: 1.2.0\n')
  changes = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
  assert '\n## [Unreleased]\n' in changes and version in changes


def test_every_requirement_has_a_minimum_that_can_be_pinned():
  """As `scripts/test.sh --minima` installs them."""
  (block,) = re.findall(r'install_requires=\[(.*?)\]', SETUP, re.S)
  names = [re.match(r'[\w.-]+', r)[0] for r in re.findall(r"'(.*?)'", block)]
  pinned = dict(pin.split('==') for pin in minima(SETUP))
  assert names and set(names) <= set(pinned)
  assert minima("['a-b>=1.2', 'c[d,e]>=3', 'f', 'g<4']") == ['a-b==1.2', 'c==3']


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Returns the names of the files of the wheel, and of the sdist."""
  if importlib.util.find_spec('setuptools') is None:
    pytest.skip('setuptools is not installed')
  checkout = tmp_path_factory.mktemp('built') / 'checkout'
  ignored = shutil.ignore_patterns('__pycache__')
  shutil.copytree(ROOT / 'seqjax', checkout / 'seqjax', ignore=ignored)
  shutil.copytree(ROOT / 'tests', checkout / 'tests', ignore=ignored)
  for name in ('*.md', '*.cff', '*.in', '*.toml', 'setup.py', 'LICENSE'):
    for path in ROOT.glob(name):
      shutil.copy(path, checkout)
  environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': ''}  # it would warn
  done = subprocess.run(
    [sys.executable, 'setup.py', '-q', 'build', '--build-lib=lib', 'sdist',
     '--dist-dir=dist'],
    cwd=checkout, env=environment, check=True, capture_output=True, text=True,
  )  # fmt: skip
  library = checkout / 'lib'
  files = (f for f in library.rglob('*.*') if f.suffix != '.pyc')
  wheel = {str(f.relative_to(library)) for f in files if f.is_file()}
  (path,) = (checkout / 'dist').iterdir()
  with tarfile.open(path) as archive:
    sdist = {name.partition('/')[2] for name in archive.getnames()}
  return wheel, sdist, done.stderr


def test_the_wheel_and_the_sdist_hold_the_right_files(built):
  """Data besides code; the sdist what it takes to build a wheel, no tests."""
  wheel, sdist, said = built
  tracked = {
    str(path.relative_to(ROOT))
    for path in (ROOT / 'seqjax').rglob('*')
    if path.suffix in ('.py', '.json', '.typed')
  }
  assert {'seqjax/py.typed', 'seqjax/frozen/checksums.json'} <= tracked
  assert wheel == tracked
  assert tracked <= sdist and 'warn' not in said.lower()
  others = {'setup.py', 'README.md', 'LICENSE', 'CHANGELOG.md', 'CITATION.cff'}
  assert others <= sdist and not {n for n in sdist if n.startswith('tests')}


def test_the_metadata_say_who_wrote_it(monkeypatch):
  """As `pip show` prints them."""
  given, setuptools = {}, pytest.importorskip('setuptools')
  monkeypatch.setattr(
    setuptools, 'setup', lambda **metadata: given.update(metadata)
  )
  runpy.run_path(str(ROOT / 'setup.py'))
  for name in ('name', 'version', 'description', 'author', 'license'):
    assert given[name], name


@pytest.mark.slow
def test_a_built_wheel_runs_the_readmes_snippet(tmp_path):
  """Installed with what it asks for and no more; it holds seqjax only."""
  subprocess.run(
    [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '-q', '-w', tmp_path,
     ROOT],
    check=True,
  )  # fmt: skip
  (wheel,) = tmp_path.glob('*.whl')
  tops = {name.split('/')[0] for name in zipfile.ZipFile(wheel).namelist()}
  assert {top for top in tops if not top.endswith('.dist-info')} == {'seqjax'}
  subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'env'], check=True)
  python = tmp_path / 'env' / 'bin' / 'python'
  subprocess.run([python, '-m', 'pip', 'install', '-q', wheel], check=True)
  readme = (ROOT / 'README.md').read_text(encoding='utf-8')
  snippet = re.search(r'^```python\n(.*?)^```', readme, re.M | re.S).group(1)
  subprocess.run([python, '-c', snippet], check=True, cwd=tmp_path)
