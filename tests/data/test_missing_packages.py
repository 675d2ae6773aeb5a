"""Missing packages of the extra `data`: one sentence says what helps."""

import sys

import numpy as np
import pytest

from seqjax import data, frozen
from seqjax.data.labelled_images import read_images
from seqjax.data.lm1b import shuffled_sentences
from seqjax.data.without_tensorflow import _png

HELP = (
  r'^The module {} is not installed: in the checkout of seqjax, '
  r"pip install '\.\[data\]' installs it\.$"
)


class Hides:
  """A finder of modules that finds one package less."""

  def __init__(self, package):
    self.package = package

  def find_spec(self, name, path=None, target=None):
    if name == self.package:
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def hide(monkeypatch, package):
  """Makes a package unimportable, as if it were not installed."""
  for name in [*sys.modules]:
    if name == package or name.startswith(f'{package}.'):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setattr(sys, 'meta_path', [Hides(package), *sys.meta_path])


@pytest.mark.parametrize('package, call', [
  ('sklearn', lambda path: read_images.__wrapped__('digits', path)),
  ('grain', lambda path: shuffled_sentences.__wrapped__('train', path, 0)),
  ('array_record', lambda path: frozen.freeze('recall', path)),
  ('array_record', lambda path: data.prepare('mnist', path)),
  ('tensorflow_datasets', lambda path: data.prepare('mnist', path)),
  ('PIL', lambda path: _png(np.zeros((2, 2, 3), np.uint8))),
])  # fmt: skip
def test_a_missing_package_names_the_extra(
  package, call, tmp_path, monkeypatch
):
  """Nothing is written before."""
  hide(monkeypatch, package)
  with pytest.raises(ModuleNotFoundError, match=HELP.format(package)):
    call(str(tmp_path))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('package', ['PIL', 'array_record'])
def test_prepared_images_name_the_extra(package, write_images, monkeypatch):
  """The files are here, and the package that reads them is not."""
  counts = {'train': 24, 'test': 2}
  data_dir = write_images('mnist', '3.0.1', (28, 28), counts)
  hide(monkeypatch, package)
  with pytest.raises(ModuleNotFoundError, match=HELP.format(package)):
    read_images.__wrapped__('mnist', data_dir)
