"""Influence of positions on each other, where it is known."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.analysis import influence
from seqjax.models import SequenceModel
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS, Elman, WindowMLP
from seqjax.tasks import TASKS

LENGTH = 18
KINDS = (
  *('lstm', 'mingru', 'lru', 'deltanet'),
  *('attention', 'local_attention', 'gated_conv', 'window_mlp'),
)


@pytest.mark.parametrize('name', KINDS)
def test_causal_mixers_see_the_past_within_their_reach(name):
  """Nothing of the future, and no more than the receptive field."""
  mixer = MIXERS[name](8, LENGTH)
  x = jax.random.normal(jax.random.key(0), (1, LENGTH, 8))
  variables = jax.jit(mixer.init)(jax.random.key(1), x)
  lag = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
  reach = mixer.receptive_field or LENGTH
  np.testing.assert_array_equal(
    influence.support(mixer, variables, x), (0 <= lag) & (lag < reach)
  )


def test_other_mixers_see_the_future():
  """Every position sees every position."""
  mixer = NONCAUSAL_MIXERS['full_attention'](8, 5)
  x = jax.random.normal(jax.random.key(0), (1, 5, 8))
  variables = mixer.init(jax.random.key(1), x)
  assert influence.support(mixer, variables, x).all()


def test_one_row_with_an_influence_is_enough():
  """A unit that is dead in one row may be alive in another."""
  mixer = Elman(2, activation='relu', initialization='identity')
  variables = mixer.init(jax.random.key(0), jnp.ones((1, 3, 2)))
  variables = jax.tree.map(jnp.abs, variables)
  dead, alive = -jnp.ones((1, 3, 2)), jnp.ones((1, 3, 2))
  assert not influence.support(mixer, variables, dead).any()
  both = influence.support(mixer, variables, jnp.concatenate([dead, alive]))
  np.testing.assert_array_equal(both, np.tri(3, dtype=bool))


def test_an_edit_changes_the_answer_as_logits_say():
  """A table of logits by token, whose effects can be read off."""
  table = np.log([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
  model = nn.Embed(3, 3)
  variables = {'params': {'embedding': jnp.asarray(table, jnp.float32)}}
  inputs, answers = jnp.array([[0, 1], [2, 0]]), jnp.array([2, 0])
  found = influence.effect_of_edit(
    model, variables, inputs, answers, position=1, value=jnp.array([0, 2])
  )
  expected = [np.log(0.1 / 0.8), np.log(0.3 / 0.7)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  elsewhere = influence.effect_of_edit(
    model,
    variables,
    inputs,
    answers,
    position=jnp.array([0, 1]),
    value=2,
    question=jnp.array([0, 0]),
  )
  expected = [np.log(0.4 / 0.1), 0.0]
  np.testing.assert_allclose(elsewhere, expected, rtol=1e-5, atol=1e-6)


def test_an_edit_beyond_the_window_has_no_effect():
  """And one within has."""
  task = TASKS['recall'](lag=8)
  mixer = WindowMLP(8, tau=4)
  model = SequenceModel(task.input, task.output, (mixer,))
  inputs = task.batch(jax.random.key(0), 0, 4).inputs
  variables = jax.jit(model.init)(jax.random.key(1), inputs)

  def effect(position):
    return influence.effect_of_edit(
      model,
      variables,
      inputs,
      jnp.zeros(4, int),
      position=position,
      value=(inputs[:, position] + 1) % 4,
    )

  assert (effect(-5) == 0).all()
  assert (effect(-4) != 0).all()
