"""The texts of Long Range Arena, in the layout of its release.

Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", 2021.
ListOps and pairs of papers are tables in lra_release; reviews are those of
IMDB, which its code takes from TFDS.
"""

import functools
import pathlib
from collections.abc import Sequence

from seqjax.data.files import data_folder, read_bytes
from seqjax.data.prepared import open_split
from seqjax.data.tables import LabelledTexts, in_memory, read_table
from seqjax.typing import SPLITS

RELEASE = ('', 'lra_release/', 'lra_release/lra_release/')
LISTOPS = ('', *(f'{root}listops-1000/' for root in RELEASE))
PAPERS = ('', *(f'{root}tsv_data/' for root in RELEASE))
REVIEWS = 'imdb_reviews/plain_text/1.0.0'  # the folder of TFDS
ARCHIVE = 'aclImdb'  # and that of the archive itself
HELD_OUT = 10  # of so many pairs of training reviews one is for validation


@functools.lru_cache(maxsize=2)
def read_listops(data_dir: str) -> dict[str, LabelledTexts]:
  """Opens basic_train.tsv, basic_val.tsv and basic_test.tsv.

  Raises:
    FileNotFoundError: one of them is not there; says where it may lie.
    ValueError: one of them is not what it should be; says in which line.
  """
  files = [f'basic_{name}.tsv' for name in ('train', 'val', 'test')]
  return _tables(
    data_dir,
    LISTOPS,
    files,
    columns=('Source', 'Target'),
    texts=('Source',),
    label='Target',
    num_classes=10,
    header=True,
  )


@functools.lru_cache(maxsize=2)
def read_papers(data_dir: str) -> dict[str, LabelledTexts]:
  """Opens new_aan_pairs.train.tsv, new_aan_pairs.eval.tsv and ..test.tsv.

  Raises: as `read_listops`.
  """
  files = [f'new_aan_pairs.{name}.tsv' for name in ('train', 'eval', 'test')]
  return _tables(
    data_dir,
    PAPERS,
    files,
    columns=('label', 'id1', 'id2', 'text1', 'text2'),
    texts=('text1', 'text2'),
    label='label',
    num_classes=2,
    header=False,
  )


def _tables(data_dir, folders, files, **table) -> dict[str, LabelledTexts]:
  """Opens the tables of the three splits, in the first folder that has one."""
  root = data_folder(data_dir)
  folder = first_folder(root, folders, files[0])
  return {
    split: read_table(folder / name, **table)
    for split, name in zip(SPLITS, files, strict=True)
  }


def first_folder(
  root: pathlib.Path, folders: Sequence[str], name: str
) -> pathlib.Path:
  """Returns the first of the folders that has a file or folder of this name.

  Raises:
    FileNotFoundError: none has; says where the data may lie.
  """
  for below in folders:
    if (root / below / name).exists():
      return root / below
  raise FileNotFoundError(
    f'There is no {name} in the folder {root}, nor in its '
    f'{" or ".join(filter(None, folders))}: unpack lra_release.gz of Long '
    'Range Arena, and name its folder by data_dir.'
  )


@functools.lru_cache(maxsize=2)
def read_reviews(data_dir: str) -> dict[str, LabelledTexts]:
  """Reads the reviews of IMDB: a TFDS folder, or the unpacked archive.

  Of the training reviews a tenth is for validation, where Long Range Arena
  validates on the test set.

  Raises:
    FileNotFoundError: neither is there; says where they may lie.
    ValueError: a file is not what it should be.
  """
  root = data_folder(data_dir)
  if (root / REVIEWS / 'dataset_info.json').is_file():
    read = functools.partial(_prepared_reviews, root / REVIEWS)
  elif (root / ARCHIVE).is_dir():
    read = functools.partial(_unpacked_reviews, root / ARCHIVE)
  elif (root / 'train' / 'pos').is_dir():
    read = functools.partial(_unpacked_reviews, root)
  else:
    raise FileNotFoundError(
      f'The reviews of IMDB are not in the folder {root}: neither {REVIEWS}, '
      f'as TFDS prepares it as array_record, nor {ARCHIVE}, the unpacked '
      'archive of Maas et al., 2011.'
    )
  train, test = read('train'), read('test')
  # In pairs, since those of the archive are negative and positive in turn.
  held_out = [i // 2 % HELD_OUT == HELD_OUT - 1 for i in range(len(train))]
  kept = [pair for pair, out in zip(train, held_out, strict=True) if not out]
  validation = [pair for pair, out in zip(train, held_out, strict=True) if out]
  if not validation or not test:
    raise ValueError(
      f'{root} holds {len(train)} reviews for training and {len(test)} for '
      f'testing, but {2 * HELD_OUT} and 1 are needed, so that every split has '
      'one.'
    )
  parts = zip(SPLITS, (kept, validation, test), strict=True)
  return {split: in_memory(*zip(*pairs, strict=True)) for split, pairs in parts}


def _prepared_reviews(
  folder: pathlib.Path, split: str
) -> list[tuple[bytes, int]]:
  examples = open_split(folder, split)
  rows = (examples[i] for i in range(len(examples)))
  return [(bytes(row['text']), int(row['label'])) for row in rows]


def _unpacked_reviews(
  folder: pathlib.Path, split: str
) -> list[tuple[bytes, int]]:
  """Reads a file per review, negative and positive ones in turn."""
  classes = []
  for label, name in enumerate(('neg', 'pos')):
    files = sorted((folder / split / name).glob('*.txt'))
    if not files:
      raise FileNotFoundError(
        f'There is no folder {folder / split / name} of reviews as .txt files.'
      )
    classes.append([(read_bytes(file), label) for file in files])
  merged = [pair for pairs in zip(*classes, strict=False) for pair in pairs]
  least = min(map(len, classes))
  return merged + [pair for pairs in classes for pair in pairs[least:]]
