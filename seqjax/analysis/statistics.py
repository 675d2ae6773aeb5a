"""Intervals that claim no more than the samples say, on `scipy.stats`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from seqjax.typing import Array

COVERAGE = 0.95
NUM_CLAIMS = 43  # of the textbooks
LEVEL = 0.05 / NUM_CLAIMS  # of a claim's test, whatever else is on the page
MIN_SCORES = 5  # fewer have no interval


class Interval(NamedTuple):
  """An estimate and its 95 % interval; nan at both ends where none is known."""

  value: float
  low: float
  high: float

  def contains(self, number: float) -> bool:
    """Says whether the number lies in the interval, ends included."""
    return self.low <= number <= self.high


class Summary(NamedTuple):
  """A summary of the scores of several seeds.

  `mean`, `median` and `interquartile_mean` with bootstrap intervals, unknown
  with fewer than five scores; `solved` is the share of the seeds that solve the
  task, `best` the best seed's score. That one grows with the number of seeds,
  and says little about the next seed: it stands beside the others, never alone.
  """

  count: int
  mean: Interval
  median: Interval
  interquartile_mean: Interval
  solved: float
  best: float


class Rank(NamedTuple):
  """The rank of one contestant among K; 1 is best.

  `rank` is that of the scores as they are, equals sharing the mean of their
  places, with its bootstrap interval; `probabilities[k]` is how often the
  resampled scores have place k + 1, equals sharing theirs evenly.
  """

  rank: Interval
  probabilities: tuple[float, ...]


def median_interval(samples: Sequence | Array) -> Interval:
  """Computes the median of N >= 6 numbers between two of the numbers.

  The interval from the k-th smallest to the k-th largest number misses the
  true median with probability 2 P(Binomial(N, 1/2) < k), whatever the numbers'
  distribution (David and Nagaraja, Order Statistics, 2003, section 7.1). k is
  the largest one for which it covers the median with 95 % or more.
  """
  samples = _numbers(samples)
  if len(samples) < 6:
    raise ValueError(
      'The order-statistic interval of a median needs at least 6 samples, '
      f'but there are {len(samples)}.'
    )
  median = float(np.median(samples))
  test = scipy.stats.quantile_test(samples, q=median, p=0.5)
  return Interval(median, *map(float, test.confidence_interval(COVERAGE)))


def mean_interval(
  samples: Sequence | Array, coverage: float = COVERAGE
) -> Interval:
  """The mean with Student's interval: for few seeds, of normal scores.

  A percentile bootstrap of five is too narrow; Student's quantile knows how few
  they are. Raises ValueError with fewer than two samples.
  """
  numbers = _numbers(samples)
  if len(numbers) < 2:
    raise ValueError(
      f'An interval of the mean needs 2 samples or more, but got {samples}.'
    )
  mean, error = float(numbers.mean()), float(scipy.stats.sem(numbers))
  half = student_quantile(len(numbers) - 1, coverage) * error
  return Interval(mean, mean - half, mean + half)


def student_quantile(freedom: int, coverage: float = COVERAGE) -> float:
  """Returns the upper end of Student's t with `freedom` degrees."""
  return float(scipy.stats.t.ppf((1 + coverage) / 2, freedom))


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
  generator = np.random.default_rng(seed)
  statistics = _resampled(samples, statistic, resamples, generator)
  return _percentiles(float(statistic(samples)), statistics)


def interquartile_mean(samples: Sequence | Array) -> float:
  """The mean of the middle half: a quarter is cut away at either end.

  Of N numbers floor(N / 4) at each end. It needs fewer runs than a median for
  an interval of the same width, and no outlier moves it far (Agarwal et al.,
  Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021,
  section 4).
  """
  return float(scipy.stats.trim_mean(_numbers(samples), 0.25))


def summarize(
  scores: Sequence | Array, *, solved: float, higher_is_better: bool = True
) -> Summary:
  """Sums up one score a seed; a seed has solved the task at score `solved`.

  Raises:
    ValueError: there are no scores, or some are not finite.
  """
  scores = _numbers(scores)
  if not len(scores):
    raise ValueError('A summary needs at least 1 score, but there are none.')
  reached = scores >= solved if higher_is_better else scores <= solved
  best = np.max if higher_is_better else np.min
  return Summary(
    len(scores),
    *(
      _interval_if_known(scores, statistic)
      for statistic in (np.mean, np.median, interquartile_mean)
    ),
    float(np.mean(reached)),
    float(best(scores)),
  )


def ranks(
  scores: Mapping[str, Sequence | Array],
  statistic: Callable[[np.ndarray], float] = np.mean,
  *,
  higher_is_better: bool = True,
  resamples: int = 2000,
  seed: int = 0,
) -> dict[str, Rank]:
  """Ranks contestants by a statistic of their seeds' scores; says how surely.

  Every contestant's seeds are drawn again with replacement, independently of
  the others', and the statistics are ranked, `resamples` times (the bootstrap
  of Agarwal et al., 2021, section 4, for one task). Where probabilities are
  spread, the scores do not say who is ahead. Like `bootstrap_interval`, they
  are too sure with fewer than about ten seeds.

  Args:
    scores: {contestant: one score a seed}; numbers of seeds may differ.

  Raises:
    ValueError: there is no contestant, or one with fewer than two scores.
  """
  if not scores:
    raise ValueError('Ranks need at least 1 contestant, but there are none.')
  sign = 1 if higher_is_better else -1
  samples = [_numbers(of_seeds) for of_seeds in scores.values()]
  generator = np.random.default_rng(seed)
  resampled = sign * np.stack(
    [_resampled(row, statistic, resamples, generator) for row in samples],
    axis=1,
  )
  value = _ranks(sign * np.array([statistic(row) for row in samples]))
  drawn, probabilities = _ranks(resampled), _probabilities(resampled)
  return {
    name: Rank(
      _percentiles(float(value[i]), drawn[:, i]),
      tuple(probabilities[i].tolist()),
    )
    for i, name in enumerate(scores)
  }


def _ranks(values: Float[np.ndarray, '*R K']) -> Float[np.ndarray, '*R K']:
  """Ranks the values of each row, largest first; equals share a mean rank."""
  return scipy.stats.rankdata(-values, axis=-1)


def _probabilities(
  values: Float[np.ndarray, 'R K'],
) -> Float[np.ndarray, 'K P']:
  """Computes the share of rows in which each value has each place.

  Equals share their places evenly.
  """
  first, last = (
    scipy.stats.rankdata(-values, method, axis=1)[:, :, None]
    for method in ('min', 'max')
  )
  places = np.arange(1, values.shape[1] + 1)
  taken = (first <= places) & (places <= last)
  return np.mean(taken / (last - first + 1), axis=0)


def _interval_if_known(scores, statistic) -> Interval:
  if len(scores) < MIN_SCORES:
    return Interval(float(statistic(scores)), math.nan, math.nan)
  return bootstrap_interval(scores, statistic)


def _resampled(
  samples, statistic, resamples: int, generator
) -> Float[np.ndarray, ' R']:
  """Computes a statistic of samples drawn with replacement, R times."""
  if len(samples) < 2 or resamples < 1:
    raise ValueError(
      'A bootstrap needs at least 2 samples and 1 resample, '
      f'but was given {len(samples)} and {resamples}.'
    )
  return scipy.stats.bootstrap(
    (samples,),
    statistic,
    n_resamples=resamples,
    vectorized=False,
    method='percentile',
    rng=generator,
  ).bootstrap_distribution


def _percentiles(value: float, resampled) -> Interval:
  tail = (1 - COVERAGE) / 2
  low, high = np.quantile(resampled, [tail, 1 - tail])
  return Interval(value, float(low), float(high))


def _numbers(samples) -> Float[np.ndarray, ' N']:
  samples = np.asarray(samples, np.float64)
  if samples.ndim != 1 or not np.all(np.isfinite(samples)):
    raise ValueError(
      'Samples are a list of finite numbers, '
      f'but these have shape {samples.shape} and '
      f'{np.sum(~np.isfinite(samples))} that are not finite.'
    )
  return samples
