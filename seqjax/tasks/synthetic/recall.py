"""Recall of one fact across a gap."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.ops import losses
from seqjax.tasks.synthetic._random import integers, log_uniform
from seqjax.tasks.task import Classification, at_least, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape

DESIGNS = ('fixed', 'mixed')


@dataclasses.dataclass(frozen=True)
class Recall(Classification):
  """A fact that is stated once, then queried after distractors.

  "I grew up in France ... I speak fluent ____". The fact lies `lag` positions
  before the question, and the answer is scored at the question alone. With
  facts 0 to 7, distractors 8 to 15, the question 16, and lag 5:

      fixed    inputs   3  9 14  8 12 16     every example at lag 5
               targets  -  -  -  -  -  3     (- has weight 0)

      mixed    inputs  11  8 15  6 10 16     lags 1 to 5, here 2
               targets  -  -  -  -  -  6

  Both designs have T = lag + 1 positions, the question at the last. Fact,
  distractors and lag are sampled independently of each other.

  The mixed design trains on lags with P(l) proportional to log(1 + 1/l), a
  log-uniform number rounded down, so that short ones show the way to long
  ones. Its validation and test batches go through `evaluation_lags` in turn
  instead, so that every one of them is measured equally well. `Batch.group` is
  the example's lag.

  Validation and test need 24 bits of facts and distractors or more, as a lag
  of 8 has by default, or training would have their rows.

  Targets, weights and outputs are those of an aligned task ([B T], [B T C]):
  models give an output at every position. The score is one number per example.

  Attributes:
    num_facts: the number of facts to choose from, at least 2.
    num_distractors: the number of different distractors, at least 1.
    lag: the lag ('fixed') or the longest one ('mixed'), in positions.
    design: 'fixed' or 'mixed'.
  """

  num_facts: int = 8
  num_distractors: int = 8
  lag: int = 128
  design: str = 'fixed'

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, num_facts=2, num_distractors=1, lag=1)
    if self.design not in DESIGNS:
      raise ValueError(unknown('design', self.design, DESIGNS))

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_facts + self.num_distractors + 1)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.num_facts)

  @property
  def question(self) -> int:
    """Returns the token that asks for the fact."""
    return self.num_facts + self.num_distractors

  @property
  def chance(self) -> float:
    return 1 / self.num_facts

  @property
  def evaluation_lags(self) -> tuple[int, ...]:
    """Lists the lags of validation and test; mixed: 1, 2, 4 ... lag."""
    if self.design == 'fixed':
      return (self.lag,)
    powers = {2**i for i in range(self.lag.bit_length())}
    return tuple(sorted(powers | {self.lag}))

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples at one lag are the same row)."""
    distractors = (self.lag - 1) * math.log2(self.num_distractors)
    return math.log2(self.num_facts) + distractors

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    fact_key, distractor_key, lag_key = jax.random.split(
      split_key(key, split, step), 3
    )
    facts = integers(fact_key, (batch_size, 1), 0, self.num_facts)
    inputs = integers(
      distractor_key, (batch_size, self.lag + 1), self.num_facts, self.question
    )
    if split == 'train' and self.design == 'mixed':
      lags = log_uniform(lag_key, batch_size, self.lag)
    else:
      lags = self._lags_in_turn(step, batch_size)
    position = jnp.arange(self.lag + 1, dtype=jnp.int32)[None]
    inputs = jnp.where(position == self.lag - lags[:, None], facts, inputs)
    inputs = inputs.at[:, -1].set(self.question)
    asked = inputs == self.question
    return Batch(
      inputs,
      targets=jnp.where(asked, facts, 0),
      weights=asked.astype(jnp.float32),
      group=lags,
    )

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the targets, from the inputs alone."""
    stated = jnp.where(batch.inputs < self.num_facts, batch.inputs, 0)
    fact = jnp.max(stated, axis=1, keepdims=True)
    return jnp.where(batch.inputs == self.question, fact, 0)

  def score(
    self, outputs: Float[Array, 'B T C'], batch: Batch
  ) -> tuple[Float[Array, 'B'], Float[Array, 'B']]:
    """Returns 1 per example whose question is answered right, else 0."""
    return losses.accuracy(
      outputs[:, -1], batch.targets[:, -1], batch.weights[:, -1]
    )

  def _lags_in_turn(self, step, batch_size: int) -> Int[Array, 'B']:
    lags = jnp.array(self.evaluation_lags, jnp.int32)
    index = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    return lags[index % len(self.evaluation_lags)]
