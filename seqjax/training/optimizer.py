"""The optimizer of the experiments, put together from optax's parts.

The learning rate is an array in the optimizer's state, so that one compiled
function serves all of them. Whoever brings another optimizer wraps it in
`optax.inject_hyperparams` to the same end.
"""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Float

from seqjax.typing import Array


def adamw(
  steps: int,
  *,
  warmup: int = 50,
  clip: float = 1.0,
  weight_decay: float = 0.01,
) -> optax.GradientTransformation:
  """Returns AdamW with clipping, a linear warm-up and a cosine decay to 0.

  Make it once and share it: compiled functions are kept by optimizer, and two
  calls make two. The peak learning rate is NaN until `with_learning_rate` sets
  it, as `seqjax.training.init` does.

  Args:
    steps: where the cosine reaches 0.
    warmup: how many of those steps the learning rate rises, from 0.
    clip: the largest global norm of a gradient.
    weight_decay: decoupled, times the learning rate.

  Raises:
    ValueError: the warm-up does not fit into the steps.
  """
  if not 0 <= warmup < steps:
    raise ValueError(
      f'The warm-up must end before the {steps} steps of the schedule do, but '
      f'warmup={warmup} was given.'
    )
  if warmup:
    schedule = optax.warmup_cosine_decay_schedule(
      init_value=0.0, peak_value=1.0, warmup_steps=warmup, decay_steps=steps
    )
  else:
    schedule = optax.cosine_decay_schedule(init_value=1.0, decay_steps=steps)
  # The learning rate alone becomes an array, in float32: the others would turn
  # moments in bfloat16 into float32, and by default all of them would take the
  # dtype of the first parameter.
  adam = optax.inject_hyperparams(
    optax.adamw,
    static_args=('b1', 'b2', 'eps', 'eps_root', 'weight_decay'),
    hyperparam_dtype=jnp.float32,
  )
  return optax.chain(
    optax.clip_by_global_norm(clip),
    adam(learning_rate=float('nan'), weight_decay=weight_decay),
    # Counted in floating point, or float64 would have a schedule in float32.
    optax.scale_by_schedule(lambda count: schedule(count.astype(float))),
  )


def with_learning_rate(opt_state: Any, value: float | Float[Array, '']) -> Any:
  """Returns the optimizer's state with another (peak) learning rate.

  Raises:
    ValueError: the state holds no learning rate.
  """
  try:
    return optax.tree.set(opt_state, learning_rate=jnp.float32(value))
  except KeyError:
    raise ValueError(_NO_LEARNING_RATE) from None


def learning_rate(opt_state: Any) -> Float[Array, '']:
  """Returns the (peak) learning rate that the optimizer's state holds."""
  return optax.tree.get(opt_state, 'learning_rate')


_NO_LEARNING_RATE = (
  'The learning rate must be an array in the state of the optimizer, but this'
  ' one keeps none: wrap it, as in'
  ' optax.inject_hyperparams(optax.adam)(learning_rate=1e-3).'
)
