"""Several processes that train one model: who leads, and what all agree on.

    processes.begin('node1:1234,2,0')  # address, processes, this one's index
    if processes.is_first(): ...
    pause = processes.agreed(pause)

Compiled programs of several processes wait for each other at every sum over
devices. If one of them made another number of steps, sums of different things
would be added without an error. So whatever depends on a clock, a signal or a
file is decided by the first process, or by all together, and each process asks
for it at the same places.

Processes begin as the launcher says (srun, mpirun of Open MPI), or as they are
told by hand.
"""

import contextlib
import functools
import json
import os
import re
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from seqjax.launch import exits, single_process
from seqjax.launch.signals import Preempted

AUTO = 'auto'
BY_HAND = re.compile(r'(?P<address>[^,]+:\d+),(?P<count>\d+),(?P<index>\d+)')
# Signs of a process that has ended, in errors of the others.
LOST = ('Gloo', 'NCCL', 'coordination', 'heartbeat', 'UNAVAILABLE', 'DEADLINE')
CONNECT_SECONDS = 120  # until a process that is missing is given up
HEARTBEAT_SECONDS = 60  # until the others end, after one has died


def asked_for(given: str, environment: Mapping[str, str]) -> str:
  """Returns how this process joins others; '' where it is alone.

  Args:
    given: 'HOST:PORT,COUNT,INDEX', the address of the first process, how many
      there are, and which this is; 'auto': as the launcher says; '': so where
      a launcher has started several.
    environment: variables of the process.

  Raises:
    ValueError: it is none of those.
  """
  if given and given != AUTO:
    found = BY_HAND.fullmatch(given)
    if not found or int(found['index']) >= int(found['count']):
      raise ValueError(
        '--distributed takes auto, or HOST:PORT,COUNT,INDEX with an index '
        f'below the count, as in node1:1234,2,0, but {given!r} was given.'
      )
    return given
  several = single_process.started(environment) is not None
  return AUTO if given or several else ''


def begin(how: str):
  """Joins the other processes, before anything is computed.

  Args:
    how: what `asked_for` returns.

  Raises:
    ValueError: the others were not reached, or no launcher is known.
  """
  if not how or jax.distributed.is_initialized():
    return
  # JAX would keep SIGTERM to itself, until training begins to listen.
  jax.config.update('jax_enable_preemption_service', False)
  options = {}
  if found := BY_HAND.fullmatch(how):
    options = {
      'coordinator_address': found['address'],
      'num_processes': int(found['count']),
      'process_id': int(found['index']),
    }
  try:
    with _given_up_after(CONNECT_SECONDS):
      jax.distributed.initialize(
        **options,
        initialization_timeout=2 * CONNECT_SECONDS,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
      )
  except (RuntimeError, ValueError) as error:
    reason = str(error).strip().splitlines()[0]
    raise ValueError(
      'This process could not join the others of its job: '
      f'{reason.rstrip(".")}. Without a launcher that JAX knows, give '
      '--distributed=HOST:PORT,COUNT,INDEX.'
    ) from error


@contextlib.contextmanager
def _given_up_after(seconds: float) -> Iterator[None]:
  """Ends the process where the others are not found in time.

  JAX's own end, at its timeout, is that of a crash, which cannot be caught.
  """

  def end():
    print(
      f'The processes of this job did not find each other within {seconds:g} '
      'seconds: start all of them, with the address of the first, which the '
      'others must be able to reach.',
      file=sys.stderr,
      flush=True,
    )
    os._exit(exits.REFUSED)

  timer = threading.Timer(seconds, end)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def leaving_together(program: Callable) -> Callable:
  """Makes a process that fails alone leave without waiting for the others.

  They end when their next sum over devices fails. What all processes agree on
  (SIGTERM, what is not finite, a refusal by all) ends them as JAX wants it:
  they wait for each other.
  """

  @functools.wraps(program)
  def call(*args, **kwargs):
    try:
      return program(*args, **kwargs)
    except SystemExit as error:
      if are_several() and error.code and not _is_agreed(error.__context__):
        _leave(error.code)
      raise
    except Exception:
      if are_several():
        traceback.print_exc()
        _leave(exits.FAILED)
      raise

  return call


def _is_agreed(error: BaseException | None) -> bool:
  """Tells whether all processes raise this error."""
  common = (Preempted, FloatingPointError)
  return isinstance(error, common) or getattr(error, 'agreed', False)


def _agreed(error: Exception) -> Exception:
  """Marks an error that all processes raise."""
  error.agreed = True
  return error


def _leave(code: int):
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


@contextlib.contextmanager
def noticing_the_lost() -> Iterator[None]:
  """Raises ChildProcessError where another process has ended."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not are_several() or not any(sign in str(error) for sign in LOST):
      raise
    reason = str(error).splitlines()[0]
    raise ChildProcessError(
      'Another process of this job has ended, or cannot be reached any more '
      f'({reason}): the same command, in all processes, resumes the run.'
    ) from error


def are_several() -> bool:
  """Tells whether this process is one of several."""
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Tells whether this process decides, and writes records."""
  return not are_several() or jax.process_index() == 0


def from_first(value: Any) -> Any:
  """Returns the first process's value, which JSON can hold, in all of them."""
  if not are_several():
    return value
  text = json.dumps(value).encode() if is_first() else b''
  size = int(multihost_utils.broadcast_one_to_all(np.int64(len(text))))
  held = np.zeros(size, np.uint8)
  if is_first():
    held[:] = np.frombuffer(text, np.uint8)
  return json.loads(bytes(multihost_utils.broadcast_one_to_all(held)))


def arrays_from_first(tree: Any) -> Any:
  """Returns the first process's arrays in all of them, as NumPy's.

  One after the other, for devices may be too small for all of them.

  Args:
    tree: of the same shapes and dtypes in each process; no PRNG keys.
  """
  if not are_several():
    return tree
  return jax.tree.map(multihost_utils.broadcast_one_to_all, tree)


def first_alone(call: Callable[[], Any]) -> Any:
  """Calls a function in the first process; where it fails, all do.

  Returns:
    What it returned in the first process; None in others.

  Raises:
    ValueError, OSError: the function failed in the first process; others raise
      either of these with the same sentence, and end with the same exit code.
  """
  if not are_several():
    return call()
  result, failed = None, None
  if is_first():
    try:
      result = call()
    except (*exits.REFUSALS, OSError) as error:
      failed = _agreed(error)
  refused = isinstance(failed, exits.REFUSALS)
  said = from_first(None if failed is None else [refused, str(failed)])
  if failed is not None:
    raise failed
  if said is not None:
    raise _agreed((ValueError if said[0] else OSError)(said[1]))
  return result


def agreed(pause: Callable[[int], int]) -> Callable[[int], int]:
  """Makes all processes pause where the first one does."""
  if not are_several():
    return pause
  return lambda step: int(from_first(pause(step)))


class AnyAsked:
  """An event that is set as soon as it is in one of the processes.

  All of them have to ask at the same places.
  """

  def __init__(self, event: Any):
    self._event = event

  def is_set(self) -> bool:
    """Tells whether the event is set in any process."""
    mine = self._event.is_set()
    if not are_several():
      return mine
    return bool(np.any(multihost_utils.process_allgather(np.bool_(mine))))


def check_same(what: Mapping[str, Any]):
  """Raises ValueError, in all processes, unless each was given the same.

  Args:
    what: by name, what JSON can hold.
  """
  if not are_several():
    return
  sums = [
    zlib.crc32(json.dumps(v, sort_keys=True).encode()) for v in what.values()
  ]
  of_all = multihost_utils.process_allgather(np.array(sums, np.int64))
  for place, name in enumerate(what):
    others = np.flatnonzero(of_all[:, place] != of_all[0, place])
    if others.size:
      raise _agreed(
        ValueError(
          'All processes of a job are started with the same command, but '
          f'process {int(others[0])} has another {name} than process 0.'
        )
      )
