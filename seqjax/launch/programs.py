"""Programs that other processes can import: a `Config` and a `run`."""

import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from seqjax.experiment import without_seed_and_rate


class Program:
  """A program's `run(config, workdir)`, which other processes can unpickle.

  One that has a `check(config)` is asked before anything runs.

  Attributes:
    source: the module's dotted name, or the path of a file that ends in '.py'.

  Raises:
    ValueError: there is no such program, or it has no `Config` and `run`.
  """

  def __init__(self, source: str):
    self.source = source
    self.module = _load(source)

  def __call__(self, config: Any, workdir: str) -> Any:
    return self.module.run(config, workdir)

  def check(self, configs: Iterable[Any]):
    """Raises ValueError for the first config that the program refuses."""
    check(self.module, configs)

  def __reduce__(self):
    # Unpickling imports the module, so that configs sent later are known.
    return Program, (self.source,)


def check(module: ModuleType, configs: Iterable[Any]):
  """Calls the module's `check`, if it has one, on configs that differ.

  Configs that differ in seed and learning rate alone are refused alike.
  """
  refuse = getattr(module, 'check', lambda config: None)
  for config in dict.fromkeys(map(without_seed_and_rate, configs)):
    refuse(config)


def _load(source: str) -> ModuleType:
  module = _from_file(source) if source.endswith('.py') else _by_name(source)
  if not hasattr(module, 'Config') or not hasattr(module, 'run'):
    raise ValueError(
      f'A program has a Config and a run(config, workdir), but {source!r} has '
      'not.'
    )
  return module


def _by_name(name: str) -> ModuleType:
  if not name:
    raise ValueError('Name a module to run, as seqjax.cli.train.')
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
      raise
    raise ValueError(
      f'There is no module {name!r}: name one that can be imported, as '
      'seqjax.cli.train, or the path of a file that ends in .py. A module of '
      'the current folder needs python -m seqjax.cli.sweep.'
    ) from error


def _from_file(source: str) -> ModuleType:
  """Imports a file under its own name, by which configs are pickled."""
  path, name = pathlib.Path(source).absolute(), pathlib.Path(source).stem
  if not path.is_file():
    raise ValueError(f'There is no file {source!r}.')
  known = sys.modules.get(name)
  if known is not None and getattr(known, '__file__', None) == str(path):
    return known
  taken = known or importlib.util.find_spec(name)
  spec = importlib.util.spec_from_file_location(name, path)
  origin = getattr(getattr(taken, '__spec__', taken), 'origin', None)
  if spec is None or (taken and origin != str(path)):
    raise ValueError(
      f'{source!r} has the name of another module, {origin}; give it another '
      'name.'
    )
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[name]
    raise
  return module
