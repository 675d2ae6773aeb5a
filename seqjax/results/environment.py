"""Describes the environment of a run: versions, machine, precision, commit."""

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from seqjax.results.processor import processor, short

# Columns that `results.collate` puts into every row.
ENVIRONMENT_COLUMNS = ('device', 'cpus', 'jax', 'precision', 'commit')

# Differ between two starts in one environment.
OF_A_START = ('created', 'command', 'step')

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'seqjax')


def environment() -> dict[str, Any]:
  """Returns what numbers depend on: versions, machine, precision, commit.

  `cpus` counts those this process may use; `cpu_...` are facts of their kind,
  see `processor`; `precision` is the default float's, with jax's matmul
  precision; `commit` is that of the code imported here.
  """
  return {
    **{name: version(name) for name in _PACKAGES},
    'python': platform.python_version(),
    'device': device_name(),
    'devices': jax.device_count(),
    **{f'cpu_{name}': value for name, value in processor().items()},
    'cpus': len(os.sched_getaffinity(0))
    if hasattr(os, 'sched_getaffinity')
    else os.cpu_count(),
    'precision': precision(),
    'commit': commit(pathlib.Path(__file__)),
    'created': datetime.datetime.now(datetime.UTC).isoformat(
      timespec='seconds'
    ),
    'command': sys.argv,
  }


@functools.cache
def device_name() -> str:
  """Returns the name of JAX's device; that of a CPU tells its kinds apart."""
  kind = jax.devices()[0].device_kind
  return kind if kind != 'cpu' else f'cpu {short(processor())}'


def precision() -> str:
  """Returns the default float and JAX's matmul precision, as text."""
  wide = jax.config.jax_enable_x64
  matmul = jax.config.jax_default_matmul_precision or 'default'
  return f'{"float64" if wide else "float32"} (matmul {matmul})'


@functools.cache
def commit(path: pathlib.Path) -> str:
  """Returns the git commit that a source file belongs to, or 'unknown'.

  '-dirty' is added where Python files differ from that commit: tables and
  figures that an experiment rewrites do not change what ran.
  """

  def git(*arguments):
    return subprocess.run(
      ['git', '-C', str(path.parent), *arguments],
      capture_output=True,
      text=True,
      check=True,
      timeout=20,
    ).stdout.strip()

  try:
    # An installed copy may lie inside somebody else's repository.
    git('ls-files', '--error-unmatch', path.name)
    head = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '-uno', '--', ':(top)*.py')
  except (OSError, subprocess.SubprocessError):
    return 'unknown'
  return head + '-dirty' * bool(changed)


def begun(
  environments: Sequence[Mapping[str, Any]], step: int
) -> list[dict[str, Any]]:
  """Returns a run's environments, with this one if it begins at `step`.

  Those that began at `step` or later give way, since their steps come again. A
  start in the environment of the last one adds nothing.
  """
  kept = [dict(known) for known in environments if known.get('step', 0) < step]
  new = {**environment(), 'step': step}
  same = kept and _lasting(kept[-1]) == _lasting(new)
  return kept if same else [*kept, new]


def columns(environments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns ENVIRONMENT_COLUMNS of a run; 'a then b' where they changed."""
  return {
    name: _in_turn([known.get(name, 'unknown') for known in environments])
    for name in ENVIRONMENT_COLUMNS
  }


def _in_turn(values: Sequence[Any]) -> Any:
  values = [v for i, v in enumerate(values) if i == 0 or v != values[i - 1]]
  return values[0] if len(values) == 1 else ' then '.join(map(str, values))


def _lasting(known: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in known.items() if k not in OF_A_START}


def version(package: str) -> str:
  """Returns the version of a package; 'unknown' where none is installed."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'
