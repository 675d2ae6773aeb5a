"""Describes the environment of a run: versions, device, precision, commit."""

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax

# Columns that `results.collate` puts into every row.
ENVIRONMENT_COLUMNS = ('device', 'cpus', 'jax', 'precision', 'commit')

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'seqjax')


def environment() -> dict[str, Any]:
  """Returns what numbers depend on: versions, device, precision, commit.

  `cpus` counts those this process may use; `precision` is the default float's,
  with jax's matmul precision; `commit` is that of the code imported here.
  """
  return {
    **{name: _version(name) for name in _PACKAGES},
    'python': platform.python_version(),
    'device': device_name(),
    'devices': jax.device_count(),
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
  """Returns the name of JAX's device; that of a CPU is its model's."""
  kind = jax.devices()[0].device_kind
  if kind != 'cpu':
    return kind
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    lines = []
  models = [line.split(':', 1)[1] for line in lines if 'model name' in line]
  return f'cpu {(models or [platform.machine()])[0].strip()}'


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


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'
