"""TFDS's own builders, made to work where TensorFlow is not installed.

They open, list and find files through `tf.io.gfile`, and encode images by
`tf.image.encode_png`. The standard library and Pillow do the same.
"""

import glob
import importlib.util
import io
import os
import types
from typing import Any

import numpy as np

from seqjax.errors import needs


def without_tensorflow(builder: type) -> type:
  """Returns a class of TFDS builders that needs no TensorFlow.

  It is the given class where TensorFlow is installed. Otherwise it is a
  subclass, not registered with TFDS, that hands over images as PNG files.
  """
  if importlib.util.find_spec('tensorflow'):
    return builder
  import tensorflow_datasets as tfds

  copy = _own_copy(builder)

  class Builder(copy, skip_registration=True):
    __module__ = builder.__module__  # where TFDS looks for its description
    name = builder.name

    def _generate_examples(self, *arguments, **options):
      images = [
        name
        for name, feature in self.info.features.items()
        if isinstance(feature, tfds.features.Image)
      ]
      for key, example in super()._generate_examples(*arguments, **options):
        yield key, example | {name: _png(example[name]) for name in images}

  return Builder


def _own_copy(builder: type) -> type:
  """Returns the class from a second run of its module, with another `tf`.

  TFDS itself keeps the module that it has, unchanged.
  """
  from tensorflow_datasets.core import registered

  spec = importlib.util.find_spec(builder.__module__)
  module = importlib.util.module_from_spec(spec)
  with registered.skip_registration():
    spec.loader.exec_module(module)
  gfile = types.SimpleNamespace(
    GFile=_open, glob=glob.glob, isdir=os.path.isdir
  )
  module.tf = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile))
  return getattr(module, builder.__name__)


def _open(path: str | os.PathLike, mode: str = 'r') -> Any:
  return open(path, mode, encoding=None if 'b' in mode else 'utf-8')


def _png(pixels: np.ndarray) -> io.BytesIO:
  """Encodes an image [height, width, 1 or 3] of bytes as a PNG file."""
  with needs('data'):
    from PIL import Image

  file = io.BytesIO()
  grey = pixels.shape[-1] == 1
  Image.fromarray(pixels[..., 0] if grey else pixels).save(file, 'png')
  file.seek(0)
  return file
