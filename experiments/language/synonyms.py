"""Synonyms in a training set so small that many pairs are not in it."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from seqjax.tasks.synthetic.synonyms import Synonyms
from seqjax.typing import Array, Batch

TEST_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Scarce(Synonyms):
  """Synonyms, all pairs allowed, of which a run sees a few examples.

  The key of a run decides which, so that one compiled function trains on many
  training sets; validation and test are the whole language.
  """

  num_unseen: int = 0
  num_examples: int = 64

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    if split != 'train':
      return super()._batch(key, step, batch_size, split)
    order = jax.random.fold_in(key, step)
    index = jax.random.randint(order, (batch_size,), 0, self.num_examples)
    whole = self.training_set(key)
    return jax.tree.map(lambda leaf: leaf[index], whole)

  def training_set(self, key: jax.Array) -> Batch:
    """Returns all examples of a run."""
    return super()._batch(key, 0, self.num_examples, 'train')

  def texts(self, key: jax.Array) -> Int[np.ndarray, 'N T']:
    """Returns the examples as rows of words."""
    batch = self.training_set(key)
    return np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)


def pairs(texts: Int[np.ndarray, 'N T'], vocab: int) -> Bool[np.ndarray, 'V V']:
  """Marks the words that follow each word somewhere."""
  seen = np.zeros((vocab, vocab), bool)
  seen[texts[:, :-1].ravel(), texts[:, 1:].ravel()] = True
  return seen


def scored(
  task: Scarce, seed: int, batch: Batch, log_probs: Float[Array, 'B T V']
) -> dict[str, Any]:
  """Returns the bits of a test batch, and the gap of what was not seen."""
  texts = task.texts(jax.random.key(seed))
  log_probs = np.asarray(log_probs, np.float64)
  targets = np.asarray(batch.targets)[..., None]
  nats = -np.take_along_axis(log_probs, targets, axis=-1)
  vocab = task.input.vocab
  seen = pairs(texts, vocab)
  return {
    'bits': float(nats.mean() / np.log(2)),
    'gap': gap(
      log_probs.reshape(-1, vocab),
      np.ravel(batch.inputs),
      seen,
      task.num_synonyms,
    ),
    'ceiling': task.ceiling,
    'chance': task.chance,
  }


def gap(
  log_probs: Float[np.ndarray, 'P V'],
  words: Int[np.ndarray, 'P'],
  seen: Bool[np.ndarray, 'V V'],
  num_synonyms: int,
) -> float:
  """Returns how much less likely a synonym is for not having been seen there.

  After a word, of each class of which some members followed it in training and
  some never did: the mean log-probability of the former minus that of the
  latter, in nats. The true language gives all of them the same.

  Args:
    log_probs: of the next word, at P positions.
    words: the last word at each.
    seen: the pairs of the training set.
    num_synonyms: of a class.
  """
  shape = len(words), -1, num_synonyms
  there, nats = seen[words].reshape(shape), log_probs.reshape(shape)
  number = there.sum(axis=-1)
  mixed = (0 < number) & (number < num_synonyms)
  there, nats, number = there[mixed], nats[mixed], number[mixed]
  known = np.where(there, nats, 0).sum(axis=-1) / number
  unknown = np.where(there, 0, nats).sum(axis=-1) / (num_synonyms - number)
  return float(np.mean(known - unknown))
