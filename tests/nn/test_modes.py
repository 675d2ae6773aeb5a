"""Every mode of differentiation, and every platform."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import testing
from seqjax.nn import GRU, MIXERS, NONCAUSAL_MIXERS
from seqjax.typing import Segments

CATALOG = MIXERS | NONCAUSAL_MIXERS


def made(name: str, **options):
  """The mixer, with those of the options that it has."""
  fields = {field.name for field in dataclasses.fields(CATALOG[name])}
  options = {key: value for key, value in options.items() if key in fields}
  return CATALOG[name](8, 16, **options)


@pytest.mark.parametrize('name', CATALOG)
def test_plain_forms_are_differentiable_in_every_mode(name):
  """jvp, jacfwd and a Hessian-vector product, forward and reverse first."""
  with jax.enable_x64(True):
    plain = {'algorithm': 'plain', 'mixer': GRU(8, algorithm='plain')}
    mixer = testing.with_dtypes(made(name, **plain), jnp.float64, jnp.float64)
    rng = np.random.default_rng(0)
    x, direction = rng.normal(size=(2, 1, 5, 8))
    variables = jax.tree.map(
      lambda leaf: np.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype),
      jax.eval_shape(mixer.init, jax.random.key(1), x),
    )

    @jax.jit
    def derivatives(x):
      def outputs(x):
        return mixer.apply(variables, x)

      def loss(x):
        return jnp.sum(jnp.sin(outputs(x)))

      _, along = jax.jvp(outputs, (x,), (direction,))
      jacobian = jax.jacfwd(outputs)(x).reshape(x.size, x.size)
      _, forward_last = jax.jvp(jax.grad(loss), (x,), (direction,))
      slope = jax.grad(lambda x: jax.jvp(loss, (x,), (direction,))[1])
      return along, jacobian, forward_last, slope(x)

    along, jacobian, forward_last, reverse_last = map(
      np.asarray, derivatives(x)
    )
  np.testing.assert_allclose(
    jacobian @ direction.ravel(), along.ravel(), rtol=1e-8, atol=1e-10
  )
  np.testing.assert_allclose(forward_last, reverse_last, rtol=1e-8, atol=1e-10)
  assert np.abs(along).max() > 1e-3 and np.abs(forward_last).max() > 1e-6


@pytest.mark.parametrize('name', CATALOG)
def test_fast_forms_give_way_to_forward_over_reverse(name):
  """A Hessian-vector product of what `auto` chooses; traced alone."""
  mixer = made(name)
  x = jnp.ones((1, 5, 8))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)

  def product(variables, x):
    gradient = jax.grad(lambda x: jnp.sum(mixer.apply(variables, x) ** 2))
    return jax.jvp(gradient, (x,), (x,))[1]

  assert jax.eval_shape(product, variables, x).shape == x.shape


@pytest.mark.parametrize('algorithm', ['auto', 'associative', 'chunked'])
@pytest.mark.parametrize('name', CATALOG)
def test_every_mixer_lowers_for_gpu_and_tpu(name, algorithm):
  """Values and gradients, on a machine that has neither."""
  try:
    mixer = made(name, algorithm=algorithm)
  except ValueError:
    pytest.skip(f'{name} has no algorithm {algorithm!r}')
  if mixer == made(name) and algorithm != 'auto':
    pytest.skip(f'{name} has no choice of algorithms')
  x = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)
  everywhere = jax.ShapeDtypeStruct((2, 5), bool)
  segments = Segments(everywhere, everywhere)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)

  def loss(variables, x, segments):
    return jnp.sum(mixer.apply(variables, x, segments))

  gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
  exported = jax.export.export(gradient, platforms=['cuda', 'tpu'])
  assert exported(variables, x, segments).platforms == ('cuda', 'tpu')
