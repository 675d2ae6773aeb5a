"""What data are here, and what it takes to have more.

seqjax-prepare-data                       lists
seqjax-prepare-data --prepare=mnist       downloads, writes
seqjax-prepare-data --prepare=recall      freezes an evaluation
                                                     set of a task
seqjax-prepare-data --verify              reads what is here
seqjax-prepare-data --checksums           writes down what the tasks
                                                     draw, for a new version
"""

import pathlib
import sys

from absl import app, flags, logging

from seqjax import data, frozen
from seqjax.data.files import data_folder
from seqjax.data.labelled_images import mnist_files_are_here, read_mnist_files
from seqjax.data.lm1b import count_bytes
from seqjax.errors import unknown
from seqjax.tasks import TASKS


def here(data_dir: str) -> dict[str, list[str]]:
  """Names of what is prepared: real data, and frozen evaluation sets."""
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
  """Where something lies, complete or not."""
  root = data_folder(data_dir)
  folders = {
    'real': [root / name for name in data.REAL],
    'frozen': sorted((root / 'frozen_tasks').glob('[!.]*')),
  }
  return {
    kind: [path for path in paths if path.is_dir() and any(path.iterdir())]
    for kind, paths in folders.items()
  }


def drawn() -> list[str]:
  """Names of the tasks that are drawn, not read: those that are frozen."""
  return [name for name, make in TASKS.items() if make().on_device]


def listing(data_dir: str) -> str:
  """What is here and what could be, as lines."""
  found = here(data_dir)
  rows = [f'In {data_folder(data_dir)}:']
  for kind, names in {'real': data.REAL, 'frozen': drawn()}.items():
    rows += ['', f'{kind}: {len(found[kind])} of {len(names)} are here']
    rows += [
      f'  {"here" if name in found[kind] else "    "}  {name}' for name in names
    ]
  return '\n'.join(rows)


def prepare(names: list[str], data_dir: str):
  """Real data by their names, evaluation sets by those of their tasks."""
  known = [*data.REAL, *drawn()] if names else []
  for name in names:
    if name not in known:
      raise ValueError(unknown('data', name, known))
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


def main(arguments):
  logging.set_verbosity(logging.ERROR)
  try:
    if len(arguments) > 1:
      raise ValueError(
        f'Options are written --name=value, but {arguments[1]!r} is not.'
      )
    if _CHECKSUMS.value:
      frozen.write_expected()
    prepare(_PREPARE.value, _DATA_DIR.value)
  except (ImportError, OSError, ValueError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
  if _VERIFY.value:
    sys.exit(1 if verify(_DATA_DIR.value) else 0)
  if _LIST.value or not (_PREPARE.value or _CHECKSUMS.value):
    print(listing(_DATA_DIR.value))


if __name__ == '__main__':
  _LIST = flags.DEFINE_boolean('list', False, 'Says what is here.')
  _PREPARE = flags.DEFINE_list(
    'prepare', [], f'What to write: {", ".join(data.REAL)}, or a task.'
  )
  _VERIFY = flags.DEFINE_boolean('verify', False, 'Reads what is here.')
  _CHECKSUMS = flags.DEFINE_boolean(
    'checksums', False, 'Writes down what the tasks draw.'
  )
  _DATA_DIR = flags.DEFINE_string(
    'data_dir', '', "Where data lie; empty for TFDS's own folder."
  )
  app.run(main)
