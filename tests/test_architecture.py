"""Who may import whom, and what importing seqjax loads."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BASE = {'typing', 'errors'}
ALLOWED = {
  'typing': set(),
  'errors': set(),
  'ops': BASE,
  'nn': BASE | {'ops'},
  'models': BASE | {'ops', 'nn'},
  'analysis': BASE | {'ops', 'nn', 'models'},
  'data': BASE,
  'tasks': BASE | {'ops', 'data'},
  'frozen': BASE | {'tasks', 'data'},
  'training': BASE | {'ops'},
  'results': {'errors'},
  'experiment': {'errors'},
  'launch': {'results', 'experiment', 'analysis', 'errors'},
  'testing': BASE | {'ops', 'nn', 'tasks'},
}
ALLOWED['cli'] = set(ALLOWED) - {'testing'}
SOURCES = sorted((ROOT / 'seqjax').rglob('*.py'))


def imported(path: pathlib.Path) -> set[str]:
  """Dotted names of everything a file imports, inside functions too."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path} has a relative import'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def room(path: pathlib.Path) -> str:
  """The package or the top-level module a file belongs to."""
  return path.relative_to(ROOT / 'seqjax').parts[0].removesuffix('.py')


@pytest.mark.parametrize(
  'path', SOURCES, ids=lambda p: str(p.relative_to(ROOT / 'seqjax'))
)
def test_every_file_imports_only_what_its_room_may(path):
  """The layers of CONTRIBUTING.md."""
  if path == ROOT / 'seqjax' / '__init__.py':
    for name in imported(path):
      assert name.partition('.')[0] in {'importlib', 'typing'}, name
    return
  for name in imported(path):
    parts = name.split('.')
    assert parts[0] != 'experiments', f'{path} imports an experiment'
    if parts[0] == 'seqjax':
      assert parts[1] in ALLOWED[room(path)] | {room(path)}, name
    if room(path) == 'ops':
      assert parts[0] in {'jax', 'numpy', 'jaxtyping', 'seqjax', 'typing'} | {
        'collections',
        'functools',
        'jla',
        'math',
        'numbers',
      }, f'ops are arrays in, arrays out, but {path} imports {name}'
    if room(path) == 'testing':
      assert parts[1:2] != ['tasks'] or parts[:3] == ['seqjax', 'tasks', 'task']


def test_the_allowed_imports_have_no_cycle():
  """Peeling off rooms that import nothing left ends with nothing left."""
  left = {name: set(rooms) for name, rooms in ALLOWED.items()}
  while left:
    free = {name for name, rooms in left.items() if not rooms & left.keys()}
    assert free, left
    left = {name: rooms for name, rooms in left.items() if name not in free}


FILES = {
  '.'.join(path.relative_to(ROOT).with_suffix('').parts): path
  for folder in ('seqjax', 'experiments')
  for path in (ROOT / folder).rglob('*.py')
}


def neighbours(path: pathlib.Path) -> set[str]:
  """Returns the files of seqjax and experiments that a file imports from.

  Importing a module runs the `__init__` of every package on the way to it,
  except for packages that the file itself lies in: those are running already,
  unless the file asks one of them for a name that is no module.
  """
  running = {f'{package}.__init__' for package in packages(path)}
  found = set()
  for name in imported(path):
    parts = name.split('.')
    prefixes = ['.'.join(parts[:end]) for end in range(1, len(parts) + 1)]
    known = [
      file
      for prefix in prefixes
      for file in (prefix, f'{prefix}.__init__')
      if file in FILES
    ]
    found |= set(known[-1:]) | (set(known) - running)
  return found


def packages(path: pathlib.Path) -> list[str]:
  """Returns the packages that a file lies in, the outermost first."""
  parts = path.relative_to(ROOT).parts[:-1]
  return ['.'.join(parts[:end]) for end in range(1, len(parts) + 1)]


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
  """Returns the strongly connected components of more than one node.

  Tarjan, "Depth-First Search and Linear Graph Algorithms", 1972.
  """
  index, low, stack, found = {}, {}, [], []

  def visit(node):
    index[node] = low[node] = len(index)
    stack.append(node)
    for after in graph[node]:
      if after not in index:
        visit(after)
      if after in stack:
        low[node] = min(low[node], low[after])
    if low[node] == index[node]:
      component = set(stack[stack.index(node) :])
      del stack[stack.index(node) :]
      if len(component) > 1:
        found.append(component)

  for node in graph:
    if node not in index:
      visit(node)
  return found


def test_circles_are_found():
  """Two in a graph, one of which is entered from the other."""
  graph = {'a': {'b'}, 'b': {'a', 'c'}, 'c': {'d'}, 'd': {'e'}, 'e': {'c'}}
  assert sorted(map(sorted, circles(graph))) == [['a', 'b'], ['c', 'd', 'e']]
  assert not circles({'a': {'b', 'c'}, 'b': {'c'}, 'c': set()})


def test_no_file_imports_itself_through_others():
  """Imports inside functions included."""
  graph = {name: neighbours(path) for name, path in FILES.items()}
  assert sum(map(len, graph.values())) > len(graph)
  assert not circles(graph)


OPENINGS = ('What', 'Of', 'Those', 'The same', 'Whether', 'By', 'Which', 'How')
DOCUMENTED = [
  path
  for folder in ('seqjax', 'experiments', 'scripts')
  for path in sorted((ROOT / folder).rglob('*.py'))
]


def test_docstrings_begin_with_what_can_be_read_alone():
  """A verb or a noun, in every file but those of tests."""
  found = []
  for file in DOCUMENTED:
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
        said = ast.get_docstring(node) or ''
        if f'{said} '.startswith(tuple(f'{word} ' for word in OPENINGS)):
          found.append((file.name, said.partition('\n')[0]))
  assert not found


def test_the_linter_finds_nothing():
  """No name that is undefined, for one, in a branch that no test takes."""
  called = subprocess.run(
    [sys.executable, '-m', 'ruff', 'check', '--no-cache', ROOT],
    capture_output=True, text=True,
  )  # fmt: skip
  assert called.returncode == 0, called.stdout


def test_importing_seqjax_loads_neither_tfds_nor_matplotlib():
  """Heavy things load where they are used; ops load no Flax either."""
  code = """
import sys
import seqjax, seqjax.ops.attention, seqjax.ops.recurrence
assert 'flax' not in sys.modules
import seqjax.nn, seqjax.models, seqjax.tasks, seqjax.training, seqjax.results
import seqjax.results.plotting, seqjax.analysis.timing, seqjax.experiment
heavy = {'tensorflow_datasets', 'tensorflow', 'matplotlib', 'grain', 'torch'}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
  subprocess.run([sys.executable, '-c', code], check=True, timeout=600)


LAZY = """
import sys
import seqjax
assert not {name for name in sys.modules if name.startswith('seqjax.')}
assert 'jax' not in sys.modules
assert seqjax.nn.LSTM.__name__ == 'LSTM' and callable(seqjax.load_run)
assert seqjax.__version__[0].isdigit()
assert {'nn', 'tasks', 'load_run', '__version__'} <= set(dir(seqjax))
"""


def test_submodules_are_imported_when_they_are_first_used():
  """And `import seqjax` takes no time."""
  subprocess.run([sys.executable, '-c', LAZY], check=True)


def test_no_package_exports_what_a_module_of_it_is_called():
  """What reads the sources, as the API page does, would find the module."""
  for path in (ROOT / 'seqjax').rglob('__init__.py'):
    modules = {other.stem for other in path.parent.glob('[!_]*.py')}
    name = '.'.join(path.parent.relative_to(ROOT).parts)
    package = importlib.import_module(name)
    exported = {
      each
      for each in modules
      if not inspect.ismodule(getattr(package, each, importlib))
    }
    assert not exported, name


def test_every_room_is_an_attribute_of_seqjax():
  """An unknown one is an AttributeError with its name."""
  import seqjax

  assert set(ALLOWED) <= set(seqjax.__all__)
  for name in ALLOWED:
    assert getattr(seqjax, name).__name__ == f'seqjax.{name}'
  with pytest.raises(AttributeError, match="seqjax has no 'nm'"):
    seqjax.nm  # noqa: B018
  assert (ROOT / 'seqjax' / 'py.typed').exists()
