"""Selects the tests of `scripts/test.sh --quick`, one per line.

The first mixer and the first task of every module under the laws, and the test
files near what has changed since the last commit: those that were edited, that
mirror an edited module, or that import it themselves.
"""

import ast
import functools
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parent.parent
MIXER_LAWS = 'tests/nn/test_contract.py::test_every_mixer_keeps_the_contract'
TASK_LAWS = 'tests/tasks/test_contract.py::test_every_task_keeps_the_contract'
TASKS_SHOWN = ('recall', 'parity', 'text', 'digits', 'mackey_glass')


def changed() -> list[str]:
  """Returns the Python files that differ from the last commit."""
  listed = subprocess.run(
    ['git', 'status', '--porcelain', '--untracked-files=all', '--', '*.py'],
    cwd=ROOT, capture_output=True, text=True, check=True,
  ).stdout.splitlines()  # fmt: skip
  paths = [line[3:].partition(' -> ')[2] or line[3:] for line in listed]
  return [path for path in paths if (ROOT / path).exists()]


def near(paths: list[str], tests: dict[str, set[str]]) -> list[str]:
  """Returns the test files near changed files.

  Args:
    paths: changed files, relative to the checkout.
    tests: {test file: the modules that it imports}.
  """
  modules = {path.removesuffix('.py').replace('/', '.') for path in paths}
  stems = {pathlib.Path(path).stem for path in paths}
  return [
    test
    for test, imported in tests.items()
    if test in paths
    or pathlib.Path(test).stem.removeprefix('test_') in stems
    or imported & modules
  ]


def imports_of_tests() -> dict[str, set[str]]:
  """Returns the modules that every test file imports, but for contracts."""
  paths = sorted((ROOT / 'tests').rglob('test_*.py'))
  return {
    str(path.relative_to(ROOT)): imported(path.read_text(encoding='utf-8'))
    for path in paths
    if path.name != 'test_contract.py'
  }


def imported(source: str) -> set[str]:
  """Returns the dotted names that a file imports."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
      names.add(node.module)
  return names


def families() -> list[str]:
  """Returns the name of the first mixer of every module."""
  from seqjax.nn import MIXERS

  first = {}
  for name, make in MIXERS.items():
    kind = make.func if isinstance(make, functools.partial) else make
    first.setdefault(kind.__module__, name)
  return list(first.values())


def main():
  tests = [f'{MIXER_LAWS}[{name}]' for name in families()]
  tests += [f'{TASK_LAWS}[{name}]' for name in TASKS_SHOWN]
  print(*tests, *near(changed(), imports_of_tests()), sep='\n')


if __name__ == '__main__':
  main()
