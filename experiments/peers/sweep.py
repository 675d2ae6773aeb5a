"""The cells of the benchmark."""

import shutil
from collections.abc import Sequence

from experiments.peers import cases, medians
from experiments.peers.cell import CORES, ENVIRONMENTS, Config
from seqjax import experiment
from seqjax.launch import process_environment

ALONE = True  # times are taken with nothing else on the machine


def environments() -> tuple[str, ...]:
  """Returns both process environments, where there is a tuned one."""
  tuned = process_environment.for_children({})
  return ENVIRONMENTS if tuned else ENVIRONMENTS[:1]


def cores() -> tuple[str, ...]:
  """Returns one core and all; all alone where a GPU does the work."""
  return CORES[1:] if shutil.which('nvidia-smi') else CORES


HELP = {
  'families': f'Families of cases: {", ".join(cases.FAMILIES)}.',
  'processes': 'Number of processes per cell, of which medians are taken.',
}
PRESETS = {
  'benchmark': {
    'families': cases.FAMILIES,
    'environments': environments(),
    'cores': cores(),
    'processes': 5,  # of which medians are taken
  }
}


def cells(
  families: Sequence[str],
  environments: Sequence[str],
  cores: Sequence[str],
  processes: int,
) -> list[Config]:
  """Returns every cell; processes outermost, so that slow drifts hit all alike.

  Resident memory is measured once, in the first process of the first
  environment and number of cores: it hardly varies, and compares only within
  one process.
  """
  for name in families:
    experiment.choose(dict.fromkeys(cases.FAMILIES), name, 'family')
  once = (0, environments[0], cores[0])
  return [
    Config(
      case=name,
      work=work,
      environment=environment,
      cores=count,
      process=process,
      resident=(process, environment, count) == once,
    )
    for process in range(processes)
    for name, case in cases.CASES.items()
    if cases.family(name) in families
    for work in case.works
    for environment in environments
    for count in cores
    if case.timed or (process, environment, count) == once
  ]


tabulate = medians.summarize
