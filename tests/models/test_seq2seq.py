"""Encoder and decoder: one step at a time, padding, and who can be which."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models.seq2seq import Seq2Seq
from seqjax.models.stack import Stack
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  NONCAUSAL_MIXERS,
  Attention,
  Bidirectional,
  Elman,
)
from seqjax.ops import segments as segments_lib
from seqjax.typing import Segments, Spec

SOURCE, TARGET = Spec((3,)), Spec((), 5)
MODELS = {
  'bottleneck': Seq2Seq(SOURCE, TARGET, (LSTM(8),), (LSTM(8),)),
  'additive': Seq2Seq(SOURCE, TARGET, (Elman(8),), (Elman(8),), 'additive'),
  'dot': Seq2Seq(
    SOURCE,
    TARGET,
    (Bidirectional(6, mixer=Elman(6)),),
    (Attention(8, 16), Elman(8)),
    'dot',
    expansion=0,
  ),
}


class Case:
  """A model, random parameters, and a batch of three pairs."""

  def __init__(self, name):
    self.model = MODELS[name]
    rng = np.random.default_rng(0)
    self.source = np.float32(rng.normal(size=(3, 6, 3)))
    self.target = rng.integers(5, size=(3, 5)).astype(np.int32)
    self.inputs = self.source, self.target
    key = jax.random.key(0)
    shapes = jax.eval_shape(self.model.init, key, self.inputs)
    self.variables = jax.tree.map(
      lambda leaf: np.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype),
      shapes,
    )
    self._apply = jax.jit(self.model.apply, static_argnames='method')

  def apply(self, *arguments, **method):
    return jax.tree.map(np.asarray, self._apply(*arguments, **method))


@pytest.fixture(scope='module', params=MODELS)
def case(request):
  return Case(request.param)


def test_step_by_step_equals_parallel(case):
  """The definition of a decoder is its step."""
  expected = case.apply(case.variables, case.inputs)

  @jax.jit
  def stepped(variables, source, target):
    carry = case.model.apply(variables, source, method='encode')

    def step(carry, x_t):
      return case.model.apply(variables, carry, x_t, method='step')

    _, y = jax.lax.scan(step, carry, target.T)
    return jnp.swapaxes(y, 0, 1)

  given = stepped(case.variables, *case.inputs)
  assert given.shape == (3, 5, 5)
  np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


def test_an_output_sees_the_source_and_no_later_target(case):
  """Changing the last two tokens changes the last two outputs alone."""
  other = case.target.copy()
  other[:, 3:] = (other[:, 3:] + 1) % 5
  before = case.apply(case.variables, case.inputs)
  after = case.apply(case.variables, (case.source, other))
  np.testing.assert_allclose(before[:, :3], after[:, :3], rtol=1e-5, atol=1e-6)
  assert np.all(np.any(before[:, 3:] != after[:, 3:], axis=-1))
  moved = case.apply(case.variables, (case.source + 1, case.target))
  assert np.all(np.abs(moved - before).max(axis=-1) > 1e-4)


def test_padding_of_either_side_changes_nothing(case):
  """Values and gradients, whatever it holds and wherever it stands."""
  source_valid = np.ones((3, 6), bool)
  source_valid[0, 4:], source_valid[1, [0, 3]] = False, False
  target_valid = np.ones((3, 5), bool)
  target_valid[0, [1, 4]] = False
  segments = tuple(
    Segments(np.zeros(valid.shape, bool), valid)
    for valid in (source_valid, target_valid)
  )

  @jax.jit
  def outputs(source, target):
    def total(variables, source):
      y = case.model.apply(variables, (source, target), segments)
      return jnp.sum(jnp.sin(y)), y

    return jax.grad(total, argnums=(0, 1), has_aux=True)(case.variables, source)

  nan = np.float32(np.nan)
  filled = np.where(source_valid[..., None], case.source, nan)
  (gradients, by_source), y = jax.tree.map(
    np.asarray, outputs(case.source, case.target)
  )
  given = outputs(filled, np.where(target_valid, case.target, np.int32(4)))
  jax.tree.map(
    np.testing.assert_array_equal, given, ((gradients, by_source), y)
  )
  assert not np.any(by_source[~source_valid]) and not np.any(y[~target_valid])
  carry = case.apply(case.variables, case.source[:1, :4], method='encode')
  kept = [0, 2, 3]
  _, alone = case.apply(
    case.variables, carry, case.target[:1, kept], method='unroll'
  )
  np.testing.assert_allclose(y[:1, kept], alone, rtol=1e-4, atol=1e-5)


def test_a_source_of_padding_is_no_source(case):
  """Finite outputs, and those of any other such source."""
  nothing = segments_lib.from_lengths(jnp.array([0, 0, 6]), 6)
  nan = case.source.copy()
  nan[:2] = np.nan
  y = case.apply(case.variables, (nan, case.target), (nothing, None))
  z = case.apply(case.variables, case.inputs, (nothing, None))
  assert np.all(np.isfinite(y))
  np.testing.assert_array_equal(y, z)


def test_what_the_decoder_begins_with():
  """The encoder's carry where it has the form of its own."""
  assert MODELS['bottleneck'].passes_carry and MODELS['additive'].passes_carry
  assert not MODELS['dot'].passes_carry


def test_a_carry_is_handed_over_however_it_is_computed():
  """Algorithms and the precision of parameters give it no other meaning."""
  encoder = Stack((Attention(8, 16, algorithm='plain'), GRU(8)))
  decoder = Stack((Attention(8, 16, param_dtype=jnp.bfloat16), GRU(8)))
  model = Seq2Seq(SOURCE, TARGET, (encoder,), (decoder,))
  assert model.passes_carry
  bound = []

  def encode(model, source):
    model.encode(source)
    bound.append(model.passes_carry)

  source = jax.ShapeDtypeStruct((1, 3, 3), jnp.float32)
  jax.eval_shape(
    lambda source: model.init(jax.random.key(0), source, method=encode), source
  )
  assert all(bound) and bound


def test_segments_of_one_side_are_no_pair(untyped):
  """They would be taken for two."""
  model = MODELS['bottleneck']
  inputs = jnp.ones((2, 3, 3)), jnp.ones((2, 3), jnp.int32)
  segments = segments_lib.from_lengths(jnp.array([3, 2]), 3)
  with pytest.raises(ValueError, match='as a pair .*but one Segments'):
    model.init(jax.random.key(0), inputs, segments)


@pytest.mark.parametrize('name', MIXERS)
def test_every_causal_mixer_encodes_and_decodes(name):
  """With attention and without, from tokens to values."""
  mixer = MIXERS[name](8, 16)
  inputs = (
    jax.ShapeDtypeStruct((2, 6), jnp.int32),
    jax.ShapeDtypeStruct((2, 4, 3), jnp.float32),
  )
  for attention in (None, 'dot'):
    model = Seq2Seq(Spec((), 7), Spec((3,)), (mixer,), (mixer,), attention)
    y, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), inputs)
    assert y.shape == (2, 4, 3)


@pytest.mark.parametrize('name', NONCAUSAL_MIXERS)
def test_other_mixers_encode_if_there_is_attention(name):
  """They have no carry to hand over, and cannot write step by step."""
  mixer = NONCAUSAL_MIXERS[name](8, 16)
  inputs = tuple(jax.ShapeDtypeStruct((2, n), jnp.int32) for n in (6, 4))
  model = Seq2Seq(Spec((), 7), TARGET, (mixer,), (GRU(8),), 'additive')
  y, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), inputs)
  assert y.shape == (2, 4, 5)
  with pytest.raises(ValueError, match=f'{type(mixer).__name__} and the dec'):
    Seq2Seq(SOURCE, TARGET, (mixer,), (GRU(8),))
  with pytest.raises(ValueError, match=f'{type(mixer).__name__} sees whole'):
    Seq2Seq(SOURCE, TARGET, (GRU(8),), (mixer,), 'dot')


def test_a_decoder_that_cannot_go_on_is_refused():
  """Other types, sizes and numbers of layers; attention takes them all."""
  for encoder, decoder in (
    ((GRU(8),), (LSTM(8),)),
    ((GRU(6),), (GRU(8),)),
    ((GRU(8), GRU(8)), (GRU(8),)),
    ((Attention(8, 16),), (Attention(8, 32),)),
    ((Attention(8, 16),), (Attention(8, 16, positions='alibi'),)),
  ):
    with pytest.raises(ValueError, match='Without attention the decoder'):
      Seq2Seq(SOURCE, TARGET, encoder, decoder)
    assert not Seq2Seq(SOURCE, TARGET, encoder, decoder, 'dot').passes_carry
  with pytest.raises(ValueError, match="Did you mean 'dot'"):
    Seq2Seq(SOURCE, TARGET, (GRU(8),), (GRU(8),), 'dott')
