"""Trains a cell of an experiment until it is solved, and scores it by group."""

import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from seqjax import results, training
from seqjax.cli import build
from seqjax.launch.monitor import Monitor
from seqjax.training import TrainState

BATCH_SIZE = 64  # examples that are scored at a time
VALIDATION_BATCHES, TEST_BATCHES = 8, 16
WEIGHT_DECAY = 0.01


@functools.cache
def _optimizer(steps: int):
  """Returns AdamW, made once: compiled functions are kept by optimizer."""
  return training.adamw(steps, weight_decay=WEIGHT_DECAY)


def fit(
  model: nn.Module,
  task: Any,
  record: results.Run,
  *,
  steps: int,
  batch_size: int,
  learning_rate: float,
  seed: int,
  solved: float,
) -> tuple[TrainState, dict[Any, tuple[float, float]]]:
  """Trains until validation is solved in every group, or for all steps.

  Args:
    model: a model of the task.
    task: a task of `seqjax.tasks`, or any other that keeps the contract.
    record: the run that each interval's metrics are logged to.
    steps: the most updates.
    batch_size: examples per update.
    learning_rate: the peak of the schedule.
    seed: of the parameters and the data.
    solved: the validation score at which a group counts as solved.

  Returns:
    The last state, and its validation scores {group: (score, weight)}.
  """
  tokens = batch_size * build.num_positions(task)
  with Monitor(record.workdir, steps, tokens) as monitor:
    for state, metrics in training.train(
      model,
      task,
      _optimizer(steps),
      jax.random.key(seed),
      steps=steps,
      batch_size=batch_size,
      learning_rate=learning_rate,
    ):
      monitor.reached(state.step)
      scores = training.evaluate(
        model,
        state.params,
        task,
        batches=VALIDATION_BATCHES,
        batch_size=BATCH_SIZE,
      )
      worst = _worst(task, [score for score, _ in scores.values()])
      record.log(state.step, **metrics, validation=worst)
      monitor.update(state.step, **metrics, validation=worst)
      if _reaches(task, worst, solved):
        break
  return state, scores


def test_scores(
  model: nn.Module, params: Any, task: Any
) -> dict[Any, tuple[float, float]]:
  """Returns the scores of the test split, {group: (score, weight)}."""
  return training.evaluate(
    model,
    params,
    task,
    batches=TEST_BATCHES,
    batch_size=BATCH_SIZE,
    split='test',
  )


def _worst(task: Any, scores: list[float]) -> float:
  """Returns the worst score; NaN if one is."""
  worst = np.min if task.metric.higher_is_better else np.max
  return float(worst(scores))


def _reaches(task: Any, score: float, solved: float) -> bool:
  """Says whether a score is at least as good as `solved`; NaN never is."""
  return score >= solved if task.metric.higher_is_better else score <= solved
