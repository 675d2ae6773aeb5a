"""Shares of counts that are set aside for what was not seen.

All of them look at n_i, how many n-grams of one length have the number i.
"""

import numpy as np
from jaxtyping import Float, Int

from seqjax.typing import Array


def modified_discounts(numbers: Int[Array, 'E']) -> Float[Array, '3']:
  """D(1), D(2) and D(3 or more) of Chen & Goodman (1999).

      Y = n_1 / (n_1 + 2 n_2),    D(i) = i - (i + 1) Y n_{i+1} / n_i

  with n_i how many n-grams have the number i. Where one of n_1..n_4 is 0 or a
  discount is not positive (as in few or short n-grams, which Zipf's law does
  not describe), all three are 1/2, 1, 3/2.
  """
  times = _counts_of_counts(numbers, 4)
  i = np.arange(1, 4)
  if times.all():
    ratio = times[0] / (times[0] + 2 * times[1])
    discounts = i - (i + 1) * ratio * times[1:] / times[:-1]
    if (discounts > 0).all():
      return discounts
  return i / 2


def good_turing_discounts(
  numbers: Int[Array, 'E'], cutoff: int
) -> Float[Array, 'cutoff'] | None:
  """d(1), ..., d(k) of Katz (1987), with k the cutoff.

      r* = (r + 1) n_{r+1} / n_r,    c = (k + 1) n_{k+1} / n_1
      d(r) = (r* / r - c) / (1 - c)

  so that sum_r n_r (1 - d(r)) r = n_1: as much is taken as Good-Turing gives
  to what was not seen. None where that has no solution inside (0, 1).
  """
  times = _counts_of_counts(numbers, cutoff + 1)
  r = np.arange(1, cutoff + 1)
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = (r + 1) * times[1:] / (r * times[:-1])
    above = (cutoff + 1) * times[-1] / times[0]
    discounts = (ratio - above) / (1 - above)
  inside = ((discounts > 0) & (discounts < 1)).all()
  return discounts if inside else None


def absolute_discount(numbers: Int[Array, 'E']) -> float:
  """n_1 / (n_1 + 2 n_2) (Ney, Essen & Kneser, 1994); 1/2 where one is 0."""
  once, twice = _counts_of_counts(numbers, 2)
  return once / (once + 2 * twice) if once and twice else 0.5


def _counts_of_counts(numbers, highest: int) -> Int[Array, '{highest}']:
  """n_1, ..., n_highest: how many n-grams have the number 1, 2, ..."""
  capped = np.minimum(numbers, highest + 1)
  return np.bincount(capped, minlength=highest + 2)[1 : highest + 1]
