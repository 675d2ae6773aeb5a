"""Influence of one position on another: where there is any, and how much."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from seqjax.nn.mixer import SequenceLayer
from seqjax.typing import Array


def support(
  layer: SequenceLayer, variables: Any, x: Float[Array, 'B T D']
) -> Bool[np.ndarray, 'T T']:
  """Tells which outputs depend on which inputs, at the inputs x.

  Returns:
    True at [t, s] where dy_t/dx_s is not exactly zero in some row and some
    pair of features.
  """

  def of_row(x):
    jacobian = jax.jacrev(lambda x: layer.apply(variables, x[None])[0])(x)
    return jnp.any(jacobian != 0, axis=(1, 3))  # [T D T D]

  return np.asarray(jax.jit(lambda x: jax.vmap(of_row)(x).any(axis=0))(x))


def effect_of_edit(
  model: nn.Module,
  variables: Any,
  inputs: Array,
  answers: Int[Array, ' B'],
  *,
  position: int | Int[Array, ' B'],
  value: Any,
  question: int | Int[Array, ' B'] = -1,
) -> Float[Array, ' B']:
  """Measures how much more probable the answer is after an edit of one input.

  Args:
    model: gives logits [B T V] for inputs.
    variables: its parameters.
    inputs: tokens [B T], or vectors [B T D].
    answers: one for each row.
    position: the position that is edited, one for all rows or one for each.
    value: what it then holds.
    question: the position whose logits answer.

  Returns:
    log p(answer) with the edit minus without it, in nats.
  """
  rows = jnp.arange(len(inputs))

  def log_prob(inputs):
    logits = model.apply(variables, inputs)[rows, question]
    return jax.nn.log_softmax(logits)[rows, answers]

  edited = inputs.at[rows, position].set(value)
  return log_prob(edited) - log_prob(inputs)
