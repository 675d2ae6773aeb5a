"""The cells of a grid as jobs of a scheduler, for programs that run grids."""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from seqjax import experiment
from seqjax.cli.options import literal, pairs
from seqjax.errors import Catalog
from seqjax.launch import cell_pool, submitted
from seqjax.launch.exits import INTERRUPTED

HERE, SUBMITIT = 'here', 'submitit'
EXECUTORS = Catalog('executor', {HERE: cell_pool.run, SUBMITIT: submitted.jobs})
SWITCHES = {
  'list': 'Print the number and the folder of each cell, and run none.',
  'cell': experiment.Text(
    'Run this cell alone, by its number; in this process.'
  ),
  'report': 'Make the tables of the cells that have finished, and run none.',
  'executor': experiment.Choice(
    'What runs the cells: processes of this machine, or jobs of submitit, '
    'which are those of SLURM where it is.',
    EXECUTORS,
  ),
  'executor_options': experiment.Text(
    'Parameters of submitit, as in timeout_min=60,slurm_partition=gpu.'
  ),
}
ALONE = ('list', 'cell', 'report')
FOLDER = 'jobs'  # in that of a sweep: what submitit keeps, and jobs print


def only_switch(switches: Mapping[str, Any]) -> str | None:
  """Returns the switch that says what is done with the cells; None: all run.

  Raises:
    ValueError: there are two.
  """
  given = [name for name in ALONE if switches.get(name)]
  if switches.get('executor', HERE) != HERE:
    given.append('executor')
  if len(given) > 1:
    raise ValueError(
      'Of --list, --cell, --report and --executor one is given at a time, but '
      f'{" and ".join(f"--{name}" for name in given)} were.'
    )
  if switches.get('executor_options') and 'executor' not in given:
    raise ValueError(
      '--executor_options are those of jobs, but cells run here: add '
      '--executor=submitit, or leave them out.'
    )
  return given[0] if given else None


def run(
  module: str,
  config: Any,
  workdir: str | os.PathLike,
  cells: Sequence[cell_pool.Cell],
  options: str,
):
  """Submits the cells that have not finished, and waits until all have ended.

  Args:
    module: the program, which runs one of the cells by --cell=NUMBER.
    config: its options.
    workdir: its folder.
    cells: all of them, in the order of their numbers.
    options: parameters of submitit, as name=value,name=value.

  Raises:
    ModuleNotFoundError: submitit is not installed.
    ValueError: it does not take these options.
  """
  waiting, _ = cell_pool.waiting(cells)
  folder = pathlib.Path(workdir).absolute()
  command = [sys.executable, '-m', module, *experiment.arguments(config)]
  jobs = submitted.jobs(
    [
      [*command, f'--workdir={folder}', f'--cell={cells.index(cell)}']
      for cell in waiting
    ],
    folder / FOLDER,
    {name: literal(value) for name, value in pairs(options)},
  )
  for job, cell in zip(jobs, waiting, strict=True):
    print(f'job {job.job_id}: {cell.folder}', flush=True)
  try:
    submitted.wait(jobs)
  except KeyboardInterrupt:
    print(
      '\nThe jobs go on. Once they have ended, --report makes the tables, and '
      'the same command submits the cells that have not finished.',
      file=sys.stderr,
    )
    sys.exit(INTERRUPTED)
