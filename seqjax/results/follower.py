"""Stands for records in a process that writes none, since another one does."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any


class FollowerRun:
  """Takes what `Run` takes, and writes nothing.

  Attributes:
    workdir: the folder that another process writes.
    config: as it was given.
    num_lines: the number of lines that were logged here: none.
  """

  def __init__(self, workdir: str | os.PathLike, config: Any):
    self.workdir, self.config = pathlib.Path(workdir), config
    self.num_lines = 0

  def begin(self):
    """Starts nothing."""

  def resume(self, step: Any):
    """Resumes nothing."""

  def log(self, step: Any, **metrics: Any):
    """Logs nothing."""

  def finish(self, **summary: Any) -> dict[str, Any]:
    """Returns the summary, without a time of its own."""
    return {**summary, 'time': 0.0}


class FollowerCheckpoints:
  """Takes what `Checkpoints` takes, and neither writes nor reads."""

  def would_keep(self, scores: Mapping[int, float]) -> list[int]:
    """Keeps none of these steps."""
    del scores
    return []

  def save(self, *state: Any, score: float | None = None):
    """Saves nothing."""

  def wait(self):
    """Has nothing to wait for."""
