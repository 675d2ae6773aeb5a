"""Times the ways to train many seeds and learning rates together."""

from collections.abc import Callable
from typing import Any

import jax

from experiments.costs.rounds import compare
from seqjax import training
from seqjax.models import model_for
from seqjax.tasks import Recall
from seqjax.training.population import HOW, train_population

WAYS = HOW[1:]  # without 'auto', which is one of them
STEPS = 10  # of each member in a round


def rows(
  *,
  make: Callable,
  members: int,
  features: int,
  length: int,
  batch_size: int,
  rounds: int,
) -> list[dict[str, Any]]:
  """Returns a row per way: steps of all members per second, and its gain."""
  task = Recall(lag=length - 1)
  model = model_for(task, (make(features, length),) * 2)
  total = STEPS * (rounds + 1)
  populations = {
    way: train_population(
      model,
      task,
      training.adamw(total),
      [jax.random.key(seed) for seed in range(members)],
      learning_rates=[1e-3] * members,
      steps=total,
      batch_size=batch_size,
      log_every=STEPS,
      how=way,
    )
    for way in WAYS
  }
  return compare(populations, members * STEPS, rounds, over='one_by_one')
