"""The wheel, in an environment with nothing else."""

import importlib.metadata
import inspect
import pathlib
import re
import runpy
import subprocess
import sys
import zipfile

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parent.parent


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


def test_the_metadata_say_who_wrote_it(monkeypatch):
  """As `pip show` prints them."""
  given = {}
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
