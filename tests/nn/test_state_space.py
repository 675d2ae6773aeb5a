"""State-space layers against the equations of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn.mamba import Mamba, Mamba2
from seqjax.nn.oscillators import LinOSS
from seqjax.nn.state_space import S4D, S5
from seqjax.ops import state_space as ops

B, T, D = 2, 7, 3
X = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


def parameters(mixer):
  """Those of `init` with noise, so that no bias is zero."""
  variables = jax.jit(mixer.init)(jax.random.key(0), X)
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: np.float32(leaf + 0.3 * rng.normal(size=leaf.shape)),
    variables['params'],
  )


def outputs(mixer, params):
  return np.asarray(jax.jit(mixer.apply)({'params': params}, X))


def complete(parts):
  """A matrix from its real and imaginary parts, and how often it counts."""
  if len(parts) == 1:
    return np.float64(parts[0]), 1
  return parts[0] + 1j * np.float64(parts[1]), 2


def discrete(params, rule):
  """The decay and the gain of every pole."""
  pole = -np.exp(np.float64(params['log_rate']))
  if 'frequency' in params:
    pole = pole + 1j * params['frequency']
  step = np.exp(params['log_step'])
  if rule == 'zoh':
    return np.exp(pole * step), (np.exp(pole * step) - 1) / pole
  return (1 + pole * step / 2) / (1 - pole * step / 2), step / (
    1 - pole * step / 2
  )


@pytest.mark.parametrize('rule', ['zoh', 'bilinear'])
@pytest.mark.parametrize('initialization', ['lin', 'inv', 'real'])
def test_s4d_is_a_system_for_every_feature(rule, initialization):
  """h = decay h + gain x, y = C h + D x; of conjugates both count."""
  mixer = S4D(
    D, state_size=4, initialization=initialization, discretization=rule
  )
  p = parameters(mixer)
  y = outputs(mixer, p)
  decay, gain = discrete(p, rule)
  output, count = complete(p['output'])
  h = np.zeros((B, *decay.shape))
  for t in range(T):
    h = decay * h + gain * X[:, t, :, None]
    expected = count * (h * output).sum(axis=-1).real + p['skip'] * X[:, t]
    np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('rule', ['zoh', 'bilinear'])
@pytest.mark.parametrize('initialization', ['hippo', 'real'])
def test_s5_is_one_system_for_all_features(rule, initialization):
  """h = decay h + gain B x, y = C h + D x; of conjugates both count."""
  mixer = S5(
    D, state_size=6, initialization=initialization, discretization=rule
  )
  p = parameters(mixer)
  y = outputs(mixer, p)
  decay, gain = discrete(p, rule)
  enter, _ = complete(p['input'])
  leave, count = complete(p['output'])
  h = np.zeros((B, *decay.shape))
  for t in range(T):
    h = decay * h + gain * (X[:, t] @ enter)
    expected = count * (h @ leave).real + p['skip'] * X[:, t]
    np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


def test_s5_begins_as_a_real_system_of_hippo():
  """With one step size, y is what the dense real matrices give."""
  mixer = S5(D, state_size=6, discretization='bilinear')
  p = jax.jit(mixer.init)(jax.random.key(0), X)['params']
  p = p | {'log_step': np.full(3, np.log(0.1), np.float32)}
  y = outputs(mixer, p)
  matrix, (_, vectors) = ops.hippo_matrix(6), ops.hippo(6)
  enter, _ = complete(np.asarray(p['input']))
  leave, _ = complete(np.asarray(p['output']))
  enter = 2 * (enter @ vectors.T).real
  leave = 2 * (vectors.conj() @ leave).real
  left, right = np.eye(6) - 0.05 * matrix.T, np.eye(6) + 0.05 * matrix.T
  h = np.zeros((B, 6))
  for t in range(T):
    h = (h @ right + 0.1 * X[:, t] @ enter) @ np.linalg.inv(left)
    expected = h @ leave + np.asarray(p['skip']) * X[:, t]
    np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('discretization', ['im', 'imex'])
def test_linoss_is_the_recurrence_of_its_paper(discretization):
  """Entry by entry of the matrices, complex forces, real outputs."""
  mixer = LinOSS(D, state_size=4, discretization=discretization)
  p = parameters(mixer)
  y = outputs(mixer, p)
  a = np.maximum(p['stiffness'], 0)
  dt = 1 / (1 + np.exp(-p['step_logit']))
  write = p['input'][0] + 1j * p['input'][1]
  read = p['output'][0] + 1j * p['output'][1]
  schur = 1 / (1 + dt**2 * a)
  for row in range(B):
    velocity, place = np.zeros((2, 4), complex)
    for t in range(T):
      force = X[row, t] @ write
      if discretization == 'im':
        velocity, place = (
          schur * (velocity - dt * a * place + dt * force),
          schur * (dt * velocity + place + dt**2 * force),
        )
      else:
        velocity, place = (
          velocity - dt * a * place + dt * force,
          dt * velocity + (1 - dt**2 * a) * place + dt**2 * force,
        )
      expected = (place @ read).real + p['skip'] * X[row, t]
      np.testing.assert_allclose(y[row, t], expected, rtol=1e-4, atol=1e-5)


def test_mamba_is_its_equations():
  """Convolution, selection and gate, position by position."""
  mixer = Mamba(D, state_size=5, expand=2)
  p = parameters(mixer)
  y = outputs(mixer, p)
  inner = 2 * D
  seen = np.zeros((B, 4, inner))
  h = np.zeros((B, inner, 5))

  def silu(v):
    return v / (1 + np.exp(-v))

  for t in range(T):
    u, z = np.split(X[:, t] @ p['enter']['kernel'], 2, axis=-1)
    seen = np.concatenate([seen[:, 1:], u[:, None]], axis=1)
    u = silu((seen[:, ::-1] * p['kernel']).sum(axis=1) + p['bias'])
    low, b, c = np.split(u @ p['select']['kernel'], [1, 6], axis=-1)
    step = low @ p['step_size']['kernel'] + p['step_size']['bias']
    step = np.log1p(np.exp(step))[..., None]
    decay = np.exp(-step * np.exp(p['log_rate']))
    h = decay * h + step * b[:, None] * u[..., None]
    v = (h * c[:, None]).sum(axis=-1) + p['skip'] * u
    expected = (v * silu(z)) @ p['out']['kernel']
    np.testing.assert_allclose(y[:, t], expected, rtol=1e-4, atol=1e-5)


def test_poles_and_steps_begin_where_the_papers_have_them():
  """Real parts of -1/2, steps between 0.001 and 0.1, A = -1..-N."""
  x = jnp.ones((1, 1, 200))
  for mixer in (S4D(200, initialization='inv'), S5(200)):
    p = jax.jit(mixer.init)(jax.random.key(0), x)['params']
    np.testing.assert_allclose(np.exp(p['log_rate']), 0.5, rtol=1e-5)
    step = np.exp(p['log_step'])
    assert 1e-3 <= step.min() < 2e-3 and 0.05 < step.max() <= 0.1001
  p = jax.jit(Mamba(200).init)(jax.random.key(0), x)['params']
  step = np.logaddexp(p['step_size']['bias'], 0)
  assert 0.99e-3 < step.min() < 2e-3 and 0.05 < step.max() < 0.101
  np.testing.assert_allclose(
    np.exp(p['log_rate'])[7], np.arange(1, 17), rtol=1e-5
  )


@pytest.mark.parametrize('mixer', [Mamba(256), Mamba2(256)])
def test_biases_of_the_convolution_begin_as_those_of_pytorch(mixer):
  """Uniform within 1 / sqrt(taps), and so are the kernels of four taps."""
  p = jax.jit(mixer.init)(jax.random.key(0), jnp.ones((1, 1, 256)))['params']
  for name in ('bias', 'kernel'):
    assert 0.48 < np.max(np.abs(p[name])) <= 0.5
    assert np.std(p[name]) == pytest.approx(1 / np.sqrt(12), rel=0.05)


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: LinOSS(8, state_size=0), 'state_size=0'),
    (lambda: LinOSS(8, discretization='imexx'), "mean 'imex'"),
    (lambda: S4D(8, initialization='linear'), "mean 'lin'"),
    (lambda: S5(8, initialization='hipo'), "mean 'hippo'"),
    (lambda: S5(8, discretization='zho'), "mean 'zoh'"),
    (lambda: S4D(8, state_size=5), 'state_size=5'),
    (lambda: S4D(8, state_size=0, initialization='real'), 'state_size=0'),
    (lambda: S5(8, algorithm='asociative'), "mean 'associative'"),
    (lambda: Mamba(8, expand=0), 'expand=0'),
    (lambda: Mamba(8, algorithm='scann'), "mean 'scan'"),
  ],
)
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()
