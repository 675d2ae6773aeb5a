"""Locks a run's folder: one process writes into it at a time."""

import contextlib
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import IO, Any

try:
  import fcntl
except ImportError:  # this system has none
  fcntl = None

FILE = 'lock.json'
POLL = 0.05  # seconds between two looks at a lock


class Locked(ValueError):
  """Another process writes into the folder."""


@contextlib.contextmanager
def held(
  folder: str | os.PathLike, name: str = FILE, wait: float = 0.0
) -> Iterator[None]:
  """Holds a lock of a folder that exists.

  The system lets go of the lock when a process ends, however it ends, so that
  the file of a process that was killed is recognised as left over. Where the
  file system has no locks, the process is looked for instead.

  Args:
    folder: what is locked.
    name: of the lock's file in it.
    wait: seconds to wait for another process to let go.

  Raises:
    Locked: another process holds it; the sentence names its host and process.
    OSError: the file cannot be written.
  """
  path = pathlib.Path(folder) / name
  with _waited_for(path, time.monotonic() + wait) as file:
    owner = {'host': socket.gethostname(), 'process': os.getpid()}
    file.truncate(0)
    file.write(json.dumps(owner).encode())
    file.flush()
    try:
      yield
    finally:
      with contextlib.suppress(OSError):
        path.unlink()


def _waited_for(path: pathlib.Path, until: float) -> IO[bytes]:
  """Opens the file with its lock held, as soon as nobody else has it."""
  while True:
    try:
      return _acquired(path)
    except Locked:
      if time.monotonic() >= until:
        raise
      time.sleep(POLL)


def _acquired(path: pathlib.Path) -> IO[bytes]:
  """Opens the file with its lock held; closing it lets go."""
  while True:
    file = open(path, 'ab+')
    try:
      _acquire(file, path)
      if _is_still_there(file, path):
        return file
    except BaseException:
      file.close()
      raise
    file.close()  # its holder removed it, and the next one made another


def _acquire(file: IO[bytes], path: pathlib.Path):
  """Raises Locked if another process has the lock, else takes it."""
  try:
    if fcntl is not None:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return
  except BlockingIOError as error:
    raise Locked(_sentence(path, _owner(file))) from error
  except OSError:
    pass  # the file system has no locks
  owner = _owner(file)
  if owner and not _has_ended(owner):
    raise Locked(_sentence(path, owner))


def _is_still_there(file: IO[bytes], path: pathlib.Path) -> bool:
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False


def _owner(file: IO[bytes]) -> dict[str, Any]:
  """Returns the host and the process in the file, or {} if it has none."""
  file.seek(0)
  try:
    owner = json.loads(file.read())
  except ValueError:
    return {}
  return owner if isinstance(owner, dict) else {}


def _has_ended(owner: dict[str, Any]) -> bool:
  """Tells if a process of this host has ended; not known of other hosts."""
  if owner.get('host') != socket.gethostname():
    return False
  try:
    os.kill(int(owner.get('process', 0)), 0)
  except ProcessLookupError:
    return True
  except (OSError, TypeError, ValueError):
    return False
  return False


def _sentence(path: pathlib.Path, owner: dict[str, Any]) -> str:
  process = owner.get('process', 'unknown')
  host = owner.get('host', 'unknown')
  return (
    f'Process {process} on host {host} is writing into {str(path.parent)!r}: '
    'wait until it has ended, or choose another workdir. If there is no such '
    f'process, delete {str(path)!r}.'
  )
