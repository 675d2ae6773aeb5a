"""Weights in the layouts of Mamba-2's and RG-LRU's authors.

The checkpoints are random, with official names and shapes. The loops are
written from the semantics of the official code, in float64, without our ops.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from seqjax.nn import (
  GRU,
  RGLRU,
  Mamba2,
  mamba2_from_official,
  mamba2_to_official,
  rglru_from_official,
  rglru_to_official,
)

B, T = 2, 9
PREFIX = 'backbone.layers.0.mixer.'


def mamba2_weights(
  d_model=8, d_state=3, d_conv=4, expand=2, headdim=4, ngroups=1, seed=0
):
  """A state dict of `mamba_ssm.modules.mamba2.Mamba2`."""
  rng = np.random.default_rng(seed)
  inner, both = expand * d_model, 2 * ngroups * d_state
  heads = inner // headdim
  weights = {
    'dt_bias': rng.normal(size=heads),
    'A_log': np.log(rng.uniform(1, 16, heads)),
    'D': rng.normal(size=heads),
    'in_proj.weight': rng.normal(size=(2 * inner + both + heads, d_model)),
    'conv1d.weight': rng.normal(size=(inner + both, 1, d_conv)),
    'conv1d.bias': rng.normal(size=inner + both),
    'norm.weight': rng.normal(1, 0.5, size=inner),
    'out_proj.weight': rng.normal(size=(d_model, inner)),
  }
  return {name: x.astype(np.float32) for name, x in weights.items()}


def rglru_weights(width=6, num_heads=3, seed=0):
  """Parameters of `recurrentgemma.jax.layers.RGLRU`."""
  rng = np.random.default_rng(seed)
  size = width // num_heads

  def gate():
    return {
      'w': np.float32(rng.normal(size=(num_heads, size, size))),
      'b': np.float32(rng.normal(size=(num_heads, size))),
    }

  a_param = np.float32(rng.normal(-2, 1, size=width))
  return {'a_param': a_param, 'input_gate': gate(), 'a_gate': gate()}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def silu(x):
  return x * sigmoid(x)


def mamba2_loop(weights, x, ngroups):
  """One sequence [T, D], a position, a head and a group at a time."""
  w = {name: np.float64(array) for name, array in weights.items()}
  d_model, inner = w['out_proj.weight'].shape
  heads, taps = len(w['dt_bias']), w['conv1d.weight'].shape[-1]
  headdim, width = inner // heads, inner // ngroups
  d_state = (len(w['conv1d.bias']) - inner) // (2 * ngroups)
  state = np.zeros((heads, headdim, d_state))
  seen = [np.zeros(len(w['conv1d.bias']))] * (taps - 1)
  outputs = np.zeros((len(x), d_model))
  for t, x_t in enumerate(np.float64(x)):
    projected = w['in_proj.weight'] @ x_t
    z = projected[:inner]
    dt = np.log1p(np.exp(projected[-heads:] + w['dt_bias']))
    seen.append(projected[inner:-heads])
    # A cross-correlation: the last tap meets the last position.
    convolved = w['conv1d.bias'] + sum(
      w['conv1d.weight'][:, 0, tap] * seen[t + tap] for tap in range(taps)
    )
    convolved = silu(convolved)
    u = convolved[:inner].reshape(heads, headdim)
    write, read = convolved[inner:].reshape(2, ngroups, d_state)
    y = np.zeros((heads, headdim))
    for head in range(heads):
      group = head * ngroups // heads
      decay = np.exp(-np.exp(w['A_log'][head]) * dt[head])
      drive = dt[head] * np.outer(u[head], write[group])
      state[head] = decay * state[head] + drive
      y[head] = state[head] @ read[group] + w['D'][head] * u[head]
    gated = y.reshape(-1) * silu(z)
    for group in range(ngroups):
      part = slice(group * width, (group + 1) * width)
      gated[part] /= np.sqrt(np.mean(gated[part] ** 2) + 1e-5)
    outputs[t] = w['out_proj.weight'] @ (gated * w['norm.weight'])
  return outputs


def rglru_loop(params, x):
  """One sequence [T, D], a position and a head at a time."""
  num_heads, size = params['input_gate']['b'].shape

  def gate(name, x_t):
    w, b = (np.float64(params[name][part]) for part in 'wb')
    parts = x_t.reshape(num_heads, size)
    return sigmoid(
      np.concatenate([parts[h] @ w[h] + b[h] for h in range(num_heads)])
    )

  h, outputs = np.zeros(x.shape[-1]), []
  for t, x_t in enumerate(np.float64(x)):
    softplus = np.log1p(np.exp(np.float64(params['a_param'])))
    log_a = -8 * gate('a_gate', x_t) * softplus
    root = np.sqrt(1 - np.exp(2 * log_a)) if t else 1.0
    h = np.exp(log_a) * h + root * gate('input_gate', x_t) * x_t
    outputs.append(h)
  return np.stack(outputs)


def inputs(features):
  return np.random.default_rng(7).normal(size=(B, T, features))


def check_loop(mixer, variables, loop):
  """Unrolled, and step by step."""
  x = inputs(mixer.features)
  expected = np.stack([loop(row) for row in x])
  given = jax.jit(mixer.apply)(variables, np.float32(x))
  np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)
  step = jax.jit(lambda *args: mixer.apply(*args, method='step'))
  carry = mixer.initialize_carry(B)
  for t in range(T):
    carry, y_t = step(variables, carry, np.float32(x[:, t]))
    np.testing.assert_allclose(y_t, expected[:, t], rtol=1e-5, atol=1e-5)


LAYERS = [
  {},
  {'ngroups': 2, 'd_state': 2},
  {'headdim': 16},
  {'expand': 1, 'd_conv': 2, 'headdim': 2, 'd_state': 1, 'ngroups': 4},
  {'d_model': 6, 'expand': 3, 'headdim': 9, 'd_conv': 1},
]


@pytest.mark.parametrize('sizes', LAYERS)
def test_mamba2_computes_what_the_official_layer_does(sizes):
  """And has its sizes."""
  weights, ngroups = mamba2_weights(**sizes), sizes.get('ngroups', 1)
  mixer, variables = mamba2_from_official(weights, num_groups=ngroups)
  expected = {
    'd_model': mixer.features,
    'd_state': mixer.state_size,
    'd_conv': mixer.kernel_size,
    'expand': mixer.expand,
    'headdim': mixer.expand * mixer.features // mixer.num_heads,
  }
  assert sizes.items() <= (expected | {'ngroups': mixer.num_groups}).items()
  check_loop(mixer, variables, lambda x: mamba2_loop(weights, x, ngroups))


@pytest.mark.parametrize('heads', [1, 2, 3, 6])
def test_rg_lru_computes_what_the_official_layer_does(heads):
  """A block a head; one head is a dense gate."""
  params = rglru_weights(num_heads=heads)
  mixer, variables = rglru_from_official(params)
  assert mixer == RGLRU(6, num_blocks=heads)
  check_loop(mixer, variables, lambda x: rglru_loop(params, x))


@pytest.mark.parametrize('sizes', LAYERS)
def test_mamba2_goes_back_to_the_same_weights(sizes):
  """Names, shapes and numbers, with the prefix that is asked for."""
  weights = mamba2_weights(**sizes)
  mixer, variables = mamba2_from_official(
    weights, num_groups=sizes.get('ngroups', 1)
  )
  back = mamba2_to_official(mixer, variables, prefix=PREFIX)
  assert back.keys() == {PREFIX + name for name in weights}
  for name, array in weights.items():
    np.testing.assert_array_equal(back[PREFIX + name], array)
    assert type(back[PREFIX + name]) is np.ndarray


@pytest.mark.parametrize('heads', [1, 3])
def test_rg_lru_goes_back_to_the_same_weights(heads):
  """Nested as they came."""
  params = rglru_weights(num_heads=heads)
  back = rglru_to_official(*rglru_from_official(params))
  assert jax.tree.structure(back) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize(
  'mixer, to, back',
  [
    (
      Mamba2(8, num_groups=2, state_size=4),
      mamba2_to_official,
      lambda weights: mamba2_from_official(weights, num_groups=2),
    ),
    (RGLRU(8), rglru_to_official, rglru_from_official),
    (RGLRU(8, num_blocks=4), rglru_to_official, rglru_from_official),
  ],
)
def test_a_mixer_comes_back_from_the_official_layout(mixer, to, back):
  """With the structure that `init` gives, bit by bit."""
  x = jnp.zeros((1, 1, 8))
  variables = jax.jit(mixer.init)(jax.random.key(0), x)
  again, restored = back(to(mixer, variables))
  assert again == mixer
  assert jax.tree.structure(restored) == jax.tree.structure(variables)
  jax.tree.map(np.testing.assert_array_equal, restored, variables)


def test_other_layers_of_a_model_are_skipped():
  """Names that do not begin with the prefix are skipped."""
  weights = mamba2_weights()
  whole = {PREFIX + name: array for name, array in weights.items()}
  whole |= {'backbone.layers.1.norm.weight': np.ones(3), 'count': np.ones(1)}
  mixer, variables = mamba2_from_official(whole, PREFIX)
  expected = mamba2_from_official(weights)
  assert mixer == expected[0]
  jax.tree.map(np.testing.assert_array_equal, variables, expected[1])
  params = rglru_weights()
  block = {'rg_lru': params, 'linear_x': {'kernel': np.ones((6, 6))}}
  jax.tree.map(
    np.testing.assert_array_equal,
    rglru_from_official({'blocks.0': block}, 'blocks.0.rg_lru.')[1],
    rglru_from_official(params)[1],
  )


def test_the_names_of_pytorch_are_those_of_flax_joined_by_dots():
  """In the same repository."""
  params = rglru_weights()
  jax.tree.map(
    np.testing.assert_array_equal,
    rglru_from_official(flatten_dict(params, sep='.'))[1],
    rglru_from_official(params)[1],
  )


@pytest.mark.parametrize('half', [False, True])
def test_tensors_of_pytorch_go_in(half):
  """With gradients, and in bfloat16, which NumPy does not have."""
  torch = pytest.importorskip('torch')
  weights = mamba2_weights()
  if half:
    weights = {name: jnp.bfloat16(array) for name, array in weights.items()}
  tensors = {
    name: torch.nn.Parameter(
      torch.tensor(np.float32(array)).to(
        torch.bfloat16 if half else torch.float32
      )
    )
    for name, array in weights.items()
  }
  given, expected = map(mamba2_from_official, (tensors, weights))
  assert given[0] == expected[0]
  jax.tree.map(np.testing.assert_array_equal, given[1], expected[1])


def test_parameters_have_the_dtype_that_is_asked_for():
  """And memory of their own."""
  weights = mamba2_weights()
  mixer, variables = mamba2_from_official(
    weights, dtype=jnp.bfloat16, param_dtype=jnp.float16
  )
  assert (mixer.dtype, mixer.param_dtype) == (jnp.bfloat16, jnp.float16)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
    np.dtype(np.float16)
  }
  _, variables = mamba2_from_official(weights)
  for ours in jax.tree.leaves(variables):
    assert not any(np.shares_memory(ours, x) for x in weights.values())


def replaced(name, shape):
  return mamba2_weights() | {name: np.ones(shape, np.float32)}


@pytest.mark.parametrize('name', mamba2_weights())
def test_a_mamba2_weight_that_does_not_fit_is_named(name):
  """Missing, of another size, or with another number of axes."""
  weights = mamba2_weights()
  shape = weights[name].shape
  without = {n: array for n, array in weights.items() if n != name}
  with pytest.raises(ValueError, match=rf'{name} is missing, and an array \['):
    mamba2_from_official(without)
  for wrong in ((shape[0] + 1, *shape[1:]), (*shape, 1)):
    given = str(list(wrong)).replace('[', r'\[')
    with pytest.raises(ValueError, match=f'{name}.* {given}'):
      mamba2_from_official(replaced(name, wrong))


def test_the_shape_that_is_expected_is_told():
  """Beside the one that is given."""
  with pytest.raises(
    ValueError, match=r'A_log is an array \[5\], but an array \[4\]'
  ):
    mamba2_from_official(replaced('A_log', (5,)))
  with pytest.raises(
    ValueError,
    match=r'in_proj.weight is an array \[42, 9\], but an array \[42, 8\] is',
  ):
    mamba2_from_official(replaced('in_proj.weight', (42, 9)))
  with pytest.raises(
    ValueError, match=r'is an array \[22, 4\], but an array \[E \+ 2'
  ):
    mamba2_from_official(replaced('conv1d.weight', (22, 4)))


def test_an_unknown_weight_is_named():
  """With its shape."""
  with pytest.raises(ValueError, match=r'rate is unknown, and an array \[3\]'):
    mamba2_from_official(replaced('rate', (3,)))
  params = rglru_weights() | {'rate': np.ones(3, np.float32)}
  with pytest.raises(ValueError, match=r'rate is unknown, and an array \[3\]'):
    rglru_from_official(params)


@pytest.mark.parametrize('name', flatten_dict(rglru_weights(), sep='.'))
def test_an_rg_lru_weight_that_does_not_fit_is_named(name):
  """Missing, of another size, or with another number of axes."""
  params = flatten_dict(rglru_weights(), sep='.')
  array = params.pop(name)
  with pytest.raises(ValueError, match=rf'{name} is missing, and an array \['):
    rglru_from_official(params)
  for wrong in ((array.shape[0] + 1, *array.shape[1:]), (*array.shape, 1)):
    params[name] = np.ones(wrong, np.float32)
    with pytest.raises(
      ValueError, match=r'is an array \[.*\], but an array \[.* is expec'
    ):
      rglru_from_official(params)


@pytest.mark.parametrize(
  'weights, message',
  [
    (replaced('in_proj.bias', (42,)), r'bias=True .*in_proj.bias \[42\]'),
    (replaced('out_proj.bias', (8,)), r'bias=True .*out_proj.bias \[8\]'),
    (replaced('init_states', (4, 4, 3)), 'learnable_init_states=True'),
    (replaced('D', (16,)), r'D is \[16\], but \[4\].*D_has_hdim=True'),
    (replaced('norm.weight', (8,)), r'norm.weight is \[8\] .*d_ssm below'),
    (replaced('out_proj.weight', (3, 16)), r'whole number .*\[3, 16\]'),
    (replaced('A_log', (4,)) | {'A_log': np.ones(4, int)}, 'A_log has .*int'),
  ],
)
def test_layers_that_mamba2_cannot_represent_are_refused(weights, message):
  """With the option of the official code."""
  with pytest.raises(ValueError, match=message):
    mamba2_from_official(weights)


def test_options_that_no_weight_shows_are_refused():
  """As they were given to the official layer."""
  weights = mamba2_weights()
  with pytest.raises(ValueError, match='norm_before_gate=True cannot be rep'):
    mamba2_from_official(weights, norm_before_gate=True)
  with pytest.raises(ValueError, match=r'dt_limit=\(0.0, 0.1\) cannot be rep'):
    mamba2_from_official(weights, dt_limit=(0.0, 0.1))
  with pytest.raises(ValueError, match=r'\[22, 1, 4\].* 6 for num_groups=2'):
    mamba2_from_official(weights, num_groups=2)
  params = rglru_weights() | {'a_imag_param': np.ones(6, np.float32)}
  with pytest.raises(ValueError, match='only_real=False cannot be represented'):
    rglru_from_official(params)
  variables = rglru_from_official(rglru_weights())[1]
  with pytest.raises(ValueError, match='scale_first=True was given'):
    rglru_to_official(RGLRU(6, num_blocks=3, scale_first=True), variables)


def test_a_prefix_that_no_weight_has_is_told():
  """With those that there are."""
  whole = {PREFIX + name: array for name, array in mamba2_weights().items()}
  with pytest.raises(ValueError, match=rf"prefixes .* are \['{PREFIX}'\]"):
    mamba2_from_official(whole)
  with pytest.raises(ValueError, match=r"the names are \['a'\]"):
    mamba2_from_official({'a': np.ones(2)})
  with pytest.raises(ValueError, match=r"prefixes .* are \['params.'\]"):
    rglru_from_official({'params': rglru_weights()})


def test_variables_that_are_not_those_of_the_mixer_are_named():
  """Its kind, the collection, names and shapes."""
  mixer, variables = mamba2_from_official(mamba2_weights())
  with pytest.raises(ValueError, match='is that of Mamba2, but a GRU was'):
    mamba2_to_official(GRU(8), variables)
  with pytest.raises(ValueError, match=r"'params' in them.*\['skip'\]"):
    mamba2_to_official(mixer, {'skip': 1})
  with pytest.raises(
    ValueError, match=r'an array \[4, 22\], but an array \[2, 22\]'
  ):
    mamba2_to_official(mixer.clone(kernel_size=2), variables)
  with pytest.raises(ValueError, match='logit is missing'):
    rglru_to_official(RGLRU(8), variables)
