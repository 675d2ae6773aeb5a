"""Texts and images of Long Range Arena, one byte or pixel at a position."""

import dataclasses
import functools
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Int

from seqjax.data import long_range_arena, pathfinder
from seqjax.data.files import checksum
from seqjax.data.tables import LabelledTexts
from seqjax.errors import unknown
from seqjax.tasks import epochs
from seqjax.tasks.task import Classification, at_least
from seqjax.typing import Batch, Segments, Spec, TaskShape

RESOLUTIONS = (32, 64, 128, 256)
BETWEEN = 256  # the token between two texts, after those of bytes
# The tokens of the task `listops`, so that its models read these texts.
WORDS = {
  **{str(digit).encode(): digit for digit in range(10)},
  b'[MIN': 10,
  b'[MAX': 11,
  b'[MED': 12,
  b'[SM': 13,
  b']': 14,
}


class _Labelled(Classification):
  """The class of an example of a finite set, which is read from files.

  An epoch goes through all examples in an order that is sampled anew. Chance is
  the share of the training split's most frequent class.
  """

  on_device: ClassVar[bool] = False
  ceiling: ClassVar[None] = None
  chance_name: ClassVar[str] = 'largest class'
  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE

  @property
  def chance(self) -> float:
    labels = self._read()['train'].labels
    return float(np.bincount(labels).max() / len(labels))

  def _read(self):
    """Returns what each split has, among it its `labels`."""
    raise NotImplementedError

  def _choose(self, key, step, batch_size: int, split: str):
    """Returns the split, and which of its examples are a batch."""
    part = self._read()[split]
    count = len(part.labels)
    return part, epochs.examples(key, step, batch_size, split, count)


class _Texts(_Labelled):
  """The class of texts; subclasses read them, and turn them into tokens."""

  def __post_init__(self):
    at_least(self, length=3)

  @property
  def fingerprint(self) -> int:
    """Returns a checksum of the texts and their labels."""
    return checksum(jax.tree.leaves(self._read()))

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    part, index = self._choose(key, step, batch_size, split)
    inputs = np.zeros((batch_size, self.length), np.int32)
    valid = np.zeros((batch_size, self.length), bool)
    for row, example in enumerate(index.tolist()):
      tokens = self._tokens(part, example)[: self.length]
      inputs[row, : len(tokens)] = tokens
      valid[row, : len(tokens)] = True
    return Batch(
      inputs,
      targets=part.labels[index],
      weights=np.ones(batch_size, np.float32),
      segments=Segments(np.zeros_like(valid), valid),
    )

  def _tokens(self, part: LabelledTexts, example: int) -> Int[np.ndarray, 'T']:
    """Returns the tokens of an example, perhaps more than are read."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Reviews(_Texts):
  """The opinion of a review of a film, read byte by byte: bad or good.

      inputs   73 32 108 105 107 101 100 32 105 116       I liked it
      target   1

  Byte-level text classification of Long Range Arena (Tay et al., 2021): the
  reviews of IMDB (Maas et al., 2011), cut after `length` bytes. In `data_dir`
  lies imdb_reviews/plain_text/1.0.0, as TFDS prepares it as array_record, or
  the archive's folder aclImdb. Of the 25,000 training reviews a tenth is for
  validation; Long Range Arena validates on the test set.

  Attributes:
    length: T, in bytes.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  length: int = 4096
  data_dir: str = ''

  reference: ClassVar[str] = 'Tay et al., 2021'
  input: ClassVar[Spec] = Spec((), vocab=256)
  output: ClassVar[Spec] = Spec((), vocab=2)

  def _read(self) -> dict[str, LabelledTexts]:
    return long_range_arena.read_reviews(self.data_dir)

  def _tokens(self, part, example):
    (text,) = part.texts(example)
    return _bytes(text)


@dataclasses.dataclass(frozen=True)
class Papers(_Texts):
  """The relation of two papers, read byte by byte: 1 if one cites the other.

      inputs   87 101 32 ... 256 73 110 32 ...       We ..., then: In ...
      target   1

  Byte-level document retrieval of Long Range Arena (Tay et al., 2021), of the
  ACL Anthology Network (Radev et al., 2013). In `data_dir`, in its tsv_data, or
  in that of the release lie new_aan_pairs.train.tsv, .eval.tsv and .test.tsv,
  which are read from disk. Long Range Arena encodes the two texts apart and
  compares the vectors; here they stand in one row, each cut to the same number
  of bytes, with token 256 between them, so that any model can be asked.

  Attributes:
    length: T, in bytes of both texts, and one between them.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  length: int = 8001
  data_dir: str = ''

  reference: ClassVar[str] = 'Tay et al., 2021'
  input: ClassVar[Spec] = Spec((), vocab=257)
  output: ClassVar[Spec] = Spec((), vocab=2)

  def _read(self) -> dict[str, LabelledTexts]:
    return long_range_arena.read_papers(self.data_dir)

  def _tokens(self, part, example):
    half = (self.length - 1) // 2
    first, second = (_bytes(text)[:half] for text in part.texts(example))
    return np.concatenate([first, [BETWEEN], second])


@dataclasses.dataclass(frozen=True)
class ListOpsTexts(_Texts):
  """The value of nested operations on digits, as Long Range Arena wrote them.

      inputs   11 2 9 10 4 7 14 0 14      [MAX 2 9 [MIN 4 7 ] 0 ]
      target   9

  Tay et al., 2021: basic_train.tsv, basic_val.tsv and basic_test.tsv in
  `data_dir`, in its listops-1000, or in that of the release. Brackets that are
  round are left out, as Long Range Arena does, and texts end after `length`
  tokens. Tokens are those of the task `listops`, which samples such texts anew.

  Attributes:
    length: T, in tokens.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  length: int = 2048
  data_dir: str = ''

  reference: ClassVar[str] = 'Tay et al., 2021'
  input: ClassVar[Spec] = Spec((), vocab=len(WORDS))
  output: ClassVar[Spec] = Spec((), vocab=10)

  def _read(self) -> dict[str, LabelledTexts]:
    return long_range_arena.read_listops(self.data_dir)

  def _tokens(self, part, example):
    (text,) = part.texts(example)
    words = text.translate(None, b'()').split()
    try:
      return np.array([WORDS[word] for word in words], np.int32)
    except KeyError as error:
      (word,) = error.args
      raise ValueError(
        f'{word.decode(errors="replace")!r} is no token of ListOps, whose '
        f'tokens are {b" ".join(WORDS).decode()}, but stands in a text: '
        f'{text[:40].decode(errors="replace")!r}.'
      ) from error


@dataclasses.dataclass(frozen=True)
class Pathfinder(_Labelled):
  """The connection of two dots by a dashed curve: 1 if there is one.

      inputs   0. 0. .08 .45 .81 .45 .08 0. 0. ...       32 x 32 pixels
      target   1

  An image is read line by line, one pixel at a position. Linsley et al., 2018;
  Pathfinder of Long Range Arena (Tay et al., 2021) has 32 x 32 pixels, and its
  Path-X 128 x 128. In `data_dir` lies the folder pathfinder32 (64, 128, 256) of
  the release. The first 80 % of its images are for training, then 10 % for
  validation and 10 % for testing. Images are read from disk, batch by batch.

  Attributes:
    resolution: the height and width of an image: 32, 64, 128 or 256.
    difficulty: 'easy', 'intermediate' or 'hard', by the length of the curves:
      the folders curv_baseline, curv_contour_length_9 and _14.
    data_dir: where the data lie; empty for TFDS's own folder.
  """

  resolution: int = 32
  difficulty: str = 'hard'
  data_dir: str = ''

  reference: ClassVar[str] = 'Linsley et al., 2018'
  input: ClassVar[Spec] = Spec(())
  output: ClassVar[Spec] = Spec((), vocab=2)

  def __post_init__(self):
    if self.resolution not in RESOLUTIONS:
      raise ValueError(
        'Images of Pathfinder have a resolution of 32, 64, 128 or 256 pixels, '
        f'but resolution={self.resolution} was given.'
      )
    known = pathfinder.DIFFICULTIES
    if self.difficulty not in known:
      raise ValueError(unknown('difficulty', self.difficulty, known))

  @property
  def fingerprint(self) -> int:
    """Returns a checksum of the files' names and sizes, and of the labels."""
    return _checksum_of_paths(self.data_dir, self.resolution, self.difficulty)

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    part, index = self._choose(key, step, batch_size, split)
    images = [
      pathfinder.read_image(part.paths[i], self.resolution)
      for i in index.tolist()
    ]
    pixels = np.stack(images).reshape(batch_size, -1)
    return Batch(
      inputs=pixels.astype(np.float32) / np.float32(255),
      targets=part.labels[index],
      weights=np.ones(batch_size, np.float32),
    )

  def _read(self) -> dict[str, pathfinder.LabelledPaths]:
    return pathfinder.find_images(
      self.data_dir, self.resolution, self.difficulty
    )


@functools.lru_cache(maxsize=4)
def _checksum_of_paths(*arguments) -> int:
  parts = pathfinder.find_images(*arguments).values()
  # Of an absolute path only what lies in the folder of a resolution.
  names = ' '.join(
    '/'.join(path.parts[-4:]) for part in parts for path in part.paths
  )
  numbers = [array for _, *arrays in parts for array in arrays]
  return checksum([np.frombuffer(names.encode(), np.uint8), *numbers])


def _bytes(text: bytes) -> Int[np.ndarray, 'T']:
  return np.frombuffer(text, np.uint8).astype(np.int32)
