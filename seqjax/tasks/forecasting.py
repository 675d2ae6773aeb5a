"""Further tasks on a series: one value from few, or several in a row."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from seqjax.tasks.chaotic_series import MackeyGlass
from seqjax.tasks.task import Regression, at_least
from seqjax.tasks.time_series import known_values
from seqjax.typing import Array, Batch, TaskShape


@dataclasses.dataclass(frozen=True)
class _Forecast(Regression):
  """Another question to a series; all but the batches is the series'."""

  series: Any = MackeyGlass()

  input = property(lambda self: self.series.input)
  output = property(lambda self: self.series.output)
  on_device = property(lambda self: self.series.on_device)
  fingerprint = property(lambda self: self.series.fingerprint)
  chance = property(lambda self: self.series.chance)
  fitted = property(lambda self: self.series.fitted)

  def with_fitted(self, values: Mapping[str, Any]) -> '_Forecast':
    return dataclasses.replace(self, series=self.series.with_fitted(values))

  def __post_init__(self):
    if not hasattr(type(self.series), 'stretches'):
      raise ValueError(
        f'{type(self).__name__} takes a series task, such as MackeyGlass(), '
        f'but {self.series!r} was given.'
      )

  def _best(self) -> Callable:
    """Returns the forecast of the series, where enough of the past is seen."""
    if self.ceiling is None:
      raise AttributeError('solve')
    return self.series.forecast


@dataclasses.dataclass(frozen=True)
class TauWindow(_Forecast):
  """One value from the tau values before it, and from nothing else.

      inputs   x_1 x_2 x_3 x_4
      targets  x_5                 (tau 4)

  Attributes:
    series: an aligned series task, whose own length does not matter.
    tau: the number of values seen.
  """

  tau: int = 16

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  def __post_init__(self):
    super().__post_init__()
    at_least(self, tau=1)

  @property
  def ceiling(self) -> float | None:
    return self.series.floor(self.tau)

  @property
  def solve(self) -> Callable[[Batch], Array]:
    """Gives the best prediction; AttributeError where none is known."""
    forecast = self._best()
    return lambda batch: forecast(batch.inputs, 1)[:, 0]

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    values = self.series.stretches(key, step, batch_size, split, self.tau + 1)
    xp = jnp if self.on_device else np
    values, known = known_values(values, xp)
    return Batch(values[:, :-1], values[:, -1], known[:, -1])


@dataclasses.dataclass(frozen=True)
class Rollout(_Forecast):
  """Several values in a row, from those before them and no others.

      inputs   x_1 x_2 x_3  0   0
      targets   -   -  x_4 x_5 x_6    (context 3, steps 3; - has weight 0)

  `Batch.group` is the number of steps from the context to a target, 0 where
  nothing is scored. A model that predicts one step may be fed its own
  predictions in place of the zeros.

  Attributes:
    series: an aligned series task, whose own length does not matter.
    context: the number of values seen.
    steps: the number of values predicted.
  """

  context: int = 32
  steps: int = 16

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY

  def __post_init__(self):
    super().__post_init__()
    at_least(self, context=1, steps=1)

  @property
  def ceiling(self) -> float | None:
    floors = [
      self.series.floor(self.context, ahead)
      for ahead in range(1, self.steps + 1)
    ]
    return None if None in floors else float(np.mean(floors))

  @property
  def solve(self) -> Callable[[Batch], Array]:
    """Gives the best prediction; AttributeError where none is known."""
    return functools.partial(self._solve, self._best())

  def _solve(self, forecast, batch):
    """Predicts after the context, whose values stay in place, unscored."""
    xp = jnp if self.on_device else np
    seen = batch.inputs[:, : self.context]
    return xp.concatenate([seen[:, 1:], forecast(seen, self.steps)], axis=1)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    length = self.context + self.steps
    values = self.series.stretches(key, step, batch_size, split, length)
    xp = jnp if self.on_device else np
    values, known = known_values(values, xp)
    ahead = xp.arange(length - 1, dtype=xp.int32)[None] - (self.context - 2)
    ahead = xp.repeat(xp.maximum(ahead, 0), batch_size, axis=0)
    blank = (ahead > 1).reshape(ahead.shape + (1,) * len(self.input.shape))
    return Batch(
      inputs=xp.where(blank, 0, values[:, :-1]),
      targets=values[:, 1:],
      weights=(ahead > 0) * known[:, 1:],
      group=ahead,
    )
