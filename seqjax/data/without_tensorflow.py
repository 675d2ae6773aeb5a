"""What TFDS's own builders ask of TensorFlow, where it is not installed.

They open, list and find files through `tf.io.gfile`, and encode pictures with
`tf.image.encode_png`. The standard library and Pillow do the same.
"""

import contextlib
import glob
import importlib.util
import io
import os
import sys
import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np


@contextlib.contextmanager
def stand_in(builder: Any) -> Iterator[None]:
  """Lets a TFDS builder prepare its data without TensorFlow."""
  if importlib.util.find_spec('tensorflow'):
    yield
    return
  from tensorflow_datasets.core.features import image_feature

  gfile = types.SimpleNamespace(
    GFile=_open, glob=glob.glob, isdir=os.path.isdir
  )
  tensorflow = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile))
  module = sys.modules[type(builder).__module__]
  with (
    mock.patch.object(module, 'tf', tensorflow),
    mock.patch.object(image_feature._ImageEncoder, '_encode_image', _png),
  ):
    yield


def _open(path: str | os.PathLike, mode: str = 'r') -> Any:
  return open(path, mode, encoding=None if 'b' in mode else 'utf-8')


def _png(encoder: Any, pixels: np.ndarray) -> bytes:
  """A picture [height, width, 1 or 3] of bytes as PNG."""
  del encoder
  from PIL import Image

  file = io.BytesIO()
  grey = pixels.shape[-1] == 1
  Image.fromarray(pixels[..., 0] if grey else pixels).save(file, 'png')
  return file.getvalue()
