"""Images: their pixels in a row, their splits, and the files they are in."""

import gzip
import os
import pickle

import jax
import numpy as np
import pytest

from seqjax import testing
from seqjax.data.labelled_images import read_images
from seqjax.tasks import TASKS
from seqjax.tasks.images import PixelSequence, PixelVector

KEY = jax.random.key(0)


def idx(array) -> bytes:
  """An array of bytes as an IDX file."""
  array = np.asarray(array, np.uint8)
  sizes = np.array(array.shape, '>i4').tobytes()
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder, which, count, seed=0, packed=True):
  """Random images of 28 x 28 in the files of MNIST."""
  rng = np.random.default_rng(seed)
  pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
  labels = np.arange(count) % 10
  for name, array in {'images-idx3': pixels, 'labels-idx1': labels}.items():
    path = folder / f'{which}-{name}-ubyte{".gz" if packed else ""}'
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
  return pixels, labels


def test_digits_are_read_line_by_line():
  """64 values between 0 and 1; a row of the image is 8 in a row."""
  load_digits = pytest.importorskip('sklearn.datasets').load_digits
  digits = load_digits()
  known = {
    (row / 16).astype(np.float32).tobytes(): label
    for row, label in zip(digits.data, digits.target, strict=True)
  }
  batch = PixelSequence().batch(KEY, 0, 64)
  assert batch.inputs.shape == (64, 64) and batch.inputs.max() == 1
  for inputs, label in zip(batch.inputs, batch.targets, strict=True):
    assert known[inputs.tobytes()] == label
  vectors = PixelVector().batch(KEY, 0, 64)
  np.testing.assert_array_equal(vectors.inputs[:, 0], batch.inputs)
  np.testing.assert_array_equal(vectors.targets, batch.targets)


def test_an_epoch_shows_every_digit_once():
  """1,437 for training; then another order."""
  pytest.importorskip('sklearn')
  first, second = (
    PixelSequence().batch(KEY, step, 1437).inputs for step in (0, 1)
  )
  assert len(np.unique(first, axis=0)) == len(np.unique(second, axis=0))
  assert not np.array_equal(first, second)
  np.testing.assert_array_equal(
    np.unique(first, axis=0), np.unique(second, axis=0)
  )


@pytest.mark.parametrize('task', [PixelSequence(), PixelVector()])
def test_digits_keep_the_contract(task):
  """Chance is the share of the training split's most frequent digit."""
  pytest.importorskip('sklearn')
  assert 0.1 < task.chance < 0.11
  testing.assert_task_contract(task)


def test_other_images_have_another_fingerprint(tmp_path):
  """In another folder the same ones have the same."""
  found = []
  for i, seed in enumerate((0, 0, 1)):
    folder = tmp_path / str(i)
    folder.mkdir()
    write_idx(folder, 't10k', 20, seed)
    found.append(PixelVector('mnist', str(folder)).fingerprint)
  assert found[0] == found[1] != found[2]


def test_a_permutation_is_the_same_for_all_images(tmp_path):
  """The positions of one image, in an order that no image changes."""
  write_idx(tmp_path, 't10k', 100)
  straight, permuted = (
    PixelSequence('mnist', permuted, str(tmp_path)).batch(KEY, 0, 32).inputs
    for permuted in (False, True)
  )
  order = [
    int(np.flatnonzero((straight == column[:, None]).all(axis=0))[0])
    for column in permuted.T
  ]
  assert sorted(order) == list(range(784)) and order != sorted(order)
  np.testing.assert_array_equal(straight[:, order], permuted)


def test_test_files_alone_are_cut_in_three(tmp_path):
  """8 : 1 : 1, packed or not."""
  pixels, _ = write_idx(tmp_path, 't10k', 100, packed=False)
  task = PixelSequence('mnist', data_dir=str(tmp_path))
  scaled = pixels.reshape(100, 784) / np.float32(255)
  for split, part in {
    'train': scaled[:80], 'validation': scaled[80:90], 'test': scaled[90:]
  }.items():  # fmt: skip
    drawn = task.batch(KEY, 0, len(part), split).inputs
    np.testing.assert_array_equal(
      np.unique(drawn, axis=0), np.unique(part, axis=0)
    )


def test_training_files_keep_the_test_files_for_testing(tmp_path):
  """A twelfth of the former is for validation: 5,000 of 60,000."""
  train, _ = write_idx(tmp_path, 'train', 120)
  test, _ = write_idx(tmp_path, 't10k', 20, seed=1)
  task = PixelSequence('mnist', data_dir=str(tmp_path))
  assert len(np.unique(task.batch(KEY, 0, 110).inputs, axis=0)) == 110
  drawn = task.batch(KEY, 0, 20, 'test').inputs
  np.testing.assert_array_equal(
    np.unique(drawn, axis=0),
    np.unique(test.reshape(20, 784) / np.float32(255), axis=0),
  )


@pytest.mark.skipif(
  'SEQJAX_DATA' not in os.environ, reason='SEQJAX_DATA names no folder'
)
def test_mnist_keeps_the_contract():
  """Of 10,000 images, 8,000 are for training."""
  task = PixelSequence('mnist', data_dir=os.environ['SEQJAX_DATA'])
  assert 0.1 < task.chance < 0.12
  testing.assert_task_contract(task)


def test_mnist_and_cifar10_as_tfds_prepares_them(write_images):
  """Both keep the contract; colours stand at one position."""
  counts = {'train': 240, 'test': 30}
  data_dir = write_images('mnist', '3.0.1', (28, 28), counts)
  write_images('cifar10', '3.0.2', (32, 32, 3), counts)
  mnist = PixelSequence('mnist', data_dir=data_dir)
  cifar10 = PixelSequence('cifar10', data_dir=data_dir)
  assert mnist.batch(KEY, 0, 4).inputs.shape == (4, 784)
  assert cifar10.batch(KEY, 0, 4).inputs.shape == (4, 1024, 3)
  permuted = TASKS['permuted_mnist'](data_dir=data_dir)
  for task in (mnist, permuted, cifar10):
    testing.assert_task_contract(task, batches=4)


def test_images_that_are_not_here_say_what_to_put_where(tmp_path):
  """At the first batch, within a moment; making the task needs no data."""
  mnist = PixelSequence('mnist', data_dir=str(tmp_path))
  with pytest.raises(FileNotFoundError) as caught:
    mnist.batch(KEY, 0, 4)
  for said in ('--prepare=mnist', f'{tmp_path}/t10k-images-idx3-ubyte'):
    assert said in str(caught.value)
  with pytest.raises(FileNotFoundError, match='--prepare=cifar10'):
    PixelSequence('cifar10', data_dir=str(tmp_path)).batch(KEY, 0, 4)


def test_the_permutation_is_the_same_for_ever(write_images):
  """As it was drawn when it was first written down."""
  counts = {'train': 24, 'test': 2}
  data_dir = write_images('mnist', '3.0.1', (28, 28), counts)
  task = PixelSequence('mnist', permuted=True, data_dir=data_dir)
  order = task._arrange(np.arange(784).reshape(1, 28, 28))[0]
  np.testing.assert_array_equal(
    order[:8], [693, 85, 647, 392, 765, 14, 299, 711]
  )


def damage(folder, name, change):
  path = folder / name
  path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize('name, change, message', [
  ('images-idx3', lambda b: b[:-5],
   r'should hold \[20, 28, 28\] values from byte 16 to byte 15696, but ends at '
   r'byte 15691'),
  ('images-idx3', lambda b: b'nonsense', 'no IDX file.*with 6e 6f 6e 73'),
  ('images-idx3', lambda b: b[:7], 'no IDX file'),
  ('labels-idx1', lambda b: idx(np.arange(7)), 'each of the 7 labels'),
  ('labels-idx1', lambda b: b'', 'labels-idx1-ubyte is empty'),
  ('labels-idx1', lambda b: b[:13] + b'\x0b' + b[14:],
   'labels-idx1-ubyte should hold labels below 10, but byte 13 is 11'),
])  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path, name, change, message):
  """Which file, and where it ends or what it begins with."""
  write_idx(tmp_path, 't10k', 20, packed=False)
  damage(tmp_path, f't10k-{name}-ubyte', change)
  with pytest.raises(ValueError, match=message):
    PixelSequence('mnist', data_dir=str(tmp_path)).batch(KEY, 0, 4)


@pytest.mark.parametrize('count', [0, 5])
def test_too_few_images_are_one_sentence(tmp_path, count):
  """Which file, and how many are needed."""
  write_idx(tmp_path, 't10k', count)
  with pytest.raises(ValueError, match=f'holds {count} images.*least 10 are'):
    PixelSequence('mnist', data_dir=str(tmp_path)).batch(KEY, 0, 4)


def test_a_packed_file_that_ends_too_early(tmp_path):
  """As a download that was interrupted leaves it."""
  write_idx(tmp_path, 't10k', 20)
  damage(tmp_path, 't10k-images-idx3-ubyte.gz', lambda b: b[: len(b) // 2])
  with pytest.raises(ValueError, match='no complete gzip file'):
    PixelSequence('mnist', data_dir=str(tmp_path)).batch(KEY, 0, 4)


def test_an_unknown_source_is_refused_at_construction():
  """With what there is."""
  with pytest.raises(ValueError, match="'minst'. Did you mean 'mnist'"):
    PixelSequence('minst')


@pytest.mark.parametrize(
  'below, rename',
  [
    ('MNIST/raw', lambda name: name),
    ('.', lambda name: name.replace('-idx', '.idx')),
    ('mnist', lambda name: name.replace('-idx', '.idx')),
  ],
)
def test_files_of_other_libraries_are_found(tmp_path, below, rename):
  """As torchvision and the archives on the web call them."""
  folder = tmp_path / below
  folder.mkdir(parents=True, exist_ok=True)
  pixels, _ = write_idx(folder, 't10k', 20, packed=False)
  for path in list(folder.iterdir()):
    path.rename(folder / rename(path.name))
  task = PixelSequence('mnist', data_dir=str(tmp_path))
  drawn = task.batch(KEY, 0, 16).inputs
  np.testing.assert_array_equal(
    np.unique(drawn, axis=0),
    np.unique(pixels.reshape(20, 784)[:16] / np.float32(255), axis=0),
  )


def test_the_file_of_keras_is_read(tmp_path):
  """mnist.npz; another file of that name is refused."""
  rng = np.random.default_rng(0)
  arrays = {}
  for name, count in {'train': 24, 'test': 4}.items():
    arrays[f'x_{name}'] = rng.integers(0, 256, (count, 28, 28), np.uint8)
    arrays[f'y_{name}'] = (np.arange(count) % 10).astype(np.uint8)
  np.savez(tmp_path / 'mnist.npz', **arrays)
  task = PixelSequence('mnist', data_dir=str(tmp_path))
  batch = task.batch(KEY, 0, 4, 'test')
  assert sorted(batch.targets) == [0, 1, 2, 3]
  assert len(np.unique(task.batch(KEY, 0, 22).inputs, axis=0)) == 22
  folder = tmp_path / 'other'
  folder.mkdir()
  np.savez(folder / 'mnist.npz', x=1)
  with pytest.raises(ValueError, match='should hold the arrays x_train'):
    PixelSequence('mnist', data_dir=str(folder)).batch(KEY, 0, 4)


class Harmful:
  """An object that would run a command where it is loaded."""

  def __reduce__(self):
    return os.system, ('true',)


@pytest.mark.parametrize('kind', ['bin', 'py'])
def test_the_folders_of_cifar10_are_read(tmp_path, kind):
  """Colour after colour; a file for Python may hold nothing but arrays."""
  rng = np.random.default_rng(0)
  folder = tmp_path / f'cifar-10-batches-{kind}'
  folder.mkdir()
  names = [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']
  for name in names:
    pixels = rng.integers(0, 256, (4, 3072), np.uint8)
    labels = np.arange(4, dtype=np.uint8)
    if kind == 'py':
      content = {b'data': pixels, b'labels': labels.tolist()}
      (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    else:
      records = np.concatenate([labels[:, None], pixels], axis=1)
      records.tofile(folder / f'{name}.bin')
  task = PixelSequence('cifar10', data_dir=str(tmp_path))
  batch = task.batch(KEY, 0, 4, 'test')
  expected = pixels.reshape(4, 3, 1024).transpose(0, 2, 1)[batch.targets]
  np.testing.assert_array_equal(batch.inputs, expected / np.float32(255))
  path = folder / ('test_batch' if kind == 'py' else 'test_batch.bin')
  for content, message in (
    (b'nonsense', 'no batch of CIFAR-10|records of 3073 bytes'),
    (pickle.dumps(Harmful()), 'asks for|records of 3073 bytes'),
  ):
    path.write_bytes(content)
    read_images.cache_clear()
    with pytest.raises(ValueError, match=message):
      task.batch(KEY, 0, 4)
