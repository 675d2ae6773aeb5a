"""Synonyms: which words follow each other, and how surely."""

import itertools
import math

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic.synonyms import Synonyms
from seqjax.typing import Batch

KEY = jax.random.key(1)


def _batch(task, split='train', batch_size=256):
  draw = jax.jit(task.batch, static_argnums=(2, 3))
  return jax.tree.map(np.asarray, draw(KEY, 0, batch_size, split))


def _transitions(task, unseen):
  """P(word -> word) of the synonyms' language, by a plain loop."""
  classes, members = task.num_classes, task.num_synonyms
  p = np.zeros((classes * members,) * 2)
  for c, i, j in itertools.product(
    range(classes), range(members), range(members)
  ):
    if (j - i) % members >= unseen:
      word, likely, other = (
        (c + step) % classes * members for step in (0, 1, 3)
      )
      p[word + i, likely + j] = task.probability / (members - unseen)
      p[word + i, other + j] = (1 - task.probability) / (members - unseen)
  return p


@pytest.mark.parametrize('split', ['train', 'test'])
def test_synonyms_follow_each_other_with_their_probabilities(split):
  """Every pair, within five standard errors; groups say which are new."""
  task = Synonyms(num_classes=4, num_synonyms=3, num_unseen=1, length=12)
  batch = _batch(task, split, batch_size=2048)
  p = _transitions(task, 1 if split == 'train' else 0)
  never = _transitions(task, 1) == 0
  counts = np.zeros_like(p)
  np.add.at(counts, (batch.inputs, batch.targets), 1)
  total = counts.sum(axis=1, keepdims=True)
  error = np.sqrt(p * (1 - p) / total)
  assert np.all(np.abs(counts / total - p) <= 5 * error)
  np.testing.assert_array_equal(
    batch.group, never[batch.inputs, batch.targets] & (split != 'train')
  )
  np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_chance_and_ceiling_of_synonyms_are_entropies():
  """Uniform words stay uniform; the solver gives the conditional law."""
  task = Synonyms(num_classes=4, num_synonyms=3, num_unseen=1, length=9)
  uniform = np.full(12, 1 / 12)
  np.testing.assert_allclose(uniform @ _transitions(task, 1), uniform)
  assert task.chance == math.log2(12)
  p = _transitions(task, 0)
  bits = -np.sum(p * np.log2(np.where(p > 0, p, 1)), axis=1)
  np.testing.assert_allclose(bits, task.ceiling)
  words = np.arange(12, dtype=np.int32)[None]
  solved = task.solve(Batch(words, targets=None, weights=None))
  np.testing.assert_allclose(np.exp(solved[0]), p, atol=1e-6)
