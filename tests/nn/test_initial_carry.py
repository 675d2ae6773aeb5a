"""Segments that begin with a learned carry, or with a random one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import Stack
from seqjax.nn import GRU, S5, Attention, InitialCarry, RecurrentLayers
from seqjax.typing import Segments

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)


def unroll(layer, variables, segments=None, **options):
  carry = layer.initialize_carry(2)
  return layer.apply(variables, carry, X, segments, method='unroll', **options)


def test_a_learned_carry_is_where_the_mixer_begins():
  """In whole rows, and at every start; complex ones are stored as two parts."""
  for mixer in (GRU(4), S5(4)):
    layer = InitialCarry(mixer)
    variables = layer.init(jax.random.key(0), X)
    offset = jnp.full_like(variables['params']['initial_0'], 0.5)
    params = dict(variables['params']) | {'initial_0': offset}
    begin = jnp.zeros_like(mixer.initialize_carry(2))
    begin += 0.5 if jnp.isrealobj(begin) else 0.5 + 0.5j
    inner = {'params': params['inner']}

    def run(x, mixer=mixer, inner=inner, begin=begin):
      return mixer.apply(inner, begin, x, method='unroll')[1]

    carry, y = unroll(layer, {'params': params})
    np.testing.assert_allclose(y, run(X), rtol=1e-5, atol=1e-6)
    assert carry.begun.all()
    start = jnp.zeros((2, 5), bool).at[:, 2].set(True)
    _, y = unroll(
      layer, {'params': params}, Segments(start, jnp.ones((2, 5), bool))
    )
    np.testing.assert_allclose(y[:, 2:], run(X[:, 2:]), rtol=1e-5, atol=1e-6)


def test_a_learned_carry_begins_at_the_mixers_own_and_is_trained():
  """Its gradient is not zero."""
  layer = InitialCarry(GRU(4))
  variables = layer.init(jax.random.key(0), X)
  inner = {'params': variables['params']['inner']}
  np.testing.assert_allclose(
    layer.apply(variables, X), GRU(4).apply(inner, X), rtol=1e-6
  )
  slopes = jax.grad(lambda v: jnp.sum(layer.apply(v, X)))(variables)
  assert jnp.all(slopes['params']['initial_0'] != 0)


def test_a_random_carry_is_sampled_with_a_key_alone():
  """One sample per row, of the scale requested; without a key there is none."""
  layer = InitialCarry(GRU(4), kind='random', scale=0.3)
  variables = layer.init(jax.random.key(0), X)
  inner = {'params': variables['params']['inner']}
  plain = GRU(4).apply(inner, X)
  np.testing.assert_array_equal(layer.apply(variables, X), plain)
  one, other = (
    layer.apply(variables, X, rngs={'dropout': jax.random.key(k)})
    for k in (1, 2)
  )
  assert not np.allclose(one, other) and not np.allclose(one, plain)
  wide = jnp.zeros((2000, 4))
  first = layer.apply(
    variables,
    wide,
    method=lambda self, like: self._first(like),
    rngs={'dropout': jax.random.key(3)},
  )
  assert abs(float(first.std()) - 0.3) < 0.02


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: InitialCarry(Attention(4, 8)), 'counts positions'),
    (lambda: InitialCarry(GRU(4), kind='noisy'), 'initial carry'),
    (lambda: InitialCarry(GRU(4), scale=-1.0), 'scale=-1.0'),
  ],
)
def test_what_cannot_begin_otherwise_is_refused(make, message):
  """A cache, an unknown kind, a negative scale."""
  with pytest.raises(ValueError, match=message):
    make()


def test_parameters_in_a_stack_are_below_their_block():
  """As those of every mixer."""
  model = Stack((InitialCarry(GRU(4)),))
  params = jax.eval_shape(model.init, jax.random.key(0), X)['params']
  assert set(params) == {'blocks_0', 'norm'}
  assert set(params['blocks_0']['mixer']) == {'inner', 'initial_0'}


def test_dropout_inside_falls_on_every_position_under_segments_too():
  """Other entries at each."""
  layer = InitialCarry(RecurrentLayers((GRU(4), GRU(4)), dropout=0.5))
  variables = layer.init(jax.random.key(0), X)
  rows = Segments(jnp.zeros((2, 5), bool), jnp.ones((2, 5), bool))
  given = layer.apply(variables, X, rows, rngs={'dropout': jax.random.key(1)})
  assert not np.allclose(given, layer.apply(variables, X, rows))
