"""Nested brackets, which must close in order."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Dyck(Classification):
  """The kind of the bracket that closes next, wherever one does.

  Prefixes of Dyck-(k, m), well nested strings of k kinds of brackets that are
  at most m deep. Kind i opens as token i and closes as token k + i. With k = 2:

      inputs   0 1 3 1 0 2 3 2 1 1      ( [ ] [ ( ) ] ) [ [
      targets  - 1 - - 0 1 0 - - -      (- has weight 0)

  Where both may come, a bracket opens or closes with probability 1/2; kinds
  are equally likely. The answer at a position is the kind of the bracket that
  has been opened last and is still open.

  `Batch.group` is the distance from the closing bracket back to that one, in
  positions, as Hewitt et al., "RNNs can generate bounded hierarchical languages
  with optimal memory", 2020, section 6, measure it. There strings are closed
  in the end and of random length; these are cut after `length`.

  Attributes:
    num_kinds: k, the number of kinds of brackets.
    max_depth: m, the most brackets that may be open at once.
    length: T, in positions.
  """

  num_kinds: int = 2
  max_depth: int = 8
  length: int = 64

  reference: ClassVar[str] = 'Hewitt et al., 2020'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_kinds=2, max_depth=1, length=2)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=2 * self.num_kinds)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_kinds)

  @property
  def chance(self) -> float:
    return 1 / self.num_kinds

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    kind_key, walk_key = jax.random.split(key)
    shape = (batch_size, self.length)
    opens = self._opening(integers(walk_key, shape, 0, 2) == 1)
    kinds = integers(kind_key, shape, 0, self.num_kinds)
    last = last_open(opens, self._deepest)
    answers = jnp.take_along_axis(kinds, jnp.maximum(last, 0), axis=1)
    closed = jnp.pad(answers, ((0, 0), (1, 0)))[:, :-1] + self.num_kinds
    asked = jnp.pad(~opens, ((0, 0), (0, 1)))[:, 1:]
    position = jnp.arange(self.length, dtype=jnp.int32)[None]
    return Batch(
      inputs=jnp.where(opens, kinds, closed),
      targets=jnp.where(asked, answers, 0),
      weights=asked.astype(jnp.float32),
      group=jnp.where(asked, position + 1 - last, 0),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the kind of the last open bracket, or 0, from the inputs."""
    inputs = jnp.asarray(batch.inputs)
    last = last_open(inputs < self.num_kinds, self._deepest)
    kind = jnp.take_along_axis(inputs, jnp.maximum(last, 0), axis=1)
    return jnp.where(last < 0, 0, kind)

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples are the same string)."""
    deepest = self._deepest
    free = np.full(deepest + 1, 1 / 4)  # both coins fall alike, and as here
    free[0] = 1
    if deepest == self.max_depth:
      free[-1] = 1
    same = np.zeros(deepest + 1)  # and are this deep
    same[0] = 1
    for _ in range(self.length):
      same = same * free
      up, down = same[:-1] / self.num_kinds, same[1:]
      same = np.pad(up, (1, 0)) + np.pad(down, (0, 1))
    return -math.log2(same.sum())

  @property
  def _deepest(self) -> int:
    """Returns the most brackets that can be open in a row."""
    return min(self.max_depth, self.length)

  def _opening(self, heads: Bool[Array, 'B T']) -> Bool[Array, 'B T']:
    """Marks the positions that open a bracket: by heads, if both may come."""

    def step(depth, heads):
      opens = (heads | (depth == 0)) & (depth < self.max_depth)
      return depth + jnp.where(opens, 1, -1), opens

    depth = jnp.zeros(len(heads), jnp.int32)
    return jax.lax.scan(step, depth, heads.T)[1].T


def last_open(opens: Bool[Array, 'B T'], max_depth: int) -> Int[Array, 'B T']:
  """Returns the place of the last bracket open after a position, or -1."""
  level = jnp.arange(max_depth, dtype=jnp.int32)[None]

  def step(carry, bracket):
    stack, depth = carry
    opens, position = bracket
    pushed = (level == depth[:, None]) & opens[:, None]
    stack = jnp.where(pushed, position, stack)
    depth = depth + jnp.where(opens, 1, -1)
    on_top = level == depth[:, None] - 1
    last = jnp.max(jnp.where(on_top, stack, -1), axis=1)
    return (stack, depth), last

  batch_size, length = opens.shape
  stack = jnp.zeros((batch_size, max_depth), jnp.int32)
  carry = (stack, jnp.zeros(batch_size, jnp.int32))
  position = jnp.arange(length, dtype=jnp.int32)
  return jax.lax.scan(step, carry, (opens.T, position))[1].T
