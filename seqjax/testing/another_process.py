"""A second process, which computes again what was computed here."""

import atexit
import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax

PATIENCE = 600  # seconds that it is given for an answer, on a busy machine


def call(
  function: Callable, argument: Any, *, devices: int | None = None
) -> Any:
  """Returns function(argument), as another process computes it.

  Args:
    function: of a module, where the other process finds it.
    argument: what can be pickled.
    devices: how many devices the other process makes of its CPU; None: it has
      those that this one has.

  Raises:
    RuntimeError: it could not be loaded or computed there.
    ChildProcessError: the process ended, or was killed after `PATIENCE`
      seconds; the next call starts another.
  """
  message = pickle.dumps((function, argument))
  process = _process(devices)
  patience = threading.Timer(PATIENCE, process.kill)
  patience.start()
  try:
    pickle.dump(message, process.stdin)
    process.stdin.flush()
    answer, failure = pickle.load(process.stdout)
  except (BrokenPipeError, EOFError) as error:
    raise ChildProcessError(_end(process)) from error
  finally:
    patience.cancel()
  if failure:
    raise RuntimeError(failure)
  return answer


@functools.cache
def _process(devices: int | None) -> subprocess.Popen:
  """Starts the other process, which ends with this one."""
  # Where this process finds modules, whatever its folder is by now.
  paths = os.pathsep.join(map(os.path.abspath, sys.path))
  environment = os.environ | {'PYTHONPATH': paths}
  if devices is not None:
    # As many threads, or devices would wait for each other without end.
    environment |= {'JAX_PLATFORMS': 'cpu', 'PJRT_NPROC': str(devices)}
  process = subprocess.Popen(
    [sys.executable, '-c', f'from {__name__} import _serve; _serve({devices})'],
    env=environment,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  atexit.register(_end, process)
  return process


def _end(process) -> str:
  """Closes the pipes, waits, and describes the end of the process."""
  _process.cache_clear()
  with contextlib.suppress(BrokenPipeError), process:
    pass
  if process.returncode == -signal.SIGKILL:
    return f'killed: no answer within {PATIENCE} seconds, or no memory left'
  return f'it ended with {process.returncode}'


def _serve(devices: int | None):
  """Answers calls until the pipe closes; output goes where errors go."""
  if devices is not None:
    jax.config.update('jax_num_cpu_devices', devices)
  answers, sys.stdout = sys.stdout.buffer, sys.stderr
  with contextlib.suppress(EOFError):
    while message := pickle.load(sys.stdin.buffer):
      try:
        function, argument = pickle.loads(message)
        answer = function(argument), None
      except (Exception, SystemExit) as error:
        answer = None, f'{type(error).__name__}: {error}'
      pickle.dump(answer, answers)
      answers.flush()
