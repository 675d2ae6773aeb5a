"""Runs experiments, draws their figures, judges claims, and writes a page.

    python -m experiments.reproduce --preset=quick --only=recall --workdir=runs

Finished cells are kept and skipped, so the same command resumes a job that was
stopped. Experiments without the requested preset are left out. Everything is
written under the workdir, the page to PRESET/report/index.html; a job over all
experiments with the preset full replaces the tables that are committed instead,
each only if all of its cells finished, and the page docs/report.
The exit code is 0 only if every cell finished.

With a scheduler that runs the cells as jobs of its own, --list prints their
numbers, --cell=N runs one of them, and --report writes tables and page of those
that have finished. --executor=submitit submits them, and waits.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import axes, beside, folders, page, report
from experiments.folders import Experiment
from seqjax import experiment, results
from seqjax.cli import cell_jobs, sweep
from seqjax.experiment import option
from seqjax.launch import cell_pool, exits, process_environment
from seqjax.results import table

MODULE = 'experiments.reproduce'
SUMMARY = 'summary.json'  # of a finished run
Failure = tuple[str, str]  # a cell's folder, and why it failed


class Job(NamedTuple):
  """Cells of one experiment, and the folder that they are written to."""

  found: Experiment
  configs: Sequence[Any]
  root: pathlib.Path

  def folder(self, config: Any) -> pathlib.Path:
    return experiment.folder_in(self.root / 'cells', config)

  @property
  def cells(self) -> list[cell_pool.Cell]:
    return [cell_pool.Cell(c, str(self.folder(c))) for c in self.configs]


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of a job."""

  preset: str = option(
    'first',
    'Preset of the cells. '
    + '; '.join(f'{name}: {text}' for name, text in folders.PRESETS.items())
    + '.',
    among=tuple(folders.PRESETS),
  )
  only: tuple[str, ...] = option(
    (), 'Experiments to run; without any, all that have the preset.'
  )


def run_cell(named: tuple[str, Any], folder: str):
  """Runs a cell of the experiment of that name in a worker process."""
  name, config = named
  folders.find(name).main.run(config, folder)


def run_cells(
  job: Job, entries: Mapping[str, Callable] | None = None
) -> list[Failure]:
  """Runs the cells that have not finished; returns those that failed.

  Args:
    job: which cells.
    entries: a dict of mixers, which other processes cannot import: cells then
      run in this process, one after the other.
  """
  ((_, failed),) = run_jobs([job], entries)
  return failed


def run_jobs(
  jobs: Sequence[Job], entries: Mapping[str, Callable] | None = None
) -> Iterator[tuple[Job, list[Failure]]]:
  """Runs the cells of several experiments, which share processes.

  Those of an experiment that needs the machine alone follow by themselves.

  Args:
    jobs: which cells.
    entries: as in `run_cells`.

  Yields:
    A job whose cells have ended, while others still run, and those that failed.
  """
  sharing = [job for job in jobs if not job.found.alone]
  alone = [[job] for job in jobs if job.found.alone]
  for together in [sharing, *alone] if sharing else alone:
    yield from _run_together(together, entries)


def _run_together(jobs: Sequence[Job], entries):
  """Runs the cells of jobs that may run side by side; yields as `run_jobs`."""
  failed, groups, left = {}, [], collections.Counter()
  for job in jobs:
    name, cells = job.found.name, job.cells
    waiting, refused = cell_pool.waiting(cells)
    failed[name] = [(cell.folder, why) for cell, why in refused]
    left[name] = len(waiting)
    kept = len(cells) - len(waiting) - len(refused)
    print(
      f'{name}: {len(cells)} cells, of which {kept} have finished and are '
      f'skipped. Results are written to {job.root}; what a cell prints, to '
      f'{cell_pool.LOG} in its folder.',
      flush=True,
    )
    named = [cell._replace(config=(name, cell.config)) for cell in waiting]
    groups += job.found.groups(named, key=lambda cell: cell.config[1])
  yield from ((j, failed[j.found.name]) for j in jobs if not left[j.found.name])
  of_name = {job.found.name: job for job in jobs}
  total = sum(len(job.configs) for job in jobs)
  label = jobs[0].found.name if len(jobs) == 1 else f'{len(jobs)} experiments'
  with process_environment.applied():
    ended = cell_pool.watched(
      _ended(jobs, groups, entries), total, left.total(), label
    )
    with contextlib.closing(ended):
      for cell, why in ended:
        name, _ = cell.config
        failed[name] += [(cell.folder, why)] if why else []
        left[name] -= 1
        if not left[name]:
          yield of_name[name], failed[name]


def _ended(jobs: Sequence[Job], groups, entries):
  """Yields (cell, why it failed or None) as cells end."""
  if entries is None:
    yield from cell_pool.run(
      run_cell,
      groups,
      processes=_processes(jobs[0].found),
      apart=any(job.found.apart for job in jobs),
    )
    return
  for cell in itertools.chain(*groups):
    name, config = cell.config
    call = functools.partial(folders.find(name).main.run, mixers=entries)
    yield cell, cell_pool.attempt(call, cell._replace(config=config))


def _processes(found: Experiment) -> int:
  """Returns 1 process for timings or with a GPU, else 2 where possible."""
  if found.alone or shutil.which('nvidia-smi'):
    return 1
  if not hasattr(os, 'sched_getaffinity'):
    return 1
  return min(2, len(os.sched_getaffinity(0)))


def conclude(job: Job, failed: Sequence[Failure], to: pathlib.Path) -> str:
  """Publishes a job; of one with failures, the rows that there are.

  Args:
    job: whose cells have ended.
    failed: those that failed.
    to: where table, figure and verdicts are written if none failed.

  Returns:
    The text to print.
  """
  if not failed:
    return publish(job, to)
  finished = len(_finished(job))
  said = (
    f'{job.found.name}: {finished} of {len(job.configs)} cells finished; the '
    'figure and verdicts.md need all of them.'
  )
  if finished:
    path, _ = write_table(job, job.root)
    said += f' Table of those: {path}'
  return said


def _concluded(
  job: Job, failed: Sequence[Failure], to: pathlib.Path
) -> tuple[str, list[Failure]]:
  """Concludes a job; returns what to print, and what went wrong in doing so.

  The other experiments of a job go on.
  """
  try:
    return conclude(job, failed, to), []
  except Exception as error:
    traceback.print_exc()
    said = f'{job.found.name}: its table, verdicts or figure could not be made.'
    return said, [(str(to), f'{type(error).__name__}: {error}')]


def part(
  job: Job, failed: Sequence[Failure], to: pathlib.Path, command: str
) -> page.Part:
  """Returns a job's part of the page: the files that `conclude` has written."""
  root = job.root if failed else to
  rows, figure = root / 'results.csv', root / 'figure.svg'
  return page.Part(
    job.found,
    rows if _finished(job) and rows.exists() else None,
    figure if figure.exists() and not failed else None,
    command,
    failed,
    len(job.configs),
  )


def write_page(
  parts: Sequence[page.Part], to: pathlib.Path, subject: str, committed: bool
) -> str:
  """Writes the pages of a job that has ended; returns the text to print.

  Args:
    parts: of its experiments.
    to: the folder of the job's own page.
    subject: says in a few words whose results they are.
    committed: whether the job replaces tables that are committed. Their page
      is written, and the job's own only if it says that cells failed.
  """
  written = []
  if committed:
    written.append(report.write_page(folders.ROOT))
  if not committed or any(part.failed for part in parts):
    written.append(page.write(parts, to, subject))
  return '\n'.join(f'Page: {path}' for path in written)


def publish(job: Job, to: pathlib.Path) -> str:
  """Writes table, verdicts and figure of a job; returns the text to print."""
  path, beside_them = write_table(job, to)
  rows = table.read(path)
  said = [report.write(job.found, rows, to / 'verdicts.md'), beside_them]
  figure = to / 'figure.svg'
  said += [f'Figure: {figure}'] if job.found.draw(rows, str(figure)) else []
  return '\n\n'.join([*filter(None, said), f'Table: {path}'])


def write_table(job: Job, to: pathlib.Path) -> tuple[pathlib.Path, str]:
  """Writes the rows of the cells that have finished.

  Those of a mixer that the committed table lacks stand among its rows.

  Returns:
    The path, and a sentence on rows that were added; '' if none were asked for.
  """
  rows = [row for folder in _finished(job) for row in results.collate(folder)]
  path, said = to / 'results.csv', ''
  to.mkdir(parents=True, exist_ok=True)
  table.write(job.found.tabulate(rows), path)
  if to != job.found.folder:
    rows, said = beside.joined(job.found, table.read(path))
    table.write(rows, path)
  return path, said


def _finished(job: Job) -> list[pathlib.Path]:
  folders_of_cells = map(job.folder, job.configs)
  return [path for path in folders_of_cells if (path / SUMMARY).exists()]


def jobs_of(
  preset: str, only: Sequence[str], workdir: pathlib.Path
) -> list[Job]:
  """Returns a job for each experiment, none of whose cells is refused."""
  jobs = [
    Job(
      found,
      axes.cells(found, **found.axes(preset)),
      workdir / preset / found.name,
    )
    for found in chosen(preset, only)
  ]
  for job in jobs:
    job.found.check(job.configs)
  return jobs


def run_cell_alone(jobs: Sequence[Job], number: str):
  """Runs one cell in this process, unless it has finished.

  Raises:
    ValueError: there is no cell of this number.
  """
  names = [job.found.name for job in jobs for _ in job.configs]
  cells = [cell for job in jobs for cell in job.cells]
  config, folder = cell = cell_pool.numbered(cells, number)
  pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  run_cell((names[cells.index(cell)], config), folder)
  print(f'Finished: {folder}')


def unfinished(jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Failure]]]:
  """Yields each job and the cells that have not finished."""
  for job in jobs:
    waiting, refused = cell_pool.waiting(job.cells)
    failed = [(cell.folder, why) for cell, why in refused]
    failed += [(cell.folder, 'It has not finished.') for cell in waiting]
    yield job, failed


def reproduce(
  preset: str,
  only: Sequence[str],
  workdir: pathlib.Path,
  run: Callable[[Sequence[Job]], Iterable[tuple[Job, list[Failure]]]]
  | None = None,
) -> int:
  """Runs a whole job; returns the exit code.

  Args:
    preset: of the cells.
    only: experiments that take part; without any, all that have the preset.
    workdir: where results are written.
    run: gives each job once its cells have ended, and those that failed; None:
      runs them.
  """
  began, parts, said, troubles = time.monotonic(), {}, {}, []
  jobs = jobs_of(preset, only, workdir)
  committed = preset in folders.COMMITTED and not only
  for job, failures in (run or run_jobs)(jobs):
    name, to = job.found.name, job.found.folder if committed else job.root
    said[name], wrong = _concluded(job, failures, to)
    made = part(job, failures, to, page.command(job.found, preset))
    parts[name] = made._replace(figure=None) if wrong else made
    troubles += wrong
  parts = [parts[job.found.name] for job in jobs]
  print('\n\n'.join(said[job.found.name] for job in jobs))
  subject = f'results of the preset {preset}'
  print(write_page(parts, workdir / preset / 'report', subject, committed))
  print(f'\n{preset}: {(time.monotonic() - began) / 60:.1f} minutes.')
  failed = [failure for part in parts for failure in part.failed] + troubles
  list_failures(failed)
  return 1 if failed else 0


def chosen(preset: str, only: Sequence[str]) -> list[Experiment]:
  """Returns the experiments that have the preset, among those named.

  Raises:
    ValueError: a name is unknown, or none of those named has the preset.
  """
  once = dict.fromkeys(only or folders.names())
  named = [folders.find(name) for name in once]
  having = [found for found in named if preset in found.presets]
  if not having:
    raise ValueError(
      f'No experiment has the preset {preset!r} among: '
      f'{", ".join(found.name for found in named)}.'
    )
  return having


def list_failures(failed: Sequence[Failure]):
  """Prints the cells that failed, each with its reason, to standard error."""
  if failed:
    print(f'Failed: {len(failed)}', file=sys.stderr)
  for folder, why in failed:
    print(f'FAILED {folder}\n  {why}', file=sys.stderr)


def in_checkout(workdir: str) -> pathlib.Path:
  """Makes the workdir, and goes to where workers import experiments.

  Raises:
    ValueError: the folder cannot be made.
  """
  path = pathlib.Path(workdir).absolute()
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise ValueError(
      f'The workdir {workdir!r} cannot be made: {error.strerror}.'
    ) from error
  os.chdir(folders.ROOT.parent)
  return path


@exits.guarded()
def run(config: Config, workdir: str, **switches: bool | str):
  """Runs `reproduce` as a program: sentences and exit codes."""
  asked = cell_jobs.only_switch(switches)
  of_job = config.preset, config.only
  chosen(*of_job)
  if asked == 'list':
    root = pathlib.Path(workdir).absolute()
    cells = [cell for job in jobs_of(*of_job, root) for cell in job.cells]
    return print(cell_pool.listed(cells))
  root = in_checkout(workdir)
  if asked == 'executor':
    cells = [cell for job in jobs_of(*of_job, root) for cell in job.cells]
    options = switches.get('executor_options', '')
    cell_jobs.run(MODULE, config, root, cells, options)
  with cell_pool.stoppable():
    if asked == 'cell':
      return run_cell_alone(jobs_of(*of_job, root), switches['cell'])
    call = unfinished if asked in ('report', 'executor') else None
    sys.exit(reproduce(*of_job, root, call))


def main():
  sweep.restart_for_a_cell()
  experiment.launch(Config, run, workdir='runs', **cell_jobs.SWITCHES)


if __name__ == '__main__':
  main()
