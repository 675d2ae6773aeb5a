"""A verb far from the subject that it agrees with."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._random import coins, integers
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Agreement(Classification):
  """The number of a verb, which agrees with its distant subject.

  "The keys to the old cabinet next to the doors ... are". With 2 nouns (0 and
  1; in the plural 2 and 3), 3 other words (4 to 6), the verb (7; in the
  plural 8), and the distance 8:

      inputs   2 4 3 5 2 0 6 6
      targets  - - - - - - - 8      (- has weight 0; 0 is an attractor)

  The first word is the subject. Each word after it is a noun of either number
  with probability `attraction`, else another word. Only the verb that comes
  next at the end is scored; nothing within the last `distance` - 1 words
  tells its number. Linzen, Dupoux & Goldberg, "Assessing the Ability of LSTMs
  to Learn Syntax-Sensitive Dependencies", 2016.

  Validation and test need rows of 24 bits or more, or training would have
  theirs.

  Chance knows that a verb is due. `Batch.group` is the number of
  attractors: nouns in between whose number is not that of the subject.

  Attributes:
    num_nouns: the number of nouns.
    num_others: the number of words that are neither noun nor verb.
    distance: from the subject to the verb, in positions; T.
    attraction: the probability of a noun in between.
  """

  num_nouns: int = 8
  num_others: int = 16
  distance: int = 30
  attraction: float = 0.25

  reference: ClassVar[str] = 'Linzen et al., 2016'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  chance: ClassVar[float] = 0.5
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_nouns=1, num_others=1, distance=1)
    if not 0 <= self.attraction <= 1:
      raise ValueError(
        'Agreement needs an attraction between 0 and 1, but '
        f'attraction={self.attraction} was given.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=2 * self.num_nouns + self.num_others + 2)

  @property
  def output(self) -> Spec:
    return self.input

  @property
  def bits(self) -> float:
    """Returns -log2 of the probability that two samples are the same row."""
    nouns = self.attraction**2 / (2 * self.num_nouns)
    others = (1 - self.attraction) ** 2 / self.num_others
    between = (self.distance - 1) * math.log2(nouns + others)
    return math.log2(2 * self.num_nouns) - between

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    noun_key, other_key, kind_key = jax.random.split(key, 3)
    shape = (batch_size, self.distance)
    nouns = integers(noun_key, shape, 0, 2 * self.num_nouns)
    others = integers(
      other_key, shape, 2 * self.num_nouns, self.input.vocab - 2
    )
    first = jnp.arange(self.distance)[None] == 0
    is_noun = coins(kind_key, self.attraction, shape) | first
    attracts = is_noun & (self._plural(nouns) != self._plural(nouns[:, :1]))
    inputs = jnp.where(is_noun, nouns, others)
    attractors = jnp.sum(attracts, axis=1, dtype=jnp.int32)
    at_end = jnp.broadcast_to(jnp.flip(first, axis=1), shape)
    return Batch(
      inputs,
      targets=jnp.where(at_end, self._verb(inputs), 0),
      weights=at_end.astype(jnp.float32),
      group=jnp.where(at_end, attractors[:, None], 0),
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the verb that agrees, everywhere, from the inputs alone."""
    return jnp.broadcast_to(self._verb(batch.inputs), batch.inputs.shape)

  def _plural(self, noun):
    return (noun >= self.num_nouns).astype(jnp.int32)

  def _verb(self, inputs):
    """Returns the verb that agrees with the first word of each row."""
    return self.input.vocab - 2 + self._plural(inputs[:, :1])
