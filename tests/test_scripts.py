"""Bad input to the scripts: a sentence, exit code 2, nothing half-installed."""

import pathlib
import shutil
import subprocess

import pytest

from tests import arguments

ROOT = pathlib.Path(__file__).parent.parent
FILE = 'tests/ops/test_attention.py'
# Stands in for Python 3.11 and for the one that it puts into .venv; pip fails.
PYTHON = """#!/bin/bash
case "$*" in
  '-m venv'*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  *'pip install'*) echo 'WARNING: slow'
    echo 'ERROR: No matching distribution found for orbax' >&2; exit 1 ;;
esac
"""
TOOLS = 'bash cat cksum cp dirname grep mkdir rm tail'.split()
OLD = '#!/bin/bash\necho Python 2.7; exit 1\n'


def program(path: pathlib.Path, text: str) -> pathlib.Path:
  path.write_text(text)
  path.chmod(0o755)
  return path


@pytest.fixture
def prepare(tmp_path):
  """prepare(script, *arguments, **environment) -> the process.

  It runs in a checkout of its own.
  """
  checkout = tmp_path / 'checkout'
  shutil.copytree(ROOT / 'scripts', checkout / 'scripts')
  shutil.copy(ROOT / 'setup.py', checkout)
  tools = tmp_path / 'tools'
  tools.mkdir()
  for tool in TOOLS:
    (tools / tool).symlink_to(shutil.which(tool))

  def call(script='test.sh', *arguments, **environment):
    environment = {'PATH': str(tools), 'HOME': str(tmp_path)} | environment
    return subprocess.run(
      [tools / 'bash', checkout / 'scripts' / script, *arguments],
      env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip

  call.checkout, call.tools = checkout, tools
  return call


@pytest.mark.parametrize('script', ['test.sh', 'run.sh'])
def test_no_python_that_is_new_enough_is_one_sentence(prepare, script):
  """On the PATH, or where SEQJAX_PYTHON says."""
  program(prepare.tools / 'python3', OLD)
  for environment, name in (
    ({}, 'python3.13'),
    ({'SEQJAX_PYTHON': 'python2.7'}, 'python2.7'),
  ):
    done = prepare(script, **environment)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith('seqjax needs Python 3.11 or newer')
    assert name in done.stderr and 'apt-get install' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (prepare.checkout / '.venv').exists()


def test_a_package_that_cannot_be_installed_is_one_sentence(prepare):
  """With pip's reason; the environment is removed, if it was made for it."""
  program(prepare.tools / 'python3.12', PYTHON)
  done = prepare()
  assert done.returncode == 2 and not done.stdout
  _, said = done.stderr.splitlines()  # after what is being done
  assert said.startswith('pip cannot install seqjax[test]')
  assert 'ERROR: No matching distribution found for orbax It needs' in said
  assert not (prepare.checkout / '.venv').exists()
  made = prepare.checkout / '.venv' / 'bin'
  made.mkdir(parents=True)
  program(made / 'python', PYTHON)
  assert prepare().returncode == 2 and (made / 'python').exists()


# Stands in for Python and for the one that it puts into a venv; all succeeds,
# and pytest's command line is appended to a file.
WORKING = """#!/bin/bash
case "$*" in
  '-m venv'*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  'scripts/minima.py') echo 'numpy==2' ;;
  *'pip install'*) echo "pip $*" >>calls ;;
  '-m pip'*) test -e "$0.installed" ;;
  '-m tests.arguments'*) shift 3; for x in "$@"; do echo "$x"; done ;;
  '-m pytest'*) echo "$0 ${*: -1}" >>calls; exit FAILS ;;
esac
"""


@pytest.mark.parametrize('fails', [0, 1])
def test_every_python_has_an_environment_of_its_own(prepare, fails):
  """All are tried; it fails if one has failed."""
  for minor, code in ((11, fails), (12, 0)):
    text = WORKING.replace('FAILS', str(code))
    program(prepare.tools / f'python3.{minor}', text)
  program(prepare.tools / 'python3.10', OLD)
  done = prepare('test.sh', '--pythons', 'tests/nn')
  assert done.returncode == fails, done.stderr
  outcome = 'failed (1)' if fails else 'passed'
  said = [f'python3.11: {outcome}', 'python3.12: passed']
  assert [line for line in done.stdout.splitlines() if ': ' in line] == said
  calls = (prepare.checkout / 'calls').read_text()
  for minor in (11, 12):
    assert f'.venv-python3.{minor}/bin/python tests/nn' in calls
  assert 'constraint' not in calls
  assert not (prepare.checkout / '.venv').exists()


def test_the_minima_are_what_pip_may_not_exceed(prepare):
  """With the oldest Python that there is."""
  for minor in (11, 13):
    text = WORKING.replace('FAILS', '0' if minor == 11 else '1')
    program(prepare.tools / f'python3.{minor}', text)
  done = prepare('test.sh', 'tests/nn', '--minima')
  assert done.returncode == 0, done.stderr
  pip, pytest_called = (prepare.checkout / 'calls').read_text().splitlines()
  assert '--constraint .venv-minima/minima.txt' in pip
  assert pytest_called == '.venv-minima/bin/python tests/nn'
  pins = prepare.checkout / '.venv-minima' / 'minima.txt'
  assert pins.read_text() == 'numpy==2\n'


@pytest.mark.parametrize(
  'argument, message',
  [
    ('tests/no_such.py', "Unknown test file 'tests/no_such.py'."),
    ('tests/ops/test_atention.py', f'Did you mean {FILE!r}'),
    (
      f'{FILE}::no_such_test',
      "Unknown test of tests/ops/test_attention.py 'no",
    ),
    ('--tims', "Unknown option '--tims'. Did you mean '--times'"),
    ('--duratoins=5', "Did you mean '--durations'"),
  ],
)
def test_an_unknown_test_or_option_is_one_sentence(
  argument, message, capsys, monkeypatch
):
  """With the nearest that there is."""
  monkeypatch.setattr(arguments, 'options', lambda: ['--durations', '--lf'])
  with pytest.raises(SystemExit) as error:
    arguments.main(str(ROOT), '-q', argument)
  said = capsys.readouterr()
  assert error.value.code == 2 and not said.out
  assert message in said.err and len(said.err.splitlines()) == 1


def test_options_are_those_of_pytest_and_its_plugins():
  """As `--help` lists them."""
  assert {'--durations', '--lf', '--dist', '--help'} <= {*arguments.options()}


@pytest.mark.parametrize(
  'folder, argument, expected',
  [
    ('tests', 'ops/test_attention.py', FILE),
    ('tests/ops', 'test_attention.py', FILE),
    ('tests/nn', FILE, FILE),
    ('docs', 'ops/test_attention.py', FILE),
    ('.', 'tests/ops', 'tests/ops'),
    ('.', str(ROOT / 'tests'), 'tests'),
  ],
)
def test_names_of_tests_are_relative_to_the_caller_or_to_the_checkout(
  folder, argument, expected
):
  """Or to the folder of tests; values of options stay what they are."""
  given = ['-k', 'no such', '-q', argument, '-n', '1', '-x']
  found = list(arguments.resolved(given, ROOT / folder))
  assert found == [*given[:3], expected, *given[4:]]


def test_a_test_of_a_file_may_have_parameters():
  """Which only pytest knows."""
  name = 'test_scripts.py::test_a_test_of_a_file_may_have_parameters[a/b]'
  assert list(arguments.resolved([name], ROOT / 'tests')) == [f'tests/{name}']
