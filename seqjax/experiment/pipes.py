"""Ends a program without a traceback where nobody reads its output any more."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import Any

UNREAD = 1  # the exit code, as in the documentation of Python's module signal
HUNG_UP = getattr(select, 'POLLERR', 0) | getattr(select, 'POLLHUP', 0)


@contextlib.contextmanager
def ended_quietly() -> Iterator[None]:
  """Ends the process with exit code 1 if a reader has closed its pipe.

  As `head` does in `seqjax-train --help | head`. SIGPIPE is left as it is,
  since a program with its default action would die of any other connection
  that is closed, too.
  """
  try:
    try:
      yield
    finally:
      sys.stdout.flush()  # at exit the interpreter would print the exception
  except BrokenPipeError:
    closed = unread()
    if not closed:
      raise
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in closed:  # so that the interpreter can flush them at exit
      os.dup2(nowhere, stream.fileno())
    sys.exit(UNREAD)


def unread() -> list[Any]:
  """Returns the streams, of stdout and stderr, whose pipe nobody reads."""
  return [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]


def _is_unread(stream: Any) -> bool:
  """Tells if the reader of a stream's pipe has closed it."""
  if not hasattr(select, 'poll'):  # on Windows
    return stream is sys.stdout
  try:
    asked = select.poll()
    asked.register(stream.fileno(), 0)
  except (AttributeError, OSError, ValueError):  # it is no file
    return False
  return any(event & HUNG_UP for _, event in asked.poll(0))
