"""Chaotic series: exactly determined by their past, and soon unpredictable."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from seqjax.data.series import Recording, Scale, standardise
from seqjax.tasks.task import at_least
from seqjax.tasks.time_series import RecordedSeries
from seqjax.typing import Array, Batch, Spec

State = Any  # a sequence of floats, or of arrays of many trajectories
Flow = Callable[[State], State]

# Runge and Kutta's method of fourth order: how far ahead along the slope before
# it the next slope is taken, and its weight in their mean.
STAGES = ((0.0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 6))
TRANSIENT = 1000  # samples that are left out, until the attractor is reached
NODES = 6  # of a polynomial between samples


def simulate(flow: Flow, state: State, steps: int) -> list[State]:
  """Returns the states after 1 ... steps applications of the flow."""
  states = []
  for _ in range(steps):
    state = flow(state)
    states.append(state)
  return states


def lyapunov_exponent(
  flow: Flow, states: Float[np.ndarray, 'N B'], steps: int
) -> float:
  """Estimates the largest exponent per step: the rate at which errors grow.

  B pairs of trajectories begin 1e-8 apart; after each step the growth of their
  distance is noted, and the second one pulled back to 1e-8. The first half is
  left out, until the distances point where they grow fastest.

  Benettin, Galgani, Giorgilli, Strelcyn, "Lyapunov characteristic exponents for
  smooth dynamical systems", Meccanica 1980; the mean is over B pairs too.
  """
  distance = 1e-8
  rng = np.random.default_rng(0)
  apart = rng.normal(size=states.shape)
  apart *= distance / np.linalg.norm(apart, axis=0, keepdims=True)
  growth = []
  for _ in range(steps):
    moved = np.stack(flow(states + apart))
    states = np.stack(flow(states))
    apart = moved - states
    norm = np.linalg.norm(apart, axis=0, keepdims=True)
    apart *= distance / norm
    growth.append(np.mean(np.log(norm / distance)))
  return float(np.mean(growth[steps // 2 :]))


class ChaoticSeries(RecordedSeries):
  """One long trajectory; subclasses have a `length` and a `num_samples`.

  The past determines the future as far as a float32 can hold the past; a small
  error grows by e^(lyapunov_exponent) in a unit of time, until nothing is
  known.
  """

  interval: ClassVar[float]

  def flow(self, state: State) -> State:
    """Maps a sample to the next one, `interval` units of time later."""
    raise NotImplementedError

  @property
  def beginning(self) -> tuple[float, ...]:
    """Gives a state that the attractor attracts."""
    raise NotImplementedError

  def observe(self, states: list[State]) -> Float[np.ndarray, 'T *D']:
    """Selects the recorded part of the states."""
    raise NotImplementedError

  @property
  def recording(self) -> Recording:
    return _record(self._shortest)

  @property
  def lyapunov_exponent(self) -> float:
    """Measures the exponent per unit of time, once per process."""
    return _exponent(self._shortest)

  @property
  def _shortest(self) -> 'ChaoticSeries':
    """Returns the series of this trajectory with the shortest windows."""
    return dataclasses.replace(self, length=self.num_unscored + 1)


@dataclasses.dataclass(frozen=True)
class Lorenz(ChaoticSeries):
  """A roll of convection, its three coordinates every 0.05 units of time.

      dx/dt = 10 (y - x),   dy/dt = x (28 - z) - y,   dz/dt = x y - 8/3 z

  by Runge and Kutta's method of fourth order in steps of 0.01. One sample at
  length 4:

      inputs   x   .03   .03   .04   .06
               y   .03   .04   .06   .10
               z -1.29 -1.47 -1.62 -1.76
      targets  x   .03   .04   .06   .09
               y   .04   .06   .10   .15
               z -1.47 -1.62 -1.76 -1.88

  Lorenz, "Deterministic Nonperiodic Flow", 1963. Its Lyapunov exponent is about
  0.906 (Sprott, "Chaos and Time-Series Analysis", 2003).

  Attributes:
    num_samples: length of the trajectory.
    length: T, in samples.
    scale: mean and deviation to standardise by; None: of the training part.
  """

  num_samples: int = 20000
  length: int = 64
  scale: Scale | None = dataclasses.field(default=None, repr=False)

  reference: ClassVar[str] = 'Lorenz, 1963'
  input: ClassVar[Spec] = Spec((3,))
  output: ClassVar[Spec] = Spec((3,))
  interval: ClassVar[float] = 0.05
  beginning: ClassVar[tuple[float, ...]] = (1.0, 1.0, 1.0)

  def __post_init__(self):
    at_least(self, num_samples=1, length=1)

  def flow(self, state: State) -> State:
    """Takes five steps of Runge and Kutta, in line: it runs 10,000 times."""
    dt = self.interval / 5
    for _ in range(5):
      slope, mean = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
      for ahead, weight in STAGES:
        x, y, z = (
          s + ahead * dt * d for s, d in zip(state, slope, strict=True)
        )
        slope = (10 * (y - x), x * (28 - z) - y, x * y - z * 8 / 3)
        mean = tuple(m + weight * d for m, d in zip(mean, slope, strict=True))
      state = tuple(s + dt * m for s, m in zip(state, mean, strict=True))
    return state

  def observe(self, states: list[State]) -> Float[np.ndarray, 'T *D']:
    return np.array(states)

  def floor(self, seen: int, ahead: int = 1) -> float:
    """Returns 0: a single sample determines all that follow."""
    del seen, ahead
    return 0.0

  def solve(self, batch: Batch) -> Float[np.ndarray, 'B T D']:
    """Applies the flow to every sample that is seen."""
    return self._follow(np.asarray(batch.inputs), 1)[:, :, 0]

  def forecast(
    self, seen: Float[Array, 'B S D'], ahead: int
  ) -> Float[np.ndarray, 'B K D']:
    """Applies the flow to the last sample 1 ... ahead times (K = ahead)."""
    return self._follow(np.asarray(seen)[:, -1], ahead)

  def _follow(self, values, steps: int):
    """Maps [... D] to [... steps D]."""
    mean, deviation = self.recording.mean, self.recording.deviation
    state = tuple(np.moveaxis(values * deviation + mean, -1, 0))
    states = np.array(simulate(self.flow, state, steps))  # [steps D ...]
    after = np.moveaxis(states, (0, 1), (-2, -1))
    return ((after - mean) / deviation).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class MackeyGlass(ChaoticSeries):
  """A blood count that is driven by what it was `delay` units of time ago.

      dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x

  sampled every unit of time; by Runge and Kutta's method of fourth order in
  steps of 0.1, where x half a step after a delayed value is the mean of that
  and the next. One sample at length 21:

      inputs    .06 -.16 -.36 ... -1.44 -1.16 -.85 -.56
      targets    -    -    -  ... -1.16  -.85 -.56 -.29   (- has weight 0)

  What follows is determined by a stretch of `delay`, so the first `delay`
  positions are not scored. Whoever knows the equation reads what lies between
  the samples off a polynomial through six of them, and errs by 4e-6 of the
  standard deviation: as little as a float32 can tell.

  Mackey, Glass, "Oscillation and Chaos in Physiological Control Systems", 1977;
  chaotic at delay 17 (Farmer, "Chaotic attractors of an infinite-dimensional
  dynamical system", 1982).

  Attributes:
    delay: in units of time.
    num_samples: length of the trajectory.
    length: T, in samples.
    scale: mean and deviation to standardise by; None: of the training part.
  """

  delay: int = 17
  num_samples: int = 20000
  length: int = 64
  scale: Scale | None = dataclasses.field(default=None, repr=False)

  reference: ClassVar[str] = 'Mackey & Glass, 1977'
  interval: ClassVar[float] = 1.0

  def __post_init__(self):
    at_least(self, delay=1, num_samples=1)
    at_least(self, length=self.delay + 1)

  @property
  def beginning(self) -> tuple[float, ...]:
    return (1.2,) * (10 * self.delay + 1)

  @property
  def num_unscored(self) -> int:
    return self.delay

  def flow(self, state: State) -> State:
    """Takes ten steps; the state is x at 10 * delay + 1 times, oldest first.

    Powers are products, which no two machines round differently.
    """
    history = list(state)
    between = [
      (x + y) / 2 for x, y in zip(history[:10], history[1:11], strict=True)
    ]
    at_steps, half_way = (
      [0.2 * x / (1 + (p := x * x * x * x * x) * p) for x in delayed]
      for delayed in (history[:11], between)
    )
    for i in range(10):
      x = history[-1]
      drives = (at_steps[i], half_way[i], half_way[i], at_steps[i + 1])
      slope, mean = 0.0, 0.0
      for (ahead, weight), drive in zip(STAGES, drives, strict=True):
        slope = drive - 0.1 * (x + ahead * 0.1 * slope)
        mean = mean + weight * slope
      history.append(x + 0.1 * mean)
    return history[10:]

  def observe(self, states: list[State]) -> Float[np.ndarray, 'T *D']:
    return np.array([state[-1] for state in states])

  def floor(self, seen: int, ahead: int = 1) -> float | None:
    """Returns 0 once a stretch of `delay` is seen, None before."""
    del ahead
    return 0.0 if seen > self.delay else None

  def solve(self, batch: Batch) -> Float[np.ndarray, 'B T']:
    """Applies the flow wherever a stretch of `delay` is seen."""
    after = self._follow(np.asarray(batch.inputs))
    return np.pad(after, [(0, 0), (self.delay, 0)]).astype(np.float32)

  def forecast(
    self, seen: Float[Array, 'B S'], ahead: int
  ) -> Float[np.ndarray, 'B K']:
    """Applies the flow to the values seen, then to its results (K = ahead)."""
    values = np.asarray(seen)
    for _ in range(ahead):
      after = self._follow(values[:, -self.delay - NODES :])
      values = np.concatenate([values, after[:, -1:]], axis=1)
    return values[:, -ahead:].astype(np.float32)

  def _follow(self, values):
    """Predicts the values after positions >= `delay`, [B T] to [B T-delay]."""
    mean, deviation = self.recording.mean, self.recording.deviation
    x = np.asarray(values, np.float64) * deviation + mean
    now = np.arange(self.delay, x.shape[1])
    count = min(NODES, self.delay + 1)
    first = now - self.delay - count // 2 + 1  # of the nodes around the past
    first = np.clip(first, 0, now - count + 1)
    places = (now - self.delay - first)[:, None] + np.arange(11) / 10
    nodes = x[:, first[:, None] + np.arange(count)]
    delayed = np.einsum('btn,tun->ubt', nodes, _lagrange(places, count))
    *_, after = self.flow((*delayed, x[:, now]))
    return (after - mean) / deviation


def _lagrange(
  places: Float[np.ndarray, 'T U'], count: int
) -> Float[np.ndarray, 'T U N']:
  """Returns the weight of each value at 0, 1 .. count - 1 for a place."""
  nodes = np.arange(count)
  distances = np.where(
    np.eye(count, dtype=bool), 1.0, places[..., None, None] - nodes
  )
  gaps = np.where(np.eye(count, dtype=bool), 1, nodes[:, None] - nodes)
  return np.prod(distances / gaps, axis=-1)


@functools.lru_cache(maxsize=4)
def _record(series: ChaoticSeries) -> Recording:
  states = simulate(
    series.flow, series.beginning, TRANSIENT + series.num_samples
  )
  return standardise(series.observe(states[TRANSIENT:]), scale=series.scale)


@functools.lru_cache(maxsize=4)
def _exponent(series: ChaoticSeries) -> float:
  """Estimates from 64 states of the attractor, one every ten samples."""
  states = simulate(series.flow, series.beginning, TRANSIENT + 640)
  states = np.array(states[TRANSIENT::10]).T
  return lyapunov_exponent(series.flow, states, steps=2000) / series.interval
