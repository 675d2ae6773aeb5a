"""Trains a mixer on recall with gradients as they come, clipped nowhere.

Everything else is as in `experiments.recall` at mixed lags, where the global
norm of a gradient is at most 1: the difference is what clipping does.
"""

from collections.abc import Callable, Mapping
from typing import Any

from experiments import fit
from experiments.recall import main as recall
from experiments.recall.main import ENTRIES, Config, check
from seqjax import experiment, results
from seqjax.nn import CausalMixer
from seqjax.tasks.synthetic.recall import Recall

__all__ = ['Config', 'check', 'run']


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Tunes and trains one mixer; finished cells are skipped."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  task = Recall(lag=config.lag, design='mixed')
  with results.Run(workdir, config) as record:
    plan = config.plan(stop_when_solved=True, clip=0.0)
    one_batch = [(task, 1)]  # a row for each seed; what is scored is not used
    models = recall.models(config, mixers)
    rows = fit.fit(models, task, plan, record, one_batch)
    return record.finish(rows=rows)
