"""Keeps compiled programs, so that a command begins sooner the next time."""

import contextlib
import hashlib
import os
import pathlib
import platform
import time
from collections.abc import MutableMapping

import jax

MOST_BYTES = 2 * 2**30  # of programs that are kept
STAMP, SECONDS = 'looked-at', 3600  # a file, whose time says when that was
CPUINFO = pathlib.Path('/proc/cpuinfo')
# Those of JAX's settings that say where it keeps what, for children, too.
FOLDER = 'JAX_COMPILATION_CACHE_DIR'
SHORTEST = 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'


def keep(environment: MutableMapping[str, str] = os.environ):
  """Makes this process and its children keep what they compile.

  In the user's cache folder, $XDG_CACHE_HOME or ~/.cache, by kind of processor:
  a program for one of them may crash on another. Programs that take less than
  the second of JAX's default are kept too, for there are many of them. Where
  the kept ones exceed MOST_BYTES, those used least recently are deleted.

  Nothing changes where the user has chosen a folder, by that variable or by
  --jax_compilation_cache_dir, or where the folder cannot be written.
  """
  if FOLDER in environment or jax.config.jax_compilation_cache_dir:
    return
  try:
    folder = _user_folder(environment) / 'seqjax' / 'jax' / _processor()
    # JAX runs what it finds there: nobody else may write to it.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
  except (OSError, RuntimeError):  # no home, or none that can be written
    return
  if not os.access(folder, os.W_OK):
    return
  with contextlib.suppress(OSError):
    shrink(folder)
  environment[FOLDER] = str(folder)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  if SHORTEST not in environment:
    environment[SHORTEST] = '0'
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)


def shrink(folder: pathlib.Path, most_bytes: int = MOST_BYTES):
  """Deletes files used least recently, to half of what a folder may hold.

  Where it holds no more than that, nothing is deleted. It is looked at once in
  an hour, since a folder of the network takes long to list.
  """
  stamp = folder / STAMP
  if stamp.exists() and time.time() - stamp.stat().st_mtime < SECONDS:
    return
  stamp.touch()
  files = [(path, about) for path, about in _files(folder) if path != stamp]
  left = sum(about.st_size for _, about in files)
  if left <= most_bytes:
    return
  # Where access is not recorded, a file counts as used when it was written.
  files.sort(key=lambda file: max(file[1].st_atime, file[1].st_mtime))
  for path, about in files:
    if left <= most_bytes // 2:
      return
    path.unlink(missing_ok=True)
    left -= about.st_size


def _files(folder: pathlib.Path) -> list[tuple[pathlib.Path, os.stat_result]]:
  """Lists what other processes have not deleted meanwhile."""
  found = []
  for entry in os.scandir(folder):
    with contextlib.suppress(FileNotFoundError):
      found.append((pathlib.Path(entry.path), entry.stat()))
  return found


def _user_folder(environment) -> pathlib.Path:
  """Returns the folder of caches; the XDG rules ignore relative paths."""
  named = pathlib.Path(environment.get('XDG_CACHE_HOME', ''))
  return named if named.is_absolute() else pathlib.Path('~/.cache').expanduser()


def _processor() -> str:
  """Returns a name that processors share which run the same programs."""
  try:
    lines = CPUINFO.read_text().splitlines()
  except OSError:
    lines = []
  kinds = {line for line in lines if line.startswith(('flags', 'Features'))}
  text = '\n'.join(sorted(kinds)) or platform.processor()
  return f'{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}'
