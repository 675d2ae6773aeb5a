"""Where batches come from: pure functions of (key, step), with exact chance."""

from seqjax.tasks.catalog import TASKS
from seqjax.tasks.synthetic.recall import Recall
from seqjax.tasks.task import SPLITS, Task, TaskShape, split_key

__all__ = [
  'SPLITS',
  'TASKS',
  'Recall',
  'Task',
  'TaskShape',
  'split_key',
]
