"""Strings into strings of other lengths: copy, reverse, sort, drop repeats."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from seqjax.errors import unknown
from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic._strings import Strings, prefix
from seqjax.tasks.synthetic.formal.permuting import order_statistics
from seqjax.tasks.task import MOST, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape

OPERATIONS = ('copy', 'reverse', 'sort', 'unique')


@dataclasses.dataclass(frozen=True)
class Transduction(Strings):
  """A string rewritten, one symbol at a time, up to its end.

  Symbols are 1 to `num_symbols`; token 0 begins and ends a target.

      source    4 2 4 1 2 -         (- is padding)
      shifted   0 4 2 1 - - -
      targets   4 2 1 0 - - -       unique: every symbol, once
      targets   4 2 4 1 2 0 -       copy
      targets   2 1 4 2 4 0 -       reverse
      targets   1 2 2 4 4 0 -       sort

  Lengths of sources are uniform; `Batch.group` is that of the source, at every
  position of the target. Sutskever, Vinyals and Le, "Sequence to Sequence
  Learning with Neural Networks", 2014, for the shape; the operations are the
  simplest with targets as long as the source, or shorter ('unique').

  Attributes:
    operation: 'copy', 'reverse', 'sort' or 'unique' (keeps the first of equal
      symbols).
    num_symbols: the number of different symbols.
    positions: of the source, at least `length`; targets have one more.
  """

  length: int = 20
  operation: str = 'copy'
  num_symbols: int = 10

  reference: ClassVar[str] = 'Sutskever et al., 2014'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY_UNALIGNED

  def __post_init__(self):
    super().__post_init__()
    at_least(self, num_symbols=2)
    if self.operation not in OPERATIONS:
      raise ValueError(unknown('operation', self.operation, OPERATIONS))

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 1)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 1)

  @property
  def most_counted(self) -> int:
    """Returns the longest length that chance is counted for."""
    return 512 if self.operation == 'sort' else MOST

  @property
  def chance(self) -> float | None:
    """Returns right answers over scored symbols, over `scored_lengths`."""
    if self.length > self.most_counted:
      return None
    expected = [self._expected(length) for length in self.scored_lengths]
    right, asked = np.sum(expected, axis=0)
    return float(right / asked)

  def _batch_from(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Batch:
    padding = self.num_positions - self.length
    source = jnp.pad(strings, ((0, 0), (0, padding)))
    targets, counts = self._rewrite(source, lengths)
    return unaligned(source, lengths, targets, counts)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the source alone."""
    source, lengths = given(batch)
    return self._rewrite(source, lengths)[0]

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    shape = (len(lengths), self.length)
    return integers(key, shape, 1, self.num_symbols + 1)

  def _rewrite(self, source, lengths):
    """Returns (targets with one position more, their numbers of symbols)."""
    place = jnp.arange(source.shape[1])[None]
    inside = place < lengths[:, None]
    if self.operation == 'unique':
      inside &= _is_first(source)
    rank = {
      'copy': place,
      'reverse': -place,
      'sort': source,
      'unique': place,
    }[self.operation]
    return compact(source, inside, jnp.broadcast_to(rank, source.shape))

  def _expected(self, length: int) -> tuple[float, float]:
    """Returns symbols that the best constants get right, and all scored.

    The end of a target is known from its weights.
    """
    if self.operation == 'sort':
      chosen = order_statistics(length, self.num_symbols)
      return float(chosen.max(axis=1).sum()) + 1, length + 1.0
    symbols = float(length)
    if self.operation == 'unique':
      missing = (1 - 1 / self.num_symbols) ** length
      symbols = self.num_symbols * (1 - missing)
    return symbols / self.num_symbols + 1, symbols + 1


def compact(
  tokens: Int[Array, 'B S'], kept: Bool[Array, 'B S'], rank: Int[Array, 'B S']
) -> tuple[Int[Array, 'B T'], Int[Array, 'B']]:
  """Sorts kept tokens by rank, with zeros after them, and counts them.

  Equal ranks stay in their order.

  There is one zero more than tokens, the end of the longest.
  """
  last = jnp.iinfo(jnp.int32).max
  order = jnp.argsort(jnp.where(kept, rank, last), axis=1)
  counts = jnp.sum(kept, axis=1, dtype=jnp.int32)
  ordered = jnp.take_along_axis(tokens, order, axis=1)
  beyond = jnp.arange(tokens.shape[1])[None] >= counts[:, None]
  return jnp.pad(jnp.where(beyond, 0, ordered), ((0, 0), (0, 1))), counts


def unaligned(
  source: Int[Array, 'B S'],
  lengths: Int[Array, 'B'],
  targets: Int[Array, 'B T'],
  counts: Int[Array, 'B'],
) -> Batch:
  """Makes a batch of pairs; targets have `counts` symbols, then zeros.

  Symbols and the end are scored; the group is the length of the source.
  """
  asked = prefix(counts + 1, targets.shape[1])
  shifted = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
  return Batch(
    inputs=(source, jnp.where(asked.valid, shifted, 0)),
    targets=targets,
    weights=asked.valid.astype(jnp.float32),
    segments=(prefix(lengths, source.shape[1]), asked),
    group=jnp.broadcast_to(lengths[:, None], targets.shape),
  )


def given(batch: Batch) -> tuple[Int[Array, 'B S'], Int[Array, 'B']]:
  """Returns the source of an unaligned batch, and its lengths."""
  valid = jnp.asarray(batch.segments[0].valid)
  return jnp.asarray(batch.inputs[0]), jnp.sum(valid, axis=1, dtype=jnp.int32)


def _is_first(source):
  """Marks the symbols that have not been in their row before."""
  same = source[:, :, None] == source[:, None]
  before = jnp.tri(source.shape[1], k=-1, dtype=bool)[None]
  return ~jnp.any(same & before, axis=2)
