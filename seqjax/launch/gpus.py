"""Shares the GPUs of a machine among processes, by CUDA_VISIBLE_DEVICES."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping

VISIBLE = 'CUDA_VISIBLE_DEVICES'


def visible(environment: Mapping[str, str]) -> list[str]:
  """Returns the GPUs that a process may use; none where there is no NVIDIA one.

  Those that the environment names, else all that nvidia-smi lists, by number.
  """
  named = environment.get(VISIBLE)
  if named is not None:
    return [gpu.strip() for gpu in named.split(',') if gpu.strip()]
  program = shutil.which('nvidia-smi', path=environment.get('PATH'))
  if program is None:
    return []
  listed = subprocess.run(
    [program, '-L'], capture_output=True, text=True, check=False
  ).stdout
  lines = [line for line in listed.splitlines() if line.startswith('GPU ')]
  return [str(number) for number in range(len(lines))]


def shared(processes: int, environment: Mapping[str, str]) -> list[str | None]:
  """Returns the GPU of each process, in turn; None for all that there are.

  A single process may use all of them.
  """
  gpus = (visible(environment) if processes > 1 else []) or [None]
  return [gpus[i % len(gpus)] for i in range(processes)]


def users(processes: int, environment: Mapping[str, str]) -> int:
  """Returns the most processes that share one GPU; 0 where there is none."""
  gpus = visible(environment)
  return -(-processes // len(gpus)) if gpus else 0


@contextlib.contextmanager
def seen(gpu: str | None) -> Iterator[None]:
  """Within the context, new processes see one GPU; None changes nothing."""
  if gpu is None:
    yield
    return
  before = os.environ.get(VISIBLE)
  os.environ[VISIBLE] = gpu
  try:
    yield
  finally:
    if before is None:
      del os.environ[VISIBLE]
    else:
      os.environ[VISIBLE] = before
