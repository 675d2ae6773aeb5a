"""Motifs: where they stand, and what they are made of."""

import jax
import numpy as np
import pytest

from seqjax.tasks.synthetic.motifs import HierarchicalMotifs, Motifs

KEY = jax.random.key(1)


def _batch(task, split='train', batch_size=256):
  draw = jax.jit(task.batch, static_argnums=(2, 3))
  return jax.tree.map(np.asarray, draw(KEY, 0, batch_size, split))


@pytest.mark.parametrize(
  'split, first, last', [('train', 0, 2), ('validation', 4, 6), ('test', 4, 6)]
)
def test_motifs_stand_where_they_are_told_to(split, first, last):
  """At every one of the split's places, and nowhere else."""
  task = Motifs(
    num_motifs=2, length=10, positions=(0, 2), evaluation_positions=(4, 6)
  )
  assert set(_batch(task, split).group.tolist()) == {*range(first, last + 1)}


def test_motifs_are_evaluated_where_they_are_trained_unless_told_otherwise():
  """One place, in every split."""
  task = Motifs(num_motifs=2, length=10, positions=(3, 3))
  assert set(_batch(task, 'test').group.tolist()) == {3}


def test_a_hierarchy_of_motifs_has_one_root_for_every_row():
  """All choices of synonyms occur: 3 roots, 2 motifs for each and its parts."""
  task = HierarchicalMotifs(depth=2, num_symbols=3, num_synonyms=2, seed=4)
  drawn = {*_pairs(_batch(task, batch_size=1024))}
  assert len(drawn) == len({row for row, _ in drawn}) == 3 * 2**3
  assert sorted(root for _, root in drawn) == [0] * 8 + [1] * 8 + [2] * 8
  parts = {row[i : i + 2] for row, _ in drawn for i in (0, 2)}
  assert len(parts) == 3 * 2


def _pairs(batch):
  """(inputs, target) of every example, as Python values."""
  return [
    (tuple(np.ravel(row).tolist()), target)
    for row, target in zip(batch.inputs, batch.targets.tolist(), strict=True)
  ]
