"""Ends runs early: by SIGTERM, or when scores stop improving."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

PREEMPTED = 75  # EX_TEMPFAIL: the same command resumes


class Preempted(Exception):
  """A run that SIGTERM stopped; it is saved, and can be resumed."""


@contextlib.contextmanager
def sigterm() -> Iterator[threading.Event]:
  """Yields an event that SIGTERM sets, instead of ending the process at once.

  Signals reach a process's main thread alone: in another one it is never set.
  """
  preempted = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield preempted
    return
  before = signal.signal(signal.SIGTERM, lambda *_: preempted.set())
  try:
    yield preempted
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class Pace:
  """A number of steps that takes about so many seconds, by the latest ones.

      pace = Pace(5.0)
      for state, metrics in training.train(..., pause=pace):
        pace.reached(state.step)

  The first step, which is compiled, is one alone.
  """

  def __init__(self, seconds: float):
    self._seconds, self._size = seconds, 1

  def __call__(self, step: int) -> int:
    """Returns the step at which to pause next, after this one."""
    self._began, self._step = time.monotonic(), step
    return step + self._size

  def reached(self, step: Any):
    """Counts these steps: at most ten times as many come next."""
    taken = max(time.monotonic() - self._began, 1e-9)
    done = int(step) - self._step
    self._size = max(1, min(10 * done, int(done * self._seconds / taken)))


class Patience(NamedTuple):
  """A best score, and the number of evaluations since then."""

  best: float = -math.inf
  waited: int = 0

  def after(self, score: float) -> 'Patience':
    """Returns the state after an evaluation; greater scores are better."""
    if score > self.best:
      return Patience(score, 0)
    return self._replace(waited=self.waited + 1)

  def is_over(self, patience: int) -> bool:
    """Checks for `patience` evaluations in a row without gain; 0: never."""
    return 0 < patience <= self.waited
