"""Steps a second of `training.train`, and of a loop as one writes it in Linen.

    python -m experiments.costs.loop.py

The same two layers of LSTM on the same examples with the same optimizer. The
other loop is of flax.linen and optax alone: a jitted step, called once a step
from Python. Both make as many steps in turns; `gain` is round by round, with
the 95 % interval of its median.
"""

import time

import flax.linen as nn
import jax
import numpy as np
import optax

from experiments.peers.linen_models import LinenModel
from seqjax import training
from seqjax.analysis.statistics import median_interval
from seqjax.models import model_for
from seqjax.nn import LSTM
from seqjax.tasks import Recall

FEATURES, BATCH_SIZE, STEPS, ROUNDS = 64, 32, 50, 11
TASK = Recall(lag=63)  # 64 positions
TOTAL = STEPS * (ROUNDS + 1)


def ours():
  """Makes STEPS steps each time it is asked for the next state."""
  return training.train(
    model_for(TASK, (LSTM(FEATURES),) * 2),
    TASK,
    training.adamw(TOTAL),
    jax.random.key(0),
    steps=TOTAL,
    batch_size=BATCH_SIZE,
    log_every=STEPS,
  )


def plain():
  """The same of a loop in Python."""
  vocab = max(TASK.input.vocab, TASK.output.vocab)
  model = LinenModel(vocab, FEATURES, _linen_lstm)
  optimizer = optax.adamw(1e-3)
  key = jax.random.key(0)
  params = model.init(key, TASK.batch(key, 0, BATCH_SIZE).inputs)
  opt_state = optimizer.init(params)

  @jax.jit
  def step(params, opt_state, number):
    batch = TASK.batch(key, number, BATCH_SIZE)

    def loss_fn(params):
      return TASK.loss(model.apply(params, batch.inputs), batch)

    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss

  for number in range(TOTAL):
    params, opt_state, loss = step(params, opt_state, number)
    if (number + 1) % STEPS == 0:
      yield params, loss


def _linen_lstm(name: str) -> nn.RNN:
  return nn.RNN(nn.OptimizedLSTMCell(FEATURES, parent=None), name=name)


def seconds(loops) -> dict[str, list[float]]:
  """{name: what STEPS steps took in each round}; the first one compiles."""
  taken = {name: [] for name in loops}
  for number in range(ROUNDS + 1):
    for name in np.roll(list(loops), number).tolist():
      start = time.perf_counter()
      jax.block_until_ready(next(loops[name]))
      taken[name].append(time.perf_counter() - start)
  return {name: rounds[1:] for name, rounds in taken.items()}


def main():
  taken = seconds({'seqjax': ours(), 'flax.linen': plain()})
  print('device,loop,steps_per_second,gain,gain_low,gain_high')
  for name, rounds in taken.items():
    gain = median_interval(np.divide(taken['flax.linen'], rounds))
    numbers = [f'{x:.4g}' for x in (STEPS / np.median(rounds), *gain)]
    print(jax.default_backend(), name, *numbers, sep=',')


if __name__ == '__main__':
  main()
