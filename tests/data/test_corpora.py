"""Corpora as people have them: folders of anything, marks, links, bytes."""

import codecs
import os
import tracemalloc

import jax
import numpy as np
import pytest

from seqjax import testing
from seqjax.cli.train_config import Config
from seqjax.data.corpus import Skipped, read_corpus
from seqjax.data.files import files_of
from seqjax.tasks.text import Text

SENTENCE = 'the time machine, by one who was there. '


def whole(corpus):
  """Returns the text of all three parts."""
  return ''.join(
    corpus.vocabulary.decode(part.tokens) for part in corpus.parts.values()
  )


@pytest.fixture
def folder(tmp_path):
  """As a checkout of a project has it."""
  root, other = tmp_path / 'project', tmp_path / 'elsewhere'
  for made in (root / 'package', root / '.git', other):
    made.mkdir(parents=True)
  (root / 'a.py').write_text('a' * 50)
  (root / 'package' / '__init__.py').touch()
  (root / 'package' / 'b.py').write_bytes(codecs.BOM_UTF8 + b'b' * 50)
  (root / 'mark.txt').write_bytes(codecs.BOM_UTF8)
  (root / 'package' / 'logo.png').write_bytes(b'\x89PNG\r\n\x1a\n\x00\x00\xff')
  (root / 'package' / 'b.pyc').write_bytes(b'\xa7\r\r\n\x00\x00\x00')
  (root / 'latin.txt').write_bytes('café au lait'.encode('latin-1'))
  (root / '.git' / 'HEAD').write_text('hidden')
  (other / 'c.py').write_text('c' * 50)
  os.symlink(other, root / 'linked', target_is_directory=True)
  os.symlink(root, other / 'loop', target_is_directory=True)
  return root


def test_a_folder_is_read_as_it_is(folder):
  """Empty and hidden files are left out, binaries counted, links followed."""
  with pytest.warns(Skipped, match=r'3 of the 8 files .* for example .*latin'):
    corpus = read_corpus(str(folder), 'character', '')
  assert whole(corpus) == 'a' * 50 + 'c' * 50 + 'b' * 50
  starts = np.concatenate([part.starts for part in corpus.parts.values()])
  assert np.flatnonzero(starts).tolist() == [50, 100]


def test_bytes_are_bytes(folder):
  """Latin-1 too; a picture in a folder of texts is none."""
  with pytest.warns(Skipped, match='2 of the 8 files'):
    corpus = read_corpus(str(folder), 'byte', '')
  tokens = np.concatenate([part.tokens for part in corpus.parts.values()])
  assert tokens.tobytes() == (
    b'a' * 50 + 'café au lait'.encode('latin-1') + b'c' * 50 + b'b' * 50
  )
  picture = str(folder / 'package' / 'logo.png')
  tokens = read_corpus(picture, 'byte', '').parts['train'].tokens
  assert tokens.tobytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('include', ['*.py', 'package/*.py', 'b.*y'])
def test_a_pattern_says_which_files(folder, include):
  """Of names, or of paths below the folder."""
  found = {path.name for path in files_of(folder, include)}
  expected = {'*.py': {'a.py', 'b.py', 'c.py', '__init__.py'}}
  assert found == expected.get(
    include, {'b.py', '__init__.py'} if '/' in include else {'b.py'}
  )
  task = Text(str(folder), include=include, length=4)
  assert task.input.vocab == (4 if include == '*.py' else 2)


def test_a_folder_without_text_is_refused(folder):
  """Also where nothing fits the pattern."""
  with pytest.raises(ValueError, match='Each of the 1 files'):
    read_corpus(str(folder), 'character', '', '*.png')
  with pytest.raises(FileNotFoundError, match=r"of the pattern '\*.md'"):
    read_corpus(str(folder), 'character', '', '*.md')


@pytest.mark.parametrize('level', ['character', 'byte'])
def test_the_byte_order_mark_is_no_token(tmp_path, level):
  """A file that a Windows editor wrote is the text that was typed."""
  path = tmp_path / 'notes.txt'
  path.write_bytes(codecs.BOM_UTF8 + b'abc' * 40)
  corpus = read_corpus(str(path), level, '')
  assert whole(corpus) == 'abc' * 40
  path.write_bytes(codecs.BOM_UTF8)
  read_corpus.cache_clear()
  with pytest.raises(ValueError, match='empty but for its byte order mark'):
    read_corpus(str(path), level, '')


@pytest.mark.parametrize(
  'text', [SENTENCE, 'где стол был яств, там гроб стоит ', SENTENCE + '😀']
)
@pytest.mark.parametrize('level', ['character', 'byte'])
def test_a_text_takes_less_than_six_times_its_size(tmp_path, text, level):
  """While it is read; one wide character does not widen all others."""
  path = tmp_path / 'notes.txt'
  content = text.encode() * (2**25 // len(text.encode()))
  path.write_bytes(content)
  tracemalloc.start()
  corpus = read_corpus(str(path), level, '')
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 6 * len(content)
  part = corpus.parts['train']
  expected = content.decode()[: len(part.tokens)]
  if level == 'character':
    assert corpus.vocabulary.decode(part.tokens[-1000:]) == expected[-1000:]


def test_a_corpus_is_named_once():
  """By a flag or among the options of the task, or one would be ignored."""
  with pytest.raises(ValueError, match='corpus was given twice.*--corpus=A'):
    Config(task='text', corpus='A', task_options='length=9,corpus=B')
  with pytest.raises(ValueError, match='data_dir was given twice'):
    Config(task='text', data_dir='A', task_options='data_dir=B')


@pytest.mark.parametrize('name', ['tokens.npy', 'tokens.bin'])
def test_a_file_of_tokens_is_a_corpus(tmp_path, name):
  """Of any tokenizer; a .bin file says nothing of its type."""
  tokens = np.random.default_rng(0).integers(0, 20, 20000).astype(np.uint16)
  path = tmp_path / name
  if name.endswith('npy'):
    np.save(path, tokens)
  else:
    tokens.tofile(path)
  task = Text(str(path), level='token', length=16)
  assert task.input.vocab == tokens.max() + 1
  batch = task.batch(jax.random.key(0), 0, 4)
  assert batch.weights.all() and batch.targets.dtype == np.int32
  row = batch.inputs[0]
  places = np.flatnonzero(tokens[:18000] == row[0])
  assert any((tokens[at : at + 16] == row).all() for at in places)
  assert task.decode(task.encode('3 1 4')) == '3 1 4'
  counts = np.bincount(tokens[:18000])
  shares = counts[counts > 0] / 18000
  assert task.chance == pytest.approx(-shares @ np.log2(shares))
  testing.assert_task_contract(task, batches=4)


@pytest.mark.parametrize(
  'write, options, message',
  [
    (lambda path: path.write_bytes(b'abc'), {}, '3 bytes, which are no row'),
    (lambda path: path.write_bytes(b''), {}, '0 bytes, which are no row'),
    (lambda path: path.write_bytes(b'ab'), {'token_dtype': 'x9'}, "'x9' is no"),
    (
      lambda path: np.array([1, -2]).tofile(path),
      {'token_dtype': 'int64'},
      'tokens from 0 on',
    ),
  ],
)
def test_bad_files_of_tokens_are_refused(tmp_path, write, options, message):
  """With the name of the file."""
  path = tmp_path / 'tokens.bin'
  write(path)
  with pytest.raises(ValueError, match=message):
    _ = Text(str(path), level='token', **options).input
