"""Mixers whose state is a matrix, against loops of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn.delta_net import KDA, DeltaNet, DeltaProduct, GatedDeltaNet
from seqjax.nn.linear_attention import GLA, LinearAttention, Retention
from seqjax.nn.mamba import Mamba2, SelectiveDecay
from seqjax.nn.mlstm import MLSTM
from seqjax.nn.rwkv import RWKV7
from seqjax.typing import Segments

D, T, H = 8, 7, 2


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def silu(x):
  return x * sigmoid(x)


def softplus(x):
  return np.log1p(np.exp(x))


def layer_norm(x, p):
  """Of every head for itself; p has a scale and a bias for each entry."""
  x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
  return x * p['scale'] + p['bias']


def rms_norm(x, p):
  return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * p['scale']


def to_heads(x, p):
  """[T D] to [T H size]."""
  return np.einsum('td,dhk->thk', x, p['kernel']) + p.get('bias', 0)


def merge(y, p):
  """[T H V] to [T D]."""
  return np.einsum('thv,hvd->td', y, p['kernel'])


def convolve(x, kernel):
  """y_t = sum_l x_{t-l} kernel_l, zeros before the first position."""
  y = np.zeros_like(x)
  for lag, taps in enumerate(kernel):
    y[lag:] += x[: len(x) - lag] * taps
  return y


def gather(q, k, v, decay):
  """S <- decay S + k v^T and y = S^T q, a head at a time."""
  y = np.zeros_like(v)
  for h in range(H):
    state = np.zeros((k.shape[-1], v.shape[-1]))
    for t in range(T):
      decay_t = np.diag(np.broadcast_to(decay[t, h], k.shape[-1:]))
      state = decay_t @ state + np.outer(k[t, h], v[t, h])
      y[t, h] = state.T @ q[t, h]
  return y


def linear_attention(p, x):
  def phi(x):
    return np.where(x > 0, x + 1, np.exp(x))

  q, k = phi(to_heads(x, p['query'])), phi(to_heads(x, p['key']))
  v, ones = to_heads(x, p['value']), np.ones((T, H))
  normalizer = gather(q, k, np.ones((T, H, 1)), ones)
  return merge(gather(q, k, v, ones) / normalizer, p['out'])


def retention(p, x, norm=rms_norm):
  def rotate(x):
    """Pairs (k, k + K/2) as complex numbers, turned by t base^(-2k/K)."""
    half = x.shape[-1] // 2
    theta = 10000.0 ** (-np.arange(half) / half)
    turn = np.exp(1j * np.arange(T)[:, None, None] * theta)
    turned = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([turned.real, turned.imag], axis=-1)

  q, k = rotate(to_heads(x, p['query'])), rotate(to_heads(x, p['key']))
  decay = np.broadcast_to([1 - 1 / 32, 1 - 1 / 64], (T, H))
  y = gather(q, k / np.sqrt(k.shape[-1]), to_heads(x, p['value']), decay)
  gate = silu(to_heads(x, p['gate']))
  return merge(gate * norm(y, p['norm']), p['out'])


def retention_of_the_paper(p, x):
  return retention(p, x, layer_norm)


def gla_of_the_paper(p, x):
  return gla(p, x, layer_norm)


def gla(p, x, norm=rms_norm):
  q, k, v = (to_heads(x, p[name]) for name in ('query', 'key', 'value'))
  logit = to_heads(x @ p['narrow']['kernel'], p['decay'])
  y = gather(q / np.sqrt(q.shape[-1]), k, v, sigmoid(logit) ** (1 / 16))
  gate = silu(to_heads(x, p['gate']))
  return merge(gate * norm(y, p['norm']), p['out'])


def mlstm_of_the_paper(p, x):
  return mlstm(p, x, gate_input=x)


def mlstm(p, x, gate_input=None):
  """Without any stabiliser: these gates are small enough."""
  q, k, v = (to_heads(x, p[name]) for name in ('query', 'key', 'value'))
  if gate_input is None:
    gate_input = np.concatenate([a.reshape(T, -1) for a in (q, k, v)], axis=1)
  gates = np.exp(gate_input @ p['gates']['kernel'] + p['gates']['bias'])
  enter, forget = gates[:, :H], gates[:, H:] / (1 + gates[:, H:])
  k = k * enter[..., None] / np.sqrt(k.shape[-1])
  normalizer = gather(q, k, np.ones((T, H, 1)), forget)
  y = gather(q, k, v, forget) / np.maximum(np.abs(normalizer), 1)
  return merge(sigmoid(to_heads(x, p['output_gate'])) * y, p['out'])


def selective_decay(p, logit):
  step = softplus(logit + p['bias'])
  return step, np.exp(-np.exp(p['log_rate']) * step)


def mamba2_in_groups(p, x):
  return mamba2(p, x, groups=2)


def mamba2(p, x, groups=1):
  inner, size = 2 * D, 16
  width = groups * size
  gate, u, logit = np.split(
    x @ p['enter']['kernel'], [inner, 2 * inner + 2 * width], axis=1
  )
  u = silu(convolve(u, p['kernel']) + p['bias'])
  u, b, c = np.split(u, [inner, inner + width], axis=1)
  u = u.reshape(T, H, -1)
  step, decay = selective_decay(p['decay'], logit)
  b, c = (
    np.repeat(a.reshape(T, groups, size), H // groups, axis=1) for a in (b, c)
  )
  v = gather(c, b, step[..., None] * u, decay) + p['skip'][:, None] * u
  y = (v.reshape(T, inner) * silu(gate)).reshape(T, groups, -1)
  return rms_norm(y, p['norm']).reshape(T, inner) @ p['out']['kernel']


def delta_net(p, x, decay=None, reach=1.0):
  u = silu(convolve(x @ p['enter']['kernel'], p['kernel'])).reshape(T, H, -1)
  q, k, v = np.split(u, [D // H, 2 * D // H], axis=-1)
  q, k = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (q, k))
  q = q / np.sqrt(D // H)
  beta = reach * sigmoid(x @ p['beta']['kernel'])
  decay = np.ones((T, H)) if decay is None else decay
  y = np.zeros_like(v)
  for h in range(H):
    state = np.zeros((k.shape[-1], v.shape[-1]))
    for t in range(T):
      state = decay[t, h] * state
      error = v[t, h] - state.T @ k[t, h]
      state = state + beta[t, h] * np.outer(k[t, h], error)
      y[t, h] = state.T @ q[t, h]
  y = rms_norm(y, p['norm'])
  if 'gate' in p:
    y = y * silu(to_heads(x, p['gate']))
  return merge(y, p['out'])


def gated_delta_net(p, x, reach=1.0):
  logit = x @ p['log_decay']['kernel']
  _, decay = selective_decay(p['selective_decay'], logit)
  return delta_net(p, x, decay, reach)


def reflecting_delta_net(p, x):
  return delta_net(p, x, reach=2.0)


def reflecting_gated_delta_net(p, x):
  return gated_delta_net(p, x, reach=2.0)


def delta_product(p, x):
  """Two steps: the state decays once, and is corrected twice."""
  u = silu(convolve(x @ p['enter']['kernel'], p['kernel'])).reshape(T, H, -1)
  size = D // H
  q, *ks, vs = np.split(u, [size, 2 * size, 3 * size], axis=-1)
  vs = np.split(vs, 2, axis=-1)
  q, *ks = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (q, *ks))
  betas = np.split(2 * sigmoid(x @ p['beta']['kernel']), 2, axis=-1)
  logit = x @ p['log_decay']['kernel']
  _, decay = selective_decay(p['selective_decay'], logit)
  y = np.zeros_like(vs[0])
  for h in range(H):
    state = np.zeros((size, 2 * size))
    for t in range(T):
      state = decay[t, h] * state
      for k, v, beta in zip(ks, vs, betas, strict=True):
        error = v[t, h] - state.T @ k[t, h]
        state = state + beta[t, h] * np.outer(k[t, h], error)
      y[t, h] = state.T @ q[t, h] / np.sqrt(size)
  y = rms_norm(y, p['norm']) * silu(to_heads(x, p['gate']))
  return merge(y, p['out'])


def kda(p, x):
  """Row vectors as in the code; decays of channels, then the correction."""
  u = silu(convolve(x @ p['enter']['kernel'], p['kernel'])).reshape(T, H, -1)
  q, k, v = np.split(u, [D // H, 2 * D // H], axis=-1)
  q, k = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (q, k))
  beta = sigmoid(x @ p['beta']['kernel'])
  logit = to_heads(x @ p['decay_narrow']['kernel'], p['decay'])
  decay = p['channel_decay']
  rate = np.exp(decay['log_rate'])[:, None]
  decay = np.exp(-rate * softplus(logit + decay['bias']))
  y = np.zeros_like(v)
  for h in range(H):
    state = np.zeros((v.shape[-1], k.shape[-1]))
    for t in range(T):
      shrink = np.diag(decay[t, h])
      reflect = np.eye(k.shape[-1]) - beta[t, h] * np.outer(k[t, h], k[t, h])
      state = state @ shrink @ reflect
      state = state + beta[t, h] * np.outer(v[t, h], k[t, h])
      y[t, h] = state @ q[t, h] / np.sqrt(D // H)
  gate = to_heads(x @ p['gate_narrow']['kernel'], p['gate'])
  return merge(rms_norm(y, p['norm']) * sigmoid(gate), p['out'])


def rwkv7(p, x):
  """Row vectors as in the paper: S (diag(w) - r^T (a * r)) + v^T k."""
  before = np.concatenate([np.zeros((1, D)), x[:-1]])
  xr, xw, xk, xv, xa, xg = (x + mu * (before - x) for mu in p['shift'])
  r, k, v = (
    to_heads(a, p[name])
    for a, name in ((xr, 'receptance'), (xk, 'key'), (xv, 'value'))
  )
  low = np.tanh(xw @ p['decay_narrow']['kernel'])
  w = np.exp(-sigmoid(to_heads(low, p['decay'])) / np.sqrt(np.e))
  a = sigmoid(to_heads(xa @ p['rate_narrow']['kernel'], p['rate']))
  g = to_heads(sigmoid(xg @ p['gate_narrow']['kernel']), p['gate'])
  kappa = k * p['removal_scale']
  kappa = kappa / np.linalg.norm(kappa, axis=-1, keepdims=True)
  k = k * (1 + (a - 1) * p['rate_scale'])
  y = np.zeros_like(v)
  for h in range(H):
    state = np.zeros((v.shape[-1], k.shape[-1]))
    for t in range(T):
      removed = np.outer(kappa[t, h], a[t, h] * kappa[t, h])
      state = state @ (np.diag(w[t, h]) - removed)
      state = state + np.outer(v[t, h], k[t, h])
      y[t, h] = state @ r[t, h]
  y = y - y.mean(axis=-1, keepdims=True)
  y = y / np.sqrt(y.var(axis=-1, keepdims=True) + D / H * 1e-5)
  y = y * p['norm']['scale'] + p['norm']['bias']
  y = y + (r * k * p['bonus']).sum(axis=-1, keepdims=True) * v
  return merge(y * g, p['out'])


MIXERS = {
  linear_attention: LinearAttention(D, key_size=3),
  retention: Retention(D, key_size=6),
  gla: GLA(D),
  mlstm: MLSTM(D, key_size=3),
  retention_of_the_paper: Retention(D, expand=1, norm_kind='layer'),
  gla_of_the_paper: GLA(D, norm_kind='layer'),
  mlstm_of_the_paper: MLSTM(D, gate_input='x'),
  mamba2: Mamba2(D),
  mamba2_in_groups: Mamba2(D, num_groups=2),
  delta_net: DeltaNet(D),
  gated_delta_net: GatedDeltaNet(D),
  delta_product: DeltaProduct(D),
  kda: KDA(D),
  rwkv7: RWKV7(D, rank=3, gate_rank=5),
  reflecting_delta_net: DeltaNet(D, negative_eigenvalues=True),
  reflecting_gated_delta_net: GatedDeltaNet(D, negative_eigenvalues=True),
}


@pytest.mark.parametrize('loop', MIXERS, ids=lambda loop: loop.__name__)
def test_every_mixer_is_the_loop_of_its_paper(loop):
  """Parameters random, biases and scales too."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(1, T, D))
  shapes = jax.eval_shape(MIXERS[loop].init, jax.random.key(0), jnp.asarray(x))
  variables = jax.tree.map(
    lambda leaf: 0.5 * rng.normal(size=leaf.shape), shapes
  )
  with jax.enable_x64(True):
    mixer = MIXERS[loop].clone(dtype=jnp.float64, param_dtype=jnp.float64)
    given = jax.jit(mixer.apply)(variables, jnp.asarray(x))
  expected = loop(variables['params'], x[0])
  # What departs: norms of queries and keys, and a sum, have 1e-6 added.
  np.testing.assert_allclose(given[0], expected, rtol=1e-4, atol=1e-5)


def test_exponential_gates_may_be_of_any_size():
  """exp(+-300) leaves outputs, carries and gradients finite, padded or not."""
  mixer = MLSTM(4)
  x = jax.random.normal(jax.random.key(0), (2, 9, 4))
  variables = jax.jit(mixer.init)(jax.random.key(1), x)
  start = jnp.zeros((2, 9), bool).at[:, 6].set(True)
  valid = jnp.ones((2, 9), bool).at[0, :4].set(False)

  @jax.jit
  def run(variables, x):
    def objective(variables, x):
      carry = mixer.initialize_carry(2)
      carry, y = mixer.apply(
        variables, carry, x, Segments(start, valid), method='unroll'
      )
      total = sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(carry))
      return total + jnp.sum(y), (carry, y)

    return jax.grad(objective, argnums=(0, 1), has_aux=True)(variables, x)

  for size in (-300.0, 300.0):
    bias = variables['params']['gates']['bias']
    for which in (bias.at[:2].set(size), bias.at[2:].set(size)):
      variables['params']['gates']['bias'] = which
      for leaf in jax.tree.leaves(run(variables, x)):
        assert jnp.isfinite(leaf).all()


def test_decays_begin_where_the_code_of_their_authors_puts_them():
  """Mamba-2: steps in 0.001..0.1, rates in 1..16; mLSTM: sigmoid(3..6)."""
  decay = SelectiveDecay().init(jax.random.key(0), jnp.ones((1, 400)))
  decay = decay['params']
  steps, rates = jax.nn.softplus(decay['bias']), jnp.exp(decay['log_rate'])
  assert 1e-3 - 1e-6 <= steps.min() < 2e-3
  assert 0.05 < steps.max() <= 0.1 + 1e-6
  assert 1 - 1e-5 <= rates.min() < 1.1 and 15 < rates.max() <= 16 + 1e-4
  assert 8 < jnp.median(rates) < 9  # uniform
  mixer = MLSTM(8, num_heads=4)
  gates = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 8)))
  bias = gates['params']['gates']['bias']
  assert bias[4:].tolist() == [3, 4, 5, 6]
  assert 0 < jnp.abs(bias[:4]).max() < 0.5
  assert not gates['params']['gates']['kernel'].any()


def test_rwkv7_begins_where_the_code_of_its_authors_puts_its_first_layer():
  """Feature by feature, in two heads of eight."""
  variables = jax.jit(RWKV7(16).init)(jax.random.key(0), jnp.ones((1, 1, 16)))
  p = jax.tree.map(np.asarray, variables['params'])
  for n in range(16):
    head, i = divmod(n, 8)
    zigzag = (i - 3.5) / 3.5 * abs(i - 3.5) / 3.5
    linear = n / 15 - 0.5
    given = [p[name]['bias'][head, i] for name in ('decay', 'rate')]
    expected = [-5.5 + 6 * n / 15 + 2.5 * zigzag]
    expected += [-0.19 + 0.3 * zigzag + 0.4 * linear]
    powers = 0.2, 0.9, 0.7, 0.7, 0.9, 0.2
    given += [p['removal_scale'][head, i], *p['shift'][:, n]]
    expected += [0.71 - 0.1 * linear, *(1 - (n / 16) ** b for b in powers)]
    np.testing.assert_allclose(given, expected, atol=1e-6)
  for name, limit in {'receptance': 0.125, 'key': 0.0125}.items():
    largest = np.abs(p[name]['kernel']).max()
    assert 0.9 * limit < largest <= limit
  for name in ('decay', 'rate', 'gate'):  # 32 ranks for 16 features
    kernel = p[name]['kernel'].reshape(32, 16)
    np.testing.assert_allclose(kernel.T @ kernel, 0.02 * np.eye(16), atol=1e-6)
    assert not p[f'{name}_narrow']['kernel'].any()


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: GLA(8, num_heads=3), 'is not a multiple of num_heads=3'),
    (lambda: MLSTM(8, num_heads=0), 'num_heads=0'),
    (lambda: LinearAttention(8, key_size=0), 'key_size=0'),
    (lambda: GLA(8, rank=0), 'rank=0'),
    (lambda: Mamba2(8, state_size=0), 'state_size=0'),
    (lambda: Mamba2(8, expand=0), 'expand=0'),
    (lambda: DeltaNet(8, kernel_size=0), 'kernel_size=0'),
    (lambda: Retention(8, key_size=3), 'even key_size'),
    (lambda: Retention(8, norm_kind='layers'), "mean 'layer'"),
    (lambda: MLSTM(8, gate_input='y'), "gate input 'y'"),
    (lambda: Mamba2(8, num_groups=3), 'num_groups=3'),
    (lambda: KDA(8, key_size=0), 'key_size=0'),
    (lambda: DeltaProduct(8, num_steps=0), 'num_steps=0'),
    (lambda: RWKV7(8, rank=0), 'rank=0'),
    (lambda: RWKV7(8, gate_rank=0), 'gate_rank=0'),
    (lambda: GatedDeltaNet(8, algorithm='chunk'), "mean 'chunked'"),
  ],
)  # fmt: skip
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()
