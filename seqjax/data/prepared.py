"""Real datasets that TFDS prepares, read without TensorFlow or a network."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from seqjax.data.files import data_folder
from seqjax.data.folders import check_records, open_folder, scratch
from seqjax.data.without_tensorflow import without_tensorflow
from seqjax.errors import needs, unknown

REAL = {
  'tiny_shakespeare': '1.0.0',
  'lm1b': '1.1.0',
  'mnist': '3.0.1',
  'cifar10': '3.0.2',
}  # and the versions that are read
SECONDS = 5  # after which a server counts as out of reach


def data_source(name: str, split: str, data_dir: str = '') -> Sequence[Any]:
  """Returns the examples of a prepared dataset, by random access.

  Args:
    name: one of `REAL`.
    split: as TFDS writes them: 'train', 'train[:90%]'.
    data_dir: where it was prepared; empty for TFDS's own folder.

  Raises:
    FileNotFoundError: it is not there; says how it gets there.
    ValueError: it is of another version or format, or damaged.
  """
  return open_split(find(name, data_dir), split)


def open_split(folder: pathlib.Path, split: str) -> Sequence[Any]:
  """Returns the examples of a folder of TFDS, by random access.

  Raises:
    FileNotFoundError: it is not complete.
    ValueError: it is of another format than array_record, or damaged.
  """
  builder = open_folder(folder)
  try:
    source = builder.as_data_source(split)
  except (NotImplementedError, RuntimeError) as error:
    raise ValueError(
      f'{folder} cannot be read as array_record: {error}'
    ) from error
  return _Examples(source, builder.info.splits[split], f'{folder}, {split}')


class _Examples(Sequence):
  """A data source whose errors say which file is damaged, and where."""

  def __init__(self, source: Any, split: Any, where: str):
    self.source = source
    self.split = split
    self.where = where

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):
      raise IndexError(f'{self.where} has no example {index}.')
    try:
      return self.source[index]
    except RuntimeError as error:
      check_records(self.split)
      raise ValueError(f'{self.where}, example {index}: {error}') from error


def find(name: str, data_dir: str = '') -> pathlib.Path:
  """Returns the folder of a prepared dataset, of the version that is read.

  Raises:
    FileNotFoundError: it is not there; says how it gets there.
    ValueError: there is no such dataset, or only another version.
  """
  if name not in REAL:
    raise ValueError(unknown('dataset', name, REAL))
  folder = data_folder(data_dir) / name / REAL[name]
  if (folder / 'dataset_info.json').is_file():
    return folder
  if folder.exists():
    raise ValueError(
      f'{folder} is not complete, for it has no dataset_info.json. Delete the '
      f'folder and write it again by seqjax-prepare-data --prepare={name}.'
    )
  others = sorted(path.name for path in folder.parent.glob('*.*.*'))
  if others:
    raise ValueError(
      f'{folder.parent} holds version {", ".join(others)}, but version '
      f'{REAL[name]} is read.'
    )
  raise FileNotFoundError(
    f'{name} is not here: {folder} is missing. Prepare it by '
    f'seqjax-prepare-data --prepare={name} --data_dir='
    f'{data_folder(data_dir)}, or copy the folder from where TFDS prepared it '
    'as array_record.'
  )


def verify_prepared(name: str, data_dir: str = ''):
  """Reads every example of every split as it is stored.

  Raises what `data_source` raises, and ValueError where one cannot be read.
  """
  splits = open_folder(find(name, data_dir)).info.splits
  for split in splits:
    check_records(splits[split])
    data_source(name, split, data_dir)[0]


def prepare(name: str, data_dir: str = '') -> pathlib.Path:
  """Downloads a dataset, unless its files are here, and writes array_record.

  Returns:
    The folder, which appears when it is complete; an existing one is kept.

  Raises:
    ConnectionError: a file must be downloaded and cannot be; says which, and
      where it may be put instead.
    ValueError: there is no such dataset, a file is not the right one, or what
      is there is not complete.
  """
  if name not in REAL:
    raise ValueError(unknown('dataset', name, REAL))
  root = data_folder(data_dir)
  folder = root / name / REAL[name]
  if folder.exists():
    return find(name, data_dir)
  downloads = root / 'downloads'
  downloads.mkdir(parents=True, exist_ok=True)
  try:
    with scratch(root, name) as unfinished:
      written = _write(name, unfinished, downloads)
      folder.parent.mkdir(parents=True, exist_ok=True)
      os.rename(written, folder)
  finally:
    for partial in downloads.glob('*.tmp.*'):  # interrupted downloads
      shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):
      downloads.rmdir()  # where nothing lies in it
  return folder


def _write(name: str, data_dir: str, downloads: pathlib.Path) -> os.PathLike:
  """Lets TFDS write a dataset; returns its folder."""
  with needs('data'):
    import array_record.python  # noqa: F401  (which TFDS imports late)
    import tensorflow_datasets as tfds
  builder = without_tensorflow(tfds.builder_cls(name))(
    version=REAL[name], data_dir=data_dir, file_format='array_record'
  )
  for url, info in builder.url_infos.items():
    _seed(url, info, downloads, name)
  builder.download_and_prepare(download_dir=downloads)
  return builder.data_path


def _seed(url: str, info: Any, downloads: pathlib.Path, name: str):
  """Registers a file in `downloads` with TFDS, so that it is not downloaded."""
  from etils import epath
  from tensorflow_datasets.core.download import resource

  known = epath.Path(downloads) / resource.get_dl_fname(url, info.checksum)
  if resource.is_locally_cached(known):
    return
  here = downloads / info.filename
  if not here.is_file():
    _check_reachable(url, here)
    return
  content = here.read_bytes()
  if hashlib.sha256(content).hexdigest() != info.checksum:
    raise ValueError(
      f'{here} is not the file at {url}: it has {len(content)} bytes of '
      f'{int(info.size)}, and another SHA-256 than {info.checksum}.'
    )
  shutil.copyfile(here, known)
  resource.write_info_file(url, known, name, info.filename, info)


def _check_reachable(url: str, otherwise: pathlib.Path):
  """Sends a HEAD request first, since TFDS would retry for minutes."""
  request = urllib.request.Request(url, method='HEAD')
  try:
    with urllib.request.urlopen(request, timeout=SECONDS):
      return
  except (urllib.error.URLError, OSError) as error:
    raise ConnectionError(
      f'{url} cannot be reached ({error}). Put that file at {otherwise} and '
      'prepare again.'
    ) from error
