"""Intervals that claim no more than the samples say, and verdicts on claims."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqjax.typing import Array

SUPPORTED = 'SUPPORTED'
REFUTED = 'REFUTED'
CONDITIONAL = 'CONDITIONAL'
UNDECIDED = 'UNDECIDED'
VERDICTS = (SUPPORTED, REFUTED, CONDITIONAL, UNDECIDED)

COVERAGE = 0.95
MIN_SCORES = 5  # fewer have no interval

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


class Summary(NamedTuple):
  """What the scores of several seeds say together.

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
  """Where one contestant stands among K; 1 is best.

  `rank` is that of the scores as they are, equals sharing the mean of their
  places, with its bootstrap interval; `probabilities[k]` is how often the
  resampled scores have place k + 1, equals sharing theirs evenly.
  """

  rank: Interval
  probabilities: tuple[float, ...]


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
  ordered = np.sort(_numbers(samples))
  cut = len(ordered) // 4
  return float(np.mean(ordered[cut : len(ordered) - cut]))


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
  value = _ranks(sign * np.array([[statistic(row) for row in samples]]))[0]
  drawn, probabilities = _ranks(resampled), _probabilities(resampled)
  return {
    name: Rank(
      _percentiles(float(value[i]), drawn[:, i]),
      tuple(probabilities[i].tolist()),
    )
    for i, name in enumerate(scores)
  }


def _ranks(values: Float[np.ndarray, 'R K']) -> Float[np.ndarray, 'R K']:
  """The rank of each in its row; equals share the mean of their places."""
  ahead, equal = _standing(values)
  return ahead + (equal + 1) / 2


def _probabilities(
  values: Float[np.ndarray, 'R K'],
) -> Float[np.ndarray, 'K P']:
  """How often each has each place; equals share theirs evenly."""
  ahead, equal = (count[:, :, None] for count in _standing(values))
  places = np.arange(values.shape[1])[None, None]
  taken = (ahead <= places) & (places < ahead + equal)
  return np.mean(taken / equal, axis=0)


def _standing(
  values: Float[np.ndarray, 'R K'],
) -> tuple[Int[np.ndarray, 'R K'], Int[np.ndarray, 'R K']]:
  """How many of a row are above each; how many are equal, itself included."""
  mine, others = values[:, :, None], values[:, None, :]
  return np.sum(others > mine, axis=2), np.sum(others == mine, axis=2)


def _interval_if_known(scores, statistic) -> Interval:
  if len(scores) < MIN_SCORES:
    return Interval(float(statistic(scores)), math.nan, math.nan)
  return bootstrap_interval(scores, statistic)


def _resampled(
  samples, statistic, resamples: int, generator
) -> Float[np.ndarray, ' R']:
  """The statistic of samples drawn again with replacement, time and again."""
  if len(samples) < 2 or resamples < 1:
    raise ValueError(
      'A bootstrap needs at least 2 samples and 1 resample, '
      f'but was given {len(samples)} and {resamples}.'
    )
  draws = generator.integers(len(samples), size=(resamples, len(samples)))
  return np.array([float(statistic(samples[draw])) for draw in draws])


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
