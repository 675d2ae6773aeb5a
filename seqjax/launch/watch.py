"""What a person sees of a run while it goes on."""

import contextlib
import os
from typing import Any

from seqjax.launch.profile import Profile
from seqjax.launch.progress import Progress
from seqjax.launch.tensorboard import TensorBoard


class Watch(contextlib.ExitStack):
  """A line of progress; files for TensorBoard and a trace where asked for.

      with Watch(workdir, total_steps, tokens) as watch:
        watch.update(step, loss=loss)

  `step` is where a run goes on; the others are as in `Progress`, `TensorBoard`
  and `Profile`.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    total_steps: int,
    tokens: int,
    step: int = 0,
    *,
    tensorboard: bool = False,
    profile: bool = False,
  ):
    super().__init__()
    self._progress = self.enter_context(Progress(total_steps, tokens, step))
    self._board = self._profile = None
    if tensorboard:
      self._board = self.enter_context(TensorBoard(workdir, step))
    if profile:
      self._profile = self.enter_context(Profile(workdir))

  def update(self, step: Any, **metrics: Any):
    """An interval has ended at `step`; `loss` is among its metrics."""
    self._progress.update(step, metrics['loss'])
    if self._board is not None:
      self._board.log(step, **metrics)
    if self._profile is not None:
      self._profile.update()
