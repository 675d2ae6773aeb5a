"""Where the time of a run goes."""

import os
import pathlib

import jax

FOLDER = 'profile'


class Profile:
  """A trace of a few intervals by jax.profiler, in `workdir`/profile.

      with Profile(workdir) as profile:
        for state, metrics in training.train(...):
          profile.update()

  TensorBoard's profile plugin and Perfetto show it. The first interval is left
  out, for it compiles.
  """

  def __init__(self, workdir: str | os.PathLike, intervals: int = 3):
    self.folder = pathlib.Path(workdir) / FOLDER
    self._intervals, self._ended, self._tracing = intervals, 0, False

  def __enter__(self) -> 'Profile':
    return self

  def __exit__(self, *error):
    self._stop()

  def update(self):
    """An interval has ended."""
    self._ended += 1
    if self._ended == 1:
      jax.profiler.start_trace(self.folder)
      self._tracing = True
    elif self._ended > self._intervals:
      self._stop()

  def _stop(self):
    if self._tracing:
      jax.profiler.stop_trace()
      self._tracing = False
