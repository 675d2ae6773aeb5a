"""Times `training.train` beside a loop as one writes it in Linen and optax.

The same two layers of LSTM on the same examples with the same optimizer. The
other loop is a jitted step that Python calls once per step.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import optax

from experiments.costs.rounds import compare
from experiments.peers.linen_models import LinenModel
from seqjax import training
from seqjax.models import model_for
from seqjax.nn import LSTM
from seqjax.tasks import Recall


def rows(*, features: int, length: int, batch_size: int, rounds: int, **_):
  """Returns a row per loop: steps per second, and gain over the plain one."""
  task, steps = Recall(lag=length - 1), 50
  total = steps * (rounds + 1)
  loops = {
    'plain Linen loop': plain(task, features, batch_size, steps, total),
    'training.train': ours(task, features, batch_size, steps, total),
  }
  return compare(loops, steps, rounds, over='plain Linen loop')


def ours(task, features, batch_size, steps, total) -> Iterator[Any]:
  """Makes `steps` steps each time that the next state is requested."""
  return training.train(
    model_for(task, (LSTM(features),) * 2),
    task,
    training.adamw(total),
    jax.random.key(0),
    steps=total,
    batch_size=batch_size,
    log_every=steps,
  )


def plain(task, features, batch_size, steps, total) -> Iterator[Any]:
  """Makes the steps in a loop in Python."""
  vocab = max(task.input.vocab, task.output.vocab)

  def linen_lstm(name: str) -> nn.RNN:
    return nn.RNN(nn.OptimizedLSTMCell(features, parent=None), name=name)

  model = LinenModel(vocab, features, linen_lstm)
  optimizer = optax.adamw(1e-3)
  key = jax.random.key(0)
  params = model.init(key, task.batch(key, 0, batch_size).inputs)
  opt_state = optimizer.init(params)

  @jax.jit
  def step(params, opt_state, number):
    batch = task.batch(key, number, batch_size)

    def loss_fn(params):
      return task.loss(model.apply(params, batch.inputs), batch)

    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss

  for number in range(total):
    params, opt_state, loss = step(params, opt_state, number)
    if (number + 1) % steps == 0:
      yield params, loss
