"""Measures how far back each mixer copies a symbol.

python -m experiments.template --mixers=lstm,attention --lags=4,16 --seeds=5
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import fit
from seqjax import experiment, results, training
from seqjax.experiment import option
from seqjax.models import features_for, model_for
from seqjax.nn import MIXERS, CausalMixer
from seqjax.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: one mixer, one lag, one seed."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=MIXERS)
  lag: int = option(16, 'Positions between a symbol and its copy.')
  parameters: int = option(2000, 'Parameters per mixer, within a tenth.')
  steps: int = option(400, 'Most updates; a solved cell ends earlier.')
  learning_rate: float = option(3e-3, 'Peak of the schedule.')
  seed: int = option(0, 'Seeds the parameters and the training examples.')


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
  with results.Run(workdir, config) as record:
    state, _ = fit.fit(
      model, task, record, steps=config.steps, batch_size=32, solved=0.99,
      learning_rate=config.learning_rate, seed=config.seed,
    )  # fmt: skip
    accuracy = training.overall(fit.test_scores(model, state.params, task))
    return record.finish(accuracy=accuracy, chance=task.chance)
