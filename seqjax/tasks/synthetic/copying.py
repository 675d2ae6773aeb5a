"""Copying: after a silence, among noise, at a fixed lag."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import distinct, integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape

BLANK = 0


@dataclasses.dataclass(frozen=True)
class CopyMemory(Classification):
  """The symbols, repeated in order when the silence is over.

  With 8 symbols (1 to 8, as answers 0 to 7), 3 of them, the delay 5, blanks 0
  and the delimiter 9:

      inputs   6 1 3 0 0 0 0 9 0 0 0
      targets  - - - - - - - - 5 0 2      (- has weight 0)

  A symbol stands `delay` + `num_copied` positions before its copy, and the
  delimiter just before the first copy. Arjovsky, Shah & Bengio, "Unitary
  Evolution Recurrent Neural Networks", 2016, section 5.1, where blanks are
  scored as well. The task is that of Hochreiter & Schmidhuber, 1997.

  Validation and test need 24 bits of symbols or more, or training would have
  their rows.

  Attributes:
    num_symbols: the number of different symbols.
    num_copied: the number of symbols to remember.
    delay: from the last symbol to the delimiter, in positions.
  """

  num_symbols: int = 8
  num_copied: int = 10
  delay: int = 40

  reference: ClassVar[str] = 'Arjovsky et al., 2016'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, num_copied=1, delay=1)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 2)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return self.num_copied * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    symbols = integers(
      key, (batch_size, self.num_copied), 1, self.num_symbols + 1
    )
    wait = self.delay + self.num_copied
    inputs = jnp.pad(symbols, ((0, 0), (0, wait)))
    copies = jnp.pad(symbols, ((0, 0), (wait, 0)))
    return Batch(
      inputs=inputs.at[:, wait - 1].set(self.num_symbols + 1),
      targets=jnp.maximum(copies - 1, 0),
      weights=(copies != BLANK).astype(jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    symbols = batch.inputs[:, : self.num_copied] - 1
    return jnp.pad(symbols, ((0, 0), (self.delay + self.num_copied, 0)))


@dataclasses.dataclass(frozen=True)
class SelectiveCopying(Classification):
  """The symbols, repeated in order without the blanks between them.

  With 8 symbols (1 to 8, as answers 0 to 7), 3 of them among 8 positions,
  blanks 0 and the marker 9, which asks for a symbol:

      inputs   7 0 5 0 0 0 2 0 9 9 9
      targets  - - - - - - - - 6 4 1

  Which positions hold symbols is uniform, and so are the symbols. The gap from
  a symbol to its copy varies, which no fixed lag can follow. Gu & Dao, "Mamba:
  Linear-Time Sequence Modeling with Selective State Spaces", 2023, section
  4.1.1 (there 16 symbols among 4096 positions), after Jing et al., 2019. MAD
  (Poli et al., 2024) has 14 symbols, of which 16 stand among 239 positions.

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  Attributes:
    num_symbols: the number of different symbols.
    num_copied: the number of symbols to remember.
    context: the number of positions that they are spread over.
  """

  num_symbols: int = 8
  num_copied: int = 10
  context: int = 54

  reference: ClassVar[str] = 'Gu & Dao, 2023'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, num_copied=1)
    at_least(self, context=self.num_copied)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 2)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    places = math.log2(math.comb(self.context, self.num_copied))
    return places + self.num_copied * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    symbol_key, place_key = jax.random.split(key)
    symbols = integers(
      symbol_key, (batch_size, self.num_copied), 1, self.num_symbols + 1
    )
    places = jnp.sort(
      distinct(place_key, batch_size, self.num_copied, 0, self.context), axis=1
    )
    blank = jnp.full((batch_size, self.context), BLANK, jnp.int32)
    spread = jnp.put_along_axis(blank, places, symbols, axis=1, inplace=False)
    marker = jnp.full_like(symbols, self.num_symbols + 1)
    asked = jnp.pad(jnp.ones_like(symbols), ((0, 0), (self.context, 0)))
    return Batch(
      inputs=jnp.concatenate([spread, marker], axis=1),
      targets=jnp.concatenate([blank, symbols - 1], axis=1),
      weights=asked.astype(jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    spread = batch.inputs[:, : self.context]
    blank = jnp.zeros_like(spread)
    last_first = jnp.argsort(spread == BLANK, axis=1, stable=True)
    symbols = jnp.take_along_axis(
      spread, last_first[:, : self.num_copied], axis=1
    )
    return jnp.concatenate([blank, symbols - 1], axis=1)


@dataclasses.dataclass(frozen=True)
class LagCopy(Classification):
  """The symbol `lag` positions ago: a delay line, scored at every position.

  With 8 symbols (0 to 7) and the lag 3, in 10 positions:

      inputs   5 0 2 0 4 7 2 7 5 0
      targets  - - - 5 0 2 0 4 7 2

  Symbols are uniform and independent, so whoever sees fewer than lag + 1
  positions is at chance. Validation and test need rows of 24 bits or more, or
  training would have theirs.

  Attributes:
    num_symbols: the number of different symbols.
    lag: in positions; 0 asks for what stands here now.
    length: T, in positions.
  """

  num_symbols: int = 8
  lag: int = 8
  length: int = 64

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_symbols=2, lag=0)
    at_least(self, length=self.lag + 1)

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    return self.length * math.log2(self.num_symbols)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    inputs = integers(key, (batch_size, self.length), 0, self.num_symbols)
    asked = jnp.arange(self.length) >= self.lag
    return Batch(
      inputs,
      targets=self._delay(inputs),
      weights=jnp.broadcast_to(
        asked.astype(jnp.float32)[None], (batch_size, self.length)
      ),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    return self._delay(batch.inputs)

  def _delay(self, inputs):
    return jnp.pad(inputs, ((0, 0), (self.lag, 0)))[:, : self.length]
