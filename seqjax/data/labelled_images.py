"""Images of ten classes and their labels: digits, MNIST and CIFAR-10."""

import functools
import math
import os
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from seqjax.data import image_files
from seqjax.data.files import data_folder, read_bytes
from seqjax.data.prepared import data_source
from seqjax.errors import needs

SIZES = {'digits': (8, 8), 'mnist': (28, 28), 'cifar10': (32, 32, 3)}
NUM_CLASSES = 10
IDX_BYTES = 0x08  # the type of an IDX file that holds unsigned bytes


class LabelledImages(NamedTuple):
  """Images of one split, and the class of each."""

  pixels: UInt8[np.ndarray, 'N ...']
  labels: Integer[np.ndarray, 'N']


@functools.lru_cache(maxsize=4)
def read_images(source: str, data_dir: str) -> dict[str, LabelledImages]:
  """Reads the splits of a source, once per process.

  Raises:
    FileNotFoundError: they are not there; says what to put where.
    ValueError: a file is not what it should be.
  """
  if source == 'digits':
    return _digits()
  if source == 'mnist' and mnist_files_are_here(data_dir):
    return read_mnist_files(data_dir)
  read = {'mnist': image_files.keras_mnist, 'cifar10': image_files.cifar10}
  found = read[source](data_folder(data_dir))
  if found is None:
    return _prepared(source, data_dir)
  train, test = (LabelledImages(*part) for part in found)
  return _held_out(source, train) | {'test': test}


def mnist_files_are_here(data_dir: str) -> bool:
  """Tells if the IDX files of the test images lie in the folder."""
  return image_files.idx_file(
    data_folder(data_dir), 't10k-images-idx3-ubyte'
  ).is_file()


def _digits() -> dict[str, LabelledImages]:
  with needs('data'):
    from sklearn.datasets import load_digits

  digits = load_digits()
  whole = LabelledImages(digits.images.astype(np.uint8), digits.target)
  return _cut(whole, {'train': 1437, 'validation': 180, 'test': 180})


def read_mnist_files(data_dir: str) -> dict[str, LabelledImages]:
  """Reads the splits of MNIST from its IDX files.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file is not what it should be; says which, and where.
  """
  folder = data_folder(data_dir)
  alone = not image_files.idx_file(folder, 'train-images-idx3-ubyte').is_file()
  test = _idx_images(folder, 't10k', at_least=10 if alone else 1)
  if alone:
    tenth = len(test.labels) // 10
    train = len(test.labels) - 2 * tenth
    return _cut(test, {'train': train, 'validation': tenth, 'test': tenth})
  train = _idx_images(folder, 'train', at_least=12)
  held_out = len(train.labels) // 12
  cut = {'train': len(train.labels) - held_out, 'validation': held_out}
  return _cut(train, cut) | {'test': test}


def _idx_images(
  folder: pathlib.Path, which: str, at_least: int
) -> LabelledImages:
  pixels_path = image_files.idx_file(folder, f'{which}-images-idx3-ubyte')
  labels_path = image_files.idx_file(folder, f'{which}-labels-idx1-ubyte')
  pixels, labels = images = LabelledImages(
    read_idx(pixels_path), read_idx(labels_path)
  )
  if pixels.shape != (*labels.shape, *SIZES['mnist']):
    raise ValueError(
      f'{pixels_path} should hold images of 28 x 28 pixels, one for each of '
      f'the {len(labels)} labels in {labels_path}, but its shape is '
      f'{pixels.shape}.'
    )
  if len(labels) < at_least:
    raise ValueError(
      f'{pixels_path} holds {len(labels)} images, but at least {at_least} are '
      'needed, so that every split has one.'
    )
  wrong = np.flatnonzero(labels >= NUM_CLASSES)
  if len(wrong):
    raise ValueError(
      f'{labels_path} should hold labels below {NUM_CLASSES}, but byte '
      f'{8 + wrong[0]} is {labels[wrong[0]]}.'
    )
  return images


def _prepared(source: str, data_dir: str) -> dict[str, LabelledImages]:
  try:
    train, test = (
      _stack(data_source(source, split, data_dir), SIZES[source])
      for split in ('train', 'test')
    )
  except FileNotFoundError as error:
    if source != 'mnist':
      raise
    name = image_files.idx_file(data_folder(data_dir), 't10k-images-idx3-ubyte')
    raise FileNotFoundError(
      f'{error} Or put the IDX files beside each other, as {name} (or .gz).'
    ) from error
  return _held_out(source, train) | {'test': test}


def _held_out(source: str, train: LabelledImages) -> dict[str, LabelledImages]:
  """Cuts the end of the training images off for validation."""
  held_out = len(train.labels) // (12 if source == 'mnist' else 10)
  cut = {'train': len(train.labels) - held_out, 'validation': held_out}
  return _cut(train, cut)


def _stack(examples, size) -> LabelledImages:
  with needs('data'):
    import PIL.Image  # noqa: F401  (which TFDS decodes images by)

  pixels = np.empty((len(examples), *size), np.uint8)
  labels = np.empty(len(examples), np.int32)
  for i, example in enumerate(examples):
    pixels[i] = example['image'].reshape(size)
    labels[i] = example['label']
  return LabelledImages(pixels, labels)


def _cut(
  whole: LabelledImages, counts: dict[str, int]
) -> dict[str, LabelledImages]:
  """Cuts images into contiguous parts of these sizes, in this order."""
  ends = np.cumsum(list(counts.values())).tolist()
  return {
    split: LabelledImages(*(leaf[end - count : end] for leaf in whole))
    for (split, count), end in zip(counts.items(), ends, strict=True)
  }


def read_idx(path: str | os.PathLike) -> UInt8[np.ndarray, '...']:
  """Reads an array of unsigned bytes in the IDX format of the MNIST files.

  Two zeros, the type, the number of axes; their sizes as big-endian int32; then
  the values, the last axis fastest.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is something else, or of another length than it says.
  """
  content = read_bytes(path)
  header = 4 + 4 * content[3] if len(content) > 3 else 4
  if content[:3] != bytes([0, 0, IDX_BYTES]) or len(content) < header:
    raise ValueError(
      f'{path} is no IDX file of unsigned bytes: it begins with '
      f'{content[:4].hex(" ")}, not with 00 00 08 and the number of axes.'
    )
  sizes = np.frombuffer(content[4:header], '>i4').tolist()
  if len(content) != header + math.prod(sizes):
    raise ValueError(
      f'{path} should hold {sizes} values from byte {header} to byte '
      f'{header + math.prod(sizes)}, but ends at byte {len(content)}.'
    )
  return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
