"""Refuses jobs of several processes, which would write to the same folder."""

from collections.abc import Mapping

# Set for each task by srun, by mpirun of Open MPI, and by that of MPICH.
COUNTS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE', 'PMI_SIZE')


def check(environment: Mapping[str, str]):
  """Raises ValueError in a task of a job that has started several.

  Each of them would train the same run in the same folder.
  """
  for name in COUNTS:
    count = environment.get(name, '1')
    if count.isdecimal() and int(count) > 1:
      raise ValueError(
        f'A program of seqjax is one process, but this job has started {count} '
        f'({name}={count}): start one task, as by srun --ntasks=1, and let '
        'seqjax-train use all its devices by --shard.'
      )
