r"""Runs a program for every cell of a grid, some cells at a time.

    seqjax-sweep --script=seqjax.cli.train --workdir=runs/parity \
        --grid='task=parity;mixer=lstm,gru;seed=0,1,2' --processes=2 --cores=1

The program has a Config and a run(config, workdir), as `seqjax.cli.train` and
the experiments' main.py have. Each cell has a folder, with its log. Finished
cells are skipped, so the same command resumes a sweep. A cell that fails is
reported and the others continue; exit code 0 only if none failed. results.csv
holds a row per finished cell, and summary.csv the statistics over seeds, at the
learning rate that validation chooses (see `seqjax.cli.seeds`).

With a scheduler that runs the cells as jobs of its own, --list prints their
numbers, --cell=N runs one of them, and --report makes the tables of those that
have finished. --executor=submitit submits them, and waits.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import sys

from seqjax import experiment, results
from seqjax.cli import cell_jobs, seeds
from seqjax.experiment import option
from seqjax.launch import cell_pool, exits, gpus, process_environment
from seqjax.launch.programs import Program
from seqjax.results import table
from seqjax.results.environment import ENVIRONMENT_COLUMNS
from seqjax.results.json_files import read_json
from seqjax.results.records import RUN, RUN_SECONDS

MODULE = 'seqjax.cli.sweep'
LAST = 5  # lines of a failed cell's log that are shown


@dataclasses.dataclass(frozen=True)
class Config:
  """A grid, and the resources of its cells."""

  script: str = option(
    'seqjax.cli.train', 'Module, or path of a file, to run for each cell.'
  )
  grid: str = option(
    '',
    'Options of the program, as in mixer=lstm,gru;seed=0,1 (quote a value that '
    'holds commas).',
  )
  processes: int = option(1, 'Number of cells that run at a time.')
  cores: int = option(
    0, 'Number of cores per process; 0 shares all of them evenly.'
  )
  memory_gb: float = option(
    0.0, 'Gigabytes of data that a process may hold; 0 sets no limit.'
  )
  score: str = option(
    '', 'Column to summarize over seeds; by default test, if there is one.'
  )
  solved: float = option(
    math.nan, 'Score at which a seed counts as having solved the task.'
  )
  lower_is_better: bool = option(
    False, 'Rank low scores first; only used if the runs have no metric.'
  )
  by: tuple[str, ...] = option(
    (), 'Columns that distinguish rows of one run, as in tested_lag.'
  )
  compare: str = option(
    '', 'Option whose values are ranked; by default the one that varies.'
  )

  def __post_init__(self):
    if (
      self.processes < 1 or self.cores < 0 or not 0 <= self.memory_gb < math.inf
    ):
      raise ValueError(
        'processes is at least 1, cores and memory_gb are 0 or more, but '
        f'processes={self.processes}, cores={self.cores} and '
        f'memory_gb={self.memory_gb} were given.'
      )


def run(config: Config, workdir: str) -> list[tuple[cell_pool.Cell, str]]:
  """Runs unfinished cells; returns the cells that failed, with the reasons."""
  program, cells = _cells(config, workdir)
  root = pathlib.Path(workdir).absolute()
  cell_pool.shares(config.processes, config.cores or None)
  waiting, failed = cell_pool.waiting(cells)
  root.mkdir(parents=True, exist_ok=True)
  ended = cell_pool.run(
    program,
    [[cell] for cell in waiting],
    processes=config.processes,
    cores=config.cores or None,
    memory=int(config.memory_gb * 2**30) or None,
  )
  kept = len(cells) - len(waiting) - len(failed)
  ended = cell_pool.watched(ended, len(cells), len(waiting), 'sweep')
  with contextlib.closing(ended):
    failed += [(cell, why) for cell, why in ended if why]
  rows = _report(cells, failed, root)
  ran = len(cells) - len(failed) - kept
  print(
    f'{kept} cells were finished before, {ran} ran, {len(failed)} failed. '
    f'Results are in {root}.'
  )
  _print_failures(failed)
  if rows:
    _summarize(config, cells, rows, root)
  return failed


def _cells(
  config: Config, workdir: str
) -> tuple[Program, list[cell_pool.Cell]]:
  """Returns the program and its cells, none of which it would refuse."""
  program = Program(config.script)
  if config.compare:
    known = dict.fromkeys(
      [*experiment.define_flags(program.module.Config), *config.by]
    )
    experiment.choose(known, config.compare, 'option to compare')
  root = pathlib.Path(workdir).absolute()
  cells = [
    cell_pool.Cell(c, str(experiment.folder_in(root, c)))
    for c in experiment.parse_grid(program.module.Config, config.grid)
  ]
  program.check(cell.config for cell in cells)
  return program, cells


def run_cell(config: Config, workdir: str, number: str):
  """Runs one cell in this process, unless it has finished.

  Raises:
    ValueError: there is no cell of this number.
  """
  program, cells = _cells(config, workdir)
  cell = cell_pool.numbered(cells, number)
  if results.finished(cell.folder, cell.config) is not None:
    print(f'Already finished: {cell.folder}')
    return
  pathlib.Path(cell.folder).mkdir(parents=True, exist_ok=True)
  program(cell.config, cell.folder)
  print(f'Finished: {cell.folder}')


def submit(config: Config, workdir: str, options: str) -> int:
  """Runs the cells as jobs, and reports them; returns how many have failed."""
  _, cells = _cells(config, workdir)
  cell_jobs.run(MODULE, config, workdir, cells, options)
  return report_cells(config, workdir)


def report_cells(config: Config, workdir: str) -> int:
  """Writes and prints the tables of the cells that have finished.

  Returns:
    The number of the others.
  """
  _, cells = _cells(config, workdir)
  waiting, failed = cell_pool.waiting(cells)
  root = pathlib.Path(workdir).absolute()
  unfinished = [*failed, *((cell, _why_unfinished(cell)) for cell in waiting)]
  rows = _report(cells, unfinished, root)
  done = len(cells) - len(unfinished)
  print(f'{done} of {len(cells)} cells have finished. Results are in {root}.')
  _print_failures(unfinished, 'UNFINISHED')
  if rows:
    _summarize(config, cells, rows, root)
  return len(unfinished)


def _why_unfinished(cell: cell_pool.Cell) -> str:
  """Returns what ended a cell, as its folder says."""
  path = pathlib.Path(cell.folder, 'failed.json')
  if not path.exists():
    return 'It was not begun, or is still running.'
  return read_json(path, 'record of a failure')['error']


def _report(cells, failed, root: pathlib.Path) -> list[seeds.Row]:
  """Writes and prints the table of the cells that have not failed."""
  wrong = {cell.folder for cell, _ in failed}
  rows = [
    row
    for cell in cells
    if cell.folder not in wrong
    for row in results.collate(cell.folder)
  ]
  if rows:
    table.write(rows, root / 'results.csv')
    print(table.text(rows, _columns(cells, rows)))
  return rows


def _print_failures(failed, what: str = 'FAILED'):
  """Prints on stderr why cells have failed, with the ends of their logs."""
  for cell, why in failed:
    print(f'{what} {cell.folder}\n  {why}', file=sys.stderr)
    log = pathlib.Path(cell.folder) / cell_pool.LOG
    if log.exists():
      lines = log.read_text(errors='replace').splitlines()[-LAST:]
      print(f'  {log} ends:', *lines, sep='\n    ', file=sys.stderr)


def _summarize(config: Config, cells, rows, root: pathlib.Path):
  """Writes and prints statistics over seeds, if the cells have several."""
  differing = _differing(cells)
  score = config.score or 'test'
  if not {seeds.SEED, seeds.RATE} & {*differing}:
    return
  if not config.score and score not in rows[0]:
    return
  summary = seeds.summarize(
    rows,
    [*differing, *config.by],
    score,
    solved=config.solved,
    lower_is_better=config.lower_is_better,
    compare=config.compare,
  )
  table.write(summary, root / 'summary.csv')
  print(f'\n{score} over seeds\n{seeds.text(summary)}')


def _differing(cells) -> list[str]:
  """Returns the fields of which the cells have several values."""
  return [
    name
    for name in experiment.to_dict(cells[0].config)
    if len({getattr(cell.config, name) for cell in cells}) > 1
  ]


def _columns(cells, rows) -> list[str]:
  """Returns the fields that differ among the cells, and the results."""
  fields = experiment.to_dict(cells[0].config)
  known = {*fields, *ENVIRONMENT_COLUMNS, RUN, RUN_SECONDS}
  return _differing(cells) + [name for name in rows[0] if name not in known]


@exits.guarded(resumes=True)
def run_and_exit(config: Config, workdir: str, **switches: bool | str):
  """Runs the sweep in the process environment of measurements; exits."""
  asked = cell_jobs.only_switch(switches)
  if asked == 'list':
    print(cell_pool.listed(_cells(config, workdir)[1]))
    return
  if asked == 'report':
    report_cells(config, workdir)
    return
  if asked == 'cell':
    with cell_pool.stoppable():
      run_cell(config, workdir, switches['cell'])
    return
  if asked == 'executor':
    options = switches.get('executor_options', '')
    sys.exit(1 if submit(config, workdir, options) else 0)
  process_environment.apply()
  users = gpus.users(config.processes, os.environ)
  if users > 1:
    share = f'{0.75 / users:.3f}'  # of a GPU
    os.environ.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', share)
  # Cells are told to save and to end, as by an interrupt.
  with cell_pool.stoppable():
    sys.exit(1 if run(config, workdir) else 0)


def restart_for_a_cell():
  """Restarts a program that runs a cell itself, as its workers would run it."""
  if any(argument.lstrip('-').startswith('cell') for argument in sys.argv[1:]):
    process_environment.restart()


def main():
  """Runs the sweep of the command line."""
  restart_for_a_cell()
  experiment.launch(
    Config,
    run_and_exit,
    workdir='runs/sweep',
    **cell_jobs.SWITCHES,
  )


if __name__ == '__main__':
  main()
