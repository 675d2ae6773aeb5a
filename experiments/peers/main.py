"""Measures how long seqjax and other libraries take for the same work.

    python -m experiments.peers --families=lstm,attention --processes=5
    python -m experiments.peers.main --case=lstm-b16-h64

The first command measures many cells and ends with tables and a figure; the
second is one cell. Every cell is a process of its own, started with the default
process environment or with that of `seqjax.launch.process_environment`, on one
core with one thread for every library, or on all cores; with the processor's
widest vector instructions, or with AVX2 at most.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from experiments import command, folders
from experiments.peers import cell
from experiments.peers.cell import Config
from seqjax import errors, experiment, results
from seqjax.launch import process_environment
from seqjax.results import processor

TIMEOUT = 1800  # seconds for a cell
_WIDTH = '--xla_cpu_prefer_vector_width=256'  # of AVX2, in bits
# Variables of torch's libraries.
_NARROW = {
  'ATEN_CPU_CAPABILITY': 'avx2',
  'ONEDNN_MAX_CPU_ISA': 'AVX2',
  'MKL_ENABLE_INSTRUCTIONS': 'AVX2',
}


def run(config: Config, workdir: str) -> dict[str, Any]:
  """Measures one cell in a process of its own; a finished one is kept.

  Raises:
    ValueError: the processor has no AVX2.
    RuntimeError: the process failed; says why.
  """
  experiment.validate(config)
  check_instructions(config)
  done = results.finished(workdir, config)
  return _measure(config, pathlib.Path(workdir)) if done is None else done


def check(config: Config):
  """Checks that the peers are there, and the instructions.

  Raises:
    ModuleNotFoundError: no peers; names the extra.
    ValueError: the processor has no AVX2.
  """
  with errors.needs('peers'):
    import equinox  # noqa: F401
  check_instructions(config)


def check_instructions(config: Config):
  """Raises ValueError for AVX2 on a processor without it."""
  widest = processor.processor().get('instruction_set')
  if config.instructions == 'AVX2' and widest not in ('AVX-512', 'AVX2'):
    raise ValueError(
      'instructions=AVX2 needs a processor that has AVX2, but the widest '
      f'vector instructions of this one are {widest or "unknown"}; use '
      'instructions=native.'
    )


def _measure(config: Config, folder: pathlib.Path) -> dict[str, Any]:
  options = [f'--{k}={v}' for k, v in experiment.to_dict(config).items()]
  command = [sys.executable, '-m', cell.__spec__.name, *options]
  with pinned(config.cores), _stopped_by_sigterm():
    try:
      done = subprocess.run(
        [*command, f'--workdir={folder}'],
        cwd=folders.ROOT.parent,
        env=environment_of(config, folder.parent.parent / 'compiled'),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
      )
    except subprocess.TimeoutExpired:
      raise RuntimeError(f'It took more than {TIMEOUT} s.') from None
  summary = results.finished(folder, config)
  if done.returncode or summary is None:
    raise RuntimeError(_reason(done, folder))
  return summary


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
  """Lets SIGTERM end the child process as well, as an interrupt does."""
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def environment_of(config: Config, cache: pathlib.Path) -> dict[str, str]:
  """Returns the variables that a cell's process is started with.

  Compiled functions are kept, since all processes compile the same; compile
  times are measured without. On a GPU products are float32's for all.
  """
  variables = {
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    **os.environ,
  }
  if shutil.which('nvidia-smi'):
    variables.setdefault('JAX_DEFAULT_MATMUL_PRECISION', 'highest')
    variables.setdefault('NVIDIA_TF32_OVERRIDE', '0')
  variables = _unbounded(process_environment.without(variables))
  if config.instructions == 'AVX2':
    variables |= narrow(variables)
  if config.environment == 'tuned':  # beside the flags that are there
    variables |= process_environment.for_children(variables)
  if config.cores == 'one':
    given = variables.get('XLA_FLAGS', '')
    variables |= {
      'XLA_FLAGS': f'{given} --xla_cpu_multi_thread_eigen=false'.strip(),
      'OMP_NUM_THREADS': '1',
    }
  return variables


def narrow(environment: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables that keep XLA and torch to AVX2."""
  flags = (environment.get('XLA_FLAGS', ''), cell.AVX2, _WIDTH)
  return {'XLA_FLAGS': ' '.join(filter(None, flags)), **_NARROW}


def _unbounded(environment: Mapping[str, str]) -> dict[str, str]:
  """Returns the variables less the caller's own bounds on instructions."""
  left = {k: v for k, v in environment.items() if k not in _NARROW}
  flags = left.pop('XLA_FLAGS', '').split()
  name, _, _ = cell.AVX2.partition('=')
  if kept := [flag for flag in flags if not flag.startswith(f'{name}=')]:
    left['XLA_FLAGS'] = ' '.join(kept)
  return left


@contextlib.contextmanager
def pinned(cores: str) -> Iterator[None]:
  """Gives child processes that start inside one core, where that is wanted."""
  if cores == 'all' or not hasattr(os, 'sched_setaffinity'):
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {max(before)})  # the first serves interrupts
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def _reason(done: subprocess.CompletedProcess, folder: pathlib.Path) -> str:
  if (folder / 'failed.json').exists():
    return json.loads((folder / 'failed.json').read_text())['error']
  last = done.stderr.strip().splitlines()[-1:]
  return f'Exit code {done.returncode}: {" ".join(last)}'


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/peers/cell')
