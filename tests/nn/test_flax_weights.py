"""Weights that move between Flax's recurrent cells and our mixers."""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax.nn import nnx as layers
from seqjax.nn.attention import Attention, FullAttention
from seqjax.nn.flax_weights import from_flax, to_flax, to_flax_nnx
from seqjax.nn.linear_rnn import MinGRU
from seqjax.nn.recurrent_layers import RecurrentLayers
from seqjax.nn.rnn import GRU, LSTM, Elman
from seqjax.ops.segments import from_lengths

X = np.float32(np.random.default_rng(0).normal(size=(2, 9, 5)))
CELLS = [
  nn.SimpleCell(5),
  nn.SimpleCell(5, activation_fn=nn.relu),
  nn.GRUCell(5),
  nn.LSTMCell(5),
  nn.OptimizedLSTMCell(5),
]
MIXERS = [Elman(5), Elman(5, activation='relu'), GRU(5), LSTM(5)]


def noisy(variables):
  """No bias is zero."""
  rng = np.random.default_rng(2)
  return jax.tree.map(
    lambda leaf: jnp.asarray(leaf + np.float32(rng.normal(0, 0.3, leaf.shape))),
    variables,
  )


def init(module, x=None):
  x = X if x is None else x
  return jax.jit(module.init)(jax.random.key(1), x)


def check_equal(one, other):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    one,
    other,
  )


@pytest.mark.parametrize('cell', CELLS, ids=lambda c: type(c).__name__)
def test_a_mixer_computes_what_the_cell_did(cell):
  """Outputs and last carry; then back, to the same weights."""
  rnn = nn.RNN(cell, return_carry=True)
  variables = noisy(init(rnn))
  mixer, converted = from_flax(rnn, variables)
  unroll = jax.jit(functools.partial(mixer.apply, method='unroll'))
  given = unroll(converted, mixer.initialize_carry(2), X)
  expected = jax.jit(rnn.apply)(variables, X)
  check_equal(jax.tree.leaves(given), jax.tree.leaves(expected))
  _, back = to_flax(mixer, converted)
  jax.tree.map(np.testing.assert_array_equal, back, variables)


@pytest.mark.parametrize('mixer', MIXERS, ids=lambda m: type(m).__name__)
def test_a_cell_computes_what_the_mixer_did(mixer):
  """Outputs; then back, to the same mixer with the same weights."""
  variables = noisy(init(mixer))
  rnn, converted = to_flax(mixer, variables)
  check_equal(
    jax.jit(rnn.apply)(converted, X), jax.jit(mixer.apply)(variables, X)
  )
  again, back = from_flax(rnn, converted)
  assert again == mixer
  jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_a_cell_without_its_rnn_has_the_same_weights():
  """Its parameters then have no 'cell' around them."""
  rnn = nn.RNN(nn.GRUCell(5))
  variables = init(rnn)
  bare = {'params': variables['params']['cell']}
  jax.tree.map(
    np.testing.assert_array_equal,
    from_flax(nn.GRUCell(5), bare),
    from_flax(rnn, variables),
  )


@pytest.mark.parametrize(
  'cell, message',
  [
    (nn.MGUCell(5), 'LSTMCell.* but a MGUCell was given'),
    (nn.SimpleCell(5, residual=True), 'residual=True'),
    (nn.SimpleCell(5, activation_fn=nn.gelu), 'activation_fn='),
    (nn.GRUCell(5, gate_fn=nn.tanh), 'gate_fn='),
    (nn.LSTMCell(5, carry_init=nn.initializers.ones), 'carry_init='),
    (nn.RNN(nn.GRUCell(5), reverse=True), 'reverse=True'),
    (nn.RNN(nn.GRUCell(5), time_major=True), 'time_major=True'),
  ],
)
def test_cells_without_a_mixer_are_refused(cell, message):
  """With the option that no mixer has."""
  with pytest.raises(ValueError, match=message):
    from_flax(cell, {'params': {}})


def test_mixers_without_a_cell_are_refused():
  """With its name."""
  with pytest.raises(ValueError, match='Elman, GRU and LSTM, but a MinGRU'):
    to_flax(MinGRU(5), {'params': {}})


def test_weights_that_do_not_fit_are_named():
  """The parameter, the shape expected and the shape given."""
  rnn = nn.RNN(nn.LSTMCell(5))
  variables = init(rnn)
  cell = dict(variables['params']['cell'])
  cell['if'] = {'kernel': np.ones((3, 5))}
  with pytest.raises(
    ValueError, match=r'cell/if/kernel is an array \[3, 5\], but .*\[5, 5\]'
  ):
    from_flax(rnn, {'params': {'cell': cell}})
  gru = init(nn.RNN(nn.GRUCell(5)))
  with pytest.raises(ValueError, match='cell/hf/bias is missing'):
    from_flax(rnn, gru)
  with pytest.raises(ValueError, match=r"'params' in them.*\['cell'\]"):
    from_flax(rnn, gru['params'])
  with pytest.raises(ValueError, match='none were given with a RNN'):
    from_flax(rnn)
  wide = init(GRU(6), np.ones((1, 1, 6), np.float32))
  with pytest.raises(
    ValueError, match=r'bias is an array \[18\], but an array \[15\]'
  ):
    to_flax(GRU(5), wide)


@pytest.mark.parametrize('cell', CELLS, ids=lambda c: type(c).__name__)
def test_inputs_may_be_narrower_than_states(cell):
  """The kernel says how many there are."""
  x = X[..., :3]
  rnn = nn.RNN(cell, return_carry=True)
  variables = noisy(init(rnn, x))
  mixer, converted = from_flax(rnn, variables)
  assert mixer.input_features == 3
  check_equal(mixer.apply(converted, x), rnn.apply(variables, x)[1])
  back, again = to_flax(mixer, converted)
  check_equal(back.apply(again, x), rnn.apply(variables, x)[1])


def test_two_rnns_become_one_layer_read_both_ways():
  """Outputs with lengths, and final carries; then back."""
  x, lengths = X[..., :3], np.array([9, 4])
  both = nn.Bidirectional(
    nn.RNN(nn.OptimizedLSTMCell(5)), nn.RNN(nn.OptimizedLSTMCell(5))
  )
  variables = noisy(init(both, x))
  layer, converted = from_flax(both, variables)
  segments = from_lengths(lengths, 9)
  ((last, first),), y = layer.apply(
    converted, layer.initialize_carry(2), x, segments, method='unroll'
  )
  carries, expected = both.apply(
    variables, x, seq_lengths=lengths, return_carry=True
  )
  valid = np.arange(9)[None, :, None] < lengths[:, None, None]
  check_equal(y, jnp.where(valid, expected, 0))
  check_equal(jax.tree.leaves((last, first)), jax.tree.leaves(carries))
  back, again = to_flax(layer, converted)
  check_equal(back.apply(again, x), both.apply(variables, x))
  other = nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.LSTMCell(5)))
  with pytest.raises(ValueError, match='one kind, size and options'):
    from_flax(other, init(other, x))
  added = nn.Bidirectional(
    *(nn.RNN(nn.GRUCell(5)) for _ in range(2)), merge_fn=jnp.add
  )
  with pytest.raises(ValueError, match='another merge_fn'):
    from_flax(added, init(added, x))


@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('causal', [True, False])
def test_attention_computes_what_flax_does(causal, use_bias):
  """Without positions, with a causal mask or none; then back."""
  x = X[..., :4]
  theirs = nn.MultiHeadDotProductAttention(2, use_bias=use_bias)
  variables = noisy(init(theirs, x))
  mask = nn.make_causal_mask(x[..., 0]) if causal else None
  expected = theirs.apply(variables, x, mask=mask)
  layer, converted = from_flax(theirs, variables, causal=causal, context=16)
  assert isinstance(layer, Attention if causal else FullAttention)
  check_equal(layer.apply(converted, x), expected)
  back, again = to_flax(layer, converted)
  check_equal(back.apply(again, x, mask=mask), expected)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'qkv_features': 8}, 'qkv_features=8'),
    ({'dropout_rate': 0.5}, 'dropout_rate=0.5'),
    ({'normalize_qk': True}, 'normalize_qk=True'),
  ],
)
def test_attention_that_is_not_here_is_refused(options, message):
  """With the option."""
  theirs = nn.MultiHeadDotProductAttention(2, deterministic=True, **options)
  variables = init(theirs, X[..., :4])
  with pytest.raises(ValueError, match=message):
    from_flax(theirs, variables)


def test_attention_with_positions_has_no_module_in_flax():
  """Nor has attention with forget gates, or heads that share keys."""
  with pytest.raises(ValueError, match="positions='rotary'.*nnx.from_linen"):
    to_flax(FullAttention(4), {'params': {}})
  gated = Attention(4, 8, positions='none', forget=True)
  with pytest.raises(ValueError, match='forget=True.*nnx.from_linen'):
    to_flax(gated, {'params': {}})


def nnx_noise(module):
  """Biases that are not zero."""
  state = nnx.state(module, nnx.Param)
  nnx.update(module, noisy(state))
  return module


@pytest.mark.parametrize(
  'kind',
  [nnx.SimpleCell, nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell],
)
def test_cells_of_nnx_are_those_of_linen(kind):
  """Alone, in an RNN, and both ways."""
  x = X[..., :3]
  cell = nnx_noise(kind(3, 5, rngs=nnx.Rngs(0)))
  rnn = nnx.RNN(cell, rngs=nnx.Rngs(1))
  for module in (cell, rnn):
    mixer, variables = from_flax(module)
    check_equal(mixer.apply(variables, x), rnn(x))
  other = nnx.RNN(kind(3, 5, rngs=nnx.Rngs(2)), rngs=nnx.Rngs(3))
  both = nnx.Bidirectional(rnn, other, rngs=nnx.Rngs(4))
  layer, variables = from_flax(both)
  check_equal(layer.apply(variables, x), both(x))


def test_attention_of_nnx_is_that_of_linen():
  """With biases."""
  x = X[..., :4]
  theirs = nnx_noise(
    nnx.MultiHeadAttention(2, in_features=4, decode=False, rngs=nnx.Rngs(0))
  )
  layer, variables = from_flax(theirs)
  check_equal(layer.apply(variables, x), theirs(x))
  grouped = nnx.MultiHeadAttention(
    2, in_features=4, num_kv_heads=1, decode=False, rngs=nnx.Rngs(0)
  )
  with pytest.raises(ValueError, match='num_kv_heads=1'):
    from_flax(grouped)


def check_round_trip(layer, x, call=lambda module, x: module(x), **options):
  """The module of NNX gives equal outputs, and the layer comes back."""
  variables = noisy(init(layer, x))
  if isinstance(layer, GRU):
    zero = jnp.zeros_like(variables['params']['candidate_bias'])
    variables['params']['candidate_bias'] = zero
  theirs = to_flax_nnx(layer, variables)
  check_equal(call(theirs, x), layer.apply(variables, x))
  again, back = from_flax(theirs, **options)
  assert again == layer
  jax.tree.map(np.testing.assert_array_equal, back, variables)


@pytest.mark.parametrize(
  'layer',
  [
    *(mixer.clone(input_features=3) for mixer in MIXERS),
    RecurrentLayers((LSTM(5, input_features=3),), bidirectional=True),
  ],
  ids=lambda layer: type(layer).__name__,
)
def test_modules_of_nnx_compute_what_recurrences_do(layer):
  """Both ways, too."""
  check_round_trip(layer, X[..., :3])


@pytest.mark.parametrize('use_bias', [True, False])
def test_attention_of_nnx_computes_what_ours_does(use_bias):
  """With a causal mask for Attention, without any for FullAttention."""
  x, options = X[..., :4], {'positions': 'none', 'use_bias': use_bias}
  check_round_trip(FullAttention(4, num_heads=2, **options), x)
  check_round_trip(
    Attention(4, 16, num_heads=2, **options),
    x,
    lambda module, x: module(x, is_causal=True),
    causal=True,
    context=16,
  )


def test_what_nnx_does_not_have_is_refused():
  """A bias inside the reset gate, and whatever Linen does not have."""
  variables = noisy(init(GRU(5)))
  with pytest.raises(ValueError, match='candidate_bias .*; to_flax gives'):
    to_flax_nnx(GRU(5), variables)
  with pytest.raises(ValueError, match='Elman, GRU and LSTM, but a MinGRU'):
    to_flax_nnx(MinGRU(5), {'params': {}})


def test_modules_that_are_not_here_are_refused():
  """The sentence names the class, of Linen or of NNX."""
  with pytest.raises(ValueError, match='but a Dense was given'):
    from_flax(nn.Dense(3), {'params': {}})
  with pytest.raises(ValueError, match='but a Linear was given'):
    from_flax(nnx.Linear(3, 3, rngs=nnx.Rngs(0)))
  with pytest.raises(ValueError, match='convert each layer'):
    to_flax(RecurrentLayers((GRU(3), GRU(3))), {'params': {}})


def test_a_mixer_given_weights_of_another_shape_names_them():
  """Flax says which parameter, the shape expected and the shape given."""
  wide = init(GRU(6), np.ones((1, 1, 6), np.float32))
  with pytest.raises(
    flax.errors.ScopeParamShapeError,
    match=r'"input".*shape \(5, 15\).*shape \(6, 18\)',
  ):
    GRU(5).apply(wide, X)


def test_functions_of_attention_are_not_left_out_in_silence():
  """Both Linen and NNX are refused; so is an NNX module of our own."""
  theirs = nn.MultiHeadDotProductAttention(2, attention_fn=lambda q, k, v: q)
  with pytest.raises(ValueError, match='attention_fn='):
    from_flax(theirs, {'params': {'query': {'kernel': np.zeros((4, 2, 2))}}})
  theirs = nnx.MultiHeadAttention(
    2,
    in_features=4,
    attention_fn=lambda q, k, v: q,
    decode=False,
    rngs=nnx.Rngs(0),
  )
  with pytest.raises(ValueError, match='attention_fn='):
    from_flax(theirs)
  ours = layers.GRU(4, rngs=nnx.Rngs(0))
  with pytest.raises(ValueError, match=r'its to_linen\(\) gives'):
    from_flax(ours)
  cell = nn.GRUCell(5)
  with pytest.raises(ValueError, match='causal and context for attention'):
    from_flax(cell, init(nn.RNN(cell)), causal=True)
  with pytest.raises(ValueError, match='leave them out'):
    from_flax(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)), {'params': {}})


def test_refusals_say_what_works_instead():
  """Reversed reading and time-major inputs."""
  for option, message in (
    ({'reverse': True}, 'flip the inputs along time'),
    ({'time_major': True}, 'swap the first two axes'),
  ):
    with pytest.raises(ValueError, match=message):
      from_flax(nn.RNN(nn.GRUCell(5), **option), {'params': {}})
