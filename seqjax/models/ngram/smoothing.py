"""From counts to probabilities: one function for each way of smoothing.

n(hw) is how often token w follows context h, n(h) how often any token does
(without the times h ends a segment, or a context would not sum to 1), h' is h
without its first token, and p(w | h') after the empty context is 1/vocab. Where
h was never followed by anything, p(w | h) = p(w | h').
"""

import itertools
import numbers
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from seqjax.models.ngram.counts import Counts, Grams
from seqjax.models.ngram.discounts import (
  absolute_discount,
  good_turing_discounts,
  modified_discounts,
)
from seqjax.models.ngram.model import NGram, Table
from seqjax.typing import Array


def maximum_likelihood(counts: Counts) -> NGram:
  """p(w | h) = n(hw) / n(h): what was not seen is impossible."""
  return interpolation(counts, strengths=0.0)


def add_alpha(counts: Counts, alpha: float = 1.0) -> NGram:
  """p(w | h) = (n(hw) + alpha) / (n(h) + alpha V); 1 is Laplace's rule.

  Shorter contexts help only where a segment has no more before the token; after
  a context that was never seen, every token has probability 1/V.

  Raises:
    ValueError: alpha is not positive and finite.
  """
  if not 0 < alpha < np.inf:
    raise ValueError(
      f'Additive smoothing needs a finite alpha above 0, but alpha={alpha} was '
      'given; maximum_likelihood takes the counts as they are.'
    )
  tables = []
  for grams in counts.levels:
    added = alpha * counts.vocab
    totals = _sum(grams.counts, grams) + added
    probs = (grams.counts + alpha) / totals[grams.contexts]
    tables.append(Table(grams.keys, probs, added / totals))
  return NGram(counts.vocab, tuple(tables), backs_off=False)


def interpolation(
  counts: Counts, strengths: float | Sequence[float] = 1.0
) -> NGram:
  """p(w | h) = (n(hw) + e p(w | h')) / (n(h) + e), with e by the length of hw.

  For order 3 and strengths (e1, e2, e3) these are the three levels

      p(x)         = (n(x) + e1 / V) / (n + e1)
      p(x' | x)    = (n(x x') + e2 p(x')) / (n(x) + e2)
      p(x'' | x x') = (n(x x' x'') + e3 p(x'' | x')) / (n(x x') + e3).

  Every e is a number of tokens imagined in addition to those counted.

  Raises:
    ValueError: a strength below 0 or infinite, or not one for each length.
  """
  strengths = _one_for_each_length(strengths, counts.order)
  kept = [grams.counts for grams in counts.levels]
  spread = [
    np.full(grams.num_contexts, strength)
    for grams, strength in zip(counts.levels, strengths, strict=True)
  ]
  return _interpolated(counts, kept, spread)


def kneser_ney(counts: Counts) -> NGram:
  """Modified Kneser-Ney smoothing (Chen & Goodman, 1999).

      p(w | h) = (a(hw) - D(a(hw))) / a(h) + g(h) p(w | h')
      a(h) = sum_w a(hw),    g(h) = sum_w D(a(hw)) / a(h)

  At the highest order a(hw) = n(hw); below, it is the number of different
  tokens that precede hw, to which the beginning of a segment counts as one (the
  paper's begin-of-sentence token). `modified_discounts` has D, apart for each
  order.
  """
  kept, spread = [], []
  for grams, number in zip(counts.levels, _adjusted(counts), strict=True):
    discounts = modified_discounts(number)[np.minimum(number, 3) - 1]
    kept.append(number - discounts)
    spread.append(_sum(discounts, grams))
  return _interpolated(counts, kept, spread)


def katz(counts: Counts, cutoff: int = 5) -> NGram:
  """Back-off to the shorter context (Katz, 1987), with Good-Turing discounts.

      p(w | h) = d(n(hw)) n(hw) / n(h)      if n(hw) > 0,
                 b(h) p(w | h')             otherwise,

  with b(h) such that the context sums to 1, and d of `good_turing_discounts`
  for counts up to `cutoff` (Katz's k), 1 above. Departures, which are what it
  takes for every context to sum to 1 and no token to be impossible: where the
  discounts are undefined, `absolute_discount` is subtracted from all counts of
  that length; a context that keeps nothing for the tokens not seen after it is
  counted once more, for them; one that has been followed by every token gives
  what was discounted back to them, in proportion.

  Raises:
    ValueError: a cutoff below 1 or between whole numbers.
  """
  if not isinstance(cutoff, numbers.Integral) or cutoff < 1:
    raise ValueError(
      'Katz back-off discounts counts up to a whole number of at least 1, but '
      f'cutoff={cutoff} was given.'
    )
  tables, shorter = [], np.full(1, 1 / counts.vocab)
  for grams in counts.levels:
    kept = _kept_by_katz(grams.counts, cutoff)
    seen = np.bincount(grams.contexts, minlength=grams.num_contexts)
    spread = _sum(grams.counts - kept, grams)
    spread = np.where(spread > 0, spread, 1.0)
    spread = np.where(seen == counts.vocab, 0.0, spread)
    probs, rest = _shares(grams, kept, spread)
    # Mass of the unseen, given h'; where all were seen, no lookup needs it.
    unseen = 1 - _sum(shorter[grams.suffixes], grams)
    unseen = np.where(seen == counts.vocab, 1.0, unseen)
    tables.append(Table(grams.keys, probs, rest / unseen))
    shorter = probs
  return NGram(counts.vocab, tuple(tables))


def _kept_by_katz(numbers, cutoff):
  """Discounts each count: d(n) n, or n minus an absolute discount."""
  discounts = good_turing_discounts(numbers, cutoff)
  if discounts is None:
    return numbers - absolute_discount(numbers)
  shares = np.append(discounts, 1.0)
  return numbers * shares[np.minimum(numbers, cutoff + 1) - 1]


def _one_for_each_length(strengths, order: int) -> Float[Array, '{order}']:
  strengths = np.asarray(strengths, np.float64)
  finite = ((strengths >= 0) & (strengths < np.inf)).all()
  if strengths.shape not in ((), (order,)) or not finite:
    raise ValueError(
      'Interpolation takes one finite strength of at least 0, or one for each '
      f'length 1..{order}, but strengths={strengths.tolist()} was given.'
    )
  return np.broadcast_to(strengths, order)


def _interpolated(counts: Counts, kept, spread) -> NGram:
  """p(w | h) = (kept(hw) + spread(h) p(w | h')) / (sum_w kept(hw) + spread(h)).

  `kept` has one number for each n-gram and `spread` for each context, of every
  length.
  """
  tables, shorter = [], np.full(1, 1 / counts.vocab)
  for grams, kept_n, spread_n in zip(counts.levels, kept, spread, strict=True):
    own, rest = _shares(grams, kept_n, spread_n)
    probs = own + rest[grams.contexts] * shorter[grams.suffixes]
    tables.append(Table(grams.keys, probs, rest))
    shorter = probs
  return NGram(counts.vocab, tuple(tables))


def _shares(grams: Grams, kept, spread):
  """Shares of each n-gram and of the rest; the rest is all where h has none."""
  totals = _sum(kept, grams) + spread
  followed = totals > 0
  rest = np.where(followed, spread, 1.0) / np.where(followed, totals, 1.0)
  return kept / totals[grams.contexts], rest


def _adjusted(counts: Counts) -> list[Int[Array, 'E']]:
  """Kneser-Ney's numbers: left neighbours, and counts at the highest order."""
  preceded = [
    np.bincount(longer.suffixes, minlength=longer.num_contexts) + grams.begins
    for grams, longer in itertools.pairwise(counts.levels)
  ]
  return [*preceded, counts.levels[-1].counts]


def _sum(values, grams: Grams) -> Float[Array, 'C']:
  """Returns the sum over the n-grams of each context."""
  return np.bincount(grams.contexts, values, grams.num_contexts)


SMOOTHINGS = {
  'maximum_likelihood': maximum_likelihood,
  'add_alpha': add_alpha,
  'interpolation': interpolation,
  'katz': katz,
  'kneser_ney': kneser_ney,
}
