"""Classification of images, pixel by pixel or all at once."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np

from seqjax.data.files import checksum
from seqjax.data.labelled_images import NUM_CLASSES, SIZES, read_images
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.task import Classification
from seqjax.typing import Batch, Spec, TaskShape

REFERENCES = {
  'digits': 'scikit-learn',
  'mnist': 'LeCun et al., 1998',
  'cifar10': 'Krizhevsky, 2009',
}
BRIGHTEST = {'digits': 16, 'mnist': 255, 'cifar10': 255}


class _Images(Classification):
  """The class of an image; subclasses arrange its pixels.

  An epoch goes through all images in an order that is sampled anew. Chance is
  the share of the training split's most frequent class.
  """

  on_device: ClassVar[bool] = False
  ceiling: ClassVar[None] = None
  output: ClassVar[Spec] = Spec((), vocab=NUM_CLASSES)

  def __post_init__(self):
    if self.source not in SIZES:
      raise ValueError(unknown('source', self.source, SIZES))

  @property
  def reference(self) -> str:
    return REFERENCES[self.source]

  @property
  def chance_name(self) -> str | None:
    return None if self.source == 'digits' else 'largest class'

  @property
  def chance(self) -> float:
    labels = read_images(self.source, self.data_dir)['train'].labels
    return float(np.bincount(labels).max() / len(labels))

  @property
  def fingerprint(self) -> int:
    """Returns a checksum of the images."""
    return checksum(jax.tree.leaves(read_images(self.source, self.data_dir)))

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    images = read_images(self.source, self.data_dir)[split]
    index = epochs.examples(key, step, batch_size, split, len(images.labels))
    scale = np.float32(BRIGHTEST[self.source])
    return Batch(
      inputs=self._arrange(images.pixels[index].astype(np.float32) / scale),
      targets=images.labels[index].astype(np.int32),
      weights=np.ones(batch_size, np.float32),
    )

  def _arrange(self, pixels):
    """Pixels [B, height, width, ...] as inputs [B T *I]."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class PixelSequence(_Images):
  """The class of an image read line by line, one pixel at a position.

      inputs   0. 0. .31 .81 .56 .06 0. 0. 0. 0. .81 .94 ...
      targets  0                         (a nought of 8 x 8 pixels)

  Sources, and how they are split into train, validation and test:

      digits    8 x 8, in scikit-learn itself: 1,797 of them, the first 1,437,
                then 180 and 180. Neighbours are mostly by one writer, who is so
                kept on one side of a cut.
      mnist     28 x 28: IDX files in `data_dir` or its MNIST/raw, Keras's
                mnist.npz, or TFDS's mnist prepared there. 55,000, the 5,000
                that follow, and 10,000; where the 10,000 test images are all
                there is, 8,000, 1,000 and 1,000.
      cifar10   32 x 32 of three colours: the folder cifar-10-batches-bin or
                cifar-10-batches-py in `data_dir`, or TFDS's cifar10 prepared
                there. 45,000, the 5,000 that follow, and 10,000.

  Permuted, positions are read in one random order, the same for all images:
  Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of
  Rectified Linear Units", 2015, section 4.2.

  Attributes:
    source: one of the names above.
    permuted: True reads positions in a fixed random order.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  source: str = 'digits'
  permuted: bool = False
  data_dir: str = ''

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  @property
  def input(self) -> Spec:
    return Spec(SIZES[self.source][2:])

  @property
  def reference(self) -> str:
    return 'Le et al., 2015' if self.permuted else super().reference

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
  """The class of an image given at once: all pixels at the one position.

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
