"""The optimizer of the experiments, put together from optax's parts.

The learning rate is an array in the optimizer's state, so that one compiled
function serves all of them. Whoever brings another optimizer wraps it in
`optax.inject_hyperparams` to the same end; one without it trains at the rate
that it was made with.
"""

import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from seqjax.typing import Array

# Names of parameters that multiply features, and of rows that stand for tokens
# or positions; 'kernel_0' is a kernel too.
DECAYED = ('kernel', 'input', 'recurrent', 'output', 'weight')
DECAYED += ('embedding', 'table')


def kernels_and_embeddings(params: Any) -> Any:
  """Returns True for kernels and embeddings, the parameters that decay.

  Biases, scales of norms, and what sets the time scales of a recurrence (rates,
  step sizes, frequencies, logits of decays) are at a meaningful place that is
  not 0, and so is the weight of a skip.
  """

  def decays(path, leaf) -> bool:
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return leaf.ndim > 1 and name.rstrip('_0123456789') in DECAYED

  return jax.tree_util.tree_map_with_path(decays, params)


def adamw(
  steps: int,
  *,
  warmup: int | None = None,
  clip: float = 1.0,
  weight_decay: float = 0.01,
  mask: Callable[[Any], Any] | None = kernels_and_embeddings,
) -> optax.GradientTransformation:
  """Returns AdamW with clipping, a linear warm-up and a cosine decay to 0.

  Make it once and share it: compiled functions are kept by optimizer, and two
  calls make two. The peak learning rate is NaN until `with_learning_rate` sets
  it, as `seqjax.training.init` does.

  Args:
    steps: where the cosine reaches 0.
    warmup: how many of those steps the learning rate rises, from 0; None: a
      tenth of them, 50 at most.
    clip: the largest global norm of a gradient.
    weight_decay: decoupled, times the learning rate.
    mask: from parameters to a tree of which of them decay; None: all of them
      do, as in `optax.adamw`.

  Raises:
    ValueError: the warm-up does not fit into the steps, or a number is out of
      range.
  """
  _check_numbers(steps, clip, weight_decay)
  if warmup is None:
    warmup = min(50, steps // 10)
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
    static_args=('b1', 'b2', 'eps', 'eps_root', 'weight_decay', 'mask'),
    hyperparam_dtype=jnp.float32,
  )
  return optax.chain(
    optax.clip_by_global_norm(clip),
    adam(learning_rate=float('nan'), weight_decay=weight_decay, mask=mask),
    # Counted in floating point, or float64 would have a schedule in float32.
    optax.scale_by_schedule(lambda count: schedule(count.astype(float))),
  )


class NoLearningRate(ValueError):
  """An optimizer whose state holds no learning rate was to be given one."""

  def __init__(self):
    super().__init__(
      'The learning rate must be an array in the state of the optimizer, but '
      'this one keeps none: wrap it, as in '
      'optax.inject_hyperparams(optax.adam)(learning_rate=1e-3), or leave '
      'learning_rate out to train at the one it was made with.'
    )


def with_learning_rate(opt_state: Any, value: float | Float[Array, '']) -> Any:
  """Returns the optimizer's state with another (peak) learning rate.

  Raises:
    NoLearningRate: the state holds none.
  """
  if not has_learning_rate(opt_state):
    raise NoLearningRate
  return optax.tree.set(opt_state, _injected, learning_rate=jnp.float32(value))


def has_learning_rate(opt_state: Any) -> bool:
  """Tells if the state holds a learning rate that can be set."""
  found = optax.tree.get(opt_state, 'learning_rate', filtering=_injected)
  return found is not None


def learning_rate(opt_state: Any) -> Float[Array, '']:
  """Returns the (peak) learning rate that the optimizer's state holds."""
  return optax.tree.get(opt_state, 'learning_rate', filtering=_injected)


def _injected(path, value) -> bool:
  """Tells a hyperparameter from what a line search found."""
  del value
  return isinstance(path[-1], jax.tree_util.DictKey)


def check_learning_rate(value: float):
  """Raises ValueError for one that ascends, or is no number."""
  if not value >= 0:
    raise ValueError(
      f'The learning rate is 0 or more, but learning_rate={value} was given.'
    )


def _check_numbers(steps: int, clip: float, weight_decay: float):
  """Raises ValueError for numbers that no schedule or decay has."""
  if not isinstance(steps, numbers.Integral) or steps < 1:
    raise ValueError(
      f'steps is a whole number from 1 on, but {steps} was given.'
    )
  if not 0 < clip < float('inf'):
    raise ValueError(f'clip is above 0 and finite, but {clip} was given.')
  if not 0 <= weight_decay < float('inf'):
    raise ValueError(
      f'weight_decay is 0 or more and finite, but {weight_decay} was given.'
    )
