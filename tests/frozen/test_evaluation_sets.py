"""Evaluation sets on disk."""

import json
import os
import shutil
import sys

import jax
import numpy as np
import pytest

from seqjax import frozen
from seqjax.data.folders import open_folder
from seqjax.frozen import evaluation_sets, expected
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
  """A copy to be damaged: (data_dir, the folder of the version)."""
  shutil.copytree(recall_sets, tmp_path / 'data')
  return (
    tmp_path / 'data',
    tmp_path / 'data/frozen_tasks/recall' / expected.VERSION,
  )


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
  """Random access gives dicts of arrays, without seqjax."""
  folder = recall_sets / 'frozen_tasks/recall' / expected.VERSION
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
    again = evaluation_sets._batch(columns)
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
  """Checksums of the content say so."""
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
  with pytest.raises(
    ValueError, match=f'version 0.9.0, but version {expected.VERSION} is'
  ):
    frozen.read_frozen('recall', 'test', str(data_dir))
  with pytest.raises(FileNotFoundError, match='--prepare=recall'):
    frozen.read_frozen('recall', 'test', str(tmp_path / 'none'))


@pytest.mark.parametrize('call, message', [
  (lambda path: frozen.read_frozen('recall', 'train', path), "split 'train'"),
  (lambda path: frozen.freeze('recal', path), "Did you mean 'recall'"),
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

  monkeypatch.setattr(evaluation_sets, '_write_checksums', fail)
  with pytest.raises(OSError, match='No space'):
    frozen.freeze('recall', str(tmp_path))
  assert not list(tmp_path.iterdir())


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


def test_what_is_not_complete_is_to_be_deleted(recall_copy):
  """Preparing it again says so too, and not only to prepare it again."""
  data_dir, folder = recall_copy
  (folder / 'checksums.json').unlink()
  for call in (frozen.freeze, frozen.verify_frozen):
    with pytest.raises(ValueError, match='is not complete.*Delete the folder'):
      call('recall', str(data_dir))


def test_what_a_killed_run_left_is_removed(recall_copy):
  """The next that prepares the same name removes it, and nothing else."""
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
  assert expected.sampled_checksums(name) == written['sha256'][name]


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
