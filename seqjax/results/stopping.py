"""When a run ends before its last step: it is asked to, or gains no more."""

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from typing import NamedTuple

PREEMPTED = 75  # EX_TEMPFAIL: the same command again goes on


class Preempted(Exception):
  """The process was asked to end; its run is saved, and can go on."""


@contextlib.contextmanager
def sigterm() -> Iterator[threading.Event]:
  """An event that SIGTERM sets, instead of ending the process at once.

  Signals reach a process's main thread alone: in another one it is never set.
  """
  asked = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield asked
    return
  before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
  try:
    yield asked
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class Patience(NamedTuple):
  """The best score so far, and how many evaluations have not reached above."""

  best: float = -math.inf
  waited: int = 0

  def after(self, score: float) -> 'Patience':
    """The state after an evaluation; the greater a score the better."""
    if score > self.best:
      return Patience(score, 0)
    return self._replace(waited=self.waited + 1)

  def is_over(self, patience: int) -> bool:
    """Whether `patience` evaluations in a row were no gain; 0: never."""
    return 0 < patience <= self.waited
