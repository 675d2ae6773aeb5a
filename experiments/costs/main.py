"""Measures what the training loop, populations and checkpoints cost.

    python -m experiments.costs --kinds=population --mixers=lstm,attention
    python -m experiments.costs.main --kind=loop

The first command measures many cells and ends with a table and a figure; the
second is one cell. Every measurement is a gain in steps per second over a
simpler way of doing the same, round by round, with the 95 % interval of its
median.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import command
from experiments.costs import loop, population, saving
from seqjax import experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import num_parameters
from seqjax.nn import MIXERS

KINDS = {
  'loop': loop.rows,
  'population': population.rows,
  'saving': saving.rows,
}

ENTRIES = Importable(
  'mixer', MIXERS, 'python -m experiments.costs --mixers=help lists them'
)


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell."""

  kind: str = option(
    'loop',
    'What to compare. loop: training.train with a plain loop in Linen; '
    'population: members together with members one by one; saving: training '
    'with checkpoints and without.',
    among=KINDS,
    named=True,
  )
  mixer: str = option('lstm', 'Mixer of the population.', among=ENTRIES)
  members: int = option(8, 'Number of members of the population.')
  features: int = option(64, 'Width of the model.')
  length: int = option(64, 'Number of positions in a sequence.')
  batch_size: int = option(32, 'Number of examples per update.')
  rounds: int = option(11, 'Number of rounds, at least 6.')

  def __post_init__(self):
    if self.kind != 'population' and self.mixer != 'lstm':
      raise ValueError(
        f'Only kind=population takes a mixer, but kind={self.kind} and '
        f'mixer={self.mixer} were given.'
      )
    least = {'rounds': 6, 'length': 2}
    for name in ('members', 'features', 'length', 'batch_size', 'rounds'):
      if getattr(self, name) < least.get(name, 1):
        raise ValueError(
          f'{name} is at least {least.get(name, 1)}, but {name}='
          f'{getattr(self, name)} was given.'
        )


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable] = ENTRIES,
) -> dict[str, Any]:
  """Times one cell; a finished cell is not timed again."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  check(config, mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  with results.Run(workdir, config) as record:
    options = experiment.to_dict(config)
    kind, name = options.pop('kind'), options.pop('mixer')
    print(f'Timing {kind} ({name}); written to {workdir}.', flush=True)
    make = (ENTRIES | mixers)[name]
    return record.finish(rows=KINDS[kind](make=make, **options))


def check(config: Config, mixers: Mapping[str, Callable] = ENTRIES):
  """Raises ValueError where the mixer of a population cannot be made."""
  if config.kind == 'population':
    make = (ENTRIES | mixers)[config.mixer]
    num_parameters(make(config.features, config.length))


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/costs')
