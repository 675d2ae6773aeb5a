"""Mixers that are linear in their state, against their papers' equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn.linear_rnn import LRU, RGLRU, MinGRU, MinLSTM
from seqjax.typing import Segments

B, T, D = 2, 7, 4
X = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def parameters(mixer):
  """Those of `init` with noise, so that no bias is zero."""
  variables = jax.jit(mixer.init)(jax.random.key(0), X)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: np.float32(leaf + 0.3 * rng.normal(size=leaf.shape)),
    variables['params'],
  )


def dense(params, name):
  """A layer's pre-activations at every position."""
  return X @ params[name]['kernel'] + params[name]['bias']


def check_loop(mixer, params, decay, drive, read=lambda h, t: h):
  """Unrolls h = a h + b by hand."""
  y = np.asarray(jax.jit(mixer.apply)({'params': params}, X))
  h = np.zeros(drive[:, 0].shape)
  for t in range(T):
    h = decay[:, t] * h + drive[:, t]
    np.testing.assert_allclose(y[:, t], read(h, t), rtol=1e-4, atol=1e-5)


def test_min_gru_is_its_equations():
  """Section 3.1.2 of the paper."""
  params = parameters(MinGRU(D))
  z, n = sigmoid(dense(params, 'update_gate')), dense(params, 'candidate')
  check_loop(MinGRU(D), params, 1 - z, z * n)


def test_min_lstm_is_its_equations():
  """Section 3.2.3: gates are divided by their sum."""
  params = parameters(MinLSTM(D))
  f = sigmoid(dense(params, 'forget_gate'))
  i = sigmoid(dense(params, 'input_gate'))
  n = dense(params, 'candidate')
  check_loop(MinLSTM(D), params, f / (f + i), i / (f + i) * n)


def test_lru_is_its_equations():
  """Complex states, of which a real part is read."""
  mixer = LRU(D, state_size=6)
  p = parameters(mixer)
  eigenvalue = np.exp(-np.exp(p['nu']) + 1j * np.exp(p['theta']))
  enter, leave = p['input'] * 1j ** np.arange(2)[:, None, None], p['output']
  drive = np.exp(p['log_gamma']) * (X @ enter.sum(axis=0))
  leave = leave[0] + 1j * leave[1]

  def read(h, t):
    return (h @ leave).real + p['skip'] * X[:, t]

  decay = np.broadcast_to(eigenvalue, drive.shape)
  check_loop(mixer, p, decay, drive, read)


def test_rg_lru_is_its_equations():
  """Equations 1 to 4 of the paper, with c = 8, and those of its code.

  Which has no root at the first position.
  """
  p = parameters(RGLRU(D))
  r = sigmoid(dense(p, 'recurrence_gate'))
  i = sigmoid(dense(p, 'input_gate'))
  a = sigmoid(p['logit']) ** (8 * r)
  root = np.sqrt(1 - a**2)
  check_loop(RGLRU(D, scale_first=True), p, a, root * i * X)
  root[:, 0] = 1
  check_loop(RGLRU(D), p, a, root * i * X)


def test_blocks_of_rg_lru_gates_read_their_own_features_alone():
  """As dense kernels do that are zero off the diagonal blocks."""
  mixer = RGLRU(D, num_blocks=2)
  p = parameters(mixer)
  dense_p = {'logit': p['logit']}
  for name in ('recurrence_gate', 'input_gate'):
    kernel = np.zeros((D, D), np.float32)
    for block, place in zip(p[name]['kernel'], range(0, D, 2), strict=True):
      kernel[place : place + 2, place : place + 2] = block
    dense_p[name] = {'kernel': kernel, 'bias': p[name]['bias']}
  r = sigmoid(dense(dense_p, 'recurrence_gate'))
  i = sigmoid(dense(dense_p, 'input_gate'))
  a = sigmoid(p['logit']) ** (8 * r)
  root = np.sqrt(1 - a**2)
  root[:, 0] = 1
  check_loop(mixer, p, a, root * i * X)


def test_blocks_of_rg_lru_gates_begin_with_the_variance_of_their_inputs():
  """1 / inputs of a block; and there are as many blocks as divide features."""
  mixer = RGLRU(256, num_blocks=4)
  x = jnp.zeros((1, 1, 256))
  kernel = mixer.init(jax.random.key(0), x)['params']['input_gate']['kernel']
  assert kernel.shape == (4, 64, 64)
  np.testing.assert_allclose(jnp.std(kernel, axis=(1, 2)), 1 / 8, rtol=0.1)
  with pytest.raises(ValueError, match='features=10 is not .* num_blocks=4'):
    RGLRU(10, num_blocks=4)


def test_rg_lru_leaves_out_the_root_where_a_segment_begins():
  """Not where padding does, and not in the middle of a stream."""
  mixer = RGLRU(D)
  p = {'params': parameters(mixer)}
  start = jnp.zeros(X.shape[:2], bool).at[:, 3].set(True)
  valid = jnp.ones(X.shape[:2], bool).at[:, 3].set(False)
  y = mixer.apply(p, X, Segments(start, valid))
  np.testing.assert_allclose(y[:, 4:], mixer.apply(p, X[:, 4:]), rtol=1e-4)
  carry, _ = mixer.apply(
    p, mixer.initialize_carry(len(X)), X[:, :2], method='unroll'
  )
  _, y = mixer.apply(p, carry, X[:, 2:], method='unroll')
  np.testing.assert_allclose(y, mixer.apply(p, X)[:, 2:], rtol=1e-4)


@pytest.mark.parametrize('size', [60.0, -60.0, 200.0, -200.0])
@pytest.mark.parametrize('mixer', [MinLSTM(D), RGLRU(D)])
def test_saturated_gates_have_finite_gradients(mixer, size):
  """Also where f and i are zero in floating point, or a decay is one."""
  params = parameters(mixer)

  @jax.jit
  @jax.grad
  def gradient(params):
    return jnp.sum(jnp.sin(mixer.apply({'params': params}, X)))

  for name in params:
    if name.endswith('gate'):
      params[name]['bias'] = params[name]['bias'] + np.float32(size)
  if 'logit' in params:
    params['logit'] = params['logit'] + np.float32(size)
  gradients = jax.tree.leaves(gradient(params))
  assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_min_lstm_keeps_its_scale_where_both_gates_close():
  """f = i = exp(-200): half of the past and half of the candidate."""
  params = parameters(MinLSTM(D))
  for name in ('forget_gate', 'input_gate'):
    params[name] = {
      'kernel': np.zeros((D, D), np.float32),
      'bias': np.full(D, -200, np.float32),
    }
  half = np.full((B, T, D), 0.5)
  check_loop(MinLSTM(D), params, half, half * dense(params, 'candidate'))


def test_lru_eigenvalues_begin_inside_the_ring():
  """|lambda|^2 and phase are uniform; gamma^2 is 1 - |lambda|^2."""
  mixer = LRU(1, state_size=2000, r_min=0.5, r_max=0.9, max_phase=1.0)
  p = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 1)))['params']
  radius, phase = np.exp(-np.exp(p['nu'])), np.exp(p['theta'])
  assert 0.5 <= radius.min() < 0.51 and 0.89 < radius.max() <= 0.9
  assert 0 < phase.min() < 0.01 and 0.99 < phase.max() <= 1
  np.testing.assert_allclose(np.mean(radius**2), 0.53, atol=0.01)
  np.testing.assert_allclose(
    np.exp(2 * p['log_gamma']), 1 - radius**2, rtol=1e-4
  )


@pytest.mark.parametrize(
  'initialization, exponent', [('griffin', 8), ('recurrentgemma', 1)]
)
def test_rg_lru_decays_begin_between_their_bounds(initialization, exponent):
  """a^8, of the paper, or a, of its code, between 0.9 and 0.999."""
  mixer = RGLRU(2000, initialization=initialization)
  p = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 2000)))['params']
  power = sigmoid(np.float64(p['logit'])) ** exponent
  assert 0.9 <= power.min() < 0.901 and 0.998 < power.max() <= 0.99901
  if initialization == 'recurrentgemma':
    assert 0.65 < np.median(power**8) < 0.69


def test_rg_lru_decays_stay_below_one_in_bfloat16():
  """Where the nearest number to 0.999 is 1."""
  mixer = RGLRU(64, param_dtype=jnp.bfloat16, initialization='griffin')
  keys = jax.random.split(jax.random.key(0), 8)
  init = jax.jit(jax.vmap(mixer.init, in_axes=(0, None)))
  logit = np.float64(init(keys, jnp.ones((1, 1, 64)))['params']['logit'])
  power = sigmoid(logit) ** 8
  assert np.isfinite(logit).all()
  assert 0.89 <= power.min() < 0.91 and 0.99 < power.max() < 0.9995


def test_lru_rings_may_end_at_one():
  """Finite even where a radius rounds to it."""
  mixer = LRU(1, state_size=4096, r_min=0.9999, param_dtype=jnp.bfloat16)
  p = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 1)))['params']
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(p))


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: MinLSTM(8, algorithm='scann'), "mean 'scan'"),
    (lambda: LRU(8, r_min=0.9, r_max=0.5), 'r_min=0.9 and r_max=0.5'),
    (lambda: LRU(8, r_max=1.5), 'r_max=1.5'),
    (lambda: LRU(8, state_size=0), 'state_size=0'),
    (lambda: LRU(8, max_phase=0.0), 'max_phase=0.0'),
  ],
)
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()
