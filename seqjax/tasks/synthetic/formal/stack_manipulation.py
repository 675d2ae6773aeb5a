"""Instructions to a stack.

Delétang et al., "Neural Networks and the Chomsky Hierarchy", 2023, appendix
A.2.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic._strings import Rewriting
from seqjax.typing import Array

POP, END = 2, 2


@dataclasses.dataclass(frozen=True)
class StackManipulation(Rewriting):
  """The content of a stack in the end, from its top; then the end symbol 2.

  A string is a stack of zeros and ones, bottom first, then instructions: pop
  (2), push a zero (3), push a one (4). An empty stack stays empty when popped.

      inputs   0 1 1 2 4 5 5 5 5 5 5
      targets  - - - - - 1 1 0 2 - -      (5 is the blank)

  Blanks make room for the longest answer; scored are the answer's symbols and
  its end symbol. The stack in the beginning is of any height that leaves at
  least one instruction, equally likely.
  """

  most_counted: ClassVar[int] = 512
  num_symbols: ClassVar[int] = 5
  num_answers: ClassVar[int] = 3

  def _positions_for(self, length):
    return 2 * length + 1

  def _bits(self, length: int) -> float:
    """Counts those of a first stack that leaves one instruction: the fewest."""
    return float(length)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    height_key, symbol_key, instruction_key = jax.random.split(key, 3)
    highest = jnp.maximum(lengths - 1, 1)
    height = integers(height_key, lengths.shape, 1, highest + 1)
    shape = (len(lengths), self.length)
    symbols = integers(symbol_key, shape, 0, 2)
    instructions = integers(instruction_key, shape, POP, self.num_symbols)
    in_stack = jnp.arange(self.length)[None] < height[:, None]
    return jnp.where(in_stack, symbols, instructions)

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    """Runs the instructions; symbols of the first stack are pushed too."""
    place = jnp.arange(self.length + 1, dtype=jnp.int32)[None]

    def step(carry, position):
      stack, height = carry
      token, index = position
      read, pops = index < lengths, token == POP
      pushed = jnp.where(token > POP, token - 3, token)[:, None]
      onto = (place == height[:, None]) & (read & ~pops)[:, None]
      change = jnp.where(pops, -1, 1) * read
      return (
        jnp.where(onto, pushed, stack),
        jnp.maximum(height + change, 0),
      ), None

    empty = jnp.zeros((len(lengths), self.length + 1), jnp.int32)
    index = jnp.arange(self.length, dtype=jnp.int32)
    (stack, height), _ = jax.lax.scan(
      step, (empty, jnp.zeros_like(lengths)), (strings.T, index)
    )
    from_top = height[:, None] - 1 - place
    popped = jnp.take_along_axis(stack, jnp.maximum(from_top, 0), axis=1)
    return jnp.where(from_top < 0, END, popped), height + 1

  def _expected(self, length: int) -> tuple[float, float]:
    """Counts the end, which is known, and half of the symbols before it."""
    height = mean_height(length)
    return height / 2 + 1, height + 1


def mean_height(length: int) -> float:
  """Returns the expected height of the stack that a string leaves behind.

  First stacks of every height are followed together: that of height h joins
  after h symbols.
  """
  if length == 1:
    return 1.0
  heights = np.zeros(length + 1)
  for symbols in range(1, length):
    heights = _instruct(heights)
    heights[symbols] += 1 / (length - 1)
  return float(_instruct(heights) @ np.arange(length + 1))


def _instruct(heights: np.ndarray) -> np.ndarray:
  """Returns the distribution after one more instruction: 2/3 are pushes."""
  after = np.zeros_like(heights)
  after[1:] = 2 / 3 * heights[:-1]
  after[:-1] += heights[1:] / 3
  after[0] += heights[0] / 3
  return after
