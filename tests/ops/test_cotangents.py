"""An identity with a derivative of its own is one in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops.attention import additive_attention, attention
from seqjax.ops.cotangents import change_cotangents
from seqjax.ops.linear_attention import gated_outer

X = np.linspace(0.1, 1.0, 4, dtype=np.float32)


def plain(x, gain):
  return jnp.sin(x)[:3] * gain


def held(x, gain=2.0):
  """Replaces cotangents of NaN by zero, and puts NaN back for all inputs."""

  def before(cotangents, kept):
    x, gain, marks = cotangents
    lost = jnp.any(marks > 0) & kept['x']
    return [jnp.where(lost, jnp.nan, x), gain, jnp.zeros_like(marks)]

  def after(cotangents):
    y, _ = cotangents
    return [jnp.where(jnp.isnan(y), 0, y), jnp.isnan(y).astype(y.dtype)]

  inputs = [x, gain, jnp.zeros(3)]
  x, gain, marks = change_cotangents(inputs, before, {'x': jnp.bool_(True)})
  y, _ = change_cotangents([plain(x, gain), marks], after)
  return y


MODES = {
  'gradient': lambda f: jax.grad(lambda x: jnp.sum(f(x, 2.0) ** 2))(X),
  'of both': lambda f: jax.grad(lambda x, g: f(x, g).sum(), (0, 1))(X, 2.0),
  'forward': lambda f: jax.jvp(f, (X, 2.0), (X, 1.0)),
  'forward, of one': lambda f: jax.jacfwd(lambda x: f(x, 2.0))(X),
  'forward of reverse': lambda f: jax.hessian(lambda x: f(x, 2.0).prod())(X),
  'reverse of reverse': lambda f: jax.jacrev(
    jax.grad(lambda x: f(x, 2.0).prod())
  )(X),
  'reverse of forward': lambda f: jax.jacrev(
    jax.jacfwd(lambda x: f(x, 2.0).prod())
  )(X),
  'rows': lambda f: jax.vmap(
    jax.grad(lambda x, g: f(x, g).prod(), (0, 1)), in_axes=(1, None)
  )(np.stack([X, 2 * X], 1), 2.0),
  'of rows': lambda f: jax.grad(
    lambda x, g: jax.vmap(f, in_axes=(1, None))(x, g).prod(), (0, 1)
  )(np.stack([X, 2 * X], 1), 2.0),
  'computed again': lambda f: jax.grad(
    lambda x: jax.checkpoint(f)(x, 2.0).prod()
  )(X),
}


@pytest.mark.parametrize('compiled', [False, True], ids=['eager', 'jit'])
@pytest.mark.parametrize('mode', MODES)
def test_derivatives_are_those_of_the_function_within(mode, compiled):
  """As long as every cotangent is finite."""
  run = MODES[mode]
  call = (lambda f: jax.jit(lambda: run(f))()) if compiled else run
  jax.tree.map(np.testing.assert_allclose, call(held), call(plain))


def test_cotangents_are_changed_row_by_row():
  """In a batch too, where rows must not share what was found."""

  def gradient(x, weight):
    return jax.grad(lambda x: jnp.sum(held(x) * weight))(x)

  weights = np.array([[1, 1, 1], [1, np.nan, 1]], np.float32)
  found = jax.vmap(gradient)(np.stack([X, X]), weights)
  expected = jax.grad(lambda x: plain(x, 2.0).sum())(X)
  np.testing.assert_allclose(found[0], expected)
  assert np.isnan(found[1]).all()


X_OF_HEADS = np.random.default_rng(0).normal(size=(2, 6, 2, 4))
X_OF_HEADS = X_OF_HEADS.astype(np.float32)


def read(x):
  return attention(x, x, x, algorithm='plain')


def gather(x):
  carry, decay = np.zeros((2, 2, 4, 4), np.float32), -np.ones((2, 6, 2))
  return gated_outer(carry, x, x, x, decay.astype(np.float32))[1]


@pytest.mark.parametrize('op', [read, gather])
def test_ops_leak_no_tracer(op):
  """Functions that are kept for derivatives hold none."""
  with jax.checking_leaks():
    jax.jit(jax.grad(lambda x: op(x).sum()))(X_OF_HEADS)


def test_a_call_outside_of_jit_compiles_once():
  """A condition of its own would be compiled again at every call."""
  read(X_OF_HEADS)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event)
  )
  read(X_OF_HEADS)
  assert not [event for event in compiled if 'backend_compile' in event]


def test_nan_of_a_gradient_reaches_parameters():
  """An op's weights may be all that is trained."""
  x = np.random.default_rng(0).normal(size=(2, 3, 1, 4)).astype(np.float32)
  weights = np.ones((2, 3, 1, 1), np.float32)
  weights[0, 1] = np.nan

  def total(weight):
    read = additive_attention(x, x, x, weight, np.ones((2, 3), bool))
    return jnp.sum(read * weights)

  assert np.isnan(jax.grad(total)(np.ones((1, 4), np.float32))).all()


def test_gradients_keep_to_meshes_with_explicit_axes():
  """And to those whose axes a shard_map checks."""
  mesh = jax.make_mesh((1,), ('rows',))
  rows = jax.NamedSharding(mesh, jax.sharding.PartitionSpec('rows'))

  def shared(x):
    specs = {'in_specs': rows.spec, 'out_specs': rows.spec}
    return jax.shard_map(read, mesh=mesh, **specs)(x)

  expected = jax.grad(lambda x: read(x).sum())(X_OF_HEADS)
  with jax.set_mesh(mesh):
    placed = jax.device_put(X_OF_HEADS, rows)
    for function in (read, shared):
      given = jax.jit(jax.grad(lambda x, f=function: f(x).sum()))(placed)
      np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
