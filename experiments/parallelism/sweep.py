"""The cells of each preset."""

import dataclasses
from collections.abc import Sequence

from experiments.parallelism.main import COMPARED, WORKS, Config
from seqjax import experiment

ALONE = True  # times are taken with nothing else on the machine
RESIDENT_LENGTH = 4096  # where resident memory is measured, in training
EVERY = {'mixers': COMPARED, 'work': WORKS, 'batch_sizes': (1, 16)}
PRESETS = {
  'first': EVERY
  | {'batch_sizes': (1,), 'lengths': (64, 256, 1024, 4096), 'rounds': 11},
  'quick': EVERY | {'lengths': (64, 256, 1024, 4096), 'rounds': 11},
  'full': EVERY | {'lengths': (64, 256, 1024, 4096, 16384), 'rounds': 15},
  'gpu': EVERY | {'lengths': (64, 256, 1024, 4096, 16384, 65536), 'rounds': 25},
}


def cells(
  mixers: Sequence[str],
  work: Sequence[str],
  batch_sizes: Sequence[int],
  lengths: Sequence[int],
  rounds: int,
) -> list[Config]:
  """Returns every (work, batch size, length), with resident memory in one."""
  made = experiment.grid(
    Config,
    work=work,
    mixers=[tuple(mixers)],
    batch_size=batch_sizes,
    length=lengths,
    rounds=[rounds],
  )
  return [
    dataclasses.replace(
      cell,
      resident=(cell.work, cell.batch_size, cell.length)
      == ('training', 1, RESIDENT_LENGTH),
    )
    for cell in made
  ]
