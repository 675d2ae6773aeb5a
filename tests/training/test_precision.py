"""bfloat16 arithmetic over float32 parameters, by the options of the model."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import GRU
from seqjax.tasks import Recall

TASK = Recall(num_facts=4, num_distractors=3, lag=4)
OPTIMIZER = training.adamw(40, warmup=2)


def _model(dtype):
  return model_for(TASK, (GRU(16, dtype=dtype),), dtype=dtype)


def _train(dtype):
  runs = training.train(
    _model(dtype),
    TASK,
    OPTIMIZER,
    jax.random.key(0),
    steps=40,
    batch_size=16,
    learning_rate=1e-2,
    log_every=20,
  )
  return list(runs)


def test_compute_in_bfloat16_leaves_parameters_and_moments_in_float32():
  """The same run, but for rounding: the loss falls as far."""
  half, full = _train(jnp.bfloat16), _train(jnp.float32)
  state = half[-1][0]
  for leaf in jax.tree.leaves((state.params, state.opt_state)):
    assert leaf.dtype in (jnp.float32, jnp.int32)
  batch = TASK.batch(state.key, 0, 2)
  model = _model(jnp.bfloat16)
  outputs = jax.eval_shape(model.apply, {'params': state.params}, batch.inputs)
  assert outputs.dtype == jnp.bfloat16
  assert half[-1][1]['loss'].dtype == jnp.float32
  losses = [[float(metrics['loss']) for _, metrics in r] for r in (half, full)]
  np.testing.assert_allclose(*losses, rtol=0.05)
  assert losses[0] != losses[1] and losses[0][1] < 0.8 * losses[0][0]
