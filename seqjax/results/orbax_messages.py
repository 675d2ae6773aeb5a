"""Silences what Orbax's threads print: failures are exceptions here."""

import functools
import logging
import os
import sys


@functools.cache
def silence():
  """Drops the log messages and tracebacks of Orbax's threads, from now on.

  When one of many reads or writes has failed, Orbax raises that and closes the
  loop that the others report to. Each of them prints a traceback when it ends,
  which may be later than anybody waits.
  """
  logging.getLogger('absl').addFilter(_not_of_orbax)
  logging.getLogger('asyncio').addFilter(_not_of_storage)
  sys.unraisablehook = functools.partial(_unless_closed, sys.unraisablehook)


def _not_of_orbax(record: logging.LogRecord) -> bool:
  return f'{os.sep}orbax{os.sep}' not in record.pathname


def _not_of_storage(record: logging.LogRecord) -> bool:
  """Drops the exceptions of TensorStore, which Orbax reads and writes with."""
  error = record.exc_info[1] if record.exc_info else None
  return 'tensorstore_spec' not in str(error)


def _unless_closed(hook, unraisable):
  """Calls the hook of lost exceptions, but for loops that are closed."""
  if str(unraisable.exc_value) != 'Event loop is closed':
    hook(unraisable)
