"""When a run ends before its last step: it is asked to, or gains no more."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

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


class Pace:
  """How many steps take about so many seconds, going by the last ones.

      pace = Pace(5.0)
      for state, metrics in training.train(..., pause=pace):
        pace.reached(state.step)

  The first step, which is compiled, is one alone.
  """

  def __init__(self, seconds: float):
    self._seconds, self._size = seconds, 1

  def __call__(self, step: int) -> int:
    """To which step to go from this one."""
    self._began, self._step = time.monotonic(), step
    return step + self._size

  def reached(self, step: Any):
    """Counts these steps: at most ten times as many come next."""
    taken = max(time.monotonic() - self._began, 1e-9)
    done = int(step) - self._step
    self._size = max(1, min(10 * done, int(done * self._seconds / taken)))


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
