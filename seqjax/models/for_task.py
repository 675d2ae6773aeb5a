"""The network for a task, from what the task says of its inputs and outputs."""

from typing import Any

import flax.linen as nn

from seqjax.models.classifier import Classifier
from seqjax.models.seq2seq import Seq2Seq
from seqjax.models.sequence_model import SequenceModel
from seqjax.nn.mixer import SequenceLayer
from seqjax.typing import TaskShape


def model_for(
  task: Any, mixers: tuple[SequenceLayer, ...], **options: Any
) -> nn.Module:
  """Builds the model for a task: a classifier, Seq2Seq or SequenceModel.

  Args:
    task: has `shape`, `input` and `output`; see `seqjax.tasks.Task`.
    mixers: one per layer; of an encoder-decoder, one per layer of each.
    options: fields of the model: `Classifier` for x-to-one tasks, `Seq2Seq` for
      unaligned ones, `SequenceModel` for the others.

  Example:
    >>> from seqjax import nn
    >>> from seqjax.models import model_for
    >>> from seqjax.tasks import TASKS
    >>> type(model_for(TASKS['recall'](), (nn.LSTM(8),))).__name__
    'SequenceModel'
    >>> type(model_for(TASKS['parity'](), (nn.LSTM(8),))).__name__
    'Classifier'
  """
  if task.shape in (TaskShape.ONE_TO_ONE, TaskShape.MANY_TO_ONE):
    return Classifier(task.input, task.output, mixers, **options)
  if task.shape is TaskShape.MANY_TO_MANY_UNALIGNED:
    return Seq2Seq(task.input, task.output, mixers, mixers, **options)
  return SequenceModel(task.input, task.output, mixers, **options)
