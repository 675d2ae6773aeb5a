"""Times populations: steps a second of all members together, as CSV.

    python experiments/costs --mixer=lstm --mixer=attention --members=8

Every round, each way to train a population makes one interval, the order
rotating; what slows a round slows all of them. `gain` is over 'one_by_one',
round by round, with the 95 % interval of its median.
"""

import time

import jax
import numpy as np
from absl import app, flags

from seqjax import training
from seqjax.analysis.statistics import median_interval
from seqjax.models import model_for
from seqjax.nn import MIXERS
from seqjax.tasks import Recall
from seqjax.training.population import HOW, train_population

WAYS = HOW[1:]
STEPS = 10  # of each member in a round
COLUMNS = (
  *('device', 'mixer', 'members', 'features', 'length', 'batch_size'),
  *('how', 'steps_per_second', 'gain', 'gain_low', 'gain_high'),
)


def seconds(mixer: str) -> dict[str, list[float]]:
  """{how: what an interval took in each round}; the first one compiles."""
  task = Recall(lag=_LENGTH.value - 1)
  model = model_for(task, (MIXERS[mixer](_FEATURES.value, _LENGTH.value),) * 2)
  total = STEPS * (_ROUNDS.value + 1)
  populations = {
    how: train_population(
      model,
      task,
      training.adamw(total),
      [jax.random.key(seed) for seed in range(_MEMBERS.value)],
      learning_rates=[1e-3] * _MEMBERS.value,
      steps=total,
      batch_size=_BATCH_SIZE.value,
      log_every=STEPS,
      how=how,
    )
    for how in WAYS
  }
  taken = {how: [] for how in WAYS}
  for number in range(_ROUNDS.value + 1):
    for how in np.roll(WAYS, number).tolist():
      start = time.perf_counter()
      jax.block_until_ready(next(populations[how]))
      taken[how].append(time.perf_counter() - start)
  return {how: rounds[1:] for how, rounds in taken.items()}


def main(_):
  print(*COLUMNS, sep=',')
  sizes = [_MEMBERS.value, _FEATURES.value, _LENGTH.value, _BATCH_SIZE.value]
  for mixer in _MIXERS.value:
    taken = seconds(mixer)
    for how, rounds in taken.items():
      rate = _MEMBERS.value * STEPS / np.median(rounds)
      gain = median_interval(np.divide(taken['one_by_one'], rounds))
      numbers = [f'{number:.4g}' for number in (rate, *gain)]
      row = [jax.default_backend(), mixer, *sizes, how, *numbers]
      print(*row, sep=',', flush=True)


if __name__ == '__main__':
  some = ['elman', 'lstm', 'mingru', 'attention', 'tcn']
  _MIXERS = flags.DEFINE_multi_enum('mixer', some, list(MIXERS), 'Which ones.')
  _MEMBERS = flags.DEFINE_integer('members', 8, 'Runs side by side.')
  _FEATURES = flags.DEFINE_integer('features', 64, 'Width of the stream.')
  _LENGTH = flags.DEFINE_integer('length', 128, 'Positions.')
  _BATCH_SIZE = flags.DEFINE_integer('batch_size', 32, 'Examples a step.')
  _ROUNDS = flags.DEFINE_integer('rounds', 11, 'Rounds.', lower_bound=6)
  app.run(main)
