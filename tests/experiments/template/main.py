"""Measures how far back each mixer copies a symbol.

python -m experiments.template --mixers=lstm,attention --lags=4,16 --seeds=5
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import fit
from seqjax import experiment, results
from seqjax.experiment import option
from seqjax.models import features_for, model_for
from seqjax.nn import MIXERS, CausalMixer
from seqjax.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: one mixer at one lag, with all of its seeds."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=MIXERS)
  lag: int = option(16, 'Positions between a symbol and its copy.')
  parameters: int = option(2000, 'Parameters per mixer, within a tenth.')
  steps: int = option(400, 'Number of updates.')
  rates: tuple[float, ...] = option((1e-3, 3e-3, 1e-2), 'Learning rates.')
  seeds: int = option(5, 'Number of seeds.')


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = MIXERS,
) -> dict[str, Any]:
  """Trains and tests one cell; a finished cell is not trained again."""
  experiment.validate(config, mixer=mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  length, make = 2 * config.lag + 8, mixers[config.mixer]
  task = TASKS['lag_copy'](lag=config.lag, length=length)
  width = features_for(lambda width: make(width, length), config.parameters)
  model = model_for(task, (make(width, length),))
  plan = fit.Plan(config.rates, config.steps, 32, 0.99, config.seeds)
  with results.Run(workdir, config) as record:
    rows = fit.fit({'': lambda _: model}, task, plan, record, [(task, 16)])
    return record.finish(rows=rows, chance=task.chance)
