"""Runs the experiments, draws their figures, prints what they say.

    python -m experiments.reproduce --preset=quick --only=recall --workdir=runs

What has finished is kept and not done again, so a stopped job goes on where it
was. The presets quick and gpu write under the workdir; full writes the results
that are committed, into the experiments' own folders. Exit code 0 only if every
cell finished.
"""

import contextlib
import functools
import importlib
import os
import pathlib
import shutil
import sys
import time

import tqdm
from absl import app, flags

from seqjax import experiment
from seqjax.launch import cell_pool, process_environment

ROOT = pathlib.Path(__file__).resolve().parent.parent

EXPERIMENTS = ('parallelism', 'recall')
PRESETS = ('quick', 'full', 'gpu')


def run_cell(name: str, config, folder: str):
  """One cell, in a worker: the experiment's own `run`."""
  importlib.import_module(f'experiments.{name}.main').run(config, folder)


def run_all(name: str, configs, root: pathlib.Path, workers: int):
  """Runs what has not finished yet; returns the failures."""
  shared = importlib.import_module(f'experiments.{name}.sweep').shared
  cells = [
    cell_pool.Cell(c, str(root / experiment.folder_name(c))) for c in configs
  ]
  waiting, refused = cell_pool.waiting(cells)
  failed = [(cell.folder, why) for cell, why in refused]
  groups = {}
  for cell in waiting:
    groups.setdefault(shared(cell.config), []).append(cell)
  if len(waiting) < len(cells):
    kept = len(cells) - len(waiting) - len(failed)
    print(f'{name}: {kept} finished cells are kept, see {root}.')
  ended = cell_pool.run(
    functools.partial(run_cell, name), groups.values(), processes=workers
  )
  bar = tqdm.tqdm(
    total=len(cells),
    initial=len(cells) - len(waiting),
    desc=name,
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


def _workers(name: str, preset: str) -> int:
  """Times are taken alone on the machine, trainings run two at a time."""
  if name == 'parallelism' or preset == 'gpu' or shutil.which('nvidia-smi'):
    return 1
  if not hasattr(os, 'sched_getaffinity'):
    return 1
  return min(2, len(os.sched_getaffinity(0)))


def publish(name: str, configs, root: pathlib.Path, to: pathlib.Path) -> str:
  """Writes table, figures and verdicts; returns what is printed."""
  from seqjax import results
  from seqjax.results import report, table

  plot = importlib.import_module(f'experiments.{name}.plot')
  claims = importlib.import_module(f'experiments.{name}.claims')
  rows = []
  for config in configs:
    rows += results.collate(root / experiment.folder_name(config))
  to.mkdir(parents=True, exist_ok=True)
  table.write(rows, to / 'results.csv')
  rows = table.read(to / 'results.csv')
  plot.draw(rows, str(to / 'figure.svg'))
  verdicts = claims.verdicts(rows)
  said = f'{claims.summary(rows)}\n\n{report.text(verdicts)}'
  results.run.write_atomically(
    to / 'verdicts.md',
    lambda path: path.write_text(
      f'```text\n{claims.summary(rows)}\n```\n\n{report.markdown(verdicts)}\n',
      encoding='utf-8',
    ),
  )
  return f'{said}\n\nFigure: {to / "figure.svg"}\nTable: {to / "results.csv"}'


def reproduce(preset: str, only, workdir: str) -> int:
  """The whole job; returns the exit code."""
  began, failed, said = time.monotonic(), [], []
  for name in only:
    sweep = importlib.import_module(f'experiments.{name}.sweep')
    configs = sweep.configs(preset)
    root = pathlib.Path(workdir) / preset / name
    failures = run_all(name, configs, root / 'cells', _workers(name, preset))
    failed += failures
    if not failures:
      to = ROOT / 'experiments' / name if preset == 'full' else root
      said.append(publish(name, configs, root / 'cells', to))
  print('\n\n'.join(said))
  for folder, why in failed:
    print(f'FAILED {folder}\n  {why}', file=sys.stderr)
  print(f'\n{preset}: {(time.monotonic() - began) / 60:.1f} minutes.')
  return 1 if failed else 0


def main(arguments):
  try:
    if len(arguments) > 1:
      raise ValueError(
        f'Options are written --name=value, but {arguments[1]!r} is not.'
      )
    for name in _ONLY.value:
      experiment.choose(dict.fromkeys(EXPERIMENTS), name, 'experiment')
    experiment.choose(dict.fromkeys(PRESETS), _PRESET.value, 'preset')
  except ValueError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  workdir = os.path.abspath(_WORKDIR.value)
  os.chdir(ROOT)
  process_environment.apply()
  with cell_pool.stoppable():
    sys.exit(reproduce(_PRESET.value, _ONLY.value, workdir))


if __name__ == '__main__':
  _PRESET = flags.DEFINE_string(
    'preset', 'quick', f'How much of it. Among: {", ".join(PRESETS)}.'
  )
  _ONLY = flags.DEFINE_list('only', list(EXPERIMENTS), 'Which experiments.')
  _WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where runs are written.')
  app.run(main)
