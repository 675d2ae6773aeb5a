"""Does work in threads before it is needed."""

import concurrent.futures
from collections.abc import Callable


class Ahead:
  """Runs functions in two threads, in order, while the program goes on.

  For work that leaves the interpreter free, as compiling does. Work that fails
  is as good as work that was not begun: the program does it again itself, and
  meets the error there.
  """

  def __init__(self, **work: Callable[[], object]):
    self._pool = concurrent.futures.ThreadPoolExecutor(2)
    self._begun = {k: self._pool.submit(v) for k, v in work.items()}

  def __enter__(self) -> 'Ahead':
    return self

  def __exit__(self, kind, *error):
    # After an error nobody needs the work: its sentence is not waited for.
    self._pool.shutdown(wait=kind is None, cancel_futures=True)

  def wait(self, name: str):
    """Waits for the work of that name, where there is some, to end."""
    if name in self._begun:
      concurrent.futures.wait([self._begun[name]])
