"""What a checkpoint costs a run of ten million parameters, saved each minute.

The same updates with and without a save among them, in turns: what the save
adds, also by writing while the device computes.
"""

import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.results.checkpoint import Checkpoints

SHAPE, SECONDS, ROUNDS = (10, 1000, 1000), 5.0, 5
OPTIMIZER = optax.adam(1e-4)


@jax.jit
def update(params, opt_state, x):
  def loss_fn(params):
    y = x
    for kernel in params:
      y = jnp.tanh(y @ kernel)
    return jnp.mean(y**2)

  updates, opt_state = OPTIMIZER.update(jax.grad(loss_fn)(params), opt_state)
  return optax.apply_updates(params, updates), opt_state


def seconds(state, x, num_updates, checkpoints=None, step=0) -> float:
  began = time.perf_counter()
  if checkpoints is not None:
    checkpoints.save(step, state, {})
  for _ in range(num_updates):
    state = jax.block_until_ready(update(*state, x))
  return time.perf_counter() - began


def main(folder: str):
  params = jax.random.normal(jax.random.key(0), SHAPE) * 0.03
  state, x = (params, OPTIMIZER.init(params)), jnp.ones((256, SHAPE[1]))
  seconds(state, x, 3)  # compiles
  num_updates, added = max(2, round(10 * SECONDS / seconds(state, x, 10))), []
  with Checkpoints(folder) as checkpoints:
    for step in range(ROUNDS):
      without = seconds(state, x, num_updates)
      added.append(seconds(state, x, num_updates, checkpoints, step) - without)
      checkpoints.wait()
  cost = np.median(added)
  print(f'A save costs {cost:.2f} s, {cost / 60:.2%} of a minute: {added}')


if __name__ == '__main__':
  with tempfile.TemporaryDirectory() as temporary:
    main(temporary)
