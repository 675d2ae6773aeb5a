"""Lists, prepares and verifies the data that tasks read.

    seqjax-prepare-data                     lists what is here
    seqjax-prepare-data --prepare=mnist     downloads and writes
    seqjax-prepare-data --prepare=recall    freezes evaluation sets of a task
    seqjax-prepare-data --verify            reads everything that is here
    seqjax-prepare-data --checksums         writes the checksums of what tasks
                                            generate, for a new version

Exit code 1 if --verify finds damage.
"""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from seqjax import data, experiment, frozen
from seqjax.data.files import data_folder
from seqjax.data.labelled_images import mnist_files_are_here, read_mnist_files
from seqjax.data.lm1b import count_bytes
from seqjax.errors import unknown
from seqjax.experiment import option
from seqjax.launch import exits
from seqjax.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of the program."""

  list: bool = option(False, 'List what is here, after everything else.')
  prepare: tuple[str, ...] = option(
    (),
    f'Data to write: {", ".join(data.REAL)}, or names of tasks whose '
    'evaluation sets are frozen.',
  )
  verify: bool = option(False, 'Read what is here and report damage.')
  checksums: bool = option(
    False, 'Write the checksums of what tasks generate into the package.'
  )
  data_dir: str = option('', "Folder of the data; by default TFDS's own.")


def here(data_dir: str) -> dict[str, list[str]]:
  """Returns names of prepared data, real ones and frozen evaluation sets."""
  files = {'real': 'dataset_info.json', 'frozen': frozen.CHECKSUMS}
  found = {
    kind: [
      path.name for path in folders if any(path.glob(f'*.*.*/{files[kind]}'))
    ]
    for kind, folders in _folders(data_dir).items()
  }
  if mnist_files_are_here(data_dir) and 'mnist' not in found['real']:
    found['real'].append('mnist')
  return found


def _folders(data_dir: str) -> dict[str, list[pathlib.Path]]:
  """Returns the folders that hold something, complete or not."""
  root = data_folder(data_dir)
  folders = {
    'real': [root / name for name in data.REAL],
    'frozen': sorted((root / 'frozen_tasks').glob('[!.]*')),
  }
  return {
    kind: [path for path in paths if path.is_dir() and any(path.iterdir())]
    for kind, paths in folders.items()
  }


def generated() -> list[str]:
  """Returns names of tasks that generate their data, and can be frozen."""
  return [name for name, make in TASKS.items() if make().on_device]


def listing(data_dir: str) -> str:
  """Returns lines that say what is here and what could be."""
  found = here(data_dir)
  rows = [f'In {data_folder(data_dir)}:']
  for kind, names in {'real': data.REAL, 'frozen': generated()}.items():
    rows += ['', f'{kind}: {len(found[kind])} of {len(names)} are here']
    rows += [
      f'  {"here" if name in found[kind] else "    "}  {name}' for name in names
    ]
  return '\n'.join(rows)


def check_names(names: Sequence[str]):
  """Raises ValueError for a name of no data that can be prepared."""
  known = [*data.REAL, *generated()] if names else []
  for name in names:
    if name not in known:
      raise ValueError(
        unknown('data', name, known, 'seqjax-prepare-data lists them')
      )


def prepare(names: Sequence[str], data_dir: str):
  """Writes real data by name, and evaluation sets by the names of tasks."""
  check_names(names)
  for name in names:
    make = data.prepare if name in data.REAL else frozen.freeze
    print(f'{name}: {make(name, data_dir)}')
    if name == 'lm1b':
      print(f'{name}: {count_bytes(data_dir)}')


def verify(data_dir: str) -> int:
  """Reads everything that is here; returns how many are damaged."""
  folders, damaged = _folders(data_dir), 0
  checks = [(data.verify_prepared, path.name) for path in folders['real']]
  checks += [(frozen.verify_frozen, path.name) for path in folders['frozen']]
  if mnist_files_are_here(data_dir):
    checks.append((_verify_mnist_files, 'mnist as IDX files'))
  if not checks:
    print(f'Nothing is here, in {data_folder(data_dir)}.')
  for check, name in checks:
    try:
      check(name, data_dir)
      print(f'{name}: as it was written')
    except (ImportError, OSError, ValueError) as error:
      damaged += 1
      print(f'{name}: DAMAGED. {error}', file=sys.stderr)
  return damaged


def _verify_mnist_files(name: str, data_dir: str):
  del name
  read_mnist_files(data_dir)


@exits.guarded()
def run(config: Config):
  """Does what the options say; exits with 1 if data are damaged."""
  logging.set_verbosity(logging.ERROR)
  check_names(config.prepare)
  if os.path.isfile(config.data_dir):
    raise ValueError(
      f'The data_dir {config.data_dir!r} is a file, not a folder.'
    )
  if config.checksums:
    frozen.write_expected()
  prepare(config.prepare, config.data_dir)
  damaged = verify(config.data_dir) if config.verify else 0
  if config.list or not (config.prepare or config.checksums or config.verify):
    print(listing(config.data_dir))
  sys.exit(1 if damaged else 0)


def main():
  """Does what the command line says."""
  experiment.launch(Config, run, workdir=None)


if __name__ == '__main__':
  main()
