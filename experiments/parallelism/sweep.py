"""The cells of each preset."""

import math
from collections.abc import Sequence

from experiments.parallelism import exact
from experiments.parallelism.main import COMPARED, Config
from seqjax import experiment

ALONE = True  # times are taken with nothing else on the machine
APART = True  # cells of another process number are in another process
FEW = 4  # so many mixers or fewer are all timed in every process
PAIR = ('lstm', 'attention')  # which are in any case
EXACT = {'parameters': 25000, 'batch_size': 2, 'length': 1024}
RECALL = {'parameters': 25000, 'block': 'bare', 'batch_size': 32}
HELP = {
  'processes': 'Number of processes that time training. Of more than '
  f'{FEW} mixers, those after the first time {" and ".join(PAIR)} alone.',
  'largest': 'Largest positions x sequences x root of parameters of a cell.',
  'recall_lag': 'Lag of recall at whose shape training is also timed; 0: none.',
}
FIRST = {
  'mixers': PAIR,
  'work': ('training', 'decoding', 'exact'),
  'parameters': (1_000_000,),
  'blocks': ('block',),
  'batch_sizes': (16,),
  'lengths': (64, 256),
  'largest': 4.2e6,  # which takes two cores a second or two
  'recall_lag': 0,
  'processes': 5,
  'rounds': 11,
}
EVERY = FIRST | {
  'mixers': COMPARED,
  'parameters': (25000, 1_000_000),
  'blocks': ('block', 'bare'),
  'batch_sizes': (1, 16),
  'lengths': (64, 256, 1024, 4096),
  'recall_lag': 64,
}
PRESETS = {
  'first': FIRST,
  'quick': FIRST
  | {'mixers': ('lstm', 'mingru', 'attention'), 'batch_sizes': (1, 16)},
  'full': EVERY,
  'gpu': EVERY | {'lengths': (64, 256, 1024, 4096, 16384), 'largest': 1e9},
}


def cells(
  mixers: Sequence[str],
  work: Sequence[str],
  parameters: Sequence[int],
  blocks: Sequence[str],
  batch_sizes: Sequence[int],
  lengths: Sequence[int],
  largest: float,
  recall_lag: int,
  processes: int,
  rounds: int,
) -> list[Config]:
  """Returns the cells, process after process, so that drifts hit all alike."""
  mixers = tuple(mixers)
  repeated = mixers if len(mixers) <= FEW else _common(mixers, PAIR)
  solved = _common(mixers, exact.SOLVED)
  every = {
    'parameters': parameters,
    'batch_size': batch_sizes,
    'length': lengths,
    'rounds': [rounds],
  }
  made = []
  if 'exact' in work and solved:
    made.append(Config(work='exact', mixers=solved, **EXACT))
  if 'decoding' in work:
    one = {'block': blocks[:1], 'batch_size': batch_sizes[:1]}
    made += experiment.grid(
      Config, work=['decoding'], mixers=[mixers], **every | one
    )
  if 'training' not in work:
    return made
  if recall_lag:
    shape = RECALL | {'length': recall_lag + 1, 'rounds': rounds}
    made.append(Config(work='training', mixers=mixers, **shape))
  for process in range(processes if repeated else 1):
    made += experiment.grid(
      Config,
      work=['training'],
      mixers=[repeated if process else mixers],
      block=blocks,
      process=[process],
      **every,
    )
  return [
    cell for cell in made if cell.work != 'training' or _size(cell) <= largest
  ]


def shared(config: Config) -> int:
  """Returns the number of the process that a cell runs in."""
  return config.process


def _common(names: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
  return tuple(name for name in names if name in wanted)


def _size(cell: Config) -> float:
  """Returns the order of magnitude of the numbers in one array of a cell."""
  return cell.batch_size * cell.length * math.sqrt(cell.parameters)
