"""Evaluation sets of the tasks, frozen on disk as TFDS datasets."""

from seqjax.frozen.evaluation_sets import (
  CHECKSUMS,
  freeze,
  read_frozen,
  verify_frozen,
)
from seqjax.frozen.expected import write_expected

__all__ = [
  'CHECKSUMS',
  'freeze',
  'read_frozen',
  'verify_frozen',
  'write_expected',
]
