"""The optimizer is optax's AdamW under a schedule; its rate is an array."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.training import adamw, with_learning_rate

PARAMS = {'a': jnp.array([1.0, -2.0]), 'b': jnp.array(0.5)}
STEPS = 12


def _gradients():
  """Small ones, but for one spike."""
  rng = np.random.default_rng(0)
  for step in range(STEPS):
    scale = 1e3 if step == 4 else 0.1
    yield {
      'a': jnp.asarray(scale * rng.normal(size=2), jnp.float32),
      'b': jnp.asarray(scale * rng.normal(), jnp.float32),
    }


def _descend(optimizer, opt_state, params=PARAMS):
  """All parameters along the way."""
  update = jax.jit(optimizer.update)
  path = [params]
  for gradient in _gradients():
    updates, opt_state = update(gradient, opt_state, path[-1])
    path.append(optax.apply_updates(path[-1], updates))
  return jax.tree.map(lambda *leaves: np.stack(leaves), *path)


def _ours(learning_rate, **options):
  optimizer = adamw(STEPS, **options)
  opt_state = with_learning_rate(optimizer.init(PARAMS), learning_rate)
  return _descend(optimizer, opt_state)


@pytest.mark.parametrize('warmup', [0, 3])
def test_adamw_is_that_of_optax_with_clipping_and_schedule(warmup):
  """The learning rate as a factor equals the schedule with that peak."""
  schedule = optax.warmup_cosine_decay_schedule(0.0, 0.03, warmup, STEPS)
  reference = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1)
  )
  expected = _descend(reference, reference.init(PARAMS))
  path = _ours(0.03, warmup=warmup, clip=1.0, weight_decay=0.1)
  for ours, theirs in zip(path.values(), expected.values(), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  unclipped = _ours(0.03, warmup=warmup, clip=1e9, weight_decay=0.1)
  assert not np.allclose(path['a'], unclipped['a'], rtol=1e-3)


def test_the_learning_rate_rises_to_its_peak_and_falls():
  """Constant gradients move by the learning rate: 0, up, then down."""
  optimizer = adamw(STEPS, warmup=4, weight_decay=0.0)
  params = {'a': jnp.zeros(1)}
  opt_state = with_learning_rate(optimizer.init(params), 0.5)
  moves = []
  for _ in range(STEPS):
    updates, opt_state = optimizer.update({'a': jnp.ones(1)}, opt_state, params)
    moves.append(-float(updates['a'][0]))
  assert moves[0] == 0
  assert np.all(np.diff(moves[:5]) > 0)
  assert np.all(np.diff(moves[4:]) < 0)
  np.testing.assert_allclose(moves[4], 0.5, rtol=1e-5)


def test_a_learning_rate_is_set_without_touching_the_rest():
  """Structure, moments and counters stay."""
  opt_state = adamw(STEPS, warmup=2).init(PARAMS)
  changed = with_learning_rate(opt_state, 0.25)
  assert jax.tree.structure(changed) == jax.tree.structure(opt_state)
  pairs = zip(jax.tree.leaves(opt_state), jax.tree.leaves(changed), strict=True)
  different = [new for old, new in pairs if not np.array_equal(old, new)]
  assert [float(leaf) for leaf in different] == [0.25]
  assert different[0].dtype == jnp.float32


def test_a_learning_rate_that_was_never_set_is_loud():
  """NaN, not a number that someone else chose."""
  optimizer = adamw(STEPS, warmup=0)
  assert np.all(np.isnan(_descend(optimizer, optimizer.init(PARAMS))['b'][1:]))


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.complex64])
def test_the_state_keeps_its_dtypes(dtype):
  """Moments follow the parameters, the learning rate is float32."""
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
  optimizer = adamw(STEPS, warmup=0)
  before = with_learning_rate(optimizer.init(params), 1e-3)
  updates, after = optimizer.update(params, before, params)
  moved = optax.apply_updates(params, updates)
  assert _dtypes(after) == _dtypes(before)
  assert _dtypes(moved) == _dtypes(params)
  assert optax.tree.get(after, 'learning_rate').dtype == jnp.float32


def _dtypes(tree):
  return [leaf.dtype for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize('warmup', [-1, STEPS, STEPS + 1])
def test_a_warm_up_that_does_not_fit_is_refused(warmup):
  """Before any array is made."""
  with pytest.raises(ValueError, match=f'12 steps.*warmup={warmup}'):
    adamw(STEPS, warmup=warmup)


def test_an_optimizer_without_a_learning_rate_in_its_state_is_refused():
  """With the way to put it there."""
  with pytest.raises(ValueError, match='inject_hyperparams'):
    with_learning_rate(optax.sgd(0.1).init(PARAMS), 0.2)
  wrapped = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
  with_learning_rate(wrapped.init(PARAMS), 0.2)
