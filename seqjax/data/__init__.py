"""Reads data: text, images, series, prepared TFDS data. Knows no task."""

from seqjax.data.prepared import (
  REAL,
  data_source,
  prepare,
  verify_prepared,
)

__all__ = ['REAL', 'data_source', 'prepare', 'verify_prepared']
