"""Parameters go to safetensors and come back bit by bit."""

import json

import jax
import numpy as np
import pytest

import seqjax
from seqjax.cli import export, trained
from seqjax.results import tensors
from tests.cli import saved

safetensors = pytest.importorskip('safetensors.numpy')


def exported(tmp_path, **options):
  saved.save(tmp_path / 'run', **options)
  path = tmp_path / 'model.safetensors'
  export.run(export.Config(to=str(path)), str(tmp_path / 'run'))
  return path


@pytest.mark.parametrize('mixer', ['lstm', 'attention', 'mamba2'])
def test_a_model_comes_back_from_its_file_alone(mixer, tmp_path, capsys):
  """Config, task, model and parameters, without the folder of the run."""
  path = exported(tmp_path, mixer=mixer, task='parity')
  run = trained.load_trained(tmp_path / 'run', 'newest')
  (tmp_path / 'run').rename(tmp_path / 'gone')
  back = seqjax.load_run(path)
  assert (back.config, back.task, back.model, back.step) == (
    run.config, run.task, run.model, 0,
  )  # fmt: skip
  assert jax.tree.structure(back.params) == jax.tree.structure(run.params)
  for a, b in zip(
    *map(jax.tree.leaves, (back.params, run.params)), strict=True
  ):
    assert a.dtype == b.dtype and np.array_equal(a, b)
  count = sum(x.size for x in jax.tree.leaves(run.params))
  assert (
    f'{count} parameters of step 0 are in {path}.' in capsys.readouterr().out
  )


def test_any_program_reads_the_tensors_by_documented_names(tmp_path):
  """Paths joined by dots, as NumPy arrays."""
  path = exported(tmp_path, mixer='gru', task='parity')
  run = trained.load_trained(tmp_path / 'run', 'newest')
  found = safetensors.load_file(path)
  for keys, leaf in jax.tree_util.tree_flatten_with_path(run.params)[0]:
    name = '.'.join(key.key for key in keys)
    np.testing.assert_array_equal(found.pop(name), leaf)
  assert not found


def test_a_language_model_needs_no_corpus_to_be_read(tmp_path):
  """The vocabulary is in the header."""
  corpus = tmp_path / 'notes.txt'
  corpus.write_text('once more, from where we were; ' * 1000)
  path = exported(tmp_path, task='text', corpus=str(corpus), mixer='gru')
  corpus.unlink()
  run = seqjax.load_run(path)
  assert run.task.decode(run.task.encode('more?')) == 'more\ufffd'
  tokens = run.task.encode('once more')[None]
  logits = run.model.apply(run.variables, tokens)
  assert logits.shape == (1, 9, run.task.output.vocab)


def test_half_precision_survives(tmp_path):
  """As it is in the state."""
  params = {'a': {'b': jax.numpy.arange(6, dtype='bfloat16').reshape(2, 3)}}
  tensors.write(params, {'x': 'y'}, tmp_path / 'a.safetensors')
  back, header = tensors.read(tmp_path / 'a.safetensors')
  assert header['x'] == 'y' and back['a']['b'].dtype == 'bfloat16'
  np.testing.assert_array_equal(back['a']['b'], params['a']['b'])


@pytest.mark.parametrize('content', [b'\x00\x00\xc0\x3f', b'lstm'])
def test_a_byte_that_has_changed_is_found(content, tmp_path):
  """In a number, or in a text of the header, which still can be read."""
  path = tmp_path / 'a.safetensors'
  tensors.write({'a': np.float32([1.5, 2])}, {'mixer': 'lstm'}, path)
  back, header = tensors.read(path)
  assert back['a'].tolist() == [1.5, 2] and header == {'mixer': 'lstm'}
  written = path.read_bytes()
  assert written.count(content) == 1
  for place in range(len(content)):
    damaged = bytearray(written)
    damaged[written.index(content) + place] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match='is damaged: .*checksum.* again'):
      tensors.read(path)


def test_a_file_without_a_checksum_is_read(tmp_path):
  """Other programs write none."""
  path = tmp_path / 'a.safetensors'
  safetensors.save_file({'a.b': np.ones(2)}, path, {'x': 'y'})
  back, header = tensors.read(path)
  assert back['a']['b'].tolist() == [1, 1] and header == {'x': 'y'}


def test_a_name_with_a_dot_is_refused(tmp_path):
  """It could not be told from a path."""
  with pytest.raises(ValueError, match='hold no dot'):
    tensors.write({'a.b': np.ones(2)}, {}, tmp_path / 'a.safetensors')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('to', ['', 'model.npz', 'none/model.safetensors'])
def test_a_path_that_cannot_be_written_is_told_at_once(
  to, tmp_path, monkeypatch
):
  """Before the run is read."""
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match='a name that ends in .safetensors, but'):
    export.run(export.Config(to=to), 'nowhere')


def test_a_file_that_cannot_be_read_is_told(tmp_path):
  """That is not there, is damaged, or is another program's."""
  path = tmp_path / 'a.safetensors'
  with pytest.raises(ValueError, match='There is no file'):
    seqjax.load_run(path)
  path.write_bytes(b'\xff' * 100)
  with pytest.raises(ValueError, match='no file of tensors, or it is damaged'):
    seqjax.load_run(path)
  for header in ({}, {'config': '[1]', 'fitted': '{}', 'step': '0'}):
    tensors.write({'a': np.ones(2)}, header, path)
    with pytest.raises(ValueError, match='not written by this version of'):
      seqjax.load_run(path)
  good = {'config': json.dumps({'fetures': 8}), 'fitted': '{}', 'step': '0'}
  tensors.write({'a': np.ones(2)}, good, path)
  with pytest.raises(ValueError, match='gives its parameters alone'):
    seqjax.load_run(path)
