"""The cells of the benchmark."""

import shutil
from collections.abc import Sequence

from experiments.peers import cases, medians
from experiments.peers.cell import CORES, ENVIRONMENTS, INSTRUCTIONS, Config
from seqjax import experiment
from seqjax.launch import process_environment
from seqjax.results import processor

ALONE = True  # times are taken with nothing else on the machine


def environments() -> tuple[str, ...]:
  """Returns both process environments, where there is a tuned one."""
  tuned = process_environment.for_children({})
  return ENVIRONMENTS if tuned else ENVIRONMENTS[:1]


def cores() -> tuple[str, ...]:
  """Returns one core and all; all alone where a GPU does the work."""
  return CORES[1:] if shutil.which('nvidia-smi') else CORES


def instructions() -> tuple[str, ...]:
  """Returns both kinds of vector instructions, where there is AVX-512."""
  widest = processor.processor().get('instruction_set')
  several = widest == 'AVX-512' and not shutil.which('nvidia-smi')
  return INSTRUCTIONS if several else INSTRUCTIONS[:1]


HELP = {
  'families': f'Families of cases: {", ".join(cases.FAMILIES)}.',
  'processes': 'Number of processes per cell, of which medians are taken.',
}
PRESETS = {
  'benchmark': {
    'families': cases.FAMILIES,
    'environments': environments(),
    'cores': cores(),
    'instructions': instructions(),
    'processes': 5,  # of which medians are taken
  }
}


def cells(
  families: Sequence[str],
  environments: Sequence[str],
  cores: Sequence[str],
  instructions: Sequence[str],
  processes: int,
) -> list[Config]:
  """Returns every cell; processes outermost, so that slow drifts hit all alike.

  Resident memory is measured once, in the first process of the first
  environment, number of cores and kind of instructions: it hardly varies, and
  compares only within one process.
  """
  for name in families:
    experiment.choose(dict.fromkeys(cases.FAMILIES), name, 'family')
  first = (0, environments[0], cores[0])
  return [
    Config(
      case=name,
      work=work,
      environment=environment,
      cores=count,
      instructions=kind,
      process=process,
      resident=memory and not case.once,
    )
    for process in range(processes)
    for name, case in cases.CASES.items()
    if cases.family(name) in families
    for work in case.works
    for environment in environments
    for count in cores
    for kind in instructions
    for begins in [(process, environment, count) == first]
    for memory in [begins and kind == instructions[0]]
    if (case.timed and (begins or not case.once)) or memory
  ]


tabulate = medians.summarize
