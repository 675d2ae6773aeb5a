"""The metrics of a run, for TensorBoard as well."""

import os
import pathlib
from typing import Any

from seqjax.results.run import scalar


class TensorBoard:
  """Writes what `Run.log` is given into `workdir`/tensorboard.

      with TensorBoard(workdir) as board:
        board.log(step, loss=loss)

  Attributes:
    step: where the run begins; of one that goes on, what was written beyond it
      is no longer shown.

  Raises:
    ValueError: tensorboardX is not installed.
  """

  def __init__(self, workdir: str | os.PathLike, step: int = 0):
    try:
      import tensorboardX
    except ImportError as error:
      raise ValueError(
        'Files for TensorBoard are written by tensorboardX, which is not '
        "installed: pip install 'seqjax[tensorboard]', or leave it out."
      ) from error
    folder = pathlib.Path(workdir) / 'tensorboard'
    purge = step + 1 if step else None
    self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=purge)

  def __enter__(self) -> 'TensorBoard':
    return self

  def __exit__(self, *error):
    self._writer.close()

  def log(self, step: Any, **metrics: Any):
    """Numbers, or arrays that hold one; others are left out."""
    step = scalar(step, 'step')
    for name, value in metrics.items():
      value = scalar(value, f'metric {name!r}')
      if isinstance(value, (int, float)):
        self._writer.add_scalar(name, value, step)
