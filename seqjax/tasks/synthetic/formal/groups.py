"""Word problems of groups."""

import dataclasses
import functools
import itertools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.errors import unknown
from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape

GROUPS = ('z2', 'z5', 's3', 'z60', 'a5', 's5')


@dataclasses.dataclass(frozen=True)
class GroupWord(Classification):
  """The product of all elements of a group so far, at every position.

  In S3 the elements 0 to 5 are 012 021 102 120 201 210, where 120 takes 0 to
  1, 1 to 2 and 2 to 0. Of two factors the one read first acts first:

      inputs   1 5 2 4 3 1
      targets  1 4 5 2 5 3

  All elements are equally likely. Every target is uniform, at every
  position, which `Batch.group` gives (from 0).

  Merrill, Petty and Sabharwal, "The Illusion of State in State-Space Models",
  2024, section 5. A5 is the smallest group that no circuit of constant depth
  multiplies (unless TC0 = NC1); Z60 is as large, and one can.

  Attributes:
    group: 's3', 'a5', 's5' (permutations, in lexicographic order; those of A5
      are even), or 'z2', 'z5', 'z60' (integers modulo 2, 5 or 60, under
      addition; the word problem of Z2 is parity).
    length: T, in positions.
  """

  group: str = 's5'
  length: int = 64

  reference: ClassVar[str] = 'Merrill et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, length=1)
    if self.group not in GROUPS:
      raise ValueError(unknown('group', self.group, GROUPS))

  @property
  def order(self) -> int:
    """Returns the number of elements of the group."""
    return len(multiplication_table(self.group))

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.order)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.order)

  @property
  def chance(self) -> float:
    return 1 / self.order

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples are the same word)."""
    return self.length * math.log2(self.order)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    inputs = integers(key, (batch_size, self.length), 0, self.order)
    position = jnp.arange(self.length, dtype=jnp.int32)[None]
    return Batch(
      inputs,
      targets=self._products(inputs),
      weights=jnp.ones(inputs.shape, jnp.float32),
      group=jnp.broadcast_to(position, inputs.shape),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the running products, from the inputs alone."""
    return self._products(jnp.asarray(batch.inputs))

  def _products(self, inputs):
    table = jnp.array(multiplication_table(self.group)).reshape(-1)

    def step(product, element):
      product = table[product * self.order + element]
      return product, product

    _, products = jax.lax.scan(step, jnp.zeros_like(inputs[:, 0]), inputs.T)
    return products.T


@functools.cache
def multiplication_table(group: str) -> np.ndarray:
  """Returns products as [first, second]; element 0 is neutral."""
  if group[0] == 'z':
    numbers = np.arange(int(group[1:]), dtype=np.int32)
    return (numbers[:, None] + numbers) % len(numbers)
  elements = _permutations(group)
  index = {element: i for i, element in enumerate(elements)}
  return np.array(
    [[index[_compose(a, b)] for b in elements] for a in elements], np.int32
  )


def _permutations(group: str) -> list[tuple[int, ...]]:
  """Lists all, or all even, permutations of a few things."""
  elements = list(itertools.permutations(range(int(group[1]))))
  return [p for p in elements if group[0] == 's' or not _is_odd(p)]


def _compose(
  first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[int, ...]:
  return tuple(second[image] for image in first)


def _is_odd(permutation: tuple[int, ...]) -> bool:
  """Tells if the number of inversions is odd."""
  pairs = itertools.combinations(permutation, 2)
  return sum(a > b for a, b in pairs) % 2 == 1
