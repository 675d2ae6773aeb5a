"""Measures how the error of a forecast grows when it reads its own output.

    python -m experiments.forecasting --mixers=gru,attention --seeds=2
    python -m experiments.forecasting.main --mixer=lstm --series=lorenz

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell tunes and trains one mixer with several
seeds to predict the next value of a series. Each network then reads true values
of the test part, and continues them by reading its own predictions.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments import command, fit
from seqjax import experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import SequenceModel, num_parameters, rollout
from seqjax.nn import MIXERS, CausalMixer, WindowMLP
from seqjax.tasks.chaotic_series import ChaoticSeries, Lorenz, MackeyGlass

HORIZONS = (*range(1, 9), 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
MOVES_FROM = 8  # the shortest horizon at which a rollout's movement is told
ROLLOUTS = 512  # of the test part, the same for every network
SERIES = {'mackey_glass': MackeyGlass, 'lorenz': Lorenz}
PERFECT = 'perfect'  # the equation itself, from values that are a little off
FIRST_ERROR = 1e-3  # of those values, in standard deviations of the series


# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    'window_mlp (tau 4)': functools.partial(WindowMLP, tau=4),
    'window_mlp (tau 24)': functools.partial(WindowMLP, tau=24),
  },
  'python -m experiments.forecasting --mixers=help lists them',
)
NAMES = ENTRIES | {PERFECT: None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(fit.Budget):
  """The options of one cell: a mixer on a series, with all of its seeds."""

  mixer: str = option(
    'lstm', 'Sequence mixer to train; perfect: the equation.', among=NAMES
  )
  series: str = option(
    'mackey_glass', 'Series to predict.', among=SERIES, named=True
  )
  context: int = option(32, 'Number of true values before a forecast.')
  parameters: int = option(8000, 'Parameters per mixer, within a tenth.')
  solved: float = option(
    0.05, 'Error of one step that counts as learnt; the variance is 1.'
  )

  def __post_init__(self):
    super().__post_init__()
    fit.at_least(self, 'context', 32)  # all see what determines the series

  @property
  def task(self) -> ChaoticSeries:
    """Returns the series in windows as long as context and forecast."""
    return SERIES[self.series](length=self.context + max(HORIZONS))


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Trains one mixer and rolls it out; finished cells are skipped."""
  experiment.validate(config, mixer=mixers | {PERFECT: None})
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} on {config.series}; written to {workdir}.',
      flush=True,
    )
    if config.mixer == PERFECT:
      rows = _perfect(config)
    else:
      rows = _trained(config, mixers[config.mixer], record)
    rate = config.task.lyapunov_exponent * config.task.interval
    return record.finish(rows=rows, lyapunov_per_step=rate)


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
):
  """Refuses, with ValueError, a mixer that no width gives the parameters."""
  if config.mixer != PERFECT:
    make_mixer(mixers[config.mixer], config)


def make_mixer(make: Callable, config: Config) -> CausalMixer:
  """Makes the mixer at the width that has the wanted number of parameters."""
  return fit.mixer_of_size(make, config.parameters, config.task.length)


def _trained(config: Config, make: Callable, record) -> list[dict[str, Any]]:
  """Returns a row for each seed and horizon.

  A training that met what is not finite has one row, without a horizon.
  """
  mixer, truth = make_mixer(make, config), stretches(config)

  def model(task: ChaoticSeries) -> SequenceModel:
    return SequenceModel(task.input, task.output, (mixer,))

  def examine(model: SequenceModel, params: Any) -> list[dict[str, Any]]:
    prefix = truth[:, : config.context]
    made = rollout(model, {'params': params}, prefix, max(HORIZONS))
    return compare(truth[:, config.context :], np.asarray(made, float))

  rows = fit.fit(
    {'default': model}, config.task, config.plan(), record, examine=examine
  )
  size = {
    'features': mixer.features,
    'mixer_parameters': num_parameters(mixer),
    'receptive_field': mixer.receptive_field,
  }
  drop = ('group', 'score', 'examples')  # of what is not finite
  return [
    {'horizon': None}
    | size
    | {name: value for name, value in row.items() if name not in drop}
    for row in rows
  ]


def _perfect(config: Config) -> list[dict[str, Any]]:
  """Returns a row for each seed and horizon of the series' own equation.

  It begins with values that are all off by one normal error for each rollout
  and component.
  """
  truth, found = stretches(config), []
  prefix = truth[:, : config.context]
  for seed in range(config.first_seed, config.first_seed + config.seeds):
    rng = np.random.default_rng(seed)
    off = FIRST_ERROR * rng.normal(size=prefix[:, :1].shape)
    made = config.task.forecast(prefix + off, max(HORIZONS))
    rows = compare(truth[:, config.context :], np.asarray(made, float))
    found += [{'seed': seed} | row for row in rows]
  return found


def stretches(config: Config) -> Float[np.ndarray, 'B T *D']:
  """Returns the true values of the test part: context, then what follows."""
  length = config.task.length
  return config.task.stretches(jax.random.key(0), 0, ROLLOUTS, 'test', length)


def compare(
  truth: Float[np.ndarray, 'B K *D'], made: Float[np.ndarray, 'B K *D']
) -> list[dict[str, Any]]:
  """Compares rollouts with the truth at every horizon.

  Returns:
    Rows of `horizon`, `relative_error` (the squared error over the variance of
    what is predicted), `typical_error`: its geometric mean over rollouts, which
    few unpredictable ones do not dominate, and `movement`: the variance over
    time of a rollout in the second half of its steps up to there, over that of
    the truth in the same steps; 0 of a flat line, None before MOVES_FROM.
  """
  squares = (made - truth) ** 2
  squares = squares.reshape(*squares.shape[:2], -1).mean(axis=2)
  logs = np.log(np.maximum(squares, np.finfo(float).tiny)).mean(axis=0)
  scale = float(np.var(truth, axis=(0, 1)).mean())
  return [
    {
      'horizon': k,
      'relative_error': float(squares[:, k - 1].mean()) / scale,
      'typical_error': float(np.exp(logs[k - 1])) / scale,
      'movement': _movement(made, k) / _movement(truth, k)
      if k >= MOVES_FROM
      else None,
    }
    for k in HORIZONS
  ]


def _movement(values: Float[np.ndarray, 'B K *D'], k: int) -> float:
  """Returns the mean variance over time of steps k / 2 + 1 ... k."""
  return float(np.var(values[:, k // 2 : k], axis=1).mean())


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/forecasting')
