"""Parameters of any model in a file: bit by bit back, or refused by name."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import seqjax
from seqjax.cli import export
from seqjax.models import Classifier, Seq2Seq, SequenceModel
from seqjax.nn import GRU, LSTM, Mamba2
from seqjax.results import tensors
from seqjax.typing import Spec
from tests.cli import saved

TOKENS = Spec((), 5)
GRUS = (GRU(4),)
MODELS = [
  (SequenceModel(TOKENS, TOKENS, (LSTM(4), Mamba2(4))), jnp.int32([[1, 2]])),
  (Classifier(Spec((3,)), Spec((), 2), GRUS), jnp.ones((1, 2, 3))),
  (
    Seq2Seq(TOKENS, TOKENS, GRUS, GRUS, attention='dot'),
    (jnp.int32([[1, 2]]), jnp.int32([[3]])),
  ),
  (GRU(4, param_dtype=jnp.bfloat16), jnp.ones((1, 2, 4))),
]
GRU_OF_4 = GRU(4)


@pytest.fixture
def path(tmp_path):
  pytest.importorskip('safetensors')
  return tmp_path / 'model.safetensors'


def params(**changed):
  """Parameters of GRU(4); None leaves one out."""
  found = GRU_OF_4.init(jax.random.key(0), jnp.ones((1, 1, 4)))['params']
  found = {**found, **changed}
  return {'params': {n: leaf for n, leaf in found.items() if leaf is not None}}


@pytest.mark.parametrize('model, x', MODELS, ids=lambda m: type(m).__name__)
def test_a_model_gets_its_parameters_back(model, x, path):
  """Structure, dtypes and bits; and so its outputs."""
  variables = jax.jit(model.init)(jax.random.key(0), x)
  seqjax.save_parameters(path, variables)
  back = seqjax.load_parameters(path, model)
  assert jax.tree.structure(back) == jax.tree.structure(variables)
  for ours, theirs in zip(
    *map(jax.tree.leaves, (back, variables)), strict=True
  ):
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
  apply = jax.jit(model.apply)
  np.testing.assert_array_equal(apply(back, x), apply(variables, x))


def test_a_module_of_others_is_initialised_with_inputs(path):
  """Its variables, frozen or not, have the names of Linen."""
  dense = nn.Dense(2)
  x = jnp.ones((1, 3))
  variables = nn.FrozenDict(dense.init(jax.random.key(0), x))
  seqjax.save_parameters(path, variables)
  assert tensors.described(path) == {
    'bias': 'float32 [2]',
    'kernel': 'float32 [3, 2]',
  }
  back = seqjax.load_parameters(path, dense, x)
  np.testing.assert_array_equal(dense.apply(back, x), dense.apply(variables, x))


def test_the_header_is_kept(path):
  """Beside a checksum, which is not shown."""
  seqjax.save_parameters(path, params(), {'task': 'parity', 'step': '100'})
  _, header = tensors.read(path)
  assert header == {'task': 'parity', 'step': '100'}
  seqjax.load_parameters(path, GRU_OF_4)


def test_an_exported_run_is_a_file_of_parameters(path, tmp_path):
  """For the model that the run has."""
  saved.save(tmp_path / 'run', mixer='gru', task='parity')
  export.run(export.Config(to=str(path)), str(tmp_path / 'run'))
  run = seqjax.load_run(path)
  back = seqjax.load_parameters(path, run.model)
  jax.tree.map(np.testing.assert_array_equal, back, run.variables)


@pytest.mark.parametrize(
  'variables, message',
  [
    (params(bias=None), r'bias is missing, and float32 \[12\] is expected\.'),
    (params(rate=np.ones(3, np.int32)), r'rate is unknown, and int32 \[3\] is'),
    (
      params(bias=np.ones(9, np.float32)),
      r'bias is float32 \[9\], but float32 \[12\] is expected\.',
    ),
    (
      params(bias=np.ones(12, np.float16)),
      r'bias is float16 \[12\], but float32 \[12\] is expected\.',
    ),
    (
      params(
        input=None, bias=np.ones(9, np.float32), a={'b': np.ones(2, bool)}
      ),
      r'input is missing.*; a.b is unknown, and bool \[2\].*; bias is float32',
    ),
  ],
)
def test_tensors_that_do_not_fit_are_named(variables, message, path):
  """With what the model has and what the file has."""
  seqjax.save_parameters(path, variables)
  with pytest.raises(ValueError, match=f'does not fit this GRU: .*{message}'):
    seqjax.load_parameters(path, GRU_OF_4)


def test_many_misfits_are_counted(path):
  """One sentence stays one."""
  model, x = MODELS[0]
  seqjax.save_parameters(path, model.init(jax.random.key(0), x))
  with pytest.raises(ValueError, match=r'recurrent is missing.*; and \d+ more'):
    seqjax.load_parameters(path, GRU_OF_4)


def test_64_bits_are_not_lost_unseen(path):
  """Neither when they are written nor when they are read."""
  safetensors = pytest.importorskip('safetensors.numpy')
  wide = params(bias=np.ones(12))
  with pytest.raises(ValueError, match='parameter bias is float64, of which'):
    seqjax.save_parameters(path, wide)
  assert not path.exists()
  arrays = {name: np.array(leaf) for name, leaf in wide['params'].items()}
  safetensors.save_file(arrays, path)
  with pytest.raises(
    ValueError, match=r'bias is float64 \[12\], but float32 \[12\]'
  ):
    seqjax.load_parameters(path, GRU_OF_4)
  with jax.enable_x64(True):
    wide = GRU(4, dtype=jnp.float64, param_dtype=jnp.float64)
    variables = wide.init(jax.random.key(0), jnp.ones((1, 1, 4)))
    seqjax.save_parameters(path, variables)
    back = seqjax.load_parameters(path, wide)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
  with pytest.raises(ValueError, match=r'bias is float64 \[12\], but float32'):
    seqjax.load_parameters(path, GRU_OF_4)


def test_what_is_not_a_models_parameters_is_refused(path, monkeypatch):
  """Other collections, headers of other things, and other paths."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
  with pytest.raises(ValueError, match=r"alone.* have \['batch_stats', 'par"):
    seqjax.save_parameters(path, {'params': {}, 'batch_stats': {}})
  with pytest.raises(ValueError, match=r"alone.*variables have \['bias'"):
    seqjax.save_parameters(path, params()['params'])
  with pytest.raises(ValueError, match="'step': 100 was given"):
    seqjax.save_parameters(path, params(), {'step': 100})
  with pytest.raises(ValueError, match="'sha256' in a header"):
    seqjax.save_parameters(path, params(), {'sha256': '0'})
  with pytest.raises(ValueError, match='ends in .safetensors, but'):
    seqjax.save_parameters(path.with_suffix('.npz'), params())
  assert not list(path.parent.iterdir())
  with pytest.raises(ValueError, match='There is no file'):
    seqjax.load_parameters(path, GRU_OF_4)
  norm, x = nn.BatchNorm(use_running_average=True), jnp.ones((1, 3))
  with pytest.raises(ValueError, match='variables of BatchNorm have'):
    seqjax.load_parameters(path, norm, x)


def test_a_damaged_file_is_refused(path):
  """In its header, and in a number."""
  seqjax.save_parameters(path, params())
  written = path.read_bytes()
  path.write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
  with pytest.raises(ValueError, match='does not have the checksum'):
    seqjax.load_parameters(path, GRU_OF_4)
  path.write_bytes(written[:20])
  with pytest.raises(ValueError, match='no file of tensors, or it is damaged'):
    seqjax.load_parameters(path, GRU_OF_4)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
  """When a file is written, and when one is read."""
  for name in ('safetensors', 'safetensors.flax'):
    monkeypatch.setitem(sys.modules, name, None)
  path = tmp_path / 'model.safetensors'
  for call in (
    lambda: seqjax.save_parameters(path, params()),
    lambda: seqjax.load_parameters(path, GRU_OF_4),
  ):
    with pytest.raises(
      ModuleNotFoundError, match=r"pip install '.\[export\]' installs it"
    ):
      call()
  assert not list(tmp_path.iterdir())
