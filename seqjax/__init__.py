"""seqjax: sequence models in JAX and Flax under one protocol.

`seqjax.ops` has the formulas, `seqjax.nn` the layers, `seqjax.models` whole
networks, `seqjax.tasks` questions with known answers, `seqjax.training` the
loop, `seqjax.analysis` the measurements, `seqjax.results` what is kept of them.
Each is imported when it is first used:

    import seqjax
    layer = seqjax.nn.LSTM(features=64)
    run = seqjax.load_run('runs/train')
"""

import importlib
import importlib.metadata
from typing import Any

_SUBMODULES = (
  'analysis',
  'cli',
  'data',
  'errors',
  'experiment',
  'frozen',
  'launch',
  'models',
  'nn',
  'ops',
  'results',
  'tasks',
  'testing',
  'training',
  'typing',
)
_ELSEWHERE = {
  'load_parameters': 'seqjax.cli.parameters',
  'load_run': 'seqjax.cli.trained',
  'save_parameters': 'seqjax.cli.parameters',
}

__all__ = ['__version__', *_ELSEWHERE, *_SUBMODULES]


def __getattr__(name: str) -> Any:
  """Imports a submodule, or what has its name here, when it is first used."""
  if name in _SUBMODULES:
    return importlib.import_module(f'seqjax.{name}')
  if name in _ELSEWHERE:
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)
  if name == '__version__':
    return _version()
  raise AttributeError(f'seqjax has no {name!r}.')


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})


def _version() -> str:
  """Returns the version that is installed, 'unknown' of a bare checkout."""
  try:
    return importlib.metadata.version('seqjax')
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'
