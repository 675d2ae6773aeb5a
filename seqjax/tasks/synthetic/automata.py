"""Strings of a random automaton, which has to be learned from them."""

import dataclasses
import functools
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from seqjax.ops import losses
from seqjax.tasks.synthetic._random import distinct, integers
from seqjax.tasks.task import Classification, at_least, at_most
from seqjax.typing import Array, Batch, Segments, Spec, TaskShape

MOST_SYMBOLS = 256  # a position's target has a number for each
MOST_STATES = 256
MOST_LENGTH = 4096  # chance takes a step for each
MOST_STRINGS = 4096
NUM_AUTOMATA = 40_000  # that chance is a mean over
AT_ONCE = 2**22  # transition probabilities held at a time, for chance


class Automata(NamedTuple):
  """The edges of every state of a row; the first `degree` of them exist.

  State 0 is the initial one, and strings may end in any state.
  """

  symbols: Int[Array, 'B N E']
  states: Int[Array, 'B N E']
  degree: Int[Array, 'B N']


@dataclasses.dataclass(frozen=True)
class RegBench(Classification):
  """The next symbol of strings of an automaton that is another in every row.

  With 4 symbols (0 to 3) and 4 between strings, 5 after the last one:

      inputs   2 0 4 2 0 1 4 3 4 2 0 5
      targets  0 - 2 0 1 - 3 - 2 0 - -      (- has weight 0)

  An automaton has a uniform number of states, and reads some of the symbols,
  whose number is uniform too. A state has 1 to max_edges edges: their number is
  uniform, their symbols differ, and so do the states they lead to, which are
  other ones. A string begins in the first state, has a uniform length, and at
  each step takes one of the edges, all equally likely. A row has a uniform
  number of strings, then padding. All symbols but the row's first are asked
  for, the ends of strings are not.

  An answer is right if the automaton can go on with it. The ceiling is that of
  someone who knows the automaton, and so is always right; the best that can be
  had from the strings alone is not known. Training sees nothing but the symbol
  that followed.

  Chance is the share of the symbols that a state can go on with. It is a mean
  over 40,000 automata, of each of which the law of its states is followed
  exactly; at the defaults its standard error is 0.0001.

  Akyürek, Wang, Kim & Andreas, "In-Context Language Learning: Architectures and
  Algorithms", 2024, by the published generator of RegBench: defaults are its
  numbers, but for the length of strings, of which it has 1 to 49 symbols
  (max_length=49). It minimises automata, which changes none of their strings.

  `Batch.group` is the number of strings before, in the row.

  Attributes:
    num_symbols: the number of different symbols.
    min_symbols: the least number of them that an automaton reads.
    min_states, max_states: bounds of the number of states.
    max_edges: the largest number of edges of a state.
    min_strings, max_strings: bounds of the number of strings in a row.
    max_length: the largest length of a string.
  """

  num_symbols: int = 18
  min_symbols: int = 4
  min_states: int = 4
  max_states: int = 12
  max_edges: int = 3
  min_strings: int = 10
  max_strings: int = 19
  max_length: int = 9

  reference: ClassVar[str] = 'Akyürek et al., 2024'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_most(
      self,
      num_symbols=MOST_SYMBOLS,
      max_states=MOST_STATES,
      max_length=MOST_LENGTH,
      max_strings=MOST_STRINGS,
    )
    at_least(self, max_edges=1, min_strings=1, max_length=1)
    at_least(self, min_symbols=self.max_edges, num_symbols=self.min_symbols)
    at_least(self, min_states=self.max_edges + 1, max_states=self.min_states)
    at_least(self, max_strings=self.min_strings)
    if self.max_strings * self.max_length < 2:
      raise ValueError(
        'RegBench asks for the symbol after the first, but max_strings='
        f'{self.max_strings} and max_length={self.max_length} leave none.'
      )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.num_symbols + 2)

  @property
  def output(self) -> Spec:
    return Spec((self.num_symbols,))

  @property
  def chance(self) -> float:
    return _mean_degree(self) / self.num_symbols

  @property
  def bits(self) -> float:
    """Returns a lower bound of -log2 P(two samples are the same row).

    It counts the lengths of strings, and the symbol that the row begins with.
    """
    lengths = self.min_strings * math.log2(self.max_length)
    return lengths + math.log2(self.num_symbols)

  def loss(
    self, outputs: Float[Array, 'B T C'], batch: Batch
  ) -> Float[Array, '']:
    """Returns the cross-entropy of the symbols that followed."""
    followed = _followed(batch.targets)
    return losses.cross_entropy(outputs, followed, batch.weights)

  def score(
    self, outputs: Float[Array, 'B T C'], batch: Batch
  ) -> tuple[Float[Array, 'B T'], Float[Array, 'B T']]:
    """Returns 1 where the automaton can go on with the answer, else 0."""
    answer = jnp.argmax(outputs, axis=-1).astype(jnp.int32)
    followed = _followed(batch.targets)
    if outputs.shape == batch.targets.shape:  # else it is refused below
      allowed = losses.chosen(jnp.asarray(batch.targets), answer) > 0
      followed = jnp.where(allowed & (followed >= 0), answer, followed)
    return losses.accuracy(outputs, followed, batch.weights)

  def informed(self, batch: Batch) -> Float[Array, 'B T C']:
    """Returns the symbols that each automaton can go on with, as a 1 each."""
    return (batch.targets > 0).astype(jnp.float32)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    automaton_key, string_key, edge_key = jax.random.split(key, 3)
    automata = self.automata(automaton_key, batch_size)
    inside, valid, string = self._layout(string_key, batch_size)
    tokens, states = _walk(edge_key, automata, inside)
    between = jnp.where(valid, self.num_symbols, self.num_symbols + 1)
    tokens = jnp.where(inside, tokens, between)
    asked = inside[:, 1:] & valid[:, :-1]
    # The state before a symbol tells which ones can stand there.
    allowed = _allowed(automata, states[:, 1:], self.num_symbols)
    followed = tokens[:, 1:, None] == jnp.arange(self.num_symbols)[None, None]
    targets = allowed.astype(jnp.float32) + followed.astype(jnp.float32)
    start = jnp.zeros_like(valid[:, :-1])
    return Batch(
      inputs=tokens[:, :-1],
      targets=jnp.where(asked[..., None], targets, 0),
      weights=asked.astype(jnp.float32),
      segments=Segments(start, valid[:, :-1]),
      group=jnp.where(asked, string[:, 1:], 0),
    )

  def automata(self, key: jax.Array, batch_size: int) -> Automata:
    """Samples the automata of a batch; states that a row lacks have edges too.

    Nothing leads to those.
    """
    size_key, state_key, degree_key, *keys = jax.random.split(key, 6)
    shape = batch_size, self.max_states
    count = math.prod(shape)
    num_symbols = integers(
      size_key, (batch_size, 1), self.min_symbols, self.num_symbols + 1
    )
    num_states = integers(
      state_key, (batch_size, 1), self.min_states, self.max_states + 1
    )
    degree = integers(degree_key, shape, 1, self.max_edges + 1)
    alphabet = distinct(
      keys[0], batch_size, self.num_symbols, 0, self.num_symbols
    )

    def different(key, most):  # max_edges integers below `most`, of each state
      most = jnp.broadcast_to(most, shape).reshape(count, 1)
      chosen = distinct(key, count, self.max_edges, 0, most)
      return chosen.reshape(*shape, self.max_edges)

    place = different(keys[1], num_symbols)
    symbols = jnp.take_along_axis(
      alphabet, place.reshape(batch_size, -1), axis=1
    ).reshape(place.shape)
    states = different(keys[2], num_states - 1)
    here = jnp.arange(self.max_states, dtype=jnp.int32)[None, :, None]
    return Automata(symbols, states + (states >= here), degree)

  def _layout(
    self, key, batch_size: int
  ) -> tuple[Bool[Array, 'B T'], Bool[Array, 'B T'], Int[Array, 'B T']]:
    """Samples lengths; tells where symbols stand, a row, and which string."""
    number_key, length_key = jax.random.split(key)
    most, longest = self.max_strings, self.max_length
    number = integers(number_key, (batch_size, 1), self.min_strings, most + 1)
    length = integers(length_key, (batch_size, most), 1, longest + 1)
    index = jnp.arange(most, dtype=jnp.int32)[None]
    ends = jnp.cumsum(length, axis=1) + index  # where the mark after it stands
    size = most * (longest + 1)
    place = jnp.arange(size, dtype=jnp.int32)[None]
    rows = jnp.arange(batch_size)[:, None]
    marks = jnp.zeros((batch_size, size), bool).at[rows, ends].set(True)
    string = jnp.cumsum(marks, axis=1, dtype=jnp.int32) - marks
    valid = place < jnp.take_along_axis(ends, number - 1, axis=1)
    return valid & ~marks, valid, string


def _walk(
  key, automata: Automata, inside: Bool[Array, 'B T']
) -> tuple[Int[Array, 'B T'], Int[Array, 'B T']]:
  """Returns the symbol at each position, and the state before it."""
  words = integers(key, inside.T.shape, 0, 2**31 - 1)
  rows = jnp.arange(len(inside))

  def step(state, position):
    word, inside = position
    edge = word % automata.degree[rows, state]
    symbol = automata.symbols[rows, state, edge]
    after = jnp.where(inside, automata.states[rows, state, edge], 0)
    return after, (symbol, state)

  start = jnp.zeros(len(inside), jnp.int32)
  _, (symbols, states) = jax.lax.scan(step, start, (words, inside.T))
  return symbols.T, states.T


def _allowed(
  automata: Automata, states: Int[Array, 'B T'], num_symbols: int
) -> Bool[Array, 'B T C']:
  """Tells which symbols each state goes on with."""
  edge = jnp.arange(automata.symbols.shape[2])[None, None]
  exists = edge < automata.degree[..., None]
  symbol = jnp.arange(num_symbols, dtype=jnp.int32)[None, None, None]
  reads = (automata.symbols[..., None] == symbol) & exists[..., None]
  reads = jnp.any(reads, axis=2)
  return jnp.take_along_axis(reads, states[..., None], axis=1)


def _followed(targets: Float[Array, 'B T C']) -> Int[Array, 'B T']:
  """Returns the symbol of each target; -100 if it is no target of this task."""
  targets = jnp.asarray(targets)
  good = jnp.all((targets >= 0) & (targets <= 2), axis=-1)
  return jnp.where(good, jnp.argmax(targets, axis=-1), -100).astype(jnp.int32)


@functools.lru_cache(maxsize=16)
def _mean_degree(task: RegBench) -> float:
  """Returns the mean number of edges of the states at a row's questions.

  That of the first state is that of any. Later ones have fewer: walks come back
  sooner to states that few edges leave.
  """
  longest = task.max_length
  step = np.arange(longest)
  # A row's strings that have a symbol there; the row's first is no question.
  count = (task.min_strings + task.max_strings) / 2 * (longest - step) / longest
  count[0] -= 1
  degrees = np.zeros(longest)
  rng = np.random.RandomState(0)  # whose numbers are promised never to change
  left = NUM_AUTOMATA
  while left:
    size = min(left, max(AT_ONCE // task.max_states**2, 1))
    degrees += _sum_of_degrees(task, rng, size)
    left -= size
  return float(count @ degrees / count.sum() / NUM_AUTOMATA)


def _sum_of_degrees(task: RegBench, rng, size: int) -> np.ndarray:
  """Returns the expected degree after each number of symbols, summed.

  The law of the state of each automaton is followed exactly.
  """
  states = np.arange(task.max_states)
  shape = size, task.max_states
  num_states = rng.randint(task.min_states, task.max_states + 1, (size, 1, 1))
  degree = rng.randint(1, task.max_edges + 1, shape)
  order = rng.random_sample((*shape, task.max_states))
  order[(states >= num_states) | (states == states[:, None])[None]] = 2
  to = np.argsort(order, axis=-1)[..., : task.max_edges]
  exists = np.arange(task.max_edges) < degree[..., None]
  to = to + task.max_states * np.arange(size)[:, None, None]
  law = np.zeros(shape)
  law[:, 0] = 1
  sums = []
  for _ in range(task.max_length):
    sums.append(np.sum(law * degree))
    flow = (law / degree)[..., None] * exists
    law = np.bincount(to.ravel(), flow.ravel(), law.size).reshape(shape)
  return np.array(sums)
