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
  for _ in range(processes):
    for module in MODULES:
      began = time.perf_counter()
      _run([sys.executable, '-c', f'import {module}'], dict(os.environ))
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
  own = compilation_cache.FOLDER, compilation_cache.SHORTEST
  environment = {k: v for k, v in os.environ.items() if k not in own}
  environment['XDG_CACHE_HOME'] = cache
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


def _run(call: Sequence[str], environment: Mapping[str, str]):
  process = _begin(call, environment)
  _, errors = process.communicate(timeout=TIMEOUT)
  if process.returncode:
    raise RuntimeError(f'{" ".join(call)}: {errors.strip()}')


def _last_line(process) -> str:
  process.kill()
  lines = process.stderr.read().strip().splitlines()
  return lines[-1] if lines else f'it took more than {TIMEOUT:.0f} s.'
