"""Recall by counting n-grams: what a context of n - 1 tokens can know."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from seqjax.models import ngram
from seqjax.tasks.synthetic.recall import Recall

ROWS = 1024  # examples drawn at a time
EXAMPLES = 16384  # of the test split, for each lag


def rows(
  order: int, config: Any, tests: Iterable[Recall]
) -> list[dict[str, Any]]:
  """Counts in as many examples as a network sees, and tests each lag.

  An example is a text: its tokens, and the answer after the question. The
  answer that is given is the most likely of all facts after the n - 1 tokens
  before it.

  Args:
    order: n.
    config: a `Config` of the experiment, whose mixed lags are counted.
    tests: the tasks to test.

  Returns:
    A row for each seed and lag.
  """
  task, made = Recall(lag=config.lag, design='mixed'), []
  for seed in range(config.first_seed, config.first_seed + config.seeds):
    model = count(task, order, seed, config.steps * config.batch_size)
    scores = {k: v for test in tests for k, v in accuracy(model, test).items()}
    made += [
      {
        'trained_lag': config.lag,
        'tested_lag': lag,
        'accuracy': score,
        'examples': EXAMPLES,
        'receptive_field': order - 1,
        'seed': seed,
      }
      for lag, score in scores.items()
    ]
  return made


def count(task: Recall, order: int, seed: int, examples: int) -> ngram.NGram:
  """Counts the n-grams of training examples; Kneser-Ney smoothes them."""
  key = jax.random.key(seed)
  texts = [
    np.concatenate([inputs, answers[:, None]], axis=1)
    for inputs, answers, _ in _drawn(task, key, examples, 'train')
  ]
  return ngram.fit(np.concatenate(texts), vocab=task.input.vocab, order=order)


def accuracy(model: ngram.NGram, task: Recall) -> dict[int, float]:
  """Returns {lag: share of right answers} of the test split."""
  right, lags = [], []
  examples = EXAMPLES * len(task.evaluation_lags)
  for inputs, answers, group in _drawn(
    task, jax.random.key(0), examples, 'test'
  ):
    right.append(answer(model, task, inputs) == answers)
    lags.append(group)
  right, lags = np.concatenate(right), np.concatenate(lags)
  return {int(lag): float(right[lags == lag].mean()) for lag in np.unique(lags)}


def answer(model: ngram.NGram, task: Recall, inputs: np.ndarray) -> np.ndarray:
  """Returns the most likely fact after each row [B T], [B]."""
  context = inputs[:, -model.order :]  # as many tokens as it could look at
  texts = [
    np.concatenate([context, np.full_like(context[:, :1], fact)], axis=1)
    for fact in range(task.num_facts)
  ]
  scores = [np.asarray(model.log_prob(text))[:, -1] for text in texts]
  return np.argmax(scores, axis=0)


def _drawn(
  task: Recall, key: jax.Array, examples: int, split: str
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Draws (inputs [B T], answers [B], lags [B]) for so many examples."""
  for step in range(-(-examples // ROWS)):
    batch = task.batch(key, step, ROWS, split)
    yield (
      np.asarray(batch.inputs),
      np.asarray(batch.targets)[:, -1],
      np.asarray(batch.group),
    )
