"""Times whole processes: until a command's first metrics, and of imports."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import folders
from seqjax.experiment import compilation_cache
from seqjax.launch import process_environment

COMMAND = ('seqjax.cli.train', '--task=parity', '--mixer=lstm')
MODULES = ('flax.linen', 'seqjax.nn')  # the first is what others are held to
ALREADY = 'nothing compiled before', 'the same command again'
TIMEOUT = 600.0  # seconds for a process
POLL = 0.01  # seconds between two looks


def until_metrics(*, processes: int, **_) -> list[dict[str, Any]]:
  """Returns the seconds from the command to the first line of its metrics.

  Each pair of runs has a cache of compiled programs of its own, which is empty
  when the first of them begins.
  """
  seconds = {what: [] for what in ALREADY}
  for _ in range(processes):
    with tempfile.TemporaryDirectory() as cache:
      for what in ALREADY:
        seconds[what].append(_first_metrics(cache))
  return [{'what': what, **spread(s)} for what, s in seconds.items()]


def of_imports(*, processes: int, **_) -> list[dict[str, Any]]:
  """Returns the seconds of a process that only imports, in turns.

  `ratio` is the median over pairs of processes, the second over the first.
  """
  seconds = {module: [] for module in MODULES}
  run([sys.executable, '-c', f'import {MODULES[-1]}'])  # from the disk
  for _ in range(processes):
    for module in MODULES:
      call = [sys.executable, '-c', f'import {module}']
      began = time.perf_counter()
      run(call)
      seconds[module].append(time.perf_counter() - began)
  first = np.asarray(seconds[MODULES[0]])
  return [
    {'what': f'import {module}', **spread(s)}
    | {'ratio': float(np.median(np.asarray(s) / first))}
    for module, s in seconds.items()
  ]


def spread(seconds: Sequence[float]) -> dict[str, float]:
  """Returns the median and the range, as columns."""
  found = np.median(seconds), min(seconds), max(seconds)
  return dict(zip(('seconds', 'low', 'high'), map(float, found), strict=True))


def _first_metrics(cache: str) -> float:
  """Runs the command until it has written metrics, then stops it."""
  environment = as_users_have() | {'XDG_CACHE_HOME': cache}
  with tempfile.TemporaryDirectory() as workdir:
    metrics = pathlib.Path(workdir, 'run', 'metrics.jsonl')
    call = [sys.executable, '-m', *COMMAND, f'--workdir={metrics.parent}']
    began = time.perf_counter()
    process = _begin(call, environment)
    try:
      while not metrics.exists() or not metrics.stat().st_size:
        if process.poll() is not None or _late(began):
          raise RuntimeError(
            f'{" ".join(call)} wrote no metrics: {_last_line(process)}'
          )
        time.sleep(POLL)
      return time.perf_counter() - began
    finally:
      process.kill()
      process.wait()
      process.stderr.close()


def _late(began: float) -> bool:
  return time.perf_counter() - began > TIMEOUT


def _begin(call: Sequence[str], environment: Mapping[str, str]):
  return subprocess.Popen(
    call,
    cwd=folders.ROOT.parent,
    env=environment,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def run(call: Sequence[str]) -> str:
  """Returns what a program prints; RuntimeError with its errors if it fails."""
  done = subprocess.run(
    call,
    cwd=folders.ROOT.parent,
    env=as_users_have(),
    capture_output=True,
    text=True,
    timeout=TIMEOUT,
  )
  if done.returncode:
    raise RuntimeError(f'{" ".join(call)}: {done.stderr.strip()}')
  return done.stdout


def as_users_have() -> dict[str, str]:
  """Returns the environment without what experiments set for their cells."""
  own = compilation_cache.FOLDER, compilation_cache.SHORTEST
  left = process_environment.without(os.environ)
  return {name: value for name, value in left.items() if name not in own}


def _last_line(process) -> str:
  process.kill()
  lines = process.stderr.read().strip().splitlines()
  return lines[-1] if lines else f'it took more than {TIMEOUT:.0f} s.'
