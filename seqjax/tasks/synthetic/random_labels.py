"""Labels without a reason, which a network can memorise."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class RandomLabels(Classification):
  """The labels of a finite training set, which follow from nothing.

  Two rows of a set with 4 classes, 8 symbols and 8 positions, which come back
  with the same label whenever they are sampled:

      inputs   6 5 4 6 2 6 0 2     7 1 7 1 2 0 1 5
      target   1                   0

  Sequences are uniform; example i has label i modulo num_classes, so labels
  are balanced. The set depends on `seed` alone, and the key of a run decides
  the order, with replacement. In validation and test sequences and labels are
  sampled anew every time, so the ceiling there is chance; on split 'train' 1.0
  can be reached, by memory. Sequences of fewer than 24 bits are refused there,
  since training could have them. Zhang et al., "Understanding Deep Learning
  Requires Rethinking Generalization", 2017, section 2.

  Attributes:
    num_examples: the number of examples of the training set; a multiple
      of num_classes.
    num_classes: the number of labels.
    num_symbols: the number of different tokens.
    length: T, in positions.
    seed: fixes the training set.
  """

  num_examples: int = 256
  num_classes: int = 4
  num_symbols: int = 8
  length: int = 16
  seed: int = 0

  reference: ClassVar[str] = 'Zhang et al., 2017'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  def __post_init__(self):
    at_least(self, num_classes=2, num_symbols=2, length=1)
    if self.num_examples < 1 or self.num_examples % self.num_classes:
      raise ValueError(
        'RandomLabels balances its labels, so num_examples must be a multiple '
        f'of num_classes={self.num_classes}, but '
        f'num_examples={self.num_examples} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_classes)

  @property
  def chance(self) -> float:
    return 1 / self.num_classes

  @property
  def ceiling(self) -> float:
    return self.chance

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples are the same sequence)."""
    return self.length * math.log2(self.num_symbols)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    key = split_key(key, split, step)
    if split == 'train':
      index = integers(key, (batch_size,), 0, self.num_examples)
      inputs, targets = jax.vmap(self._example)(index), index % self.num_classes
    else:
      input_key, label_key = jax.random.split(key)
      shape = (batch_size, self.length)
      inputs = integers(input_key, shape, 0, self.num_symbols)
      targets = integers(label_key, (batch_size,), 0, self.num_classes)
    return Batch(inputs, targets, weights=jnp.ones(batch_size, jnp.float32))

  def _example(self, index: Int[Array, '']) -> Int[Array, 'T']:
    """Returns the sequence of one example of the training set."""
    set_key = jax.random.key(self.seed, impl='threefry2x32')
    key = jax.random.fold_in(set_key, index)
    return integers(key, (self.length,), 0, self.num_symbols)
