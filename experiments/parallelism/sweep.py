"""Which cells each preset has."""

import dataclasses

from experiments.parallelism.main import WORKS, Config
from seqjax import experiment

LENGTHS = {
  'quick': (64, 256, 1024, 4096),
  'full': (64, 256, 1024, 4096, 16384),
  'gpu': (64, 256, 1024, 4096, 16384, 65536),
}
ROUNDS = {'quick': 11, 'full': 15, 'gpu': 25}


def configs(preset: str) -> list[Config]:
  """Every (work, batch size, length); resident memory at one training cell."""
  lengths = experiment.choose(LENGTHS, preset, 'preset')
  cells = experiment.grid(
    Config,
    work=WORKS,
    batch_size=(1, 16),
    length=lengths,
    rounds=(ROUNDS[preset],),
  )
  return [
    dataclasses.replace(
      cell,
      resident=cell.work == 'training'
      and cell.batch_size == 1
      and cell.length == 4096,
    )
    for cell in cells
  ]


def shared(config: Config) -> Config:
  """Nothing: every cell has compiled functions of its own."""
  return config
