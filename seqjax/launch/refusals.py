"""Turns bad input of a program into one sentence and exit code 2."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def refusals() -> Iterator[None]:
  """Prints a ValueError or OSError to standard error and exits with code 2.

  with refusals():
    check(config)

  @refusals()
  def run(config, workdir): ...
  """
  try:
    yield
  except (ValueError, OSError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
