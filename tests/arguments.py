"""Checks the arguments of `scripts/test.sh` before pytest sees them.

    python -m tests.arguments FOLDER ARGUMENT ...

prints the arguments for pytest, one per line, with the names of tests relative
to the checkout; they may be relative to FOLDER, where the caller is, or to
tests. For a test or an option that does not exist it prints one sentence, and
exits with 2.
"""

import ast
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

from seqjax import errors

ROOT = pathlib.Path(__file__).parent.parent
OURS = ('--slow', '--quick', '--times', '--minima', '--pythons')
VALUED = ('-k', '-m', '-n', '-p', '-c', '-o', '-W', '-r')  # the next is theirs
FILES = 'tests/**/test_*.py'
FILES_LISTED = 'they lie in tests/, and names may be relative to it'
OPTIONS_LISTED = 'scripts/test.sh --help lists them'


def resolved(given: list[str], folder: pathlib.Path) -> Iterator[str]:
  """Yields the arguments, names of tests relative to the checkout.

  Raises:
    ValueError: there is no such test or option.
  """
  for before, argument in zip(['', *given], given, strict=False):
    if before in VALUED:
      yield argument
    elif argument.startswith('--'):
      _check_option(argument.partition('=')[0])
      yield argument
    elif argument.startswith('-') or not _names_a_test(argument, before):
      yield argument
    else:
      yield _test(argument, folder)


def _names_a_test(argument: str, before: str) -> bool:
  """Tells a test from the value of an option such as --durations 5."""
  valued = before.startswith('--') and '=' not in before and before not in OURS
  return not valued or '::' in argument or argument.endswith('.py')


def _check_option(name: str):
  if name not in OURS and name not in (known := options()):
    raise ValueError(
      errors.unknown('option', name, [*known, *OURS], OPTIONS_LISTED)
    )


def options() -> list[str]:
  """Returns the long options of pytest and its plugins."""
  text = subprocess.run(
    [sys.executable, '-m', 'pytest', '--help'],
    cwd=ROOT, capture_output=True, text=True, check=True,
  ).stdout  # fmt: skip
  return re.findall(r'(?<![\w-])--[a-z][\w-]+', text)


def _test(argument: str, folder: pathlib.Path) -> str:
  """Returns the name of a test, relative to the checkout."""
  name, *inside = argument.split('::')
  for base in (folder, ROOT, ROOT / 'tests'):
    path = pathlib.Path(os.path.abspath(base / name))
    if path.exists() and path.is_relative_to(ROOT):
      _check_inside(path, inside)
      return '::'.join([str(path.relative_to(ROOT)), *inside])
  files = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob(FILES))]
  raise ValueError(errors.unknown('test file', name, files, FILES_LISTED))


def _check_inside(path: pathlib.Path, inside: list[str]):
  if inside and path.is_file():
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = [getattr(statement, 'name', '') for statement in tree.body]
    known = [name for name in names if name.lower().startswith('test')]
    name, file = inside[0].partition('[')[0], path.relative_to(ROOT)
    if name not in known:
      raise ValueError(errors.unknown(f'test of {file}', name, known))


def main(folder: str, *given: str):
  try:
    print(*resolved(list(given), pathlib.Path(folder)), sep='\n')
  except ValueError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  main(*sys.argv[1:])
