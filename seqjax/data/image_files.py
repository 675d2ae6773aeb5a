"""MNIST and CIFAR-10 under the names that other libraries give their files."""

import pathlib
import pickle
from typing import Any

import numpy as np

from seqjax.data.arrays import read_named
from seqjax.data.files import read_bytes

Part = tuple[np.ndarray, np.ndarray]  # images [N ...] in bytes, labels [N]
# Folders of torchvision and of Keras, and the plain one.
MNIST_FOLDERS = ('', 'MNIST/raw', 'mnist')
KERAS = ('mnist.npz', 'datasets/mnist.npz')
CIFAR_FOLDERS = ('cifar-10-batches-bin', 'cifar-10-batches-py')
TRAINING = tuple(f'data_batch_{i}' for i in range(1, 6))
PIXELS = 3 * 32 * 32
_HARMLESS = {  # what a pickled array of numbers is made of
  ('numpy', 'ndarray'),
  ('numpy', 'dtype'),
  ('_codecs', 'encode'),
  *((f'numpy.{core}.multiarray', '_reconstruct') for core in ('core', '_core')),
}


def idx_file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """Returns an IDX file under one of its usual names, the packed one first.

  Where there is none, it returns the plain name in the folder.
  """
  for below in MNIST_FOLDERS:
    for called in (name, name.replace('-idx', '.idx')):
      for ending in ('.gz', ''):
        path = folder / below / f'{called}{ending}'
        if path.is_file():
          return path
  return folder / name


def keras_mnist(folder: pathlib.Path) -> tuple[Part, Part] | None:
  """Reads (train, test) of Keras's mnist.npz; None where there is none.

  Raises:
    ValueError: the file is not what Keras writes.
  """
  for name in KERAS:
    path = folder / name
    if path.is_file():
      names = ('x_train', 'y_train', 'x_test', 'y_test')
      images, labels, *test = read_named(path, names)
      return _checked(path, images, labels), _checked(path, *test)
  return None


def _checked(path: pathlib.Path, pixels, labels) -> Part:
  good = pixels.dtype == np.uint8 and pixels.shape == (*labels.shape, 28, 28)
  if not good or labels.min(initial=0) < 0 or labels.max(initial=0) > 9:
    raise ValueError(
      f'{path} should hold images of 28 x 28 bytes with labels of 0..9, but '
      f'holds {pixels.dtype} of shape {list(pixels.shape)} and labels of shape '
      f'{list(labels.shape)}.'
    )
  return pixels, labels


def cifar10(folder: pathlib.Path) -> tuple[Part, Part] | None:
  """Reads (train, test) of the binary or the Python version; None without.

  Raises:
    FileNotFoundError: one of its files is missing.
    ValueError: a file is not what it should be.
  """
  for below in CIFAR_FOLDERS:
    found = folder / below
    if found.is_dir():
      read = _pickled if below.endswith('py') else _binary
      train = [read(found / name) for name in TRAINING]
      pixels, labels = map(np.concatenate, zip(*train, strict=True))
      return (pixels, labels), read(found / 'test_batch')
  return None


def _binary(path: pathlib.Path) -> Part:
  """Reads records of a label and 3,072 bytes, colour after colour."""
  path = path.with_suffix('.bin')
  content = np.frombuffer(read_bytes(path), np.uint8)
  if content.size % (1 + PIXELS):
    raise ValueError(
      f'{path} should hold records of {1 + PIXELS} bytes, but has '
      f'{content.size}.'
    )
  records = content.reshape(-1, 1 + PIXELS)
  return _arranged(path, records[:, 1:], records[:, 0])


def _pickled(path: pathlib.Path) -> Part:
  """Reads a dictionary of arrays; nothing else in the file is loaded."""
  try:
    with path.open('rb') as file:
      found = _Arrays(file, encoding='bytes').load()
    pixels, labels = np.asarray(found[b'data']), np.asarray(found[b'labels'])
  except FileNotFoundError as error:
    raise FileNotFoundError(f'There is no file {path}.') from error
  except Exception as error:  # whatever a file makes pickle stumble over
    raise ValueError(
      f'{path} is no batch of CIFAR-10 for Python: {error}.'
    ) from error
  return _arranged(path, pixels, labels)


def _arranged(path: pathlib.Path, pixels, labels) -> Part:
  """Returns images [N height width colours]."""
  if pixels.dtype != np.uint8 or pixels.shape != (len(labels), PIXELS):
    raise ValueError(
      f'{path} should hold {PIXELS} bytes for each of its {len(labels)} labels,'
      f' but holds {pixels.dtype} of shape {list(pixels.shape)}.'
    )
  if labels.min(initial=0) < 0 or labels.max(initial=0) > 9:
    raise ValueError(
      f'{path} should hold labels of 0..9, but one is {labels.max()}.'
    )
  images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  return np.ascontiguousarray(images), labels.astype(np.int32)


class _Arrays(pickle.Unpickler):
  """Loads arrays, and refuses all else that a file could ask for."""

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _HARMLESS:
      raise pickle.UnpicklingError(f'it asks for {module}.{name}')
    return super().find_class(module, name)
