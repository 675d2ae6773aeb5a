"""Base classes of tasks on strings of many lengths."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.ops.segments import one_piece, zero_padding
from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.task import (
  HELD_OUT_BITS,
  MOST,
  Classification,
  at_least,
  split_key,
)
from seqjax.typing import Array, Batch, Segments, Spec, TaskShape


def prefix(lengths: Int[Array, 'B'], num_positions: int) -> Segments:
  """Marks the first positions of each row as valid, in one segment."""
  valid = jnp.arange(num_positions)[None] < lengths[:, None]
  return one_piece(valid)


@dataclasses.dataclass(frozen=True)
class Strings(Classification):
  """Strings whose length is sampled uniformly for every example.

  There are few short strings, so training has them all. Validation and test
  have only lengths at which two samples are the same string with a probability
  of at most 2^-24 (`held_out_lengths`). Chance is that of validation and test;
  of training, where no string is long enough for them. Where counting would
  take minutes it is None: for strings longer than `most_counted`.

  To measure beyond the trained length, make another task with a greater
  `length` and `min_length`; `positions` gives both the same T.

  Attributes:
    length: the longest string, in symbols.
    min_length: the shortest string, in symbols.
    positions: T; as many as the longest string needs where it is None.
  """

  length: int = 40
  min_length: int = 1
  positions: int | None = None

  least_length: ClassVar[int] = 1
  most_counted: ClassVar[int] = MOST  # beyond this length chance is None
  num_symbols: ClassVar[int]
  num_answers: ClassVar[int]
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, min_length=self.least_length, length=self.min_length)
    if self.positions is not None:
      at_least(self, positions=self._positions_for(self.length))

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_answers)

  @property
  def lengths(self) -> tuple[int, ...]:
    """Lists the lengths of training strings, equally likely."""
    return tuple(range(self.min_length, self.length + 1))

  @property
  def held_out_lengths(self) -> tuple[int, ...]:
    """Lists the lengths of validation and test strings, equally likely."""
    return tuple(n for n in self.lengths if self._bits(n) >= HELD_OUT_BITS)

  @property
  def scored_lengths(self) -> tuple[int, ...]:
    """Lists the lengths that chance is over: those held out, if any are."""
    return self.held_out_lengths or self.lengths

  @property
  def bits(self) -> float:
    """Returns -log2 P(two of the longest strings are the same)."""
    return max(map(self._bits, self.lengths))

  @property
  def num_positions(self) -> int:
    """Returns T, of the inputs."""
    return self.positions or self._positions_for(self.length)

  def _positions_for(self, length: int) -> int:
    """Counts the positions of an example with a string of this length."""
    return length

  def _bits(self, length: int) -> float:
    """Returns -log2 P(two samples of a length are the same)."""
    return length * math.log2(self.num_symbols)

  def _sample_strings(
    self, key: jax.Array, lengths: Int[Array, 'B']
  ) -> Int[Array, 'B T']:
    """Samples strings of these lengths, with anything after their ends.

    They have `length` positions.
    """
    shape = (len(lengths), self.length)
    return integers(key, shape, 0, self.num_symbols)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    length_key, string_key = jax.random.split(split_key(key, split, step))
    allowed = self.lengths
    if split != 'train':
      allowed = self.held_out_lengths or self.lengths
    chosen = integers(length_key, (batch_size,), 0, len(allowed))
    lengths = jnp.array(allowed, jnp.int32)[chosen]
    strings = self._sample_strings(string_key, lengths)
    strings = zero_padding(strings, prefix(lengths, self.length))
    return self._batch_from(strings, lengths)

  def _batch_from(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Batch:
    """Makes a batch from strings that are zero after their lengths."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Question(Strings):
  """A string in, one answer out; `Batch.group` is the string's length."""

  reference: ClassVar[str] = 'Delétang et al., 2023'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float | None:
    """Returns the share of the commonest answer over `scored_lengths`."""
    if self.length > self.most_counted:
      return None
    shares = [self._distribution(length) for length in self.scored_lengths]
    return float(np.max(np.mean(shares, axis=0)))

  def chance_at(self, length: int) -> float | None:
    """Returns the share of the commonest answer to strings of one length."""
    if length > self.most_counted:
      return None
    return float(np.max(self._distribution(length)))

  def _batch_from(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Batch:
    padding = self.num_positions - self.length
    return Batch(
      jnp.pad(strings, ((0, 0), (0, padding))),
      targets=self._answer(strings, lengths),
      weights=jnp.ones(len(strings), jnp.float32),
      segments=prefix(lengths, self.num_positions),
      group=lengths,
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the answers, from the inputs alone."""
    lengths = jnp.sum(batch.segments.valid, axis=1, dtype=jnp.int32)
    return self._answer(jnp.asarray(batch.inputs), lengths)

  def _answer(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Int[Array, 'B']:
    """Returns the answers to strings that are zero after their lengths."""
    raise NotImplementedError

  def _distribution(self, length: int) -> np.ndarray:
    """Returns the distribution of answers at one length; here uniform."""
    return np.full(self.num_answers, 1 / self.num_answers)


@dataclasses.dataclass(frozen=True)
class Rewriting(Strings):
  """A string in, then blanks, where another string comes out.

  The last token of the input vocabulary is the blank. The first symbol of the
  answer is due at the first blank; what is no symbol of the answer is not
  scored. `Batch.group` is the string's length, at every position.
  """

  length: int = 32

  reference: ClassVar[str] = 'Delétang et al., 2023'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 1)

  @property
  def chance(self) -> float | None:
    """Returns right answers over scored symbols, over `scored_lengths`."""
    if self.length > self.most_counted:
      return None
    expected = [self._expected(length) for length in self.scored_lengths]
    right, asked = np.sum(expected, axis=0)
    return float(right / asked)

  def chance_at(self, length: int) -> float | None:
    """Returns chance for strings of one length."""
    if length > self.most_counted:
      return None
    right, asked = self._expected(length)
    return float(right / asked)

  def _batch_from(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> Batch:
    padding = self.num_positions - self.length
    strings = jnp.pad(strings, ((0, 0), (0, padding)))
    index = jnp.arange(self.num_positions)[None] - lengths[:, None]
    segments = prefix(self._positions_for(lengths), self.num_positions)
    inputs = jnp.where((index >= 0) & segments.valid, self.num_symbols, strings)
    targets, asked = self._place(strings, lengths)
    return Batch(
      inputs,
      targets,
      weights=asked.astype(jnp.float32),
      segments=segments,
      group=jnp.broadcast_to(lengths[:, None], inputs.shape),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the answers, from the inputs alone."""
    inputs = jnp.asarray(batch.inputs)
    given = batch.segments.valid & (inputs != self.num_symbols)
    lengths = jnp.sum(given, axis=1, dtype=jnp.int32)
    return self._place(jnp.where(given, inputs, 0), lengths)[0]

  def _place(self, strings, lengths):
    """Returns (answers in place, zero elsewhere [B T]; a mask of them)."""
    answers, counts = self._rewrite(strings[:, : self.length], lengths)
    index = jnp.arange(self.num_positions)[None] - lengths[:, None]
    asked = (index >= 0) & (index < counts[:, None])
    last = answers.shape[1] - 1
    placed = jnp.take_along_axis(answers, jnp.clip(index, 0, last), axis=1)
    return jnp.where(asked, placed, 0), asked

  def _rewrite(
    self, strings: Int[Array, 'B T'], lengths: Int[Array, 'B']
  ) -> tuple[Int[Array, 'B W'], Int[Array, 'B']]:
    """Returns (the other strings, their lengths), end symbols included."""
    raise NotImplementedError

  def _expected(self, length: int) -> tuple[float, float]:
    """Returns symbols that the best constants get right, and all scored."""
    raise NotImplementedError
