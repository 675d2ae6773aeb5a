"""The TFDS builder of evaluation sets; imported only where TFDS is used."""

import jax
import numpy as np
import tensorflow_datasets as tfds

from seqjax.frozen.expected import BATCH_SIZE, VERSION, columns_of
from seqjax.tasks.catalog import TASKS
from seqjax.tasks.task import Task
from seqjax.typing import SPLITS, Batch

NUM_EXAMPLES = 1024  # of each split


class FrozenTaskConfig(tfds.core.BuilderConfig):
  """A task, and the name of its evaluation set."""

  def __init__(self, name: str, task: Task):
    super().__init__(name=name, description=repr(task))
    self.task = task


class FrozenTasks(tfds.core.GeneratorBasedBuilder):
  """Evaluation sets of seqjax's tasks, one config per task.

  All tasks of the catalogue that are sampled, not read, with their defaults. An
  example is a row of a batch: its inputs, targets and weights, and segments and
  group where the task has them, in the order in which `batch` samples them.
  """

  VERSION = tfds.core.Version(VERSION)
  BUILDER_CONFIGS = [
    FrozenTaskConfig(name, task)
    for name, task in ((name, make()) for name, make in TASKS.items())
    if task.on_device
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    example = rows(self._batch('validation', 0))[0]
    features = {
      name: tfds.features.Tensor(shape=leaf.shape, dtype=leaf.dtype)
      for name, leaf in example.items()
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description='Evaluation sets of the tasks of seqjax.',
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {split: self._generate_examples(split) for split in SPLITS[1:]}

  def _generate_examples(self, split):
    for step in range(NUM_EXAMPLES // BATCH_SIZE):
      for i, row in enumerate(rows(self._batch(split, step))):
        yield step * BATCH_SIZE + i, row

  def _batch(self, split, step) -> Batch:
    task = self.builder_config.task
    return task.batch(jax.random.key(0), step, BATCH_SIZE, split)


def rows(batch: Batch) -> list[dict[str, np.ndarray]]:
  """Splits a batch into flat examples: 'inputs', 'segments.valid', ..."""
  leaves, size = columns_of(batch), len(batch.weights)
  return [{name: leaf[i] for name, leaf in leaves.items()} for i in range(size)]
