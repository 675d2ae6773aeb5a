"""Sets the environment of measuring and training processes on a Linux CPU.

Huge pages and an allocator that keeps its memory: fresh pages of 4 KiB can cost
more than the arithmetic on them. glibc and XLA read these once, at the start of
a process, so they are set for child processes, and only where the user has not
set the same thing.
"""

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping

TUNABLES = {
  'glibc.malloc.hugetlb': '1',
  'glibc.malloc.mmap_max': '0',
  'glibc.malloc.trim_threshold': '17179869184',
  'glibc.malloc.top_pad': '268435456',
}
FLAGS = {'--xla_cpu_prefer_vector_width': '512'}


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables to set beside those there are; {} elsewhere."""
  if platform.system() != 'Linux' or shutil.which('nvidia-smi'):
    return {}
  return {
    'GLIBC_TUNABLES': _append(
      environment.get('GLIBC_TUNABLES', ''), TUNABLES, ':'
    ),
    'XLA_FLAGS': _append(environment.get('XLA_FLAGS', ''), FLAGS, ' '),
  }


def without(environment: Mapping[str, str]) -> dict[str, str]:
  """Returns all variables less the settings that `for_children` adds."""
  left = dict(environment)
  for name, settings, separator in (
    ('GLIBC_TUNABLES', TUNABLES, ':'),
    ('XLA_FLAGS', FLAGS, ' '),
  ):
    ours = {f'{k}={v}' for k, v in settings.items()}
    parts = left.pop(name, '').split(separator)
    if kept := [part for part in parts if part and part not in ours]:
      left[name] = separator.join(kept)
  return left


@contextlib.contextmanager
def applied() -> Iterator[None]:
  """Sets them for the processes that are started inside."""
  before = dict(os.environ)
  apply()
  try:
    yield
  finally:
    for name in for_children(before):
      if name in before:
        os.environ[name] = before[name]
      else:
        del os.environ[name]


def apply():
  """Sets them for every process that is started from here on."""
  os.environ.update(for_children(os.environ))


def restart():
  """Starts this program again with them, unless they are set already."""
  wanted = for_children(os.environ)
  if any(os.environ.get(name) != value for name, value in wanted.items()):
    apply()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _append(given: str, settings: Mapping[str, str], separator: str) -> str:
  """Appends settings to those given; a name that is given keeps its value."""
  parts = [part for part in given.split(separator) if part]
  names = {part.partition('=')[0] for part in parts}
  parts += [f'{k}={v}' for k, v in settings.items() if k not in names]
  return separator.join(parts)
