"""Shares what tasks of a researcher's own arrays have in common."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Shaped

from seqjax.ops import losses
from seqjax.tasks.task import BaseTask, Metric
from seqjax.typing import Array, Batch

IGNORED = -100  # the label that PyTorch's losses ignore


class OwnData(BaseTask):
  """Loss and score of tasks whose targets are labels or values."""

  on_device: ClassVar[bool] = False
  ceiling: ClassVar[None] = None
  reference: ClassVar[str] = 'your own'

  @property
  def metric(self) -> Metric:
    values = self.output.vocab is None
    return Metric.SQUARED_ERROR if values else Metric.ACCURACY

  def loss(self, outputs: Array, batch: Batch) -> Float[Array, '']:
    if self.output.vocab is None:
      return losses.weighted_mean(*self.score(outputs, batch))
    return losses.cross_entropy(outputs, batch.targets, batch.weights)

  def score(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Returns 1 for each right label, else 0; of values the squared error."""
    score = losses.accuracy
    if self.output.vocab is None:
      score = losses.squared_error
    return score(outputs, batch.targets, batch.weights)


def are_labels(array: np.ndarray) -> bool:
  """Tells tokens and labels from values."""
  return np.issubdtype(array.dtype, np.integer) or array.dtype == bool


def as_numbers(array: Shaped[np.ndarray, '...']) -> Shaped[np.ndarray, '...']:
  """Returns integers as int32, other numbers as float32; masks stay."""
  if array.dtype == bool:
    return array
  return array.astype(np.int32 if are_labels(array) else np.float32)
