"""Measures the same few properties of every mixer, for one card of them all.

    python -m experiments.card --mixers=lstm,mamba2 --measures=recall,parity
    python -m experiments.card.main --mixer=lstm --measure=recall

The first command measures many cells and ends with a table, a heat map and a
report card; the second is one cell: a mixer, and what one other experiment
measures of it at a small budget that is the same for all.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from experiments import command, fit, whole
from experiments.card.measures import MEASURES, OF_MIXERS
from seqjax import errors, experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.nn import MIXERS, CausalMixer

ENTRIES = Importable(
  'mixer', MIXERS, 'python -m experiments.card --mixers=help lists them'
)
WHOLE_MODELS = True  # may stand in the place of mixers


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: a mixer and a measure, with all seeds."""

  mixer: str = option('lstm', 'Sequence mixer to measure.', among=ENTRIES)
  measure: str = option(
    'recall', 'Group of properties.', among=MEASURES, named=True
  )
  seeds: int = option(5, 'Number of seeds.')
  first_seed: int = option(0, 'The first seed.')
  tuning_seeds: int = option(1, 'Number of seeds that choose the settings.')

  def __post_init__(self):
    errors.check_fields(self)
    fit.at_least(self, 'seeds', 1)
    fit.at_least(self, 'tuning_seeds', 1)
    fit.at_least(self, 'first_seed', 0)

  @property
  def cell(self) -> Any:
    """The Config of the other experiment's cell."""
    measure = MEASURES[self.measure]
    kinds = {f.name for f in dataclasses.fields(measure.main.Config)}
    shared = {n: v for n, v in vars(self).items() if n in kinds}
    return measure.main.Config(**shared | measure.options)


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Measures one cell; a finished cell is not measured again."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  measure = MEASURES[config.measure]
  with results.Run(workdir, config) as record:
    if not applies(config, mixers):
      return record.finish(rows=_unknown(config))
    folder = os.path.join(workdir, 'measured')
    summary = measure.main.run(config.cell, folder, ENTRIES | mixers)
    shared = {k: v for k, v in summary.items() if k != 'rows'}
    found = measure.read(
      [vars(config.cell) | shared | row for row in summary['rows']]
    )
    return record.finish(
      rows=[
        {
          'property': each.name,
          'seed': config.first_seed + place,
          'value': value if math.isfinite(value) else None,
          'solved': None if each.solved is None else bool(each.solved[place]),
        }
        for each in found
        for place, value in enumerate(map(float, each.values))
      ]
    )


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
):
  """Refuses, with ValueError, what the other experiment would refuse."""
  if applies(config, mixers):
    MEASURES[config.measure].main.check(config.cell, ENTRIES | mixers)


def applies(config: Config, mixers: Mapping[str, Callable]) -> bool:
  """Tells if an entry can be measured so; some measures are of mixers alone."""
  entry = (ENTRIES | mixers)[config.mixer]
  return not whole.is_whole(entry) or config.measure not in OF_MIXERS


def _unknown(config: Config) -> list[dict[str, Any]]:
  """Returns a row without a value for each property that does not apply."""
  return [
    {'property': name, 'seed': config.first_seed, 'value': None, 'solved': None}
    for name in OF_MIXERS[config.measure]
  ]


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/card')
