"""Times what a checkpoint each minute costs a run of ten million parameters.

The same updates with and without a save among them, in turns: the difference is
what the save adds, also by writing while the device computes.
"""

import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.costs.rounds import gain_columns
from seqjax.analysis.statistics import median_interval
from seqjax.results.checkpoint import Checkpoints

SHAPE = (10, 1000, 1000)  # of the parameters
SECONDS = 5.0  # of updates with one save among them
INTERVAL = 60.0  # seconds between two checkpoints of a run
OPTIMIZER = optax.adam(1e-4)


@jax.jit
def update(params, opt_state, x):
  """Makes one update of a perceptron with ten layers."""

  def loss_fn(params):
    y = x
    for kernel in params:
      y = jnp.tanh(y @ kernel)
    return jnp.mean(y**2)

  updates, opt_state = OPTIMIZER.update(jax.grad(loss_fn)(params), opt_state)
  return optax.apply_updates(params, updates), opt_state


def rows(*, rounds: int, **_) -> list[dict[str, Any]]:
  """Returns the row of a run with a save each minute.

  `gain` is steps per second with saves over steps per second without.
  """
  with tempfile.TemporaryDirectory() as folder:
    rate, added = measure(folder, rounds)
  gains = INTERVAL / (INTERVAL + np.asarray(added))
  interval = median_interval(gains)
  return [
    {
      'way': 'a checkpoint per minute',
      'steps_per_second': rate * interval.value,
      **gain_columns(interval),
    }
  ]


def measure(folder: str, rounds: int) -> tuple[float, list[float]]:
  """Returns updates per second, and the seconds that each save adds."""
  params = jax.random.normal(jax.random.key(0), SHAPE) * 0.03
  state, x = (params, OPTIMIZER.init(params)), jnp.ones((256, SHAPE[1]))
  seconds(state, x, 3)  # compiles
  rate = 10 / seconds(state, x, 10)
  num_updates, added = max(2, round(SECONDS * rate)), []
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(0, state, {})  # imports what saves, too
    checkpoints.wait()
    for step in range(1, rounds + 1):
      without = seconds(state, x, num_updates)
      added.append(seconds(state, x, num_updates, checkpoints, step) - without)
      checkpoints.wait()
  return rate, added


def seconds(state, x, num_updates, checkpoints=None, step=0) -> float:
  began = time.perf_counter()
  if checkpoints is not None:
    checkpoints.save(step, state, {})
  for _ in range(num_updates):
    state = jax.block_until_ready(update(*state, x))
  return time.perf_counter() - began
