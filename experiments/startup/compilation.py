"""Times the compilation of a layer's outputs and gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.analysis import timing

BATCH, FEATURES = 4, 64


def rows(*, make: Callable, length: int, **_) -> list[dict[str, Any]]:
  """Returns the seconds that tracing, lowering and compiling take together.

  Of the mean square of the outputs and of its gradients for parameters and
  inputs, of a batch of 4 rows of 64 features.
  """
  mixer = make(FEATURES, length)
  x = jax.ShapeDtypeStruct((BATCH, length, FEATURES), jnp.float32)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)

  def loss(variables, x):
    return jnp.mean(jnp.square(mixer.apply(variables, x)))

  gradients = jax.value_and_grad(loss, argnums=(0, 1))
  seconds = timing.compile_seconds(gradients, variables, x)
  return [{'what': 'compile', 'seconds': seconds}]
