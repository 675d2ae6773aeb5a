"""Long Range Arena: its files, made here in the layout of the release."""

import itertools
import pathlib
import shutil

import jax
import numpy as np
import pytest

from seqjax import testing
from seqjax.data import long_range_arena
from seqjax.data import pathfinder as images
from seqjax.data.tables import read_table
from seqjax.tasks import TASKS
from seqjax.tasks.long_range_arena import (
  ListOpsTexts,
  Papers,
  Pathfinder,
  Reviews,
)

KEY = jax.random.key(0)
IMAGES = 40


@pytest.fixture(autouse=True)
def read_anew():
  """Forgets what was read: tests write other files in its place."""
  for read in (
    long_range_arena.read_listops,
    long_range_arena.read_papers,
    long_range_arena.read_reviews,
    images.find_images,
  ):
    read.cache_clear()


def operation(rng, depth=2):
  """(text, value) of an operation, as Long Range Arena writes them."""
  arguments = [
    operation(rng, depth - 1)
    if depth > 1 and rng.random() < 0.5
    else (str(digit), int(digit))
    for digit in rng.integers(0, 10, rng.integers(2, 5))
  ]
  texts, values = zip(*arguments, strict=True)
  name = rng.choice(['[MIN', '[MAX', '[MED', '[SM'])
  apply = {'[MIN': min, '[MAX': max, '[SM': lambda x: sum(x) % 10}
  value = apply.get(name, lambda x: int(np.median(x)))(values)
  text = name
  for argument in texts:
    text = f'( {text} {argument} )'
  return f'( {text} ] )', value


def write_listops(folder, counts=(60, 8, 8)):
  """Writes basic_train.tsv and its siblings, as Python's csv ends lines."""
  rng, written = np.random.default_rng(0), {}
  for name, count in zip(('train', 'val', 'test'), counts, strict=True):
    rows = [operation(rng) for _ in range(count)]
    lines = ['Source\tTarget', *(f'{text}\t{value}' for text, value in rows)]
    path = folder / f'basic_{name}.tsv'
    path.write_bytes('\r\n'.join([*lines, '']).encode())
    written[name] = rows
  return written


def write_papers(folder, counts=(40, 8, 8)):
  """Writes new_aan_pairs.train.tsv and its siblings: quotes are text."""
  rows = [
    (i % 2, f'P{i}', f'Q{i}', f'"paper" {i} cites', f'papér {i * i}')
    for i in range(sum(counts))
  ]
  left = iter(rows)
  for name, count in zip(('train', 'eval', 'test'), counts, strict=True):
    lines = [
      '\t'.join([f'{label:.1f}', *texts])
      for label, *texts in itertools.islice(left, count)
    ]
    (folder / f'new_aan_pairs.{name}.tsv').write_text('\n'.join(lines))
  return rows


def write_reviews(folder, count=40):
  """Writes the folders of the archive aclImdb."""
  for split, label in itertools.product(('train', 'test'), ('neg', 'pos')):
    (folder / split / label).mkdir(parents=True)
    for i in range(count):
      path = folder / split / label / f'{i}_{i % 10}.txt'
      path.write_text(f'{split} {label} {i}: ' + 'so ' * (i % 7))


def write_images(folder, resolution=32, seed=0):
  """Writes imgs/ and metadata/ of the three levels of difficulty."""
  image = pytest.importorskip('PIL.Image')
  rng, pixels = np.random.default_rng(seed), {}
  for level in images.DIFFICULTIES.values():
    (folder / level / 'metadata').mkdir(parents=True)
    for part in (10, 9):
      (folder / level / f'imgs/{part}').mkdir(parents=True)
      lines = []
      for i in range(IMAGES // 2):
        array = rng.integers(0, 256, (resolution, resolution), np.uint8)
        name, label = f'sample_{i}.png', (i + part) % 2
        image.fromarray(array).save(folder / level / f'imgs/{part}/{name}')
        lines.append(f'imgs/{part} {name} {i} {label} 1.8 6 2 1.2')
        pixels[level, part, i] = array, label
      path = folder / level / 'metadata' / f'{part}.npy'
      path.write_text('\n'.join([*lines, '']))
  return pixels


@pytest.mark.parametrize(
  'below', ['', 'listops-1000', 'lra_release/listops-1000']
)
def test_operations_become_the_tokens_of_listops(tmp_path, below):
  """Round brackets left out, padded at the end; values are the targets."""
  (tmp_path / below).mkdir(parents=True, exist_ok=True)
  written = write_listops(tmp_path / below)
  task = ListOpsTexts(length=40, data_dir=str(tmp_path))
  names = [*'0123456789', '[MIN', '[MAX', '[MED', '[SM', ']']
  known = {
    tuple(text.replace('(', '').replace(')', '').split()[:40]): value
    for text, value in written['val']
  }
  batch = task.batch(KEY, 0, 8, 'validation')
  found = {}
  for tokens, valid, target in zip(
    batch.inputs, batch.segments.valid, batch.targets, strict=True
  ):
    size = int(valid.sum())
    assert valid[:size].all() and not tokens[size:].any()
    found[tuple(names[token] for token in tokens[:size])] = int(target)
  assert found == known
  assert task.input == TASKS['listops']().input
  assert task.output == TASKS['listops']().output


def test_listops_solves_the_texts_of_the_release(tmp_path):
  """The task that samples them has the same tokens and values."""
  write_listops(tmp_path)
  batch = ListOpsTexts(length=64, data_dir=str(tmp_path)).batch(KEY, 0, 60)
  solved = TASKS['listops'](length=64).solve(batch)
  np.testing.assert_array_equal(solved, batch.targets)


def test_two_papers_stand_in_one_row(tmp_path):
  """The same number of bytes of each, with a token between them."""
  folder = tmp_path / 'tsv_data'
  folder.mkdir()
  rows = write_papers(folder)
  task = Papers(length=25, data_dir=str(tmp_path))
  batch = task.batch(KEY, 0, 40)
  known = {
    (first.encode()[:12], second.encode()[:12]): label
    for label, _, _, first, second in rows[:40]
  }
  for tokens, valid, target in zip(
    batch.inputs.tolist(), batch.segments.valid, batch.targets, strict=True
  ):
    tokens = tokens[: int(valid.sum())]
    at = tokens.index(256)
    assert known[bytes(tokens[:at]), bytes(tokens[at + 1 :])] == target
  assert task.chance == 0.5


def test_reviews_are_read_from_the_archive_or_from_tfds(
  tmp_path, write_prepared
):
  """Both classes in every split; a tenth of the training ones held out."""
  write_reviews(tmp_path / 'aclImdb')
  task = Reviews(length=64, data_dir=str(tmp_path))
  split_of = {}
  for split, count in {'train': 72, 'validation': 8, 'test': 80}.items():
    batch = task.batch(KEY, 0, count, split)
    for tokens, valid, target in zip(
      batch.inputs, batch.segments.valid, batch.targets, strict=True
    ):
      text = bytes(tokens[valid].tolist()).decode()
      folder, label, *_ = text.split()
      assert (label == 'pos') == target
      assert folder == ('test' if split == 'test' else 'train')
      split_of[text] = split
    assert set(batch.targets) == {0, 1}
  assert len(split_of) == 160
  examples = {
    split: [{'text': f'{split} {i}', 'label': i % 2} for i in range(40)]
    for split in ('train', 'test')
  }
  data_dir = write_prepared(
    'imdb_reviews',
    '1.0.0',
    lambda kinds: {
      'text': kinds.Text(),
      'label': kinds.ClassLabel(num_classes=2),
    },
    examples,
  )
  folder = pathlib.Path(data_dir, 'imdb_reviews')
  (folder / 'plain_text').mkdir()
  (folder / '1.0.0').rename(folder / 'plain_text/1.0.0')  # as TFDS has it
  read_anew.__wrapped__()
  batch = Reviews(length=16, data_dir=str(data_dir)).batch(KEY, 0, 36)
  for tokens, target in zip(batch.inputs, batch.targets, strict=True):
    name, number = bytes(tokens[tokens > 0].tolist()).decode().split()
    assert name == 'train' and int(number) % 2 == target


@pytest.mark.parametrize('resolution', [32, 64])
def test_images_are_read_line_by_line(tmp_path, resolution):
  """In the order of the numbers of the files: 9 comes before 10."""
  pixels = write_images(tmp_path / f'pathfinder{resolution}', resolution)
  for difficulty, level in images.DIFFICULTIES.items():
    task = Pathfinder(resolution, difficulty, str(tmp_path))
    batch = task.batch(KEY, 0, 4, 'test')
    assert batch.inputs.shape == (4, resolution**2)
    known = {
      (array.reshape(-1) / np.float32(255)).tobytes(): label
      for (of, part, i), (array, label) in pixels.items()
      if of == level and part == 10 and i >= 16
    }
    found = {
      row.tobytes(): label
      for row, label in zip(batch.inputs, batch.targets, strict=True)
    }
    assert found == known
  assert (
    task.fingerprint
    != Pathfinder(resolution, 'easy', str(tmp_path)).fingerprint
  )


def test_metadata_may_be_arrays(tmp_path):
  """Of strings, as NumPy saves them; other arrays are refused."""
  write_images(tmp_path)
  task = Pathfinder(data_dir=str(tmp_path))
  before = task.batch(KEY, 0, 8)
  folder = tmp_path / 'curv_contour_length_14' / 'metadata'
  for path in list(folder.iterdir()):
    np.save(path, [line.split() for line in path.read_text().splitlines()])
  read_anew.__wrapped__()
  after = task.batch(KEY, 0, 8)
  np.testing.assert_array_equal(before.inputs, after.inputs)
  np.testing.assert_array_equal(before.targets, after.targets)
  np.save(path, np.zeros((3, 4)))
  read_anew.__wrapped__()
  with pytest.raises(ValueError, match='rows of strings, but holds float64'):
    task.batch(KEY, 0, 8)


@pytest.mark.parametrize('name', ['lra_listops', 'aan', 'imdb', 'pathfinder'])
def test_files_of_the_release_keep_the_contract(tmp_path, name):
  """Splits, shapes, weights and chance, on small files."""
  write = {
    'lra_listops': write_listops, 'aan': write_papers, 'imdb': write_reviews,
    'pathfinder': write_images,
  }  # fmt: skip
  write[name](tmp_path)
  options = {} if name == 'pathfinder' else {'length': 48}
  task = TASKS[name](data_dir=str(tmp_path), **options)
  testing.assert_task_contract(task, batches=4)


def test_empty_images_are_skipped_as_long_range_arena_does(tmp_path):
  """With a note that counts them."""
  write_images(tmp_path)
  (tmp_path / 'curv_contour_length_14/imgs/9/sample_3.png').write_bytes(b'')
  task = Pathfinder(data_dir=str(tmp_path))
  with pytest.warns(images.EmptyImages, match='1 of the 40 images'):
    task.batch(KEY, 0, 2)
  sizes = [len(part.labels) for part in task._read().values()]
  assert sum(sizes) == IMAGES - 1


def change(path, function):
  path.write_bytes(function(path.read_bytes()))


@pytest.mark.parametrize('name, edit, message', [
  ('basic_val.tsv', lambda b: b.replace(b'\t', b' ', 1),
   r'basic_val.tsv should have 2 fields .*but line 1 has 1\.'),
  ('basic_val.tsv', lambda b: b.replace(b'\r\n(', b'\r\n\t(', 1),
   r'basic_val.tsv should have 2 fields .*but line 2 has 3\.'),
  ('basic_val.tsv', lambda b: b.replace(b'Source', b'Text'),
   "begin with the columns Source, Target, but begins with 'Text', 'Target'"),
  ('basic_val.tsv', lambda b: b'\xef\xbb\xbf' + b,
   r"Source, Target, but begins with '\\ufeffSource', 'Target'"),
  ('basic_val.tsv', lambda b: b + b'\t1\r\n',
   'basic_val.tsv should hold a text in each line, but line 10 has none'),
  ('basic_val.tsv', lambda b: b''.join(b.splitlines(True)[:1]), 'no example'),
  ('basic_val.tsv', lambda b: b'', 'basic_val.tsv is empty'),
  ('basic_test.tsv', lambda b: b.rstrip() + b'x\r\n',
   r"labels of 0\.\.9, but that of line 9 is '\dx'"),
  ('basic_test.tsv', lambda b: b.rstrip() + b'7\r\n',
   r"labels of 0\.\.9, but that of line 9 is '\d7'"),
  ('basic_train.tsv', lambda b: b.replace(b'[', b'[[', 1),
   r"'\[\[\w+' is no token of ListOps, whose tokens are 0 1"),
])  # fmt: skip
def test_a_damaged_table_is_one_sentence(tmp_path, name, edit, message):
  """Which file, and which line."""
  write_listops(tmp_path)
  change(tmp_path / name, edit)
  with pytest.raises(ValueError, match=message):
    ListOpsTexts(data_dir=str(tmp_path)).batch(KEY, 0, 60)


@pytest.mark.parametrize('edit, message', [
  (lambda b: b.replace(b' 1 1.8', b' 2 1.8', 1), 'label of 0 or 1, but line 1'),
  (lambda b: b.replace(b' ', b'', 3), r"but line 1 is 'imgs/9sample_0"),
  (lambda b: b'\xff\xfe', 'is not UTF-8 at byte 0'),
  (lambda b: b'\x93NUMPY\x01', '9.npy is no file of NumPy arrays'),
  (lambda b: b'', '9.npy is empty'),
])  # fmt: skip
def test_damaged_metadata_is_one_sentence(tmp_path, edit, message):
  """Which file, and which line."""
  write_images(tmp_path)
  change(tmp_path / 'curv_contour_length_14/metadata/9.npy', edit)
  with pytest.raises(ValueError, match=message):
    Pathfinder(data_dir=str(tmp_path)).batch(KEY, 0, 4)


def test_a_damaged_image_is_one_sentence(tmp_path):
  """No image, one that ends too early, one of another size, none at all."""
  pixels = write_images(tmp_path)
  level = tmp_path / 'curv_contour_length_14'
  (array, _) = pixels['curv_contour_length_14', 9, 0]
  path = level / 'imgs/9/sample_0.png'
  whole = path.read_bytes()
  image = pytest.importorskip('PIL.Image')
  for content, message in (
    (b'nonsense', 'sample_0.png is no image that can be read'),
    (whole[: len(whole) // 2], 'sample_0.png is no image that can be read'),
    (None, 'sample_0.png should have 32 x 32 pixels, but has 30 x 32'),
  ):
    if content is None:
      image.fromarray(array[:30]).save(path)
    else:
      path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
      Pathfinder(data_dir=str(tmp_path)).batch(KEY, 0, 32)
  path.unlink()
  read_anew.__wrapped__()
  with pytest.raises(FileNotFoundError, match='sample_0.png, which line 1 of'):
    Pathfinder(data_dir=str(tmp_path)).batch(KEY, 0, 32)


def test_what_is_not_there_says_what_to_put_where(tmp_path):
  """Folders that are missing, or incomplete."""
  for name, message in (
    (
      'lra_listops',
      f'no basic_train.tsv in the folder {tmp_path}.*lra_release',
    ),
    ('aan', f'no new_aan_pairs.train.tsv in the folder {tmp_path}'),
    ('imdb', 'neither imdb_reviews/plain_text/1.0.0, .* nor aclImdb'),
    ('pathfinder', 'no curv_contour_length_14 in .*pathfinder32.*lra_release'),
    ('pathx', 'no curv_contour_length_14 in .*pathfinder128'),
  ):
    with pytest.raises(FileNotFoundError, match=message):
      TASKS[name](data_dir=str(tmp_path)).batch(KEY, 0, 2)
  write_listops(tmp_path)
  (tmp_path / 'basic_test.tsv').unlink()
  with pytest.raises(FileNotFoundError, match='no file .*basic_test.tsv'):
    ListOpsTexts(data_dir=str(tmp_path)).batch(KEY, 0, 2)
  write_reviews(tmp_path / 'aclImdb', count=4)
  with pytest.raises(ValueError, match='8 reviews for training and 8 for test'):
    Reviews(data_dir=str(tmp_path)).batch(KEY, 0, 2)
  shutil.rmtree(tmp_path / 'aclImdb/test/neg')
  with pytest.raises(
    FileNotFoundError, match='no folder .*test/neg of reviews'
  ):
    Reviews(data_dir=str(tmp_path)).batch(KEY, 0, 2)
  write_images(tmp_path)
  shutil.rmtree(tmp_path / 'curv_contour_length_14/metadata')
  with pytest.raises(FileNotFoundError, match=r'metadata of files 0\.npy'):
    Pathfinder(data_dir=str(tmp_path)).batch(KEY, 0, 2)


def test_too_few_images_are_one_sentence(tmp_path):
  """Every split needs one."""
  write_images(tmp_path)
  folder = tmp_path / 'curv_contour_length_14/metadata'
  (folder / '10.npy').unlink()
  change(folder / '9.npy', lambda b: b''.join(b.splitlines(True)[:5]))
  with pytest.raises(ValueError, match='holds 5 images, but at least 10'):
    Pathfinder(data_dir=str(tmp_path)).batch(KEY, 0, 2)


def test_a_table_is_searched_in_parts(tmp_path, monkeypatch):
  """With the same lines, whatever their size; the last may have no end."""
  monkeypatch.setattr('seqjax.data.tables.AT_ONCE', 3)
  path = tmp_path / 'table.tsv'
  path.write_text('0\tab\tx\n1\t\ty\n2.0\tcde\t', encoding='utf-8')
  names = 'n', 't', 'u'
  table = read_table(path, names, names[1:], 'n', 3, header=False)
  texts = [[b'ab', b'x'], [b'', b'y'], [b'cde', b'']]
  assert [table.texts(i) for i in range(3)] == texts
  assert table.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize('kind, options, message', [
  (Pathfinder, {'resolution': 48}, '128 or 256 pixels, but resolution=48'),
  (Pathfinder, {'difficulty': 'hrad'}, "'hrad'. Did you mean 'hard'"),
  (Reviews, {'length': 2}, 'length of at least 3, but length=2'),
  (Papers, {'length': 0}, 'length of at least 3, but length=0'),
])  # fmt: skip
def test_bad_options_are_refused_at_construction(kind, options, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    kind(**options)
