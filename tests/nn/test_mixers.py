"""What mixers promise beside the contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import nn
from seqjax.models import Stack
from seqjax.nn import (
  GRU,
  LRU,
  LSTM,
  MIXERS,
  NONCAUSAL_MIXERS,
  SLSTM,
  TCN,
  Attention,
  Bidirectional,
  Elman,
  Mamba,
  MinGRU,
  WindowMLP,
)
from seqjax.nn.attention import LocalAttention
from seqjax.nn.convolution import GatedConv
from seqjax.typing import Segments

CATALOG = MIXERS | NONCAUSAL_MIXERS
REACHES = {name: mixer(8, context=6) for name, mixer in MIXERS.items()} | {
  'tcn, two levels': TCN(16, kernel_size=3, levels=2),
  'tcn, two taps': TCN(16, kernel_size=2, levels=3),
  'window_mlp, five': WindowMLP(4, tau=5),
  'local_attention, three': LocalAttention(4, context=6, window=3),
  'gated_conv, one': GatedConv(4, kernel_size=1),
}


def felt_positions(mixer, shape, position, rounding=0):
  """Finds where inputs have a gradient of the output at a position."""
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=shape))
  shapes = jax.eval_shape(mixer.init, jax.random.key(1), x)
  variables = jax.tree.map(
    lambda leaf: np.float32(rng.normal(size=leaf.shape) / 2), shapes
  )

  @jax.jit
  @jax.grad
  def gradient(x):
    return jnp.sum(jnp.sin(mixer.apply(variables, x)[0, position]))

  return np.any(np.abs(np.asarray(gradient(x)[0])) > rounding, axis=-1)


@pytest.mark.parametrize('mixer', REACHES.values(), ids=REACHES)
def test_the_receptive_field_is_where_the_jacobian_ends(mixer):
  """Not zero up to its edge, exactly zero beyond; None has no edge.

  Of forget gates, sums that reach further cancel up to rounding.
  """
  reach = mixer.receptive_field
  num_positions = 12 if reach is None else reach + 3
  shape = 1, num_positions, mixer.features
  rounding = 1e-5 if getattr(mixer, 'forget', False) else 0
  felt = felt_positions(mixer, shape, -1, rounding)[::-1]
  expected = [reach is None or lag < reach for lag in range(num_positions)]
  assert felt.tolist() == expected


def test_receptive_fields_are_those_of_the_options():
  """Taps and levels, a window, a context."""
  assert TCN(8, kernel_size=3, levels=2).receptive_field == 7
  assert TCN(8, kernel_size=2, levels=3).receptive_field == 8
  assert WindowMLP(8, tau=5).receptive_field == 5
  assert Attention(8, context=6).receptive_field == 6
  assert LocalAttention(8, context=6, window=3).receptive_field == 3
  assert GatedConv(8, kernel_size=4).receptive_field == 4


@pytest.mark.parametrize('name', NONCAUSAL_MIXERS)
def test_noncausal_mixers_see_both_ways(name):
  """From the middle to both ends."""
  mixer = NONCAUSAL_MIXERS[name](8, context=6)
  assert felt_positions(mixer, (1, 5, 8), 2).all()


def initial_carry(mixer, batch_size):
  """Returns the shapes and dtypes of the carry."""
  return jax.eval_shape(lambda: mixer.initialize_carry(batch_size))


@pytest.mark.parametrize('name', MIXERS)
def test_every_carry_has_as_many_floats_as_it_says(name):
  """Counters are not counted; every leaf has the batch first."""
  mixer = MIXERS[name](8, 16)
  carry = initial_carry(mixer, 3)
  assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(carry))
  floats = sum(
    leaf.size // 3 * {'float32': 1, 'complex64': 2, 'int32': 0}[leaf.dtype.name]
    for leaf in jax.tree.leaves(carry)
  )
  assert nn.state_floats(mixer) == floats > 0


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('size', [{'features': 0}, {'features': -8}])
def test_every_mixer_refuses_features_below_one(name, size):
  """With the name, the value and the bound."""
  with pytest.raises(
    ValueError, match=r'features of at least 1.*features=-?\d'
  ):
    MIXERS[name](**size, context=16)


@pytest.mark.parametrize(
  'catalogue', [MIXERS, NONCAUSAL_MIXERS, CATALOG, NONCAUSAL_MIXERS | MIXERS]
)
def test_an_unknown_name_gets_a_sentence(catalogue):
  """Which says what may have been meant, in any union of the catalogues."""
  nearest = "Did you mean 'mamba'" if 'mamba' in catalogue else 'There are'
  with pytest.raises(KeyError) as caught:
    catalogue['Mamba3']
  assert str(caught.value).startswith(f"Unknown mixer 'Mamba3'. {nearest}")


def test_every_entry_of_the_catalogues_is_exported():
  """By the name of its class."""
  for mixer in CATALOG.values():
    assert getattr(nn, mixer.__name__) is mixer
    assert mixer.__name__ in nn.__all__


NAN = float('nan')


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: MinGRU(8, algorithm='asociative'), "mean 'associative'"),
    (lambda: TCN(8, kernel_size=1), 'kernel_size=1'),
    (lambda: TCN(8, levels=0), 'levels=0'),
    (lambda: WindowMLP(8, tau=0), 'tau=0'),
    (lambda: WindowMLP(8, hidden=0), 'hidden=0'),
    (lambda: LSTM(8, max_lag=2), 'max_lag=2'),
    (lambda: GRU(8, max_lag=2), 'max_lag=2'),
    (lambda: LSTM(8, forget_bias=NAN), 'forget_bias=nan'),
    (lambda: SLSTM(8, forget_bias=float('inf')), 'forget_bias=inf'),
    (lambda: Elman(8, spectral_radius=NAN), 'spectral_radius=nan'),
    (lambda: LRU(8, max_phase=NAN), 'max_phase=nan'),
    (lambda: LocalAttention(8, window=0), 'window=0'),
    (lambda: Bidirectional(8, mixer=Stack((Bidirectional(8),))), 'is a Stack'),
    (lambda: Bidirectional(8, mixer=Bidirectional(8)), 'is a Bidirectional'),
  ],
)  # fmt: skip
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()


@pytest.mark.parametrize('name', MIXERS)
def test_every_mixer_refuses_segments_of_another_shape(name):
  """Before anything is compiled."""
  mixer, x = MIXERS[name](8, 16), jnp.ones((2, 5, 8))
  wrong = Segments(jnp.zeros((2, 4), bool), jnp.ones((2, 4), bool))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  with pytest.raises(ValueError, match=r'\[2, 5\] like the inputs.*\[2, 4\]'):
    jax.eval_shape(mixer.apply, variables, x, wrong)


def calls(mixer, x):
  """All the ways of giving a mixer inputs: (method, arguments)."""
  yield '__call__', (x,)
  if isinstance(mixer, nn.CausalMixer):
    carry = initial_carry(mixer, len(x))
    yield 'unroll', (carry, x)
    yield 'step', (carry, x[:, 0])


@pytest.mark.parametrize('name', CATALOG)
def test_every_mixer_refuses_inputs_of_another_width(name):
  """In every form, before anything is compiled."""
  mixer = CATALOG[name](8, 16)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), jnp.ones((2, 3, 8)))
  for method, arguments in calls(mixer, jnp.ones((2, 3, 5))):
    shape = str(list(arguments[-1].shape)).replace('[', r'\[')
    message = f'{type(mixer).__name__} has features=8, but .* shape {shape}'
    apply = functools.partial(mixer.apply, method=method)
    with pytest.raises(ValueError, match=message):
      jax.eval_shape(apply, variables, *arguments)


@pytest.mark.parametrize('name', MIXERS)
def test_every_mixer_refuses_a_carry_of_another_batch(name):
  """One row is not broadcast over many, nor two rows over three."""
  mixer, x = MIXERS[name](8, 16), jnp.ones((3, 4, 8))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  step = functools.partial(mixer.apply, method='step')
  unroll = functools.partial(mixer.apply, method='unroll')
  for batch_size in (1, 2):
    carry = initial_carry(mixer, batch_size)
    with pytest.raises(ValueError, match=r'initialize_carry\(3\)'):
      jax.eval_shape(step, variables, carry, x[:, 0])
    with pytest.raises(ValueError, match=r'initialize_carry\(3\)'):
      jax.eval_shape(unroll, variables, carry, x)


def test_a_carry_of_another_mixer_is_refused():
  """Its structure is not that of `initialize_carry`."""
  x = jnp.ones((2, 3, 8))
  variables = jax.eval_shape(LSTM(8).init, jax.random.key(0), x)
  step = functools.partial(LSTM(8).apply, method='step')
  with pytest.raises(
    ValueError, match='LSTM was given.*a carry has the shapes'
  ):
    jax.eval_shape(step, variables, initial_carry(GRU(8), 2), x[:, 0])


EMPTY = {name: mixer(8, 16) for name, mixer in CATALOG.items()} | {
  'elman-newton': Elman(8, algorithm='newton'),
  'mingru-associative': MinGRU(8, algorithm='associative'),
  'mamba-associative': Mamba(8, algorithm='associative'),
  'attention-blockwise': Attention(8, 16, algorithm='blockwise'),
}


@pytest.mark.parametrize('mixer', EMPTY.values(), ids=EMPTY)
def test_every_mixer_takes_no_positions_and_no_rows(mixer):
  """Outputs as inputs, and gradients as what they belong to."""
  ones = jnp.ones((2, 3, 8))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), ones)
  for x in (ones[:, :0], ones[:0]):
    everywhere = jnp.ones(x.shape[:2], bool)
    for segments in (None, Segments(~everywhere, everywhere)):
      y, gradient = jax.eval_shape(
        functools.partial(outputs_and_gradient, mixer), variables, x, segments
      )
      assert y.shape == x.shape and gradient == variables


def outputs_and_gradient(mixer, variables, x, segments):
  def loss(variables):
    y = mixer.apply(variables, x, segments)
    return jnp.sum(y), y

  gradient, y = jax.grad(loss, has_aux=True)(variables)
  return y, gradient


@pytest.mark.parametrize('name', ['lstm', 'mlstm', 'attention'])
def test_no_positions_leave_the_carry_as_it_was(name):
  """Segments or none."""
  mixer = MIXERS[name](8, 16)
  x = jax.random.normal(jax.random.key(0), (2, 3, 8))
  variables = jax.jit(mixer.init)(jax.random.key(1), x)
  unroll = jax.jit(functools.partial(mixer.apply, method='unroll'))
  carry, _ = unroll(variables, mixer.initialize_carry(2), x)
  nothing = Segments(*(jnp.zeros((2, 0), bool) for _ in range(2)))
  for segments in (None, nothing):
    after, _ = unroll(variables, carry, x[:, :0], segments)
    jax.tree.map(np.testing.assert_array_equal, after, carry)


@pytest.mark.parametrize('name', CATALOG)
def test_every_mixer_begins_finite_in_bfloat16(name):
  """What is drawn in single precision does not round to a pole."""
  mixer = CATALOG[name](64, 16, param_dtype=jnp.bfloat16)
  variables = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 64)))
  for leaf in map(np.asarray, jax.tree.leaves(variables)):
    assert leaf.dtype == jnp.bfloat16 and np.isfinite(leaf).all()


def test_chrono_initialisation_spreads_memories_up_to_the_lag():
  """b_f = log U(1, max_lag - 1) and b_i = -b_f; otherwise the forget bias."""

  def bias(mixer):
    x = np.ones((1, 1, mixer.features), np.float32)
    variables = jax.jit(mixer.init)(jax.random.key(0), x)
    return np.asarray(variables['params']['bias'])

  enter, forget, rest, out = np.split(bias(LSTM(400, max_lag=101)), 4)
  lags = np.exp(forget)
  assert 1 <= lags.min() < 10 and 90 < lags.max() <= 100
  assert abs(lags.mean() - 50.5) < 5
  np.testing.assert_array_equal(enter, -forget)
  assert not rest.any() and not out.any()
  reset, kept, new = np.split(bias(GRU(400, max_lag=101)), 3)
  assert 1 <= np.exp(kept).min() < 10 and 90 < np.exp(kept).max() <= 100
  assert not reset.any() and not new.any() and not bias(GRU(2)).any()
  plain = bias(LSTM(2, forget_bias=3.0))
  assert plain.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]


def test_recurrent_kernels_begin_orthogonal():
  """Every gate's own block."""
  variables = jax.jit(GRU(6).init)(jax.random.key(0), jnp.ones((1, 1, 6)))
  for block in np.split(np.asarray(variables['params']['recurrent']), 3, 1):
    np.testing.assert_allclose(block @ block.T, np.eye(6), atol=1e-5)


def test_a_ragged_stream_keeps_the_carry_of_silent_rows():
  """`select_rows` after a step is what padding is to an unroll."""
  mixer = LSTM(4)
  x = np.float32(np.random.default_rng(0).normal(size=(2, 1, 4)))
  valid = np.array([True, False])
  segments = Segments(np.zeros((2, 1), bool), valid[:, None])

  @jax.jit
  def both(x):
    variables = mixer.init(jax.random.key(1), x)
    carry = mixer.initialize_carry(2)
    new, _ = mixer.apply(variables, carry, x[:, 0], method='step')
    after, _ = mixer.apply(variables, carry, x, segments, method='unroll')
    return nn.select_rows(valid, new, carry), after

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *both(x)
  )
