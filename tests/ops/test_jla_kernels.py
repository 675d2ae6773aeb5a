"""The kernels of jax-linear-attention compute what ours do, where it is."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn import KDA
from seqjax.ops.linear_attention import delta_rule, gated_outer
from seqjax.typing import Segments

THERE = importlib.util.find_spec('jla') is not None
with_jla = pytest.mark.skipif(not THERE, reason='jla is not installed')
B, T, H, K, V = 2, 37, 2, 4, 3
# The op, its rate and its decay per channel or per head, and a removal key.
CASES = {
  'gated_outer': (gated_outer, None, (), False),
  'gated_outer, channels': (gated_outer, None, (K,), False),
  'delta_rule': (delta_rule, (), (), False),
  'delta_rule, a decay a channel': (delta_rule, (), (K,), False),
  'delta_rule, all a channel': (delta_rule, (K,), (K,), False),
  'delta_rule, removal': (delta_rule, (K,), (K,), True),
}


def draw(rate, decay, removal, dtype):
  """Carry, operands (the first three of a dtype), and the removal keys."""
  rng = np.random.default_rng(0)

  def unit():
    key = rng.normal(size=(B, T, H, K))
    return key / np.linalg.norm(key, axis=-1, keepdims=True)

  operands = [
    rng.normal(size=(B, T, H, K)),
    unit(),
    rng.normal(size=(B, T, H, V)),
  ]
  operands = [jnp.asarray(array, dtype) for array in operands]
  rates = [] if rate is None else [rng.uniform(size=(B, T, H, *rate))]
  rates += [-rng.exponential(size=(B, T, H, *decay))]
  operands += [jnp.asarray(array, jnp.float32) for array in rates]
  options = {'removal': jnp.asarray(unit(), dtype)} if removal else {}
  return jnp.float32(rng.normal(size=(B, H, K, V))), operands, options


@with_jla
@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_kernels_compute_what_chunks_do(case, dtype):
  """Under starts and padding of NaN, gradients too, and from bfloat16."""
  op, *kinds = case
  carry, operands, options = draw(*kinds, dtype)
  rng = np.random.default_rng(1)
  segments = Segments(rng.random((B, T)) < 0.15, rng.random((B, T)) < 0.7)
  segments.start[0, 0] = True
  hide = ~segments.valid
  operands = [
    jnp.where(hide.reshape(B, T, *[1] * (a.ndim - 2)), jnp.nan, a)
    for a in operands
  ]

  @functools.partial(jax.jit, static_argnums=0)
  def run(algorithm, carry, operands):
    def objective(carry, operands):
      last, y = op(carry, *operands, segments, algorithm=algorithm, **options)
      return jnp.sum(jnp.sin(last)) + jnp.sum(jnp.sin(y)), (last, y)

    return jax.grad(objective, argnums=(0, 1), has_aux=True)(carry, operands)

  allowed = 1e-4 if dtype == jnp.float32 else 2e-2
  for given, expected in zip(
    *map(
      jax.tree.leaves, (run(a, carry, operands) for a in ('jla', 'chunked'))
    ),
    strict=True,
  ):
    given, expected = (np.asarray(a, np.float32) for a in (given, expected))
    largest = np.abs(expected).max()
    np.testing.assert_allclose(given, expected, rtol=0, atol=allowed * largest)


@with_jla
def test_a_mixer_runs_them():
  """A carry of float64 is refused."""
  mixer, x = KDA(8), jnp.ones((1, 5, 8))
  variables = jax.jit(mixer.init)(jax.random.key(0), x)
  given = jax.jit(mixer.clone(algorithm='jla').apply)(variables, x)
  expected = jax.jit(mixer.apply)(variables, x)
  np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)
  with jax.enable_x64(True):
    double = KDA(8, algorithm='jla', dtype=jnp.float64)
    with pytest.raises(ValueError, match="in float32.*use algorithm='chunked'"):
      double.apply(variables, x)


@pytest.mark.skipif(THERE, reason='jla is installed')
def test_where_it_is_missing_a_sentence_says_how_to_install_it():
  """As soon as it is run; nothing else needs it."""
  mixer, x = KDA(8, algorithm='jla'), jnp.ones((1, 5, 8))
  with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[hopper\]'"):
    jax.eval_shape(mixer.init, jax.random.key(0), x)
