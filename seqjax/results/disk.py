"""Asks the disk: for space before a file is written, to have it after."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile

# A file system that cannot reserve space answers with one of these.
CANNOT_RESERVE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def check_space(folder: str | os.PathLike, num_bytes: int):
  """Raises OSError unless a folder's disk has room for so many bytes.

  They are reserved and let go of again, so that quotas and limits count too.
  """
  free = shutil.disk_usage(folder).free
  if free < num_bytes:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  if not hasattr(os, 'posix_fallocate'):
    return
  with tempfile.TemporaryFile(dir=folder) as file:
    try:
      os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
      if error.errno not in CANNOT_RESERVE:
        raise


def sync(path: str | os.PathLike):
  """Waits until a file, or a folder's list of names, is on the disk itself."""
  # Some systems cannot open a folder, and then have nothing to wait for.
  with contextlib.suppress(PermissionError, IsADirectoryError):
    descriptor = os.open(path, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def sync_tree(folder: str | os.PathLike):
  """Waits until all files below a folder, and their names, are on the disk."""
  for path in pathlib.Path(folder).rglob('*'):
    sync(path)
  sync(folder)
