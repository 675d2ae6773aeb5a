"""Runs commands as jobs of a scheduler, by submitit (extra `submitit`).

    for job in submitted.jobs([command, ...], 'runs/jobs', {'timeout_min': 60}):
      print(job.job_id)

submitit makes one array of them for SLURM where there is one, and processes of
this machine elsewhere. A command that ends with 75, having saved, is put back
into the queue and begins again, as often as it takes.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from seqjax.errors import needs
from seqjax.launch.signals import PREEMPTED

EXTRA = 'submitit'
MINUTES = 24 * 60  # that a job may take at a time, where nothing else is said
TIMES = 1000  # that a job's time may end before it is given up
POLL_SECONDS = 2.0
CLUSTER = 'cluster'  # the option that chooses it: slurm, or local


class Command:
  """A command as a job that is saved when it is stopped, and begun again."""

  def __init__(self, command: Sequence[str]):
    self.command = tuple(command)

  def __call__(self):
    """Runs the command; RuntimeError if it ends with another code than 0."""
    self._child = subprocess.Popen(self.command)
    code = self._ended()
    if code == PREEMPTED:  # the scheduler told it, and not this process
      _stop_this_job()
    if code:
      raise RuntimeError(f'The command ended with exit code {code}.')

  def checkpoint(self) -> Any:
    """Stops the command, which saves; returns what is queued in its place.

    submitit calls this from a handler of signals, while `__call__` waits.
    """
    import submitit

    self._child.terminate()
    self._ended()
    return submitit.helpers.DelayedSubmission(type(self)(self.command))

  def _ended(self) -> int:
    """Waits, without the lock that `Popen.wait` would hold in both places."""
    if self._child.returncode is None:
      os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
    return self._child.wait()


def _stop_this_job():
  """Sends this process what submitit takes for the end of its time."""
  import submitit

  name = f'SIG{submitit.JobEnvironment.USR_SIG}'
  signal.raise_signal(getattr(signal, name))


def executor(folder: str | os.PathLike, options: Mapping[str, Any]) -> Any:
  """Returns submitit's executor.

  Args:
    folder: where it keeps its files and what jobs print.
    options: parameters of submitit, such as `timeout_min` or
      `slurm_partition`; `cluster` chooses slurm or local.

  Raises:
    ModuleNotFoundError: submitit is not installed.
    ValueError: it does not take these options.
  """
  with needs(EXTRA):
    import submitit
  options = {'timeout_min': MINUTES, 'name': 'seqjax'} | dict(options)
  try:
    made = submitit.AutoExecutor(
      folder,
      cluster=options.pop(CLUSTER, None),
      local_max_num_timeout=TIMES,
      slurm_max_num_timeout=TIMES,
    )
    made.update_parameters(**options)
  except (NameError, AssertionError, RuntimeError, ValueError) as error:
    reason = str(error).splitlines()[0].rstrip('.')
    raise ValueError(f'submitit refuses its options: {reason}.') from error
  return made


def jobs(
  commands: Sequence[Sequence[str]],
  folder: str | os.PathLike,
  options: Mapping[str, Any],
) -> list[Any]:
  """Submits commands together; returns submitit's jobs.

  Raises:
    ModuleNotFoundError: submitit is not installed.
    ValueError: it does not take these options.
  """
  made = executor(folder, options)
  with made.batch():
    return [made.submit(Command(command)) for command in commands]


def wait(waiting: Sequence[Any]):
  """Waits until all jobs have ended, well or not."""
  while not all(job.done() for job in waiting):
    time.sleep(POLL_SECONDS)
