"""Names for the tasks: TASKS[name](**options)."""

from seqjax.tasks.synthetic.recall import Recall

TASKS = {
  'recall': Recall,
}
