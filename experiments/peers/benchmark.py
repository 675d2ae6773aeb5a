"""Times seqjax against its peers, prints a table, draws a figure.

    python -m experiments.peers.benchmark --only=lstm,attention --processes=5

Every cell is a process of its own, started several times: with the default
process environment and with that of `process_environment`, on one core with
one thread for every library, and on all cores. What has finished is kept in the
workdir and not done again; delete it to measure anew. A cell that fails is
reported, and the others go on; exit code 0 only if none did.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import tqdm
from absl import app, flags

from experiments.peers import cases, cell, plot, summary
from seqjax import experiment, results
from seqjax.launch import cell_pool, process_environment
from seqjax.results import table

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COLUMNS = (
  *('case', 'work', 'environment', 'cores', 'contestant'),
  *('value', 'low', 'high', 'ratio', 'ratio_low', 'ratio_high'),
  *('opponent', 'bar', 'missed_by'),
)
TIMEOUT = 1800  # seconds for a cell


def configs(
  only, processes: int, environments, counts, quick: bool
) -> list[cell.Config]:
  """Every cell; processes outermost, so that slow drifts hit all alike.

  Resident memory is measured once, in the first process of the default
  environment on one core: it hardly varies, and compares only within one.
  """
  chosen = cases.QUICK if quick else cases.CASES
  once = (0, 'default', cores()[0])
  return [
    cell.Config(
      case=name,
      work=work,
      environment=environment,
      cores=count,
      process=process,
      resident=(process, environment, count) == once,
    )
    for process in range(processes)
    for name, case in chosen.items()
    if cases.family(name) in only
    for work in case.works
    for environment in environments
    for count in counts
    if case.timed or (process, environment, count) == once
  ]


def environment_of(config: cell.Config, cache: pathlib.Path) -> dict[str, str]:
  """The variables that a cell's process is started with.

  Compiled functions are kept, since all processes compile the same; compile
  times are measured without. On a GPU products are float32's for all.
  """
  variables = {
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    **os.environ,
  }
  if shutil.which('nvidia-smi'):
    variables.setdefault('JAX_DEFAULT_MATMUL_PRECISION', 'highest')
    variables.setdefault('NVIDIA_TF32_OVERRIDE', '0')
  if config.environment == 'tuned':
    variables |= process_environment.for_children(variables)
  if config.cores == 'one':
    given = variables.get('XLA_FLAGS', '')
    variables |= {
      'XLA_FLAGS': f'{given} --xla_cpu_multi_thread_eigen=false'.strip(),
      'OMP_NUM_THREADS': '1',
    }
  return variables


@contextlib.contextmanager
def pinned(cores: str) -> Iterator[None]:
  """Children that are started inside have one core, where that is asked for."""
  if cores == 'all' or not hasattr(os, 'sched_setaffinity'):
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, {max(before)})  # the first serves interrupts
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def run_cell(
  config: cell.Config, folder: pathlib.Path, cache: pathlib.Path
) -> str | None:
  """Runs one cell in a process of its own; why it failed, or None."""
  options = [f'--{k}={v}' for k, v in experiment.to_dict(config).items()]
  command = [sys.executable, '-m', cell.__spec__.name, *options]
  with pinned(config.cores):
    try:
      done = subprocess.run(
        [*command, f'--workdir={folder}'],
        cwd=ROOT,
        env=environment_of(config, cache),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
      )
    except subprocess.TimeoutExpired:
      return f'It took more than {TIMEOUT} s.'
  return None if done.returncode == 0 else _reason(done, folder)


def _reason(done: subprocess.CompletedProcess, folder: pathlib.Path) -> str:
  if (folder / 'failed.json').exists():
    return json.loads((folder / 'failed.json').read_text())['error']
  last = done.stderr.strip().splitlines()[-1:]
  return f'Exit code {done.returncode}: {" ".join(last)}'


def run_all(
  chosen: list[cell.Config], root: pathlib.Path
) -> list[tuple[cell.Config, str]]:
  """Runs what has not finished yet, one at a time; the failures and why."""
  folders = {c: root / 'cells' / experiment.folder_name(c) for c in chosen}
  waiting = [c for c in chosen if results.finished(folders[c], c) is None]
  if len(waiting) < len(chosen):
    kept = len(chosen) - len(waiting)
    print(f'{kept} finished cells are kept, see {root / "cells"}.')
  failures = []
  for config in (bar := tqdm.tqdm(waiting, unit='cell', dynamic_ncols=True)):
    bar.set_postfix_str(folders[config].name)
    reason = run_cell(config, folders[config], root / 'compiled')
    failures += [(config, reason)] if reason else []
  return failures


def publish(failures, root: pathlib.Path, to: pathlib.Path) -> str:
  """Writes table and figure of all that has finished; what is printed."""
  (root / 'cells').mkdir(parents=True, exist_ok=True)
  rows = summary.summarize(results.collate(root / 'cells'))
  to.mkdir(parents=True, exist_ok=True)
  table.write([*rows, *map(_error_row, failures)], to / 'benchmark.csv')
  rows = [row for row in rows if row['opponent']]
  if rows:
    plot.draw(rows, str(to / 'benchmark.svg'))
  held = [row for row in rows if row['bar'] is not None]
  met = sum(row['met'] for row in held)
  tables = [
    f'{quantity}\n{table.format(part, COLUMNS)}'
    for quantity in summary.RATIOS
    if (part := table.select(rows, quantity=quantity))
  ]
  last = f'{met} of {len(held)} bars are met. Everything: {to}/benchmark.csv'
  return '\n\n'.join([*tables, last])


def _error_row(failure: tuple[cell.Config, str]) -> dict[str, str]:
  """As a table can hold it."""
  config, reason = failure
  columns = ('case', 'work', 'environment', 'cores')
  text = ' '.join(reason.replace(';', ',').split())
  return {c: getattr(config, c) for c in columns} | {'error': text}


def environments() -> tuple[str, ...]:
  """Both, where there is a tuned one."""
  tuned = process_environment.for_children({})
  return cell.ENVIRONMENTS if tuned else cell.ENVIRONMENTS[:1]


def cores() -> tuple[str, ...]:
  """One core and all; all where a GPU does the work."""
  return cell.CORES[1:] if shutil.which('nvidia-smi') else cell.CORES


def main(arguments):
  try:
    _check(arguments[1:])
  except ValueError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  root = pathlib.Path(_WORKDIR.value).absolute()
  root = root / 'quick' if _QUICK.value else root
  to = root if _QUICK.value else ROOT / 'experiments' / 'parallelism'
  processes = 1 if _QUICK.value else _PROCESSES.value
  chosen = configs(
    _ONLY.value, processes, _ENVIRONMENTS.value, _CORES.value, _QUICK.value
  )
  with cell_pool.stoppable():
    failures = run_all(chosen, root)
  print(publish(failures, root, to))
  for config, reason in failures:
    name = experiment.folder_name(config)
    print(f'FAILED {name}\n  {reason}', file=sys.stderr)
  sys.exit(1 if failures else 0)


def _check(arguments):
  """Raises ValueError for options that do not exist."""
  if arguments:
    raise ValueError(
      f'Options are written --name=value, but {arguments[0]!r} is not.'
    )
  for flag, known, what in (
    (_ONLY, cases.FAMILIES, 'family'),
    (_ENVIRONMENTS, environments(), 'environment'),
    (_CORES, cores(), 'number of cores'),
  ):
    for name in flag.value:
      experiment.choose(dict.fromkeys(known), name, what)


if __name__ == '__main__':
  _ONLY = flags.DEFINE_list(
    'only', list(cases.FAMILIES), 'Which families of cases.'
  )
  _PROCESSES = flags.DEFINE_integer(
    'processes', 5, 'Processes a cell, of which medians are taken.'
  )
  _ENVIRONMENTS = flags.DEFINE_list(
    'environments', list(environments()), 'Process environments.'
  )
  _CORES = flags.DEFINE_list(
    'cores', list(cores()), 'One core, for which there are bars, or all.'
  )
  _QUICK = flags.DEFINE_bool(
    'quick', False, 'Tiny sizes in one process, written under the workdir.'
  )
  _WORKDIR = flags.DEFINE_string(
    'workdir', 'runs/benchmark', 'Where cells are kept.'
  )
  app.run(main)
