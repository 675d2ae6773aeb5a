"""A language with synonyms, some of them unseen in some contexts."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import LARGEST
from seqjax.tasks.synthetic._random import coins, integers
from seqjax.tasks.task import Language, at_least, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape

NEAR, FAR = 1, 3  # classes on, in a ring


@dataclasses.dataclass(frozen=True)
class Synonyms(Language):
  """The next word of a language with synonyms, some unseen in context.

  After a king "the monarch rules" is as likely as "the king rules"; what does
  a model say that never saw "monarch" there? Words come in classes, word j of
  class c being c * num_synonyms + j. With 4 classes of 3 synonyms:

      inputs  10  0  4  6 11  1  5  7  9  2
      targets  0  4  6 11  1  5  7  9  2  4

  Class c is followed by class c + 1 with `probability`, else by c + 3, in a
  ring. The word within the class is uniform, but in training some never follow
  each other: after word i of any class, word j is sampled among those with
  (j - i) mod num_synonyms >= num_unseen. In validation and test it is sampled
  among all, and `Batch.group` is 1 where a target never follows its
  predecessor in training, else 0.

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  All words are equally frequent, so chance is log2 of their number. The
  ceiling, that of validation and test, is H(probability) + log2(num_synonyms)
  bits.

  Attributes:
    num_classes: the number of classes.
    num_synonyms: the number of words of a class.
    num_unseen: the words of each class that never follow a given word in
      training.
    probability: of the likelier class to follow.
    length: T, in positions.
  """

  num_classes: int = 8
  num_synonyms: int = 8
  num_unseen: int = 2
  probability: float = 0.75
  length: int = 32

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY

  def __post_init__(self):
    at_least(self, num_classes=3, num_unseen=0, length=1)
    at_least(self, num_synonyms=self.num_unseen + 1)
    words = {'num_classes': self.num_classes, 'length': self.length}
    for name, value in words.items():
      if value * self.num_synonyms > LARGEST:
        raise ValueError(
          f'Synonyms needs {name} times num_synonyms of at most {LARGEST}, but '
          f'{name}={value} and num_synonyms={self.num_synonyms} were given.'
        )
    if not 0 < self.probability < 1:
      raise ValueError(
        'Synonyms needs a probability above 0 and below 1, but '
        f'probability={self.probability} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_classes * self.num_synonyms)

  @property
  def output(self) -> Spec:
    return self.input

  @property
  def chance(self) -> float:
    return math.log2(self.input.vocab)

  @property
  def ceiling(self) -> float:
    p = self.probability
    choice = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    return choice + math.log2(self.num_synonyms)

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    p = self.probability
    moves = math.log2(self.num_synonyms) - math.log2(p**2 + (1 - p) ** 2)
    return math.log2(self.input.vocab) + (self.length - 1) * moves

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    first_key, class_key, word_key = jax.random.split(
      split_key(key, split, step), 3
    )
    first = integers(first_key, (batch_size, 1), 0, self.input.vocab)
    shape = (batch_size, self.length)
    near = coins(class_key, self.probability, shape)
    classes = self._visited(
      first // self.num_synonyms, jnp.where(near, NEAR, FAR), self.num_classes
    )
    unseen = self.num_unseen if split == 'train' else 0
    moves = integers(word_key, shape, unseen, self.num_synonyms)
    members = self._visited(first % self.num_synonyms, moves, self.num_synonyms)
    words = classes * self.num_synonyms + members
    return Batch(
      inputs=words[:, :-1],
      targets=words[:, 1:],
      weights=jnp.ones(shape, jnp.float32),
      group=(moves < self.num_unseen).astype(jnp.int32),
    )

  def solve(self, batch: Batch) -> Float[Array, 'B T C']:
    """Returns log probabilities of validation and test, from the inputs."""
    classes = batch.inputs[..., None] // self.num_synonyms
    ring = jnp.arange(self.input.vocab)[None, None] // self.num_synonyms
    away = (ring - classes) % self.num_classes
    p = jnp.where(away == NEAR % self.num_classes, self.probability, 0)
    p = jnp.where(away == FAR % self.num_classes, 1 - self.probability, p)
    return jnp.log(p / self.num_synonyms)

  def _visited(self, first, moves, modulus: int):
    """Returns first, and the places that each move in turn leads to."""
    steps = jnp.concatenate([first, moves], axis=1)
    return jnp.cumsum(steps, axis=1, dtype=jnp.int32) % modulus
