"""Units of tests that share a worker, and datasets as TFDS prepares them."""

import contextlib
import gc
import io
import math
import os
import pathlib

import jax
import numpy as np
import pytest

from tests import times

ENOUGH = 1.7e9  # bytes of a worker, above which it forgets what it compiled


def pytest_configure(config):
  """Records times where SEQJAX_TEST_TIMES names a file, in every worker."""
  path = os.environ.get('SEQJAX_TEST_TIMES')
  alone = not config.getoption('numprocesses', None)
  if path and (alone or hasattr(config, 'workerinput')):
    config.pluginmanager.register(times.Times(path))


def unit(nodeid: str) -> str:
  """Tests of one unit run in one worker: those of a file, but for contracts."""
  file, _, _ = nodeid.partition('::')
  return nodeid if file.endswith('test_contract.py') else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Of xdist, whose own groups not every version of pytest can form."""
  from xdist.scheduler import LoadScopeScheduling

  class Units(LoadScopeScheduling):
    def _split_scope(self, nodeid):
      return unit(nodeid)

  return Units(config, log)


def pytest_collection_finish():
  """Collects garbage seldom: otherwise it takes a tenth of the suite."""
  gc.set_threshold(50_000, 20, 20)
  gc.collect()
  gc.freeze()


def pytest_runtest_teardown(item, nextitem):
  """Forgets what units compiled, once it fills much memory.

  Until then garbage is looked for only in what the current unit made.
  """
  if nextitem is None or unit(nextitem.nodeid) != unit(item.nodeid):
    if _resident_bytes() > ENOUGH:
      gc.unfreeze()
      jax.clear_caches()
      gc.collect()
    gc.freeze()


def _resident_bytes() -> float:
  """Counts the bytes of this process in memory; infinity off Linux."""
  try:
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  except OSError:
    return math.inf
  return pages * os.sysconf('SC_PAGE_SIZE')


@pytest.fixture
def write_prepared(tmp_path):
  """write_prepared(name, version, features, splits) -> the data_dir.

  `features(tfds)` describes an example, `splits` holds lists of them.
  """
  tfds = pytest.importorskip('tensorflow_datasets')
  pytest.importorskip('array_record')

  def write(name, version, features, splits, data_dir=tmp_path):
    class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      VERSION = tfds.core.Version(version)

      def _info(self):
        return tfds.core.DatasetInfo(
          builder=self,
          features=tfds.features.FeaturesDict(features(tfds.features)),
          disable_shuffling=True,
        )

      def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in splits}

      def _generate_examples(self, split):
        yield from enumerate(splits[split])

    Made.name = name
    made = Made(data_dir=data_dir, file_format='array_record')
    with contextlib.redirect_stdout(io.StringIO()):
      made.download_and_prepare()
    return str(data_dir)

  return write


@pytest.fixture
def write_images(write_prepared):
  """write_images(name, version, size, counts): random ones, classes in turn."""

  def write(name, version, size, counts):
    rng = np.random.default_rng(0)

    def features(kinds):
      return {
        'image': kinds.Image(shape=(*size, 1)[:3]),
        'label': kinds.ClassLabel(num_classes=10),
      }

    splits = {
      split: [
        {'image': _png(rng.integers(0, 256, size, np.uint8)), 'label': i % 10}
        for i in range(count)
      ]
      for split, count in counts.items()
    }
    return write_prepared(name, version, features, splits)

  return write


def _png(pixels) -> io.BytesIO:
  image = pytest.importorskip('PIL.Image')
  file = io.BytesIO()
  image.fromarray(pixels).save(file, 'png')
  file.seek(0)
  return file
