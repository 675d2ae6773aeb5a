"""Weights of torch's recurrent layers: outputs, final states, packed rows.

The oracle is a loop in NumPy over the equations of torch's documentation, and
torch itself where it is installed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn import GRU, LSTM, Elman, RecurrentLayers, from_torch, to_torch
from seqjax.ops.segments import from_lengths

D, H, T = 3, 4, 6
LENGTHS = np.array([6, 2, 4])
X = np.float32(np.random.default_rng(0).normal(size=(3, T, D)))
GATES = {'rnn': 1, 'gru': 3, 'lstm': 4}
KINDS = {
  f'{kind}, {layers} layers, {ways} ways, bias {bias}': (
    *(kind, layers, ways, bias),
  )
  for kind, layers, ways, bias in (
    ('rnn', 1, 1, True),
    ('gru', 2, 1, True),
    ('gru', 2, 2, True),
    ('lstm', 2, 2, True),
    ('lstm', 3, 1, False),
  )
}


def state_of(kind, layers, ways, bias, rng=None):
  """Random weights under torch's names."""
  rng, rows = rng or np.random.default_rng(1), GATES[kind] * H
  state = {}
  for layer in range(layers):
    width = ways * H if layer else D
    for suffix in ('', '_reverse')[:ways]:
      name = f'l{layer}{suffix}'
      state[f'weight_ih_{name}'] = rng.normal(0, 0.5, (rows, width))
      state[f'weight_hh_{name}'] = rng.normal(0, 0.5, (rows, H))
      if bias:
        state[f'bias_ih_{name}'] = rng.normal(0, 0.5, rows)
        state[f'bias_hh_{name}'] = rng.normal(0, 0.5, rows)
  return {name: np.float32(array) for name, array in state.items()}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def one_row(kind, state, name, x):
  """Outputs [T H] and the last state of one layer, one way, one row."""
  zeros = np.zeros(GATES[kind] * H)
  from_x, from_h = (
    lambda v, s=source: (
      state[f'weight_{s}_{name}'] @ v + state.get(f'bias_{s}_{name}', zeros)
    )
    for source in ('ih', 'hh')
  )
  h, c, y = np.zeros(H), np.zeros(H), []
  for x_t in x:
    a, b = np.split(from_x(x_t), GATES[kind]), np.split(from_h(h), GATES[kind])
    if kind == 'rnn':
      h = np.tanh(a[0] + b[0])
    elif kind == 'gru':
      r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
      h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * h
    else:
      i, f, g, o = (p + q for p, q in zip(a, b, strict=True))
      c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
      h = sigmoid(o) * np.tanh(c)
    y.append(h)
  return np.array(y), (c, h) if kind == 'lstm' else h


def reference(state, kind, layers, ways, lengths):
  """Outputs, zero at padding, and final states in the order of ours."""
  outputs = np.zeros((len(X), T, ways * H))
  carries = []
  for b, length in enumerate(lengths):
    x, carry = X[b, :length], []
    for layer in range(layers):
      y, last = one_row(kind, state, f'l{layer}', x)
      if ways == 2:
        back, first = one_row(kind, state, f'l{layer}_reverse', x[::-1])
        y, last = np.concatenate([y, back[::-1]], axis=1), (last, first)
      carry.append(last)
      x = y
    outputs[b, :length] = x
    carries.append(tuple(carry))
  return jax.tree.map(lambda *rows: np.stack(rows), *carries), outputs


def unrolled(model, variables, segments=None):
  def run(variables, segments):
    carry = model.initialize_carry(len(X))
    return model.apply(variables, carry, X, segments, method='unroll')

  return jax.jit(run)(variables, segments)


def close(given, expected):
  given, expected = map(jax.tree.leaves, (given, expected))
  for a, b in zip(given, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', KINDS)
def test_layers_compute_what_torch_documents(case):
  """Whole rows and packed ones; then back, to weights that compute the same."""
  kind, layers, ways, bias = KINDS[case]
  state = state_of(kind, layers, ways, bias)
  model, variables = from_torch(state)
  packed = from_lengths(LENGTHS, T)
  for segments, lengths in ((None, [T] * 3), (packed, LENGTHS)):
    expected = reference(state, kind, layers, ways, lengths)
    close(unrolled(model, variables, segments), expected)
  back = to_torch(model, variables)
  assert {n: back[n].shape for n in state} == {
    n: a.shape for n, a in state.items()
  }
  again, same = from_torch(back)
  assert again == model
  jax.tree.map(np.testing.assert_array_equal, same, variables)


@pytest.mark.parametrize('case', KINDS)
def test_layers_compute_what_torch_computes(case):
  """Its own modules, packed sequences too."""
  torch = pytest.importorskip('torch')
  kind, layers, ways, bias = KINDS[case]
  torch.manual_seed(0)
  module = getattr(torch.nn, kind.upper())(
    *(D, H, layers),
    bias=bias,
    batch_first=True,
    bidirectional=ways == 2,
  )
  model, variables = from_torch(module)
  rnn = torch.nn.utils.rnn
  packed = rnn.pack_padded_sequence(
    *(torch.tensor(X), LENGTHS), batch_first=True, enforce_sorted=False
  )
  with torch.no_grad():
    whole, states = module(torch.tensor(X))
    outputs, last = module(packed)
    outputs, _ = rnn.pad_packed_sequence(outputs, batch_first=True)
  for segments, y, final in (
    (None, whole, states),
    (from_lengths(LENGTHS, T), outputs, last),
  ):
    carry, given = unrolled(model, variables, segments)
    np.testing.assert_allclose(given, y, rtol=1e-4, atol=1e-5)
    flat = carry if ways == 1 else [each for pair in carry for each in pair]
    if kind == 'lstm':
      hidden, cell = final
      np.testing.assert_allclose(
        np.stack([c.cell for c in flat]), cell, rtol=1e-4, atol=1e-5
      )
      flat, final = [c.hidden for c in flat], hidden
    np.testing.assert_allclose(np.stack(flat), final, rtol=1e-4, atol=1e-5)


def test_names_may_stand_below_others_and_cells_have_one_layer():
  """By a prefix; and a cell's names have no layer."""
  state = state_of('gru', 1, 1, True)
  below = {f'encoder.rnn.{name}': a for name, a in state.items()}
  below['encoder.out.weight'] = np.zeros((2, 2))
  cell = {name.removesuffix('_l0'): a for name, a in state.items()}
  expected = from_torch(state)
  for given in (from_torch(below, prefix='encoder.rnn.'), from_torch(cell)):
    assert given[0] == expected[0]
    jax.tree.map(np.testing.assert_array_equal, given[1], expected[1])


def test_an_activation_is_that_of_the_module_or_as_requested():
  """State dicts of an RNN do not say which."""
  model, _ = from_torch(state_of('rnn', 1, 1, True), activation='relu')
  assert model.mixers[0].activation == 'relu'


def changed(**updates):
  state = state_of('lstm', 2, 1, True)
  state.update({k: v for k, v in updates.items() if v is not None})
  return {k: v for k, v in state.items() if updates.get(k, v) is not None}


@pytest.mark.parametrize(
  'given, message',
  [
    (changed(bias_hh_l1=None), 'bias_hh_l1 is missing, and an array'),
    (
      changed(weight_ih_l1=np.zeros((16, 5))),
      r'weight_ih_l1 is an array \[16, 5\], but an array \[16, 4\]',
    ),
    (changed(weight_hh_l0=np.zeros((8, 4))), r'3 times \(GRU\).*\[8, 4\]'),
    (changed(weight_hh_l0=np.zeros(4)), 'to be a matrix'),
    (changed(weight_hr_l0=np.zeros((2, 4))), 'proj_size'),
    ({'weight': np.zeros((2, 2))}, "given: .'weight'.; name what stands"),
    ({}, 'but these were given: none'),
    (np.zeros(3), 'but a ndarray was given'),
  ],
)
def test_what_is_no_recurrent_layer_is_refused(given, message):
  """With the weight, the shape expected and the shape given."""
  with pytest.raises(ValueError, match=message):
    from_torch(given)


def test_layers_that_torch_does_not_have_are_refused():
  """By the names of their mixers; weights that do not fit, too."""
  with pytest.raises(
    ValueError, match=r'one kind, size and activation.*GRU\(5\)'
  ):
    to_torch(RecurrentLayers((GRU(4), GRU(5, input_features=4))), {})
  mixed = RecurrentLayers((GRU(4), LSTM(4)))
  with pytest.raises(ValueError, match=r'GRU\(4\), LSTM\(4\)'):
    to_torch(mixed, {})
  with pytest.raises(ValueError, match='forward_0.input is missing'):
    to_torch(RecurrentLayers((GRU(4),)), {'params': {}})


def test_layers_that_do_not_fit_each_other_are_refused():
  """And those that are no mixers, and steps both ways."""
  with pytest.raises(ValueError, match='gives 4 features, .* reads 5'):
    RecurrentLayers((GRU(4), GRU(5)))
  with pytest.raises(ValueError, match='tuple of recurrences'):
    RecurrentLayers(())
  both = RecurrentLayers((GRU(4),), bidirectional=True)
  x = jnp.zeros((1, 2, 4))
  variables = jax.eval_shape(both.init, jax.random.key(0), x)
  carry = both.initialize_carry(1)
  with pytest.raises(ValueError, match='have no step'):
    jax.eval_shape(
      lambda v: both.apply(v, carry, x[:, 0], method='step'), variables
    )


def test_one_mixer_is_one_layer_of_torch():
  """Without layers around it; bfloat16 becomes what torch reads."""
  x = jnp.zeros((1, 2, 4))
  for dtype in (jnp.float32, jnp.bfloat16):
    mixer = GRU(4, dtype=dtype, param_dtype=dtype)
    state = to_torch(mixer, mixer.init(jax.random.key(0), x))
    assert state['weight_ih_l0'].shape == (12, 4)
    assert {array.dtype for array in state.values()} == {np.dtype('float32')}


def test_layers_of_two_activations_are_not_one_module_of_torch():
  """Which has one nonlinearity."""
  mixed = RecurrentLayers((Elman(4), Elman(4, activation='relu')))
  with pytest.raises(ValueError, match='size and activation'):
    to_torch(mixed, {})


def test_messages_do_not_list_all_of_a_large_model():
  """Nor is a class taken for a module."""
  large = {f'encoder.{i}.weight': np.zeros(2) for i in range(500)}
  with pytest.raises(ValueError) as refusal:
    from_torch(large)
  assert len(str(refusal.value)) < 800
  with pytest.raises(ValueError, match='make an instance'):
    from_torch(type('GRU', (), {'state_dict': lambda self: {}}))
