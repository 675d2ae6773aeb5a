"""Real data that TFDS prepares."""

import os
import pathlib
import shutil
import socket
import sys
import urllib.request

import numpy as np
import pytest

from seqjax import data
from seqjax.data import prepared
from seqjax.data.files import data_folder
from seqjax.data.without_tensorflow import without_tensorflow

tensorflow_datasets = pytest.importorskip('tensorflow_datasets')
pytest.importorskip('array_record')


def array_record(folder, split):
  (path,) = folder.glob(f'*{split}.array_record*')
  return path


@pytest.mark.parametrize('call, message', [
  (lambda path: data.prepare('mnst', path), "Did you mean 'mnist'"),
  (lambda path: data.data_source('mnst', 'test', path), "mean 'mnist'"),
])  # fmt: skip
def test_unknown_datasets_are_refused(call, message, tmp_path):
  """With what there is; and nothing is written."""
  with pytest.raises(ValueError, match=message):
    call(str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_a_prepared_dataset_by_random_access(write_images):
  """Whole, in part, and with an error that names the example's file."""
  data_dir = write_images('mnist', '3.0.1', (28, 28), {'train': 40})
  source = data.data_source('mnist', 'train', data_dir)
  assert len(source) == 40 and source[11]['label'] == 1
  assert source[3]['image'].shape == (28, 28, 1)
  part = data.data_source('mnist', 'train[75%:]', data_dir)
  assert len(part) == 10 and part[0]['label'] == 0
  data.verify_prepared('mnist', data_dir)
  with pytest.raises(IndexError, match='train has no example 40'):
    source[40]


def test_a_truncated_prepared_dataset_is_one_sentence(write_images):
  """With its file, and the byte; also where an example is asked for."""
  data_dir = write_images('mnist', '3.0.1', (28, 28), {'train': 200})
  folder = pathlib.Path(data_dir, 'mnist/3.0.1')
  path = array_record(folder, 'train')
  os.truncate(path, path.stat().st_size // 2)
  message = f'{path} cannot be read from example.*at byte'
  with pytest.raises(ValueError, match=message):
    data.verify_prepared('mnist', data_dir)
  source = data.data_source('mnist', 'train[50%:]', data_dir)
  with pytest.raises(ValueError, match=message):
    source[99]


def test_other_bytes_in_the_middle_of_a_prepared_dataset(write_images):
  """Every example is read, not the first and the last alone."""
  data_dir = write_images('mnist', '3.0.1', (28, 28), {'train': 2000})
  path = array_record(pathlib.Path(data_dir, 'mnist/3.0.1'), 'train')
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 255
  path.write_bytes(content)
  source = data.data_source('mnist', 'train', data_dir)
  assert len(source) == 2000 and source[0] and source[1999]
  with pytest.raises(ValueError, match=f'{path} cannot be read from example'):
    data.verify_prepared('mnist', data_dir)


def test_a_dataset_that_is_not_complete_is_to_be_deleted(write_images):
  """Preparing it again says so too, and not only to prepare it again."""
  data_dir = write_images('mnist', '3.0.1', (28, 28), {'train': 2})
  pathlib.Path(data_dir, 'mnist/3.0.1/dataset_info.json').unlink()
  for call in (data.prepare, data.verify_prepared):
    with pytest.raises(ValueError, match='is not complete.*Delete the folder'):
      call('mnist', data_dir)


def test_a_prepared_dataset_of_another_version(write_images):
  """Its own version is named, and the one that is read."""
  data_dir = write_images('mnist', '1.0.0', (28, 28), {'train': 2})
  with pytest.raises(ValueError, match='version 1.0.0, but version 3.0.1 is'):
    data.data_source('mnist', 'train', data_dir)


def test_no_network_says_which_file_to_put_where(tmp_path, monkeypatch):
  """At once, and nothing is left."""

  def unreachable(*arguments, **options):
    raise socket.gaierror(-2, 'Name or service not known')

  monkeypatch.setattr(socket, 'getaddrinfo', unreachable)
  with pytest.raises(ConnectionError) as caught:
    data.prepare('tiny_shakespeare', str(tmp_path))
  assert 'raw.githubusercontent.com' in str(caught.value)
  assert f'Put that file at {tmp_path}/downloads/input.txt' in str(caught.value)
  assert not list(tmp_path.iterdir())


def test_a_file_that_was_put_there_must_be_the_right_one(tmp_path):
  """A SHA-256 says so."""
  (tmp_path / 'downloads').mkdir()
  (tmp_path / 'downloads' / 'input.txt').write_text('First Citizen:')
  with pytest.raises(ValueError, match='input.txt is not the file at https'):
    data.prepare('tiny_shakespeare', str(tmp_path))
  assert [path.name for path in tmp_path.iterdir()] == ['downloads']  # kept


@pytest.mark.skipif(
  'SEQJAX_DATA' not in os.environ, reason='SEQJAX_DATA names no folder'
)
def test_a_dataset_is_prepared_from_a_file_that_was_put_there(
  tmp_path, monkeypatch
):
  """Without a network, without TensorFlow; a second call finds it."""
  monkeypatch.setattr(
    urllib.request, 'urlopen', lambda *a, **k: pytest.fail('asked the network')
  )
  text = pathlib.Path(os.environ['SEQJAX_DATA'], 'tinyshakespeare.txt')
  (tmp_path / 'downloads').mkdir()
  shutil.copyfile(text, tmp_path / 'downloads' / 'input.txt')
  folder = data.prepare('tiny_shakespeare', str(tmp_path))
  assert folder == tmp_path / 'tiny_shakespeare' / '1.0.0'
  assert data.prepare('tiny_shakespeare', str(tmp_path)) == folder
  train = data.data_source('tiny_shakespeare', 'train', str(tmp_path))
  assert train[0]['text'].startswith(b'First Citizen:') and len(train) == 1
  assert 'tensorflow' not in sys.modules


def test_tfds_writes_its_own_pictures_without_tensorflow(tmp_path):
  """MNIST's builder reads its files, and pictures are encoded, as they are."""
  if 'tensorflow' in sys.modules:
    pytest.skip('TensorFlow itself is here')
  pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
  (tmp_path / 'images').write_bytes(bytes(16) + pixels.tobytes())
  (tmp_path / 'labels').write_bytes(bytes(8) + bytes(range(5)))
  kind = tensorflow_datasets.builder_cls('mnist')
  builder = without_tensorflow(kind)(
    data_dir=tmp_path, file_format='array_record'
  )
  image = builder.info.features['image']
  examples = list(
    builder._generate_examples(
      5, str(tmp_path / 'images'), str(tmp_path / 'labels')
    )
  )
  encoded = [image.encode_example(row['image']) for _, row in examples]
  assert [row['label'] for _, row in examples] == list(range(5))
  for picture, written in zip(pixels, encoded, strict=True):
    np.testing.assert_array_equal(image.decode_example_np(written), picture)


@pytest.mark.parametrize('name', prepared.REAL)
def test_tfds_keeps_the_builders_that_it_has(name):
  """Names tell them apart; a class of ours needs no TensorFlow."""
  if 'tensorflow' in sys.modules:
    pytest.skip('TensorFlow itself is here')
  kind = tensorflow_datasets.builder_cls(name)
  module = sys.modules[kind.__module__]
  before = vars(module).copy()
  made = without_tensorflow(kind)
  assert vars(module) == before and made is not kind
  assert tensorflow_datasets.builder_cls(name) is kind
  assert (made.name, made.VERSION) == (kind.name, kind.VERSION)
  assert made.__module__ == kind.__module__


def test_data_lie_where_tfds_keeps_them(monkeypatch):
  """Unless a folder is given."""
  monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
  home = pathlib.Path('~/tensorflow_datasets').expanduser()
  assert data_folder('') == home
  monkeypatch.setenv('TFDS_DATA_DIR', '/elsewhere')
  assert data_folder('') == pathlib.Path('/elsewhere')
  assert data_folder('/here') == pathlib.Path('/here')


@pytest.mark.parametrize('name', prepared.REAL)
def test_the_versions_that_are_read_are_those_that_tfds_writes(name):
  """And it says what it downloads, with a checksum."""
  builder = tensorflow_datasets.builder_cls(name)
  assert str(builder.VERSION) == prepared.REAL[name]
  assert all(info.checksum for info in builder.url_infos.values())
