"""Series that are Gaussian processes: the best prediction is known exactly."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from seqjax.tasks.task import Regression, at_least, at_most, split_key
from seqjax.typing import Array, Batch, Spec, TaskShape

LONGEST = 4096  # the covariance matrix has the square of it


class GaussianSeries(Regression):
  """The next value of a stationary Gaussian process of mean zero.

  The values seen and the one predicted are jointly Gaussian, so the best
  prediction is linear, and its error follows from the autocovariance r alone:

      x_hat = c^T R^-1 x,    E (x - x_hat)^2 = r(0) - c^T R^-1 c

  with R_ij = r(i - j) and c_i = r(distance from i to the prediction). It is
  sampled as x = L e, where L L^T = R and e ~ N(0, 1); L is lower triangular, so
  that e_t is what is new at t. Subclasses have a `length`.
  """

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  input: ClassVar[Spec] = Spec(())
  output: ClassVar[Spec] = Spec(())

  def autocovariance(self, num_lags: int) -> Float[np.ndarray, 'L']:
    """Computes E x_t x_(t+l) for l = 0 ... num_lags - 1."""
    raise NotImplementedError

  @property
  def chance(self) -> float:
    """Returns the variance."""
    return float(self.autocovariance(1)[0])

  @property
  def ceiling(self) -> float:
    """Returns the squared error of the best prediction, over all positions."""
    seen = range(1, self.length + 1)
    return float(np.mean([self.floor(count) for count in seen]))

  def floor(self, seen: int, ahead: int = 1) -> float:
    """Returns the best squared error, `ahead` steps after `seen` values."""
    covariance = self.autocovariance(seen + ahead)
    weights = _best_weights(covariance, seen, ahead)
    return float(covariance[0] - weights @ _distances(covariance, seen, ahead))

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    values = self.stretches(key, step, batch_size, split, self.length + 1)
    return Batch(
      inputs=values[:, :-1],
      targets=values[:, 1:],
      weights=jnp.ones((batch_size, self.length), jnp.float32),
    )

  def stretches(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str,
    length: int,
  ) -> Float[Array, 'B T']:
    """Samples `length` consecutive values per row."""
    unit = jax.random.normal(
      split_key(key, split, step), (batch_size, length), jnp.float32
    )
    return jnp.matmul(unit, _root(self, length).T, precision='highest')

  def solve(self, batch: Batch) -> Float[Array, 'B T']:
    """Returns the expected next value given those up to each position."""
    return jnp.matmul(batch.inputs, _predictor(self).T, precision='highest')

  def forecast(
    self, seen: Float[Array, 'B S'], ahead: int
  ) -> Float[Array, 'B K']:
    """Returns the expected values 1 ... ahead steps later (K = ahead)."""
    count = seen.shape[1]
    covariance = self.autocovariance(count + ahead)
    weights = [
      _best_weights(covariance, count, steps) for steps in range(1, ahead + 1)
    ]
    weights = jnp.asarray(np.array(weights), jnp.float32)
    return jnp.matmul(seen, weights.T, precision='highest')


@dataclasses.dataclass(frozen=True)
class Sine(GaussianSeries):
  """A sine of random amplitude and phase, under noise.

      x_t = a cos(2 pi t / period) + b sin(2 pi t / period) + noise e_t

  with a, b, e_t ~ N(0, 1), so that the phase is uniform. One sample at period
  8, noise 0.1, length 7:

      inputs    .50 -1.02 -1.92 -1.87  -.45  1.08  1.96
      targets -1.02 -1.92 -1.87  -.45  1.08  1.96  1.50

  Amplitude and phase can be told ever better from what has been seen, and the
  error falls towards noise^2.

  Attributes:
    period: of the sine, in steps.
    noise: its standard deviation, where the sine's own variance is 1.
    length: T, in steps.
  """

  period: float = 16.0
  noise: float = 0.3
  length: int = 64

  def __post_init__(self):
    at_least(self, period=2.0, length=1)
    _check(self)

  def autocovariance(self, num_lags: int) -> Float[np.ndarray, 'L']:
    lags = np.arange(num_lags)
    return np.cos(2 * np.pi / self.period * lags) + self.noise**2 * (lags == 0)


@dataclasses.dataclass(frozen=True)
class Autoregressive(GaussianSeries):
  """A linear echo of the last values, driven by noise: AR(p).

      x_t = sum_i coefficients[i] x_(t-1-i) + noise e_t,    e_t ~ N(0, 1)

  begun in its stationary distribution. One sample of AR(2), length 7:

      inputs    .90  -.79 -2.08 -3.35 -3.30 -2.39 -1.28
      targets  -.79 -2.08 -3.35 -3.30 -2.39 -1.28 -1.27

  From p values on the best squared error is noise^2.

  Attributes:
    coefficients: of the last p values, the latest first; stationary.
    noise: standard deviation of what drives it.
    length: T, in steps.
  """

  coefficients: tuple[float, ...] = (1.6, -0.8)
  noise: float = 0.5
  length: int = 64

  def __post_init__(self):
    at_least(self, length=1)
    _check(self)
    if not self.coefficients:
      raise ValueError('Autoregressive needs one coefficient or more.')
    radius = max(abs(np.linalg.eigvals(_companion(self.coefficients))))
    if radius >= 1:
      raise ValueError(
        'A stationary series needs coefficients whose companion matrix has '
        f'eigenvalues inside the unit circle, but coefficients='
        f'{self.coefficients} has one of modulus {radius:.4g}.'
      )

  def autocovariance(self, num_lags: int) -> Float[np.ndarray, 'L']:
    """Computes (A^l S)_00 of the companion matrix A and the covariance S."""
    covariance = self._stationary()
    matrix, found = _companion(self.coefficients), []
    for _ in range(num_lags):
      found.append(covariance[0, 0])
      covariance = matrix @ covariance
    return np.array(found)

  def _stationary(self) -> Float[np.ndarray, 'P P']:
    """Solves S = A S A^T + noise^2 e_0 e_0^T as a linear system."""
    matrix = _companion(self.coefficients)
    order = len(matrix)
    driven = np.zeros(order**2)
    driven[0] = self.noise**2
    system = np.eye(order**2) - np.kron(matrix, matrix)
    return np.linalg.solve(system, driven).reshape(order, order)


def _companion(coefficients) -> Float[np.ndarray, 'P P']:
  """Returns the matrix of one step of the last p values, latest first."""
  order = len(coefficients)
  return np.concatenate([[coefficients], np.eye(order - 1, order)])


def _check(task):
  """Refuses a noise that float32 cannot tell from none, and long rows."""
  if not 1e-3 <= task.noise <= 1e6:
    least = 'above 0' if task.noise <= 0 else 'of 0.001 to 1000000'
    raise ValueError(
      f'{type(task).__name__} needs a noise {least}, but noise={task.noise} '
      'was given.'
    )
  at_most(task, length=LONGEST)


def _toeplitz(covariance) -> Float[np.ndarray, 'T T']:
  """Computes R_ij = r(|i - j|)."""
  times = np.arange(len(covariance))
  return covariance[np.abs(np.subtract.outer(times, times))]


def _distances(covariance, seen: int, ahead: int):
  """Returns c: the covariance of the values seen with the one predicted."""
  return covariance[ahead : ahead + seen][::-1]


def _best_weights(covariance, seen: int, ahead: int):
  """Computes c^T R^-1."""
  asked = _distances(covariance, seen, ahead)
  return np.linalg.solve(_toeplitz(covariance[:seen]), asked)


@functools.lru_cache(maxsize=16)
def _root(series: GaussianSeries, length: int) -> Float[np.ndarray, 'T T']:
  """Computes L with L L^T = R."""
  covariance = series.autocovariance(length)
  return np.linalg.cholesky(_toeplitz(covariance)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _predictor(series: GaussianSeries) -> Float[np.ndarray, 'T T']:
  """Returns a matrix whose row t weighs the values up to t."""
  covariance = series.autocovariance(series.length + 1)
  matrix = np.zeros((series.length, series.length), np.float32)
  for t in range(series.length):
    matrix[t, : t + 1] = _best_weights(covariance, t + 1, 1)
  return matrix
