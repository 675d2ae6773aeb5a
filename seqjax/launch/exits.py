"""Ends programs with one sentence and an exit code that says what happened.

@exits.guarded(resumes=True)
def train_and_report(config, workdir): ...
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from seqjax.experiment import pipes
from seqjax.launch import memory_limits, signals, single_process

FAILED, REFUSED, INTERRUPTED = 1, 2, 130
REFUSALS = (  # what bad input raises; other errors of the system are failures
  *(ValueError, ImportError, FileNotFoundError, FileExistsError),
  *(NotADirectoryError, IsADirectoryError, PermissionError),
)
FAILURES = (OSError, MemoryError, FloatingPointError)


def ask_for_less(*_: Any) -> str:
  """Returns the message for exhausted memory where nothing else is known."""
  return (
    'The device does not have enough memory: use smaller batches or shorter '
    'sequences.'
  )


@contextlib.contextmanager
def sentences(
  too_large: Callable[[], str] = ask_for_less, resumes: bool = False
) -> Iterator[None]:
  """Ends the process with one sentence on stderr where something stops it.

  Exit code 2 for bad input, 1 for a failure, 75 for a run that SIGTERM stopped
  and 130 for an interrupt. Other exceptions are bugs of seqjax: they propagate.

  Args:
    too_large: returns the message where the device's memory was exhausted.
    resumes: says that the same command resumes what was interrupted.
  """
  try:
    with memory_limits.named(too_large):
      yield
  except signals.Preempted as error:
    _exit(error, signals.PREEMPTED)
  except KeyboardInterrupt:
    how = '; the same command resumes from the last checkpoint' * resumes
    _exit(f'Interrupted{how}.', INTERRUPTED)
  except REFUSALS as error:
    _exit(error, REFUSED)
  except FAILURES as error:
    if isinstance(error, BrokenPipeError) and pipes.unread():
      raise  # nobody would read the sentence: `experiment.launch` ends quietly
    _exit(error, FAILED)


def guarded(
  too_large: Callable[..., str] = ask_for_less,
  resumes: bool = False,
  several: bool = False,
) -> Callable[[Callable], Callable]:
  """Returns a decorator that runs a program's function under `sentences`.

  A job of several processes is refused, unless the program is made for
  `several`. `too_large` is called with the arguments of the function.
  """

  def decorate(run):
    @functools.wraps(run)
    def call(*args, **kwargs):
      with sentences(lambda: too_large(*args), resumes):
        if not several:
          single_process.check(os.environ)
        return run(*args, **kwargs)

    return call

  return decorate


def _exit(sentence: Any, code: int) -> NoReturn:
  print(sentence, file=sys.stderr)
  sys.exit(code)
