"""Times seqjax and its peers at the same work, in one process.

    python -m experiments.peers.cell --case=lstm-b16-h64

One run is one process: it checks that all contestants of a case give the same,
times them side by side, and writes a row for each. `experiments.peers.main`
starts it with its environment and its cores.
"""

import dataclasses
import functools
import importlib.metadata
import mmap
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.peers import contestant
from experiments.peers.cases import EVERY, WORKS
from experiments.peers.contestant import OURS, Contestant
from experiments.peers.decoding import WORK as DECODING
from experiments.peers.training import WORK as TRAINING
from seqjax import experiment, results
from seqjax.analysis import memory, timing
from seqjax.experiment import option
from seqjax.results import processor

ENVIRONMENTS = ('default', 'tuned')
CORES = ('one', 'all')
AVX2 = '--xla_cpu_max_isa=AVX2'
INSTRUCTIONS = ('native', 'AVX2')


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of a cell; the process was started as they say."""

  case: str = option(
    'lstm-b16-h64', 'Problem to solve.', among=EVERY, named=True
  )
  work: str = option(
    'forward', 'Work to do.', among=(*WORKS, TRAINING, DECODING), named=True
  )
  environment: str = option(
    'default',
    'Environment that the process is started with.',
    among=ENVIRONMENTS,
  )
  cores: str = option('all', 'Cores that the process has.', among=CORES)
  instructions: str = option(
    'native',
    'Vector instructions: the widest there are, or AVX2 at most.',
    among=INSTRUCTIONS,
  )
  process: int = option(0, 'Number of this one of several equal processes.')
  rounds: int = option(11, 'Number of times each is timed, at least 11.')
  resident: bool = option(
    False, 'Also measure resident memory, in a process per library.'
  )

  def __post_init__(self):
    if self.rounds < 11:
      raise ValueError(
        f'rounds is at least 11, but rounds={self.rounds} was given.'
      )


def run(config: Config, workdir: str) -> dict[str, Any]:
  """Measures one cell; what has finished is not done again."""
  experiment.validate(config)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  case = EVERY[config.case]
  with results.Run(workdir, config) as record:
    makers = case.contestants(config.work, **case.sizes)
    made = {name: makers[name]() for name in contestant.installed(makers)}
    contestant.check_same(made)
    rows = {name: _describe(name, case.sizes) for name in made}
    if case.timed:
      _add(rows, _times(made, config.rounds))
    if config.resident:
      _add(rows, _memory(config, made))
    return record.finish(rows=list(rows.values()))


def prepared(case: str, work: str, name: str) -> Callable:
  """A call of one contestant, for a child process to measure."""
  made = EVERY[case].contestants(work, **EVERY[case].sizes)[name]()
  if isinstance(made.function, timing.Eager):
    call = functools.partial(made.function.function, *made.args)
    call()  # what is made once is not the call's
    return call
  compiled = jax.jit(made.function).lower(*made.args).compile()
  return functools.partial(compiled, *made.args)


def _describe(name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
  return {
    'contestant': name,
    'version': _version(contestant.library(name)),
    **sizes,
    'instruction_set': instruction_set(os.environ),
    'glibc_tunables': os.environ.get('GLIBC_TUNABLES', 'none'),
    'xla_flags': os.environ.get('XLA_FLAGS', 'none'),
  }


def instruction_set(environment: Mapping[str, str]) -> str | None:
  """Returns the widest vector instructions of a process with this environment.

  None on an accelerator, and where the system does not say.
  """
  if jax.default_backend() != 'cpu':
    return None
  if AVX2 in environment.get('XLA_FLAGS', '').split():
    return 'AVX2'
  return processor.processor().get('instruction_set')


def _version(library: str) -> str:
  """'jax.nn' -> 'jax 0.10.2'."""
  package = library.partition('.')[0]
  return f'{package} {importlib.metadata.version(package)}'


def _add(rows: dict[str, dict], columns: Mapping[str, Mapping[str, Any]]):
  for name, values in columns.items():
    rows[name] |= values


def _times(
  made: Mapping[str, Contestant], rounds: int
) -> dict[str, dict[str, Any]]:
  """Columns of time; `ratio` is ours to theirs, taken round by round."""
  overheads = {
    f'{name} overhead': (entry.overhead, entry.args)
    for name, entry in made.items()
    if entry.overhead is not None
  }
  timings = timing.compare(
    {name: (entry.function, entry.args) for name, entry in made.items()}
    | overheads,
    rounds=rounds,
    flops={n: entry.flops for n, entry in made.items() if entry.flops},
  )
  for name in overheads:
    whole = name.removesuffix(' overhead')
    timings[whole] = _less(timings[whole], timings.pop(name))
  return {
    name: {
      'seconds': measured.median / made[name].tokens,
      'ratio': timing.ratio(timings[OURS], measured).value,
      'compile_seconds': measured.compile_seconds,
      'share_of_peak': measured.share_of_peak,
      'suspect': measured.suspect,
      'peak_bytes': measured.peak_bytes,
    }
    for name, measured in timings.items()
  }


def _less(whole: timing.Timing, part: timing.Timing) -> timing.Timing:
  """A timing less the median of something that it contains."""
  seconds = tuple(s - part.median for s in whole.seconds)
  return whole._replace(seconds=seconds)


def _memory(
  config: Config, made: Mapping[str, Contestant]
) -> dict[str, dict[str, Any]]:
  """Columns of resident memory; `resident_ratio` is ours to theirs.

  A page at least, so that there is a ratio. Torch's own memory on an
  accelerator is not seen, and left out.
  """
  resident = {}
  for name in made:
    if name != 'torch' or jax.default_backend() == 'cpu':
      num_bytes = memory.peak_memory(
        'experiments.peers.cell:prepared',
        case=config.case,
        work=config.work,
        name=name,
      )
      resident[name] = max(num_bytes, mmap.PAGESIZE)
  return {
    name: {
      'resident_bytes': num_bytes,
      'resident_ratio': resident[OURS] / num_bytes,
    }
    for name, num_bytes in resident.items()
  }


if __name__ == '__main__':
  experiment.launch(Config, run, workdir='runs/peers/cell')
