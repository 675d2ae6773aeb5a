"""Counts of n-grams: sorted arrays, one set for each length.

An n-gram is named by a chain. The empty one has id 0; a longer one has the key

    id of the n-gram without its last token * vocab + last token

and its id is the rank of that key among those that occur. Keys are below
(number of tokens) * vocab at every length, so they fit 64 bits where a power of
vocab would not, and the n-grams that continue one context stand together.
"""

import dataclasses
import numbers
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from seqjax.models import checks
from seqjax.ops.segments import check, piece_index
from seqjax.typing import Array, Segments

MAX_ORDER = 8


class Stream(NamedTuple):
  """The valid tokens of all rows, one segment after the other, [M].

  `past` counts the tokens of the same segment before each.
  """

  tokens: Int[Array, 'M']
  past: Int[Array, 'M']


class Grams(NamedTuple):
  """The n-grams of one length that occur, sorted by key, [E].

  Attributes:
    keys: as this file's docstring says.
    contexts: ids of the n-grams without their last token.
    suffixes: ids of the n-grams without their first token.
    counts: how often each occurs.
    begins: whether one of these begins a segment.
    num_contexts: how many n-grams one shorter there are.
  """

  keys: Int[Array, 'E']
  contexts: Int[Array, 'E']
  suffixes: Int[Array, 'E']
  counts: Int[Array, 'E']
  begins: Bool[Array, 'E']
  num_contexts: int


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
  """The n-grams of length 1, 2, ... `order`, as `count` finds them."""

  vocab: int
  levels: tuple[Grams, ...]

  @property
  def order(self) -> int:
    return len(self.levels)

  def truncate(self, order: int) -> 'Counts':
    """Returns the counts up to a lower order, without counting again."""
    _check_order(order, highest=self.order)
    return dataclasses.replace(self, levels=self.levels[:order])

  def ngrams(self, length: int) -> Int[Array, 'E n']:
    """Returns the tokens of every n-gram of one length, in `levels`' order.

    Raises:
      ValueError: n-grams of that length were not counted.
    """
    _check_order(length, highest=self.order)
    ids = np.arange(len(self.levels[length - 1].keys))
    tokens = []
    for grams in reversed(self.levels[:length]):
      tokens.append(grams.keys[ids] % self.vocab)
      ids = grams.contexts[ids]
    return np.stack(tokens[::-1], axis=1)


def count(
  tokens: Int[Array, '*B T'],
  segments: Segments | None = None,
  *,
  vocab: int,
  order: int,
) -> Counts:
  """Counts the n-grams of a text, or of rows of text, up to length `order`.

  Args:
    tokens: one text [T], or rows [B T], each a text of its own.
    segments: segments of the rows; no n-gram holds padding, or tokens of two
      segments.
    vocab: tokens lie in 0..vocab - 1.
    order: the longest n-grams, 1 to 8.

  Raises:
    ValueError: a bad order or vocabulary, a text of another shape, no segment
      of that many tokens, no token at all, or one outside the vocabulary.
  """
  _check_order(order, highest=MAX_ORDER)
  if not isinstance(vocab, numbers.Integral) or vocab < 1:
    raise ValueError(
      f'A vocabulary has 1 token or more, but vocab={vocab} was given.'
    )
  _, stream = flatten(np.atleast_2d(np.asarray(tokens)), segments, vocab)
  _check_text(stream, vocab, order)
  ids = np.zeros(len(stream.tokens), np.int64)
  levels, num_contexts = [], 1
  for length in range(1, order + 1):
    grams, ids = _extend(stream, ids, length, vocab, num_contexts)
    levels.append(grams)
    num_contexts = len(grams.keys)
  return Counts(vocab, tuple(levels))


def _extend(stream, ids, length, vocab, num_contexts):
  """Extends n-grams by one token: those found, and their ids where they end."""
  ends = np.flatnonzero(stream.past >= length - 1)
  contexts = ids[ends - 1]  # of length 1: the empty one, wherever it is read
  keys, inverse, counts = np.unique(
    contexts * vocab + stream.tokens[ends],
    return_inverse=True,
    return_counts=True,
  )
  suffixes = np.empty_like(keys)
  suffixes[inverse] = ids[ends]
  begins = np.zeros(len(keys), bool)
  begins[inverse[stream.past[ends] == length - 1]] = True
  longer = np.full_like(ids, -1)
  longer[ends] = inverse
  grams = Grams(keys, keys // vocab, suffixes, counts, begins, num_contexts)
  return grams, longer


def find(
  keys: Int[Array, 'E'],
  contexts: Int[Array, '*c'],
  tokens: Int[Array, '*t'],
  vocab: int,
) -> Int[Array, '...']:
  """Ids of the n-grams (context, token); -1 where there is none.

  A context that does not occur is -1 as well, and so is all that follows it.
  """
  wanted = contexts * vocab + tokens
  ids = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  return np.where(keys[ids] == wanted, ids, -1)


def flatten(
  tokens: Int[Array, 'B T'], segments: Segments | None, vocab: int
) -> tuple[Bool[Array, 'B T'], Stream]:
  """Marks the valid positions, and puts their tokens in one line.

  Raises:
    ValueError: tokens are no integers [B T], or a valid one lies outside
      0..vocab - 1.
  """
  checks.rows(tokens)
  check(segments, *tokens.shape)
  pieces = np.asarray(piece_index(segments, *tokens.shape))
  valid = pieces >= 0
  rows = np.arange(len(tokens), dtype=np.int64)[:, None]
  pieces = (pieces + rows * (tokens.shape[1] + 1))[valid]
  kept = np.asarray(tokens)[valid].astype(np.int64)
  _check_vocabulary(kept, vocab)
  places = np.arange(len(kept))
  first = np.diff(pieces, prepend=-1) != 0
  begins = np.maximum.accumulate(np.where(first, places, 0))
  return valid, Stream(kept, places - begins)


def _check_order(order: int, highest: int):
  if not isinstance(order, numbers.Integral) or not 1 <= order <= highest:
    raise ValueError(
      'The order (the length of the longest n-grams) must be a whole number in '
      f'1..{highest}, but order={order} was given.'
    )


def _check_text(stream: Stream, vocab: int, order: int):
  if not len(stream.tokens):
    raise ValueError('Counting needs a text, but no token was given.')
  longest = int(stream.past.max()) + 1
  if longest < order:
    raise ValueError(
      f'Order {order} needs a piece of {order} tokens or more, but the longest '
      f'has {longest}; give more text or a lower order.'
    )
  if len(stream.tokens) * vocab >= 2**63:
    raise ValueError(
      f'{len(stream.tokens)} tokens of a vocabulary of {vocab} give more keys '
      'than 64 bits can hold; number the tokens that occur from 0.'
    )


def _check_vocabulary(tokens: Int[Array, 'M'], vocab: int):
  outside = tokens[(tokens < 0) | (tokens >= vocab)]
  if len(outside):
    raise ValueError(
      f'Tokens must lie in 0..{vocab - 1} (vocab={vocab}), but '
      f'{len(outside)} of {len(tokens)} do not; the first is {outside[0]}.'
    )
