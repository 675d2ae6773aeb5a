"""Patterns somewhere in a row, and patterns of patterns."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.tasks.synthetic._random import integers, lengths
from seqjax.tasks.task import MOST, Classification, at_least, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Motifs(Classification):
  """The motif that is hidden in the noise.

  With 3 motifs, 0 1 2 and 1 2 0 and 2 0 1, and noise 3 to 6, in 10 positions:

      inputs   6 5 0 1 2 4 5 6 3 6
      target   0

  Motif c reads c, c + 1, ... modulo num_motifs, so that all have the same
  symbols, and their order tells them apart. Noise has symbols of its own,
  uniform and independent. Validation and test need rows of 24 bits or more, or
  training would have theirs.

  Where a motif begins is uniform among `positions`, and in validation and
  test among `evaluation_positions`: does what was learnt at one place hold at
  another? `Batch.group` is where the motif begins.

  Attributes:
    num_motifs: the number of motifs, and their length in positions.
    num_noise: the number of noise symbols.
    length: T, in positions.
    positions: first and last place where a motif may begin; None: anywhere.
    evaluation_positions: the same for validation and test; None: as
      `positions`.
  """

  num_motifs: int = 4
  num_noise: int = 8
  length: int = 32
  positions: tuple[int, int] | None = None
  evaluation_positions: tuple[int, int] | None = None

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_motifs=2, num_noise=2, length=self.num_motifs)
    last = self.length - self.num_motifs
    for name in ('positions', 'evaluation_positions'):
      given = getattr(self, name)
      if given is not None and not 0 <= given[0] <= given[1] <= last:
        raise ValueError(
          f'Motifs of {self.num_motifs} symbols in length={self.length} begin '
          f'at 0 <= first <= last <= {last}, but {name}={given} was given.'
        )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_motifs + self.num_noise)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_motifs)

  @property
  def chance(self) -> float:
    return 1 / self.num_motifs

  @property
  def bits(self) -> float:
    """Returns -log2 P(two held-out samples are the same row)."""
    first, last = self._positions('test')
    noise = (self.length - self.num_motifs) * math.log2(self.num_noise)
    return math.log2(self.num_motifs * (last - first + 1)) + noise

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    motif_key, place_key, noise_key = jax.random.split(
      split_key(key, split, step), 3
    )
    motifs = integers(motif_key, (batch_size,), 0, self.num_motifs)
    first, last = self._positions(split)
    places = lengths(place_key, batch_size, first, last)
    noise = integers(
      noise_key,
      (batch_size, self.length),
      self.num_motifs,
      self.input.vocab,
    )
    since = jnp.arange(self.length, dtype=jnp.int32)[None] - places[:, None]
    symbols = (motifs[:, None] + since) % self.num_motifs
    inside = (since >= 0) & (since < self.num_motifs)
    return Batch(
      inputs=jnp.where(inside, symbols, noise),
      targets=motifs,
      weights=jnp.ones(batch_size, jnp.float32),
      group=places,
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the inputs alone."""
    inside = batch.inputs < self.num_motifs
    first = jnp.argmax(inside, axis=1, keepdims=True)
    return jnp.take_along_axis(batch.inputs, first, axis=1)[:, 0]

  def _positions(self, split: str) -> tuple[int, int]:
    """Returns the first and last place where a motif of a split may begin."""
    train = self.positions or (0, self.length - self.num_motifs)
    if split == 'train':
      return train
    return self.evaluation_positions or train


@dataclasses.dataclass(frozen=True)
class HierarchicalMotifs(Classification):
  """Motifs of motifs: the symbol at the root of a tree.

  With 4 symbols, 2 of them to a motif, 2 motifs to a symbol, and the depth 3,
  in 8 positions; above the inputs, what they were made from:

                      2
                  1       3
                3   1   3   3
      inputs   1 3 3 1 1 3 1 3
      target   2

  At every level each symbol has `num_synonyms` motifs, fixed by `seed`, no two
  symbols share one, and one is chosen uniformly; so a motif tells its symbol,
  and the row its root. Validation and test need 24 bits of choices or more, or
  training would have their rows. The random hierarchy model: Cagnetta et al.,
  "How Deep Neural Networks Learn Compositional Data", 2024, with as many
  classes as symbols.

  Attributes:
    depth: the number of levels of motifs.
    num_symbols: the number of symbols of a level, and of classes.
    num_synonyms: the number of motifs that mean the same symbol.
    branching: the number of symbols that make a motif; T is branching^depth.
    seed: fixes the motifs.
  """

  depth: int = 5
  num_symbols: int = 8
  num_synonyms: int = 4
  branching: int = 2
  seed: int = 0

  reference: ClassVar[str] = 'Cagnetta et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, depth=1, num_symbols=2, num_synonyms=1, branching=2)
    self._check_powers()
    most = self.num_symbols ** (self.branching - 1)
    if self.num_synonyms > most:
      raise ValueError(
        f'HierarchicalMotifs of num_symbols={self.num_symbols} and '
        f'branching={self.branching} has at most {most} motifs for each '
        f'symbol, but num_synonyms={self.num_synonyms} was given.'
      )

  def _check_powers(self):
    """Refuses rows and numbers of motifs beyond MOST, which are powers."""
    for base, power in (('branching', 'depth'), ('num_symbols', 'branching')):
      given = getattr(self, base), getattr(self, power)
      if given[1] * math.log2(given[0]) > math.log2(MOST):
        raise ValueError(
          f'HierarchicalMotifs needs {base} to the power of {power} of at most '
          f'{MOST}, but {base}={given[0]} and {power}={given[1]} were given.'
        )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_symbols)

  @property
  def chance(self) -> float:
    return 1 / self.num_symbols

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    root_key, *level_keys = jax.random.split(key, self.depth + 1)
    roots = integers(root_key, (batch_size,), 0, self.num_symbols)
    symbols = roots[:, None]
    for level, level_key in enumerate(level_keys):
      choice = integers(level_key, symbols.shape, 0, self.num_synonyms)
      codes = self._motifs(level)[symbols, choice]
      symbols = (codes[..., None] // self._places()) % self.num_symbols
      symbols = symbols.reshape(batch_size, -1)
    return Batch(
      inputs=symbols,
      targets=roots,
      weights=jnp.ones(batch_size, jnp.float32),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets from the inputs, which are read level by level."""
    symbols = jnp.asarray(batch.inputs)
    for level in reversed(range(self.depth)):
      motifs = symbols.reshape(len(symbols), -1, self.branching)
      codes = jnp.sum(motifs * self._places(), axis=-1)
      meaning = jnp.zeros(self.num_symbols**self.branching, jnp.int32)
      symbol = jnp.arange(self.num_symbols, dtype=jnp.int32)[:, None]
      meaning = meaning.at[self._motifs(level)].set(symbol)
      symbols = meaning[codes]
    return symbols[:, 0]

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    num_choices = sum(self.branching**level for level in range(self.depth))
    choices = num_choices * math.log2(self.num_synonyms)
    return math.log2(self.num_symbols) + choices

  def _motifs(self, level: int) -> Int[Array, 'C L']:
    """Returns the motifs of each symbol, as numbers to the base num_symbols."""
    shape = (self.num_symbols, self.num_synonyms)
    # Of all generators this one is promised never to change.
    codes = np.random.RandomState((self.seed, level)).permutation(
      self.num_symbols**self.branching
    )
    return jnp.asarray(codes[: math.prod(shape)].reshape(shape), jnp.int32)

  def _places(self) -> Int[Array, '1 1 L']:
    """Returns the value of a digit at each place of a motif, highest first."""
    powers = [self.num_symbols**i for i in range(self.branching)]
    return jnp.array(powers[::-1], jnp.int32)[None, None]
