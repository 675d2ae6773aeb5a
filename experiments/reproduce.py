"""Runs experiments, draws their figures, prints their verdicts.

    python -m experiments.reproduce --preset=quick --only=recall --workdir=runs

Finished cells are kept and skipped, so the same command resumes a job that was
stopped. Experiments without the requested preset are left out. Everything is
written under the workdir; a job over all experiments with the preset full also
replaces the tables that are committed, each only if all of its cells finished.
The exit code is 0 only if every cell finished.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tqdm

from experiments import folders, report
from experiments.folders import Experiment
from seqjax import experiment, results
from seqjax.experiment import option
from seqjax.launch import cell_pool, exits, process_environment
from seqjax.results import table

Failure = tuple[str, str]  # a cell's folder, and why it failed


class Job(NamedTuple):
  """Cells of one experiment, and the folder that they are written to."""

  found: Experiment
  configs: Sequence[Any]
  root: pathlib.Path

  def folder(self, config: Any) -> pathlib.Path:
    return self.root / 'cells' / experiment.folder_name(config)


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of a job."""

  preset: str = option(
    'quick', 'How much to run.', among=tuple(folders.PRESETS)
  )
  only: tuple[str, ...] = option(
    (), 'Experiments to run; without any, all that have the preset.'
  )


def run_cell(name: str, config: Any, folder: str):
  """Runs one cell in a worker process, by the experiment's own `run`."""
  folders.find(name).main.run(config, folder)


def run_cells(
  job: Job, mixers: Mapping[str, Callable] | None = None
) -> list[Failure]:
  """Runs the cells that have not finished; returns those that failed.

  Args:
    job: which cells.
    mixers: a dict for `run`, whose entries other processes cannot import: cells
      then run in this process, one after the other.
  """
  cells = [cell_pool.Cell(c, str(job.folder(c))) for c in job.configs]
  waiting, refused = cell_pool.waiting(cells)
  failed = [(cell.folder, why) for cell, why in refused]
  kept = len(cells) - len(waiting) - len(failed)
  if kept:
    print(f'{job.found.name}: {kept} finished cells are skipped.')
  ended = _ended(job, waiting, mixers)
  bar = tqdm.tqdm(
    total=len(cells),
    initial=len(cells) - len(waiting),
    desc=job.found.name,
    unit='cell',
    dynamic_ncols=True,
    smoothing=0,
  )
  with bar, contextlib.closing(ended):
    for cell, why in ended:
      failed += [(cell.folder, why)] if why else []
      bar.set_postfix_str(os.path.basename(cell.folder), refresh=False)
      bar.update()
  return failed


def _ended(job: Job, waiting, mixers):
  """Yields (cell, why it failed or None) as cells end."""
  if mixers is None:
    groups = job.found.groups(waiting, key=lambda cell: cell.config)
    call = functools.partial(run_cell, job.found.name)
    yield from cell_pool.run(call, groups, processes=_processes(job.found))
    return
  for cell in waiting:
    call = functools.partial(job.found.main.run, mixers=mixers)
    yield cell, cell_pool.attempt(call, cell)


def _processes(found: Experiment) -> int:
  """Times are taken alone on the machine; trainings run two at a time."""
  if found.alone or shutil.which('nvidia-smi'):
    return 1
  if not hasattr(os, 'sched_getaffinity'):
    return 1
  return min(2, len(os.sched_getaffinity(0)))


def publish(job: Job, to: pathlib.Path) -> str:
  """Writes table, figure and verdicts of a job; returns the text to print."""
  rows = []
  for config in job.configs:
    rows += results.collate(job.folder(config))
  to.mkdir(parents=True, exist_ok=True)
  table.write(job.found.tabulate(rows), to / 'results.csv')
  rows = table.read(to / 'results.csv')
  figure = to / 'figure.svg'
  drawn = job.found.draw(rows, str(figure))
  said = [report.write(job.found, rows, to / 'verdicts.md')]
  said += [f'Figure: {figure}'] if drawn else []
  return '\n\n'.join([*filter(None, said), f'Table: {to / "results.csv"}'])


def reproduce(preset: str, only: Sequence[str], workdir: str) -> int:
  """Runs a whole job; returns the exit code."""
  began, failed, said = time.monotonic(), [], []
  for found in chosen(preset, only):
    job = Job(
      found,
      found.cells(**found.axes(preset)),
      pathlib.Path(workdir) / preset / found.name,
    )
    failures = run_cells(job)
    failed += failures
    if not failures:
      committed = preset in folders.COMMITTED and not only
      said.append(publish(job, found.folder if committed else job.root))
  print('\n\n'.join(said))
  print(f'\n{preset}: {(time.monotonic() - began) / 60:.1f} minutes.')
  list_failures(failed)
  return 1 if failed else 0


def chosen(preset: str, only: Sequence[str]) -> list[Experiment]:
  """Returns the experiments that have the preset, among those named.

  Raises:
    ValueError: a name is unknown, or none of those named has the preset.
  """
  named = [folders.find(name) for name in only or folders.names()]
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
    print(f'{len(failed)} cells failed:', file=sys.stderr)
  for folder, why in failed:
    print(f'FAILED {folder}\n  {why}', file=sys.stderr)


def in_checkout(workdir: str) -> str:
  """Goes to the checkout, where workers import experiments; returns a path."""
  workdir = os.path.abspath(workdir)
  os.chdir(folders.ROOT.parent)
  process_environment.apply()
  return workdir


def run(config: Config, workdir: str):
  """Runs `reproduce` as a program: sentences and exit codes."""
  with exits.sentences():
    chosen(config.preset, config.only)
  workdir = in_checkout(workdir)
  with cell_pool.stoppable():
    sys.exit(reproduce(config.preset, config.only, workdir))


def main():
  experiment.launch(Config, run, workdir='runs')


if __name__ == '__main__':
  main()
