"""Pictures of ten kinds, pixel by pixel or all at once."""

import dataclasses
import functools
import pathlib
from typing import ClassVar, NamedTuple

import jax
import numpy as np
from jaxtyping import Integer, UInt8

from seqjax.data.files import checksum, data_folder, needs, read_idx
from seqjax.data.prepared import data_source
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.task import Classification
from seqjax.typing import SPLITS, Array, Batch, Spec, TaskShape

SOURCES = ('digits', 'mnist', 'cifar10')
SIZES = {'digits': (8, 8), 'mnist': (28, 28), 'cifar10': (32, 32, 3)}
BRIGHTEST = {'digits': 16, 'mnist': 255, 'cifar10': 255}
NUM_CLASSES = 10


class Pictures(NamedTuple):
  """Pictures of one split, and which kind each is of."""

  pixels: UInt8[np.ndarray, 'N ...']
  labels: Integer[np.ndarray, 'N']


class _Images(Classification):
  """Which of ten kinds a picture is of; subclasses shape its pixels.

  An epoch goes through all pictures in an order that is drawn anew. Chance is
  the share of the training split's most frequent kind.
  """

  on_device: ClassVar[bool] = False
  ceiling: ClassVar[None] = None
  output: ClassVar[Spec] = Spec((), vocab=NUM_CLASSES)

  def __post_init__(self):
    if self.source not in SOURCES:
      raise ValueError(unknown('source', self.source, SOURCES))

  @property
  def chance(self) -> float:
    labels = _read(self.source, self.data_dir)['train'].labels
    return float(np.bincount(labels).max() / len(labels))

  @property
  def fingerprint(self) -> int:
    """Of the pictures as they were read: others have another one."""
    return checksum(jax.tree.leaves(_read(self.source, self.data_dir)))

  def batch(
    self,
    key: jax.Array,
    step: int | Integer[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Pictures as NumPy arrays, brightness between 0 and 1.

    Raises:
      FileNotFoundError: the pictures are not here; says what to put where.
      ValueError: a file is not what it should be.
    """
    if split not in SPLITS:
      raise ValueError(unknown('split', split, SPLITS))
    pictures = _read(self.source, self.data_dir)[split]
    index = epochs.examples(key, step, batch_size, split, len(pictures.labels))
    scale = np.float32(BRIGHTEST[self.source])
    return Batch(
      inputs=self._arrange(pictures.pixels[index].astype(np.float32) / scale),
      targets=pictures.labels[index].astype(np.int32),
      weights=np.ones(batch_size, np.float32),
    )

  def _arrange(self, pixels):
    """Pixels [B, height, width, ...] as inputs [B T *I]."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class PixelSequence(_Images):
  """A picture read line by line, one pixel at a position.

      inputs   0. 0. .31 .81 .56 .06 0. 0. 0. 0. .81 .94 ...
      targets  0                         (a nought of 8 x 8 pixels)

  Sources, and how they are split into train, validation and test:

      digits    8 x 8, in scikit-learn itself: 1,797 of them, the first 1,437,
                then 180 and 180. Neighbours are mostly by one writer, who is so
                kept on one side of a cut.
      mnist     28 x 28: IDX files in `data_dir`, or TFDS's mnist prepared
                there. 55,000, the 5,000 that follow, and 10,000; where the
                10,000 test pictures are all there is, 8,000, 1,000 and 1,000.
      cifar10   32 x 32 of three colours: TFDS's cifar10 prepared in `data_dir`.
                45,000, the 5,000 that follow, and 10,000.

  Permuted, positions are read in one random order, the same for all pictures:
  Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of
  Rectified Linear Units", 2015, section 4.2.

  Attributes:
    source: one of the names above.
    permuted: whether positions are read in a fixed random order.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  source: str = 'digits'
  permuted: bool = False
  data_dir: str = ''

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  @property
  def input(self) -> Spec:
    return Spec(SIZES[self.source][2:])

  def _arrange(self, pixels):
    colours = pixels.shape[3:]
    sequence = pixels.reshape(len(pixels), -1, *colours)
    if not self.permuted:
      return sequence
    # Of NumPy's generators this one is promised never to change.
    order = np.random.RandomState(0).permutation(sequence.shape[1])
    return sequence[:, order]


@dataclasses.dataclass(frozen=True)
class PixelVector(_Images):
  """A picture given at once: all of its pixels stand at the one position.

      inputs   [0. 0. .31 .81 .56 .06 0. 0. 0. 0. .81 .94 ...]
      targets  0

  Attributes:
    source, data_dir: as in `PixelSequence`.
  """

  source: str = 'digits'
  data_dir: str = ''

  shape: ClassVar[TaskShape] = TaskShape.ONE_TO_ONE

  @property
  def input(self) -> Spec:
    return Spec((int(np.prod(SIZES[self.source])),))

  def _arrange(self, pixels):
    return pixels.reshape(len(pixels), 1, -1)


@functools.lru_cache(maxsize=4)
def _read(source: str, data_dir: str) -> dict[str, Pictures]:
  """The splits of a source, read once a process."""
  if source == 'digits':
    return _digits()
  if source == 'mnist' and mnist_files_are_here(data_dir):
    return read_mnist_files(data_dir)
  return _prepared(source, data_dir)


def mnist_files_are_here(data_dir: str) -> bool:
  """Whether the IDX files of the test pictures lie in the folder."""
  return _idx_file(data_folder(data_dir), 't10k-images-idx3-ubyte').is_file()


def _digits() -> dict[str, Pictures]:
  with needs('data'):
    from sklearn.datasets import load_digits

  digits = load_digits()
  whole = Pictures(digits.images.astype(np.uint8), digits.target)
  return _cut(whole, {'train': 1437, 'validation': 180, 'test': 180})


def read_mnist_files(data_dir: str) -> dict[str, Pictures]:
  """The splits of MNIST as its IDX files hold them.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file is not what it should be; says which, and where.
  """
  folder = data_folder(data_dir)
  alone = not _idx_file(folder, 'train-images-idx3-ubyte').is_file()
  test = _idx_pictures(folder, 't10k', at_least=10 if alone else 1)
  if alone:
    tenth = len(test.labels) // 10
    train = len(test.labels) - 2 * tenth
    return _cut(test, {'train': train, 'validation': tenth, 'test': tenth})
  train = _idx_pictures(folder, 'train', at_least=12)
  held_out = len(train.labels) // 12
  cut = {'train': len(train.labels) - held_out, 'validation': held_out}
  return _cut(train, cut) | {'test': test}


def _idx_pictures(folder: pathlib.Path, which: str, at_least: int) -> Pictures:
  images = _idx_file(folder, f'{which}-images-idx3-ubyte')
  labels = _idx_file(folder, f'{which}-labels-idx1-ubyte')
  pictures = Pictures(read_idx(images), read_idx(labels))
  found = pictures.pixels.shape
  if found != (*pictures.labels.shape, *SIZES['mnist']):
    raise ValueError(
      f'{images} should hold pictures of 28 x 28 pixels, one for each of the '
      f'{len(pictures.labels)} labels in {labels}, but its shape is {found}.'
    )
  if len(pictures.labels) < at_least:
    raise ValueError(
      f'{images} holds {len(pictures.labels)} pictures, but at least '
      f'{at_least} are needed, so that every split has one.'
    )
  wrong = np.flatnonzero(pictures.labels >= NUM_CLASSES)
  if len(wrong):
    raise ValueError(
      f'{labels} should hold labels below {NUM_CLASSES}, but byte '
      f'{8 + wrong[0]} is {pictures.labels[wrong[0]]}.'
    )
  return pictures


def _idx_file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The packed file where it is there, else the plain one."""
  packed = folder / f'{name}.gz'
  return packed if packed.is_file() else folder / name


def _prepared(source: str, data_dir: str) -> dict[str, Pictures]:
  try:
    train, test = (
      _stack(data_source(source, split, data_dir), SIZES[source])
      for split in ('train', 'test')
    )
  except FileNotFoundError as error:
    if source != 'mnist':
      raise
    name = _idx_file(data_folder(data_dir), 't10k-images-idx3-ubyte')
    raise FileNotFoundError(
      f'{error} Or put the IDX files beside each other, as {name} (or .gz).'
    ) from error
  held_out = len(train.labels) // (12 if source == 'mnist' else 10)
  cut = {'train': len(train.labels) - held_out, 'validation': held_out}
  return _cut(train, cut) | {'test': test}


def _stack(examples, size) -> Pictures:
  pixels = np.empty((len(examples), *size), np.uint8)
  labels = np.empty(len(examples), np.int32)
  for i, example in enumerate(examples):
    pixels[i] = example['image'].reshape(size)
    labels[i] = example['label']
  return Pictures(pixels, labels)


def _cut(whole: Pictures, counts: dict[str, int]) -> dict[str, Pictures]:
  """Contiguous parts of these sizes, in this order."""
  ends = np.cumsum(list(counts.values())).tolist()
  return {
    split: Pictures(*(leaf[end - count : end] for leaf in whole))
    for (split, count), end in zip(counts.items(), ends, strict=True)
  }
