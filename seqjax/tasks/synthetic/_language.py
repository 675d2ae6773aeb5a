"""The two languages of `Translation`: their words, and random phrases.

A phrase is {length: P(this length, word i is w) as [length, words]}, with the
probability of the length beside it, since a phrase may be empty.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

AND, NOT, DETERMINER = 1, 2, 3  # two determiners
MAX_ADJECTIVES = 2


class Words(NamedTuple):
  """Phrases of one length."""

  probability: float
  joint: Float[np.ndarray, 'T C']


Phrase = dict[int, Words]


class Source(NamedTuple):
  """The first word of each kind in the source; a noun has two forms."""

  adjective: int
  noun: int
  verb: int
  size: int


class Target(NamedTuple):
  """The words of the target language; 0 is none.

  `determiner` and `adjective` are [words, gender, number], `noun` and `verb`
  [words, number], `second` the other word of some nouns, `negation` the two
  words around a verb.
  """

  conjunction: np.ndarray
  negation: np.ndarray
  determiner: np.ndarray
  adjective: np.ndarray
  noun: np.ndarray
  verb: np.ndarray
  second: np.ndarray
  gender: np.ndarray
  size: int


def source_words(num_nouns: int, num_adjectives: int, num_verbs: int) -> Source:
  """Numbers the words by kind; 0 is none."""
  adjective = DETERMINER + 2
  noun = adjective + num_adjectives
  verb = noun + 2 * num_nouns
  return Source(adjective, noun, verb, verb + num_verbs)


@functools.cache
def target_words(
  num_nouns: int, num_adjectives: int, num_verbs: int, seed: int
) -> Target:
  """Samples a language: numbers of words, genders, second words."""
  rng = np.random.Generator(np.random.Philox(seed))
  two_words = num_nouns // 4
  shapes = [
    (),
    (2,),
    (2, 2, 2),
    (num_adjectives, 2, 2),
    (num_nouns, 2),
    (num_verbs, 2),
    (two_words,),
  ]
  counts = [int(np.prod(shape)) for shape in shapes]
  words = np.split(1 + rng.permutation(sum(counts)), np.cumsum(counts)[:-1])
  kinds = [w.reshape(s) for w, s in zip(words, shapes, strict=True)]
  second = np.zeros(num_nouns, int)
  second[rng.permutation(num_nouns)[:two_words]] = kinds.pop()
  gender = rng.integers(2, size=num_nouns)
  tables = [table.astype(np.int32) for table in (*kinds, second, gender)]
  return Target(*tables, size=sum(counts) + 1)


def clause(target: Target) -> Phrase:
  """Returns a clause of the target language, all choices uniform."""
  subject = noun_phrase(target)
  verb = word(target.verb, target.size)
  parts = np.split(target.negation, 2)
  before, after = (word(part, target.size) for part in parts)
  positive = join(subject, subject, verb)
  negative = join(subject, subject, before, verb, after)
  return mix([positive, negative], [1 / 2, 1 / 2])


def noun_phrase(target: Target) -> Phrase:
  """Returns a noun phrase of the target language, all choices uniform."""
  nouns = [np.flatnonzero(target.second == 0), np.flatnonzero(target.second)]
  shares = [len(group) / len(target.second) for group in nouns]
  return mix([_around(target, group) for group in nouns], shares)


def _around(target, nouns) -> Phrase:
  """Returns a noun phrase around one of these nouns.

  Either all of them have one word, or all have two.
  """
  size, gender = target.size, target.gender[nouns]
  adjective = word(target.adjective[:, gender], size)
  number = range(MAX_ADJECTIVES + 1)
  adjectives = [join(nothing(size), *[adjective] * n) for n in number]
  parts = [
    word(target.determiner[:, gender], size),
    word(target.noun[nouns], size),
    mix(adjectives, [1 / len(adjectives)] * len(adjectives)),
  ]
  if target.second[nouns].any():
    parts.insert(2, word(target.second[nouns], size))
  return join(*parts)


def word(choices: Int[np.ndarray, '...'], size: int) -> Phrase:
  """Returns one word, uniform among the choices, which are below `size`."""
  counts = np.bincount(np.ravel(choices), minlength=size)
  return {1: Words(1.0, counts[None] / counts.sum())}


def nothing(size: int) -> Phrase:
  """Returns a phrase of no word at all."""
  return {0: Words(1.0, np.zeros((0, size)))}


def join(*phrases: Phrase) -> Phrase:
  """Joins phrases one after the other, independently."""
  joined = phrases[0]
  for phrase in phrases[1:]:
    joined = mix(
      [{m + n: _append(joined[m], phrase[n])} for m in joined for n in phrase],
      weights=None,
    )
  return joined


def mix(phrases: Sequence[Phrase], weights: Sequence[float] | None) -> Phrase:
  """Mixes phrases by weight; None adds up what excludes each other."""
  mixed: Phrase = {}
  weights = [1.0] * len(phrases) if weights is None else weights
  for phrase, weight in zip(phrases, weights, strict=True):
    for length, (probability, joint) in phrase.items():
      before = mixed.get(length, Words(0.0, np.zeros_like(joint)))
      mixed[length] = Words(
        before.probability + weight * probability, before.joint + weight * joint
      )
  return mixed


def best_guesses(phrase: Phrase) -> tuple[float, float]:
  """Returns (words that the best constants get right, number of words)."""
  right = sum(words.joint.max(axis=1).sum() for words in phrase.values())
  count = sum(n * words.probability for n, words in phrase.items())
  return float(right), float(count)


def _append(first: Words, second: Words) -> Words:
  joint = [
    first.joint * second.probability,
    second.joint * first.probability,
  ]
  return Words(first.probability * second.probability, np.concatenate(joint))
