"""Intervals that claim no more than the samples say, and verdicts on claims."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqjax.typing import Array

SUPPORTED = 'SUPPORTED'
REFUTED = 'REFUTED'
CONDITIONAL = 'CONDITIONAL'
UNDECIDED = 'UNDECIDED'
VERDICTS = (SUPPORTED, REFUTED, CONDITIONAL, UNDECIDED)

COVERAGE = 0.95


_STUDENT = (
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228
)  # fmt: skip


class Interval(NamedTuple):
  """An estimate and its 95 % interval; nan at both ends where none is known."""

  value: float
  low: float
  high: float

  def contains(self, number: float) -> bool:
    """Says whether the number lies in the interval, ends included."""
    return self.low <= number <= self.high


class _Verdict(NamedTuple):
  id: str
  verdict: str
  sentence: str
  effect: float | None
  low: float | None
  high: float | None
  seeds: int | None


class Verdict(_Verdict):
  """What the measurements say of one claim.

  `verdict` is one of VERDICTS, `sentence` the claim as it came out (with the
  condition, if CONDITIONAL), `effect` its size with the interval `low`, `high`
  (None where none is claimed), `seeds` how many runs stand behind it (None
  where nothing is trained).
  """

  __slots__ = ()

  def __new__(cls, id, verdict, sentence, effect, low, high, seeds):
    if verdict not in VERDICTS:
      raise ValueError(
        f'A verdict is one of {", ".join(VERDICTS)}, '
        f'but claim {id} was given {verdict!r}.'
      )
    return super().__new__(cls, id, verdict, sentence, effect, low, high, seeds)


def median_interval(samples: Sequence | Array) -> Interval:
  """Computes the median of N >= 6 numbers between two of the numbers.

  The interval from the k-th smallest to the k-th largest number misses the
  true median with probability 2 P(Binomial(N, 1/2) < k), whatever the numbers'
  distribution (David and Nagaraja, Order Statistics, 2003, section 7.1). k is
  the largest one for which it covers the median with 95 % or more.
  """
  ordered = np.sort(_numbers(samples))
  rank = _order_statistic(len(ordered))
  if rank < 1:
    raise ValueError(
      'The order-statistic interval of a median needs at least 6 samples, '
      f'but there are {len(ordered)}.'
    )
  return Interval(
    float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[-rank])
  )


def _order_statistic(count: int) -> int:
  """Finds the largest k with 2 P(Binomial(count, 1/2) < k) <= 5 %, or 0."""
  allowed = (1 - COVERAGE) / 2 * 2**count
  missed, rank = 0, 0
  while missed + math.comb(count, rank) <= allowed:
    missed += math.comb(count, rank)
    rank += 1
  return rank


def mean_interval(samples: Sequence | Array) -> Interval:
  """The mean with Student's 95 % interval: for few seeds, of normal scores.

  A percentile bootstrap of five is too narrow; Student's quantile knows how few
  they are. Raises ValueError with fewer than two samples.
  """
  numbers = _numbers(samples)
  if len(numbers) < 2:
    raise ValueError(
      f'An interval of the mean needs 2 samples or more, but got {samples}.'
    )
  freedom = len(numbers) - 1
  half = student_quantile(freedom) * numbers.std(ddof=1) / len(numbers) ** 0.5
  mean = float(numbers.mean())
  return Interval(mean, mean - float(half), mean + float(half))


def student_quantile(freedom: int) -> float:
  """Student's t, 97.5 %; beyond ten degrees that of ten, which is wider."""
  return _STUDENT[min(freedom, len(_STUDENT)) - 1]


def bootstrap_interval(
  samples: Sequence | Array,
  statistic: Callable[[np.ndarray], float] = np.mean,
  resamples: int = 2000,
  seed: int = 0,
) -> Interval:
  """Computes a statistic of N >= 2 numbers and its percentile bootstrap.

  The same samples and seed give the same interval. With fewer than about ten
  samples the percentile interval is too narrow (Efron and Tibshirani, An
  Introduction to the Bootstrap, 1993, chapter 13).
  """
  samples = _numbers(samples)
  if len(samples) < 2 or resamples < 1:
    raise ValueError(
      'A bootstrap needs at least 2 samples and 1 resample, '
      f'but was given {len(samples)} and {resamples}.'
    )
  draws = np.random.default_rng(seed).integers(
    len(samples), size=(resamples, len(samples))
  )
  statistics = [float(statistic(samples[draw])) for draw in draws]
  tail = (1 - COVERAGE) / 2
  low, high = np.quantile(statistics, [tail, 1 - tail])
  return Interval(float(statistic(samples)), float(low), float(high))


def _numbers(samples) -> Float[np.ndarray, ' N']:
  samples = np.asarray(samples, np.float64)
  if samples.ndim != 1 or not np.all(np.isfinite(samples)):
    raise ValueError(
      'Samples are a list of finite numbers, '
      f'but these have shape {samples.shape} and '
      f'{np.sum(~np.isfinite(samples))} that are not finite.'
    )
  return samples
