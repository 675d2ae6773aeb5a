"""Every task of the catalogue keeps the laws."""

import jax
import pytest

from seqjax import testing
from seqjax.tasks import TASKS

# These read files that a fresh machine lacks: the tests of images, text and
# series hold them to the contract on small ones.
NEED_FILES = (
  'mnist', 'permuted_mnist', 'cifar10', 'lm1b', 'csv_series', 'imdb', 'aan',
  'lra_listops', 'pathfinder', 'pathx',
)  # fmt: skip


@pytest.mark.parametrize('name', [n for n in TASKS if n not in NEED_FILES])
def test_every_task_keeps_the_contract(name):
  """Batches by (key, step), disjoint splits, chance, ceiling, weights."""
  testing.assert_task_contract(TASKS[name]())


@pytest.mark.parametrize('name', NEED_FILES)
def test_a_task_without_its_files_says_which_are_missing(name):
  """It can be made, and named in a table; only drawing needs them."""
  task = TASKS[name]()
  assert hash(task) == hash(TASKS[name]())
  with pytest.raises((ValueError, OSError), match='file|folder|path|data_dir'):
    task.batch(jax.random.key(0), 0, 2)
