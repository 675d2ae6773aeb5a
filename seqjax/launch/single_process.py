"""Refuses jobs of several processes, which would write to the same folder."""

from collections.abc import Mapping

# Set for each task by srun, by mpirun of Open MPI, and by that of MPICH.
COUNTS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE', 'PMI_SIZE')


def started(environment: Mapping[str, str]) -> tuple[str, int] | None:
  """Returns the variable that tells of several tasks, and how many."""
  for name in COUNTS:
    count = environment.get(name, '1')
    if count.isdecimal() and int(count) > 1:
      return name, int(count)
  return None


def check(environment: Mapping[str, str]):
  """Raises ValueError in a task of a job that has started several.

  Each of them would train the same run in the same folder.
  """
  several = started(environment)
  if several is not None:
    name, count = several
    raise ValueError(
      f'This program of seqjax is one process, but this job has started {count}'
      f' ({name}={count}): start one task, as by srun --ntasks=1. Of several, '
      'seqjax-train makes one run.'
    )
