"""Images of Pathfinder, in the layout of the release of Long Range Arena.

Two dots are connected by a dashed curve, or are not: Linsley et al., "Learning
Long-Range Spatial Dependencies with Horizontal Gated Recurrent Units", 2018.
"""

import functools
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from seqjax.data.arrays import read_array
from seqjax.data.files import data_folder, read_bytes, read_text
from seqjax.data.long_range_arena import RELEASE, first_folder
from seqjax.errors import Note, needs
from seqjax.typing import SPLITS

DIFFICULTIES = {
  'easy': 'curv_baseline',
  'intermediate': 'curv_contour_length_9',
  'hard': 'curv_contour_length_14',
}
FEWEST = 10  # images, so that every split has one
NUMPY = b'\x93NUMPY'  # what an array of NumPy begins with


class LabelledPaths(NamedTuple):
  """The images of one split: their files, sizes in bytes, and classes."""

  paths: Sequence[pathlib.Path]
  sizes: Int[np.ndarray, 'M']
  labels: Int[np.ndarray, 'M']


class EmptyImages(Note):
  """A note that images were skipped because their files are empty."""


@functools.lru_cache(maxsize=4)
def find_images(
  data_dir: str, resolution: int, difficulty: str
) -> dict[str, LabelledPaths]:
  """Finds the images of a folder, and their classes; reads no pixel.

  The folder pathfinder32/curv_contour_length_14, say, has images below imgs,
  and files metadata/0.npy, 1.npy ... Their lines hold the folder of an image,
  its name, a number, its class, and more. They are text, whatever their name
  says; arrays of such rows are read as well. In the order of those numbers, the
  first 80 % of the images are for training, then 10 % for validation and 10 %
  for testing.

  Args:
    data_dir: the folder pathfinder32, that of the release, or one of them.
    resolution: the height and width of an image, in pixels.
    difficulty: 'easy', 'intermediate' or 'hard'.

  Raises:
    FileNotFoundError: the folder, or one of its images, is not there.
    ValueError: a line is not what it should be, or there are too few images.

  Warns:
    EmptyImages: files are empty, as one of the release is. Long Range Arena
      skips it, too.
  """
  size, level = f'pathfinder{resolution}', DIFFICULTIES[difficulty]
  folders = ('', *(f'{root}{size}/' for root in RELEASE))
  folder = first_folder(data_folder(data_dir), folders, level) / level
  files = sorted((folder / 'metadata').glob('*.npy'), key=_number)
  if not files:
    raise FileNotFoundError(
      f'There is no folder {folder / "metadata"} of files 0.npy, 1.npy ...'
    )
  found = [image for file in files for image in _images(file, folder)]
  kept = [image for image in found if image[1]]
  if len(kept) < len(found):
    warnings.warn(
      f'{len(found) - len(kept)} of the {len(found)} images in {folder} are '
      'empty files and were skipped.',
      EmptyImages,
      stacklevel=2,
    )
  if len(kept) < FEWEST:
    raise ValueError(
      f'{folder} holds {len(kept)} images, but at least {FEWEST} are needed, '
      'so that every split has one.'
    )
  return _split(kept)


def _number(path: pathlib.Path) -> tuple[int, str]:
  """Sorts 10.npy after 9.npy."""
  return (int(path.stem) if path.stem.isdigit() else -1), path.stem


def _images(
  file: pathlib.Path, folder: pathlib.Path
) -> Iterator[tuple[pathlib.Path, int, int]]:
  """Yields (path, size, class) of the images that a file lists."""
  for number, row in enumerate(_rows(file), start=1):
    if len(row) < 4 or row[3] not in ('0', '1'):
      raise ValueError(
        f'{file} should name an image in each line, by its folder, its name, a '
        f'number, and its label of 0 or 1, but line {number} is '
        f'{" ".join(row)[:60]!r}.'
      )
    path = folder / row[0] / row[1]
    if not path.is_file():
      raise FileNotFoundError(
        f'There is no file {path}, which line {number} of {file} names.'
      )
    yield path, path.stat().st_size, int(row[3])


def _rows(file: pathlib.Path) -> list[list[str]]:
  """Returns the lines of a file, or the rows of an array, as words."""
  if not read_bytes(file).startswith(NUMPY):
    return [line.split() for line in read_text(file).splitlines()]
  array = read_array(file)
  if array.ndim != 2 or array.dtype.kind != 'U':
    raise ValueError(
      f'{file} should hold rows of strings, but holds {array.dtype} of shape '
      f'{list(array.shape)}.'
    )
  return array.tolist()


def _split(images) -> dict[str, LabelledPaths]:
  """Cuts images into training, validation and testing, 8 to 1 to 1."""
  paths, sizes, labels = zip(*images, strict=True)
  cuts = [len(paths) * tenths // 10 for tenths in (0, 8, 9, 10)]
  return {
    split: LabelledPaths(
      paths[begin:end],
      np.array(sizes[begin:end], np.int64),
      np.array(labels[begin:end], np.int32),
    )
    for split, begin, end in zip(SPLITS, cuts, cuts[1:], strict=False)
  }


def read_image(path: pathlib.Path, resolution: int) -> UInt8[np.ndarray, 'H W']:
  """Reads an image in shades of grey.

  Raises:
    FileNotFoundError: there is no such file.
    ModuleNotFoundError: the extra `data` is not installed.
    ValueError: it is no image, is damaged, or has another size.
  """
  with needs('data'):
    from PIL import Image
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  try:
    with Image.open(path) as image:
      pixels = np.asarray(image.convert('L'))
  except (OSError, SyntaxError, ValueError) as error:  # as Pillow has them
    raise ValueError(f'{path} is no image that can be read: {error}') from error
  if pixels.shape != (resolution, resolution):
    height, width = pixels.shape
    raise ValueError(
      f'{path} should have {resolution} x {resolution} pixels, but has '
      f'{height} x {width}.'
    )
  return pixels
