"""The optimizer is optax's AdamW under a schedule; its rate is an array."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.models import SequenceModel
from seqjax.nn import MIXERS
from seqjax.training import adamw, with_learning_rate
from seqjax.training.optimizer import kernels_and_embeddings
from seqjax.typing import Spec

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
  decay = {'weight_decay': 0.1, 'mask': None}
  path = _ours(0.03, warmup=warmup, clip=1.0, **decay)
  for ours, theirs in zip(path.values(), expected.values(), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  unclipped = _ours(0.03, warmup=warmup, clip=1e9, **decay)
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


@pytest.mark.parametrize('steps', [1, 4, 9])
def test_few_steps_have_a_warm_up_that_fits(steps):
  """A tenth of them, 50 at most: none of nine."""
  optimizer = adamw(steps, weight_decay=0.0)
  opt_state = with_learning_rate(optimizer.init(PARAMS), 0.5)
  updates, _ = optimizer.update(PARAMS, opt_state, PARAMS)
  np.testing.assert_allclose(np.abs(updates['a']), 0.5, rtol=1e-4)


@pytest.mark.parametrize(
  'options',
  [
    {'steps': 0},
    {'clip': 0.0},
    {'clip': float('nan')},
    {'weight_decay': -0.1},
    {'weight_decay': float('nan')},
    {'weight_decay': float('inf')},
  ],
)
def test_numbers_out_of_range_are_refused(options):
  """When the optimizer is made."""
  (name,) = options
  with pytest.raises(ValueError, match=f'{name} is'):
    adamw(**{'steps': 9} | options)


@pytest.mark.parametrize('name', MIXERS)
def test_kernels_and_embeddings_alone_decay(name):
  """Nothing that sets a time scale, no bias, no scale; for every mixer."""
  spec = Spec((), 7)
  model = SequenceModel(spec, spec, (MIXERS[name](8, 16),))
  params = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 6), jnp.int32)
  )['params']
  names = {True: set(), False: set()}
  for path, decays in jax.tree_util.tree_leaves_with_path(
    kernels_and_embeddings(params)
  ):
    names[decays].add(jax.tree_util.keystr(path[-1:], simple=True))
  others = {'skip', 'scale', 'log_rate', 'log_step', 'frequency', 'nu', 'theta'}
  others |= {'log_gamma', 'logit', 'bias', 'candidate_bias'}
  others |= {'shift', 'removal_scale', 'rate_scale', 'bonus'}
  others |= {'stiffness', 'step_logit'}
  biases = {f'bias_{i}' for i in range(5)}
  assert {'kernel', 'embedding'} <= names[True]
  assert names[False] <= others | biases and {'scale', 'bias'} <= names[False]
  assert not names[True] & names[False]


def test_the_mask_is_a_default_that_can_be_changed():
  """What decays moves towards 0 without a gradient; what does not stays."""
  params = {'kernel': jnp.ones((2, 2)), 'log_rate': jnp.ones((2, 2))}
  still = jax.tree.map(jnp.zeros_like, params)
  for mask, moved in (({}, False), ({'mask': None}, True)):
    optimizer = adamw(9, weight_decay=0.5, **mask)
    opt_state = with_learning_rate(optimizer.init(params), 0.1)
    updates, _ = optimizer.update(still, opt_state, params)
    np.testing.assert_allclose(updates['kernel'], -0.05, rtol=1e-5)
    assert bool(updates['log_rate'].any()) == moved
