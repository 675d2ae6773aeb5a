"""Evaluation sets of the tasks, frozen on disk as TFDS datasets."""

from seqjax.frozen.expected import write_expected
from seqjax.frozen.frozen import (
  CHECKSUMS,
  freeze,
  read_frozen,
  verify_frozen,
)

__all__ = [
  'CHECKSUMS',
  'freeze',
  'read_frozen',
  'verify_frozen',
  'write_expected',
]
