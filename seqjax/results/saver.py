"""Saves a run's states by the clock, and the best ones without fail."""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from seqjax.results.checkpoint import Checkpoints


class _Held(NamedTuple):
  """A state that is not saved yet, as `Checkpoints.save` takes it."""

  step: int
  state: Any
  extra: Mapping[str, Any]
  score: float


class Saver:
  """Saves every so many seconds, and whatever was best in between.

      saver.offer(step, state, extra, score)  # after an evaluation
      saver.save_when_due(step, state, extra)
      saver.save(step, state, extra)  # at the end

  States that are among the best are held, where they are, until they are saved
  in place of later ones: with a state, all that was best before it is on disk.
  One is written at a time, none before its time: to keep the best costs memory,
  that of as many states, but no more time than to keep the newest.
  """

  def __init__(self, checkpoints: Checkpoints, seconds: float):
    self._checkpoints, self._seconds = checkpoints, seconds
    self._saved = time.monotonic()
    self._held: list[_Held] = []
    self._newest = -1
    self._last: tuple[Any, Any, Mapping[str, Any]] | None = None

  def offer(
    self,
    step: Any,
    state: Any,
    extra: Mapping[str, Any],
    score: float | None,
  ):
    """Holds a state if its score is among the best so far; NaN never is."""
    self._last = step, state, extra
    if score is None or math.isnan(score):
      return
    held = [*self._held, _Held(int(step), state, extra, score)]
    kept = self._checkpoints.would_keep({x.step: x.score for x in held})
    self._held = [x for x in held if x.step in kept]

  def is_due(self) -> bool:
    """Tells whether it is time to save."""
    return time.monotonic() - self._saved >= self._seconds

  def save_when_due(self, step: Any, state: Any, extra: Mapping[str, Any]):
    """Saves the first state that is held, else this one, if it is time."""
    if not self.is_due():
      return
    if self._held:
      self._write(*self._held.pop(0))
    else:
      self._write(step, state, extra)
    self._saved = time.monotonic()

  def save(self, step: Any, state: Any, extra: Mapping[str, Any]):
    """Saves what is held, and this state unless it has been."""
    while self._held:
      self._write(*self._held.pop(0))
    if self._newest < int(step):
      self._write(step, state, extra)

  def save_last(self):
    """Saves the state that was offered last, if there was one."""
    if self._last is not None:
      self.save(*self._last)

  def _write(self, step, *parts):
    self._checkpoints.save(step, *parts)
    self._newest = int(step)
