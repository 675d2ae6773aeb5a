"""Sources of batches: pure functions of (key, step), with exact chance."""

from seqjax.tasks.array_task import ArrayTask
from seqjax.tasks.catalog import TASKS
from seqjax.tasks.iterator_task import IteratorTask
from seqjax.tasks.synthetic.recall import Recall
from seqjax.tasks.task import (
  Classification,
  Language,
  Metric,
  Regression,
  Task,
  split_key,
)
from seqjax.typing import SPLITS, TaskShape

__all__ = [
  'SPLITS',
  'TASKS',
  'ArrayTask',
  'Classification',
  'IteratorTask',
  'Language',
  'Metric',
  'Recall',
  'Regression',
  'Task',
  'TaskShape',
  'split_key',
]
