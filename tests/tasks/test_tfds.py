"""Evaluation sets on disk, and real data that TFDS prepares."""

import json
import os
import pathlib
import shutil
import socket
import sys
import urllib.request

import jax
import numpy as np
import pytest

from seqjax import data, frozen
from seqjax.data import prepared
from seqjax.data.files import data_folder
from seqjax.data.folders import open_folder
from seqjax.data.without_tensorflow import stand_in
from seqjax.frozen import expected
from seqjax.frozen import frozen as frozen_sets
from seqjax.tasks import Recall
from seqjax.typing import Batch, Segments

tensorflow_datasets = pytest.importorskip('tensorflow_datasets')
pytest.importorskip('array_record')
KEY = jax.random.key(9)


@pytest.fixture(scope='module')
def recall_sets(tmp_path_factory):
  """A folder with the evaluation sets of recall."""
  folder = tmp_path_factory.mktemp('data')
  frozen.freeze('recall', str(folder))
  return folder


@pytest.fixture
def recall_copy(recall_sets, tmp_path):
  """The same, to be damaged; (data_dir, the folder of the version)."""
  shutil.copytree(recall_sets, tmp_path / 'data')
  return tmp_path / 'data', tmp_path / 'data/frozen_tasks/recall/1.1.0'


def array_record(folder, split):
  (path,) = folder.glob(f'*{split}.array_record*')
  return path


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_a_frozen_set_is_what_the_task_draws(recall_sets, split):
  """In its order, whatever the key; 1024 examples."""
  batch = frozen.read_frozen('recall', split, str(recall_sets))
  drawn = [Recall().batch(KEY, step, 64, split) for step in range(16)]
  drawn = jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
  assert batch.segments is None and batch.inputs.shape == (1024, 129)
  for field in ('inputs', 'targets', 'weights', 'group'):
    given, expected = getattr(batch, field), getattr(drawn, field)
    assert given.dtype == expected.dtype
    np.testing.assert_array_equal(given, expected)


def test_anything_that_reads_tfds_reads_the_examples(recall_sets):
  """By random access, each a dict of arrays, without seqjax."""
  folder = recall_sets / 'frozen_tasks/recall/1.1.0'
  source = tensorflow_datasets.builder_from_directory(folder).as_data_source(
    'test'
  )
  example = source[700]
  batch = frozen.read_frozen('recall', 'test', str(recall_sets))
  assert set(example) == {'inputs', 'targets', 'weights', 'group'}
  np.testing.assert_array_equal(example['inputs'], batch.inputs[700])
  assert 'tensorflow' not in sys.modules


def test_rows_of_unaligned_and_segmented_batches_come_back():
  """Pairs, segments and pairs of segments, by the names of their parts."""
  from seqjax.frozen.builder import rows  # which imports TFDS

  rng = np.random.default_rng(0)

  def tokens(length):
    return rng.integers(0, 9, (4, length)).astype(np.int32)

  def segments(length):
    return Segments(*(rng.random((2, 4, length)) < 0.5))

  shifted, *target = tokens(3), tokens(3), tokens(3)
  pair = tokens(5), shifted
  for batch in (
    Batch(pair, *target, (segments(5), segments(3))),
    Batch(pair, *target),
    Batch(shifted, *target, segments(3), group=tokens(3)),
  ):
    flat = rows(batch)
    columns = {name: np.stack([row[name] for row in flat]) for name in flat[0]}
    again = frozen_sets._batch(columns)
    jax.tree.map(np.testing.assert_array_equal, again, batch)


def test_a_set_that_is_here_is_kept(recall_copy):
  """Not a byte of it changes, and nothing is left beside it."""
  data_dir, folder = recall_copy
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert frozen.freeze('recall', str(data_dir)) == folder
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
  assert [path.name for path in data_dir.iterdir()] == ['frozen_tasks']


def test_a_truncated_record_says_where_it_ends(recall_copy):
  """Before anything of it is read."""
  data_dir, folder = recall_copy
  path = array_record(folder, 'test')
  size = path.stat().st_size
  os.truncate(path, size - 1000)
  with pytest.raises(ValueError) as caught:
    frozen.read_frozen('recall', 'test', str(data_dir))
  for said in (str(path), f'ends at byte {size - 1000}', f'{size} bytes were'):
    assert said in str(caught.value)
  path.unlink()
  with pytest.raises(ValueError, match='ends at byte 0'):
    frozen.verify_frozen('recall', str(data_dir))


def test_a_record_with_other_bytes_says_where(recall_copy):
  """array_record's own hash finds them."""
  data_dir, folder = recall_copy
  path = array_record(folder, 'validation')
  content = bytearray(path.read_bytes())
  content[70000:70010] = bytes(byte ^ 255 for byte in content[70000:70010])
  path.write_bytes(content)
  with pytest.raises(
    ValueError, match=f'{path} cannot be read from example.*at byte'
  ):
    frozen.read_frozen('recall', 'validation', str(data_dir))


def test_other_examples_than_were_written_are_found(recall_copy):
  """By the checksum of their content."""
  data_dir, folder = recall_copy
  sums = json.loads((folder / 'checksums.json').read_text())
  splits = sums['sha256']
  splits['test'], splits['validation'] = splits['validation'], splits['test']
  (folder / 'checksums.json').write_text(json.dumps(sums))
  with pytest.raises(ValueError, match='test examples in .* are not those'):
    frozen.read_frozen('recall', 'test', str(data_dir))


def test_another_version_is_named(recall_copy, tmp_path):
  """With the one that is read."""
  data_dir, folder = recall_copy
  folder.rename(folder.parent / '0.9.0')
  with pytest.raises(ValueError, match='version 0.9.0, but version 1.1.0 is'):
    frozen.read_frozen('recall', 'test', str(data_dir))
  with pytest.raises(FileNotFoundError, match='--prepare=recall'):
    frozen.read_frozen('recall', 'test', str(tmp_path / 'none'))


@pytest.mark.parametrize('call, message', [
  (lambda path: frozen.read_frozen('recall', 'train', path), "split 'train'"),
  (lambda path: frozen.freeze('recal', path), "Did you mean 'recall'"),
  (lambda path: data.prepare('mnst', path), "Did you mean 'mnist'"),
  (lambda path: data.data_source('mnst', 'test', path), "mean 'mnist'"),
])  # fmt: skip
def test_unknown_names_are_refused(call, message, tmp_path):
  """With what there is; and nothing is written."""
  with pytest.raises(ValueError, match=message):
    call(str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_writing_that_fails_leaves_nothing(tmp_path, monkeypatch):
  """Neither half of a set nor the scratch folder."""

  def fail(name, folder):
    raise OSError('No space left on device')

  monkeypatch.setattr(frozen_sets, '_write_checksums', fail)
  with pytest.raises(OSError, match='No space'):
    frozen.freeze('recall', str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_a_prepared_dataset_by_random_access(write_pictures):
  """Whole, in part, and with an error that names the example's file."""
  data_dir = write_pictures('mnist', '3.0.1', (28, 28), {'train': 40})
  source = data.data_source('mnist', 'train', data_dir)
  assert len(source) == 40 and source[11]['label'] == 1
  assert source[3]['image'].shape == (28, 28, 1)
  part = data.data_source('mnist', 'train[75%:]', data_dir)
  assert len(part) == 10 and part[0]['label'] == 0
  data.verify_prepared('mnist', data_dir)
  with pytest.raises(IndexError, match='train has no example 40'):
    source[40]


def test_a_truncated_prepared_dataset_is_one_sentence(write_pictures):
  """With its file, and the byte; also where an example is asked for."""
  data_dir = write_pictures('mnist', '3.0.1', (28, 28), {'train': 200})
  folder = pathlib.Path(data_dir, 'mnist/3.0.1')
  path = array_record(folder, 'train')
  os.truncate(path, path.stat().st_size // 2)
  message = f'{path} cannot be read from example.*at byte'
  with pytest.raises(ValueError, match=message):
    data.verify_prepared('mnist', data_dir)
  source = data.data_source('mnist', 'train[50%:]', data_dir)
  with pytest.raises(ValueError, match=message):
    source[99]


def test_other_bytes_in_the_middle_of_a_prepared_dataset(write_pictures):
  """Every example is read, not the first and the last alone."""
  data_dir = write_pictures('mnist', '3.0.1', (28, 28), {'train': 2000})
  path = array_record(pathlib.Path(data_dir, 'mnist/3.0.1'), 'train')
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 255
  path.write_bytes(content)
  source = data.data_source('mnist', 'train', data_dir)
  assert len(source) == 2000 and source[0] and source[1999]
  with pytest.raises(ValueError, match=f'{path} cannot be read from example'):
    data.verify_prepared('mnist', data_dir)


METADATA = ['dataset_info.json', 'features.json']


@pytest.mark.parametrize('file', [*METADATA, 'checksums.json'])
@pytest.mark.parametrize('change', [lambda s: s[:90], lambda s: '{}', None])
def test_a_description_that_is_damaged_is_one_sentence(
  recall_copy, file, change
):
  """Cut off, without content, or gone: with its name."""
  data_dir, folder = recall_copy
  path = folder / file
  if change:
    path.write_text(change(path.read_text()))
  else:
    path.unlink()
  with pytest.raises((OSError, ValueError), match=file):
    frozen.verify_frozen('recall', str(data_dir))
  if file in METADATA:
    with pytest.raises((OSError, ValueError), match=file):
      open_folder(folder)


def test_what_is_not_complete_is_to_be_deleted(recall_copy, write_pictures):
  """Preparing it again says so too, and not only to prepare it again."""
  data_dir, folder = recall_copy
  (folder / 'checksums.json').unlink()
  pictures = write_pictures('mnist', '3.0.1', (28, 28), {'train': 2})
  pathlib.Path(pictures, 'mnist/3.0.1/dataset_info.json').unlink()
  for call, where, name in [
    (frozen.freeze, str(data_dir), 'recall'),
    (frozen.verify_frozen, str(data_dir), 'recall'),
    (data.prepare, pictures, 'mnist'),
    (data.verify_prepared, pictures, 'mnist'),
  ]:
    with pytest.raises(ValueError, match='is not complete.*Delete the folder'):
      call(name, where)


def test_what_a_killed_run_left_is_removed(recall_copy):
  """By the next that prepares the same name; others are left alone."""
  data_dir, folder = recall_copy
  shutil.rmtree(folder)
  for name in ('incomplete-recall-x1', 'incomplete-mqar-x1'):
    (data_dir / name).mkdir()
    (data_dir / name / 'half').touch()
  frozen.freeze('recall', str(data_dir))
  assert sorted(path.name for path in data_dir.iterdir()) == [
    'frozen_tasks',
    'incomplete-mqar-x1',
  ]


@pytest.mark.parametrize('name', [
  'recall', 'parity', 'transduction_sort', *(
    pytest.param(name, marks=pytest.mark.slow)
    for name in expected.token_tasks()
    if name not in ('recall', 'parity', 'transduction_sort')
  )
])  # fmt: skip
def test_tasks_draw_what_is_written_down(name):
  """At this version; all tasks of tokens are written down."""
  written = json.loads(expected.EXPECTED.read_text())
  assert written['version'] == expected.VERSION
  assert list(written['sha256']) == expected.token_tasks()
  assert expected.drawn_checksums(name) == written['sha256'][name]


def test_a_task_that_draws_otherwise_needs_another_version(
  recall_sets, tmp_path, monkeypatch
):
  """Neither written nor read as if it were the same."""
  written = json.loads(expected.EXPECTED.read_text())
  written['sha256']['recall'] = written['sha256']['parity']
  path = tmp_path / 'checksums.json'
  path.write_text(json.dumps(written))
  monkeypatch.setattr(expected, 'EXPECTED', path)
  message = 'of recall are not those of version .*Raise the version'
  with pytest.raises(ValueError, match=message):
    frozen.freeze('recall', str(tmp_path / 'data'))
  assert not list((tmp_path / 'data').iterdir())
  with pytest.raises(ValueError, match=message):
    frozen.read_frozen('recall', 'test', str(recall_sets))
  path.write_text(json.dumps(written | {'version': '0.9.0'}))
  with pytest.raises(ValueError, match='is of version 0.9.0.*--checksums'):
    frozen.read_frozen('recall', 'test', str(recall_sets))


def test_a_prepared_dataset_of_another_version(write_pictures):
  """Its own version is named, and the one that is read."""
  data_dir = write_pictures('mnist', '1.0.0', (28, 28), {'train': 2})
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
  """By its SHA-256."""
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
  builder = tensorflow_datasets.builder(
    'mnist', data_dir=tmp_path, file_format='array_record'
  )
  image = builder.info.features['image']
  with stand_in(builder):
    examples = list(
      builder._generate_examples(
        5, str(tmp_path / 'images'), str(tmp_path / 'labels')
      )
    )
    encoded = [image.encode_example(row['image']) for _, row in examples]
  assert [row['label'] for _, row in examples] == list(range(5))
  for picture, written in zip(pixels, encoded, strict=True):
    np.testing.assert_array_equal(image.decode_example_np(written), picture)


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
