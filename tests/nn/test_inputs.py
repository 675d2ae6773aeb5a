"""Mixers refuse what is no array of numbers in one sentence."""

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from seqjax.nn import MIXERS, NONCAUSAL_MIXERS


@pytest.fixture(autouse=True)
def without_annotations():
  """Turns off the type checker, which users do not run."""
  before = jaxtyping.config.jaxtyping_disable
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', before)


@pytest.mark.parametrize('name', MIXERS | NONCAUSAL_MIXERS)
def test_inputs_that_are_no_numbers_are_refused(name):
  """Integers, which Flax would convert in silence, lists, a lone sequence."""
  mixer = (MIXERS | NONCAUSAL_MIXERS)[name](8, 16)
  for x, message in (
    (jnp.ones((1, 3, 8), jnp.int32), 'floating-point numbers, but .*int32'),
    (jnp.ones((1, 3, 8)).tolist(), 'a list was given'),
    (jnp.ones((3, 8)), 'without a batch axis; add one'),
  ):
    with pytest.raises(ValueError, match=message):
      mixer.init(jax.random.key(0), x)


@pytest.mark.parametrize('name', MIXERS)
def test_carries_of_another_kind_are_refused(name):
  """Booleans in the place of numbers."""
  mixer, x = MIXERS[name](8, 16), jnp.ones((1, 3, 8))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  carry = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, bool), mixer.initialize_carry(1)
  )
  with pytest.raises(ValueError, match='where its carry holds bool'):
    jax.eval_shape(
      lambda v: mixer.apply(v, carry, x, method='unroll'), variables
    )
