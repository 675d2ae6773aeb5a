"""Translation between two made-up languages, with one right answer."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.tasks.synthetic._language import (
  AND,
  DETERMINER,
  MAX_ADJECTIVES,
  NOT,
  Source,
  Target,
  best_guesses,
  clause,
  join,
  mix,
  source_words,
  target_words,
  word,
)
from seqjax.tasks.synthetic._random import integers
from seqjax.tasks.synthetic.transduction import compact, given, unaligned
from seqjax.tasks.task import (
  HELD_OUT_BITS,
  Classification,
  at_least,
  at_most,
  split_key,
)
from seqjax.typing import Array, Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True)
class Translation(Classification):
  """The translation of a sentence of one to `max_clauses` clauses.

  A clause of the source is a noun phrase, a verb, a noun phrase; a noun phrase
  is a determiner, up to two adjectives, a noun. "not" may come before the verb,
  "and" joins clauses. In the target language

  - the verb comes last, and adjectives after their noun;
  - determiners and adjectives agree with their noun in gender and number, the
    verb agrees with its subject in number (in the source, only nouns show it);
  - "not" is two words, before and after the verb, and so is a quarter of the
    nouns, one after the other.

      source    the big dogs not see a cat
      targets   the-m-p dogs big-m-p a-f-s cat cat' not see-p not' 0

  Words are numbered from 1. `seed` says which word of the target language has
  which number, which nouns have which gender, and which are two words. All
  choices in a sentence are uniform and independent. Training soon sees most
  short sentences: validation and test have `held_out_clauses`, and chance is
  theirs; that of training, where no sentence is long enough for them.
  `Batch.group` is the length of the source, at every position of the target.

  Attributes:
    num_nouns: the number of nouns, each singular and plural.
    num_adjectives: the number of adjectives.
    num_verbs: the number of verbs.
    max_clauses: the most clauses of a sentence.
    seed: of the language, not of its sentences.
  """

  num_nouns: int = 24
  num_adjectives: int = 12
  num_verbs: int = 12
  max_clauses: int = 2
  seed: int = 0

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY_UNALIGNED
  ceiling: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(
      self,
      num_nouns=4,
      num_adjectives=1,
      num_verbs=1,
      max_clauses=1,
    )
    at_most(
      self, num_nouns=1024, num_adjectives=1024, num_verbs=1024, max_clauses=16
    )

  @property
  def source(self) -> Source:
    """Numbers the words of the source language."""
    return source_words(self.num_nouns, self.num_adjectives, self.num_verbs)

  @property
  def target(self) -> Target:
    """Numbers the words of the target language."""
    return target_words(
      self.num_nouns, self.num_adjectives, self.num_verbs, self.seed
    )

  @property
  def input(self) -> Spec:
    return Spec((), vocab=self.source.size)

  @property
  def output(self) -> Spec:
    return Spec((), vocab=self.target.size)

  @property
  def chance(self) -> float:
    """Returns the share of right words; the end is known from the weights."""
    joint = word(self.target.conjunction, self.target.size)
    sentences = [clause(self.target)]
    for _ in range(self.max_clauses - 1):
      sentences.append(join(sentences[-1], joint, sentences[0]))
    fewest = min(self.held_out_clauses, default=1)
    sentences = sentences[fewest - 1 :]
    shares = [1 / len(sentences)] * len(sentences)
    right, words = best_guesses(mix(sentences, shares))
    return (right + 1) / (words + 1)

  @property
  def held_out_clauses(self) -> tuple[int, ...]:
    """Lists the numbers of clauses of validation and test, equally likely.

    At these, two samples are the same sentence with P <= 2^-24.
    """
    numbers = range(1, self.max_clauses + 1)
    return tuple(n for n in numbers if n * self._clause_bits >= HELD_OUT_BITS)

  @property
  def bits(self) -> float:
    """Returns -log2 P(two samples of `max_clauses` are the same)."""
    return self.max_clauses * self._clause_bits

  @property
  def _clause_bits(self) -> float:
    """Returns -log2 P(two samples of a clause are the same)."""
    lists = sum(self.num_adjectives**-n for n in range(MAX_ADJECTIVES + 1))
    adjectives = lists / (MAX_ADJECTIVES + 1) ** 2
    noun_phrase = adjectives / 2 / (2 * self.num_nouns)
    return -math.log2(noun_phrase**2 / self.num_verbs / 2)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    key = split_key(key, split, step)
    fewest = min(self.held_out_clauses, default=1)
    fewest = 1 if split == 'train' else fewest
    source, lengths = self._sentences(key, batch_size, fewest)
    targets, counts = self._translate(source)
    return unaligned(source, lengths, targets, counts)

  def solve(self, batch: Batch) -> Int[Array, 'B T']:
    """Returns the translation, from the source alone."""
    return self._translate(given(batch)[0])[0]

  def _sentences(self, key, batch_size: int, fewest: int):
    """Samples (sentences [B S], zero after their end; their lengths)."""
    word_key, adjective_key, not_key, clause_key = jax.random.split(key, 4)
    shape = (batch_size, self.max_clauses)
    first = self.source
    noun_phrase = [
      (DETERMINER, first.adjective),
      *[(first.adjective, first.noun)] * MAX_ADJECTIVES,
      (first.noun, first.verb),
    ]
    negated_verb = [(NOT, NOT + 1), (first.verb, first.size)]
    slots = [*noun_phrase, *negated_verb, *noun_phrase, (AND, AND + 1)]
    low, high = jnp.array(slots, jnp.int32).T[:, None, None]
    words = integers(word_key, (*shape, len(slots)), low, high)
    adjectives = integers(adjective_key, (*shape, 2), 0, MAX_ADJECTIVES + 1)
    subject, object_ = jnp.moveaxis(
      adjectives[..., None] > jnp.arange(MAX_ADJECTIVES)[None, None, None], 2, 0
    )
    negated = integers(not_key, (*shape, 1), 0, 2) == 1
    most = self.max_clauses
    clauses = integers(clause_key, (batch_size, 1), fewest, most + 1)
    index = jnp.arange(self.max_clauses)[None]
    here, joined = ((index + i < clauses)[..., None] for i in range(2))
    parts = [here, subject, here, negated, here, here, object_, here, joined]
    kept = (jnp.concatenate(parts, axis=2) & here).reshape(batch_size, -1)
    place = jnp.broadcast_to(jnp.arange(kept.shape[1])[None], kept.shape)
    source, lengths = compact(words.reshape(kept.shape), kept, place)
    return source[:, : kept.shape[1] - 1], lengths  # the last has no "and"

  def _translate(self, source):
    """Returns (target words [B T], zero after their end; their number)."""
    first, target = self.source, jax.tree.map(jnp.asarray, self.target)
    starts = (AND, NOT, DETERMINER, first.adjective, first.noun, first.verb)
    ends = (*starts[1:], first.size)
    kinds = [
      (source >= start) & (source < end)
      for start, end in zip(starts, ends, strict=True)
    ]
    is_and, is_not, _, _, is_noun, is_verb = kinds
    clause = jnp.cumsum(is_and, axis=1, dtype=jnp.int32) - is_and
    is_object = jnp.cumsum(is_verb, axis=1, dtype=jnp.int32) > clause
    phrase = 2 * clause + is_object
    noun = self._nouns(source, is_noun, jnp.where(is_verb, 2 * clause, phrase))
    noun, number = noun // 2, noun % 2
    gender = target.gender[noun]
    words = [
      jnp.broadcast_to(target.conjunction, source.shape),
      jnp.broadcast_to(target.negation[0], source.shape),
      target.determiner[source - DETERMINER, gender, number],
      target.adjective[source - first.adjective, gender, number],
      target.noun[noun, number],
      target.verb[source - first.verb, number],
    ]
    others = [target.negation[1], target.second[noun]]
    word = jnp.select(kinds, words, 0)
    other = jnp.select([is_not, is_noun], others, 0)
    # Subject (0 to 2), object (3 to 5), "not", verb, "not'", "and".
    inside = jnp.select(kinds, [9, 6, 0, 2, 1, 7], 0)
    in_object = is_object & ~is_and & ~is_verb
    rank = 10 * clause + inside + 3 * in_object
    other_rank = jnp.where(is_not, rank + 2, rank)
    both, ranks = (
      jnp.stack(pair, axis=-1).reshape(len(source), -1)
      for pair in ((word, other), (rank, other_rank))
    )
    translated, counts = compact(both, both > 0, ranks)
    longest = 14 * self.max_clauses  # 13 words, and one to join or to end
    return translated[:, :longest], counts

  def _nouns(self, source, is_noun, phrase):
    """Returns the noun that heads a phrase, with its number, from 0, [B S].

    Every phrase has one noun, so the nouns in order are the phrases'.
    """
    index = jnp.arange(2 * self.max_clauses)
    rank = jnp.cumsum(is_noun, axis=1, dtype=jnp.int32) - 1
    heads = (rank[:, :, None] == index[None, None]) & is_noun[:, :, None]
    nouns = jnp.sum(
      jnp.where(heads, source[:, :, None] - self.source.noun, 0), axis=1
    )
    inside = jnp.clip(phrase, 0, 2 * self.max_clauses - 1)
    return jnp.take_along_axis(nouns, inside, axis=1)
