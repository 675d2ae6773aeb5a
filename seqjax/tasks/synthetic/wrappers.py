"""Tasks made from tasks: fewer examples, or another order of positions."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Float, Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic.motifs import HierarchicalMotifs
from seqjax.tasks.task import BaseTask, Metric, Task, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class _Wrapper(BaseTask):
  """A task around another one; all but the batches is that task's."""

  task: Task = HierarchicalMotifs()

  def __post_init__(self):
    if not hasattr(type(self.task), 'batch'):
      raise ValueError(
        f'{type(self).__name__} wraps a task, but {self.task!r} was given.'
      )
    if not self.task.on_device:
      raise ValueError(
        f'{type(self).__name__} wraps a task that samples its batches on the '
        f'device, but {self.task} does not.'
      )

  @property
  def input(self) -> Spec:
    return self.task.input

  @property
  def output(self) -> Spec:
    return self.task.output

  @property
  def shape(self) -> TaskShape:
    return self.task.shape

  @property
  def metric(self) -> Metric:
    return self.task.metric

  @property
  def chance(self) -> float | None:
    return self.task.chance

  @property
  def ceiling(self) -> float | None:
    return self.task.ceiling

  def loss(self, outputs: Array, batch: Batch) -> Float[Array, '']:
    return self.task.loss(outputs, batch)

  def score(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    return self.task.score(outputs, batch)


@dataclasses.dataclass(frozen=True)
class FixedTrainingSet(_Wrapper):
  """Another task with a fixed number of training examples.

  With recall at lag 5 and a set of two, which make four rows:

      inputs   3  9 14  8 12 16     5 11  8 15 10 16
      targets  -  -  -  -  -  3     -  -  -  -  -  5     (- has weight 0)

      inputs   3  9 14  8 12 16     3  9 14  8 12 16
      targets  -  -  -  -  -  3     -  -  -  -  -  3

  The set depends on `seed` alone, or is another one for every run; the key of
  a run decides the order, with replacement. Validation and test, and with them
  chance and ceiling, are those of the wrapped task.

  Attributes:
    task: any task that samples its batches on the device.
    num_examples: the number of different training examples.
    seed: fixes them; None: the key of a run does.
  """

  num_examples: int = 1024
  seed: int | None = 0

  traced: ClassVar[tuple[str, ...]] = ('num_examples',)

  def __post_init__(self):
    super().__post_init__()
    at_least(self, num_examples=1)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    if split != 'train':
      return self.task.batch(key, step, batch_size, split)
    order_key = jax.random.fold_in(key, step)
    index = integers(order_key, (batch_size,), 0, self.num_examples)
    set_key = key
    if self.seed is not None:
      set_key = jax.random.key(self.seed, impl='threefry2x32')
    one_each = jax.vmap(lambda i: self.task.batch(set_key, i, 1))(index)
    return jax.tree.map(lambda leaf: leaf[:, 0], one_each)

  def solve(self, batch: Batch) -> Array:
    """Returns the answers of the wrapped task's solver."""
    return self.task.solve(batch)


@dataclasses.dataclass(frozen=True)
class PermutedPositions(_Wrapper):
  """Another task with its positions in a fixed, other order.

  One permutation for all examples and splits, fixed by `seed`. A network that
  flattens its inputs sees no difference; one that expects neighbours to belong
  together does (Le, Jaitly & Hinton, "A Simple Way to Initialize Recurrent
  Networks of Rectified Linear Units", 2015: permuted pixels). Of
  `HierarchicalMotifs(depth=3)`:

      before   3 6 1 1 0 6 3 1
      inputs   3 1 6 1 1 3 6 0
      target   6

  Attributes:
    task: a many-to-one task of one length, sampled on the device.
    seed: fixes the permutation.
  """

  seed: int = 0

  reference: ClassVar[str] = 'Le et al., 2015'

  def __post_init__(self):
    super().__post_init__()
    drawn = jax.eval_shape(
      lambda key: self.task.batch(key, 0, 1), jax.random.key(0)
    )
    if self.shape is not TaskShape.MANY_TO_ONE or drawn.segments is not None:
      raise ValueError(
        'PermutedPositions wraps a many-to-one task without padding, but '
        f'{self.task} is another.'
      )

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    batch = self.task.batch(key, step, batch_size, split)
    order = self._order(batch.inputs.shape[1])
    return batch._replace(inputs=batch.inputs[:, order])

  def solve(self, batch: Batch) -> Array:
    """Returns the answers of the wrapped solver, positions put back."""
    back = np.argsort(self._order(batch.inputs.shape[1]))
    return self.task.solve(batch._replace(inputs=batch.inputs[:, back]))

  def _order(self, num_positions: int) -> Int[np.ndarray, 'T']:
    # Of all generators this one is promised never to change.
    return np.random.RandomState(self.seed).permutation(num_positions)
