"""Resident memory of a call, measured in a process of its own.

    python -m seqjax.analysis.memory module:function '{"keyword": 1}'

is the child that `peak_memory` starts; it prints {"bytes": ...}.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import jax

# Freed blocks go back to the system at once, so that what the preparation freed
# is not used again unseen.
_MALLOC = {'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'}
# The parent's process may hold most of a GPU already.
_CHILD = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', **_MALLOC}
_PROC = pathlib.Path('/proc/self')
_CGROUPS = pathlib.Path('/sys/fs/cgroup')


def peak_memory(target: str, *, timeout: float = 600.0, **kwargs) -> int:
  """Measures the bytes a call adds to the resident set at its peak.

  `target` is 'module:function'. A fresh process calls function(**kwargs), which
  prepares (makes the inputs, compiles) and returns a function without
  arguments; that one is called once and waited for. The bytes are the peak of
  its resident set during the call less its resident set before it: outputs and
  temporaries, not the inputs. On an accelerator they are the device's: its peak
  in use less what was in use before, an upper bound where the preparation
  needed more than the call.

  The child finds modules where this process finds them, and sees its
  environment variables, not what `jax.config` was told. `kwargs` travel as
  JSON. Raises RuntimeError with the end of the child's messages if it fails or
  takes more than `timeout` seconds. Linux only.
  """
  _check_linux()
  module, colon, function = target.partition(':')
  if not (module and colon and function):
    raise ValueError(
      f"A target is written 'module:function', but it is {target!r}."
    )
  return _run_child(target, _to_json(kwargs), timeout)['bytes']


def available_memory() -> int:
  """Gives the bytes that computations of this process may use in all.

  On an accelerator the limit of its allocator, else the machine's memory or
  the limit of the control group, whichever is lower.
  """
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  physical = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return min([physical, *_cgroup_limits()])


def unwaitable(outputs) -> str | None:
  """Says why waiting on outputs would prove nothing; None if it would."""
  leaves = jax.tree.leaves(outputs)
  if not leaves:
    return 'it returns nothing that could be waited for'
  for leaf in leaves:
    if not isinstance(leaf, jax.Array):
      return (
        f'it returns a {type(leaf).__name__}, and waiting passes silently over '
        'everything but jax arrays'
      )
  return None


def _check_linux() -> None:
  if not (_PROC / 'status').exists():
    raise RuntimeError(
      'Resident memory is read from /proc/self, which Linux has and '
      f'{sys.platform} has not; use timing.predicted_bytes there.'
    )


def _to_json(kwargs: dict) -> str:
  try:
    return json.dumps(kwargs)
  except TypeError as error:
    raise ValueError(
      f'Keyword arguments travel as JSON, but these cannot: {error}.'
    ) from error


def _run_child(target: str, kwargs: str, timeout: float) -> dict:
  paths = os.pathsep.join(path for path in [os.getcwd(), *sys.path] if path)
  try:
    child = subprocess.run(
      [sys.executable, '-m', 'seqjax.analysis.memory', target, kwargs],
      env={**os.environ, **_CHILD, 'PYTHONPATH': paths},
      capture_output=True,
      text=True,
      timeout=timeout,
    )
  except subprocess.TimeoutExpired as error:
    raise RuntimeError(
      f'Measuring the memory of {target} took more than {timeout} s.'
    ) from error
  if child.returncode:
    last = '\n'.join(child.stderr.strip().splitlines()[-5:])
    raise RuntimeError(
      f'Measuring the memory of {target} failed with exit code '
      f'{child.returncode}:\n{last}'
    )
  return json.loads(child.stdout.strip().splitlines()[-1])


def _cgroup_limits() -> list[int]:
  """Reads the limits of this process's control groups, of both versions."""
  limits = []
  for line in _read_lines(_PROC / 'cgroup'):
    _, controllers, path = line.split(':', 2)
    if controllers not in ('', 'memory'):
      continue
    name = 'memory.limit_in_bytes' if controllers else 'memory.max'
    group = pathlib.PurePosixPath(path.strip())
    for ancestor in [group, *group.parents]:
      place = _CGROUPS / controllers / str(ancestor).lstrip('/')
      limits += [int(n) for n in _read_lines(place / name) if n != 'max']
  return limits


def _read_lines(path: pathlib.Path) -> list[str]:
  try:
    return path.read_text().splitlines()
  except OSError:
    return []


def _measure(call: Callable) -> int:
  """Gives the bytes a call adds at its peak, by the best means there is."""
  gc.collect()
  _return_freed_memory()
  if 'peak_bytes_in_use' in (jax.local_devices()[0].memory_stats() or {}):
    return _device_peak(call)
  return _high_water(call) if _reset_high_water() else _sampled_peak(call)


def _device_peak(call: Callable) -> int:
  device = jax.local_devices()[0]
  before = device.memory_stats()['bytes_in_use']
  _finish(call)
  return device.memory_stats()['peak_bytes_in_use'] - before


def _high_water(call: Callable) -> int:
  """Reads the kernel's own mark, which was reset just before."""
  before = _status('VmRSS')
  _finish(call)
  return max(0, _status('VmHWM') - before)


def _sampled_peak(call: Callable, every: float = 0.001) -> int:
  """Looks every millisecond, where the kernel's mark cannot be reset."""
  before = _status('VmRSS')
  with _sampling(every) as seen:
    _finish(call)
    seen.append(_status('VmRSS'))
  return max(0, max(seen) - before)


@contextlib.contextmanager
def _sampling(every: float) -> Iterator[list[int]]:
  seen, done = [], threading.Event()

  def sample():
    while not done.is_set():
      seen.append(_status('VmRSS'))
      time.sleep(every)

  thread = threading.Thread(target=sample, daemon=True)
  thread.start()
  try:
    yield seen
  finally:
    done.set()
    thread.join()


def _finish(call: Callable) -> None:
  """Calls, waits, and lets nothing go before the caller has looked."""
  outputs = call()
  complaint = unwaitable(outputs)
  if complaint:
    raise RuntimeError(f'The call cannot be measured: {complaint}.')
  jax.block_until_ready(outputs)


def _return_freed_memory() -> None:
  try:
    ctypes.CDLL(None).malloc_trim(0)
  except (OSError, AttributeError):  # not the GNU C library
    pass


def _reset_high_water() -> bool:
  """Sets VmHWM to VmRSS; False where the kernel does not let us."""
  try:
    (_PROC / 'clear_refs').write_text('5')
  except OSError:
    return False
  return _status('VmHWM') < _status('VmRSS') + 2**20


def _status(field: str) -> int:
  for line in _read_lines(_PROC / 'status'):
    if line.startswith(f'{field}:'):
      return int(line.split()[1]) * 1024
  raise RuntimeError(f'/proc/self/status has no {field}.')


def main(target: str, kwargs: str) -> None:
  """Prepares, measures and prints: what the child process does."""
  module, _, function = target.partition(':')
  prepare = getattr(importlib.import_module(module), function)
  call = prepare(**json.loads(kwargs))
  if not callable(call):
    raise ValueError(
      f'{target} must return a function without arguments, '
      f'but it returned a {type(call).__name__}.'
    )
  print(json.dumps({'bytes': _measure(call)}))


if __name__ == '__main__':
  main(*sys.argv[1:])
