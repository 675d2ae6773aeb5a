"""What repeats bit by bit, and what to rounding: as the README says."""

import hashlib
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import Attention, MinGRU
from seqjax.tasks import Recall
from seqjax.training.population import train_population

ROOT = pathlib.Path(__file__).parent.parent.parent
TASK = Recall(num_facts=4, num_distractors=3, lag=70)
OPTIMIZER = training.adamw(200, warmup=20)
ONCE_MORE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location('here', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.digest())
"""


def run(mixer=None, seed=0, steps=20):
  """The last state and the metrics of a run with dropout."""
  model = model_for(TASK, (mixer or MinGRU(8),), dropout=0.1)
  options = {'steps': steps, 'batch_size': 8, 'log_every': 10}
  key = jax.random.key(seed)
  runs = list(training.train(model, TASK, OPTIMIZER, key, **options))
  return runs[-1][0], [metrics for _, metrics in runs]


def digest(**options) -> str:
  """Of every bit of the state that a run ends with, and of its metrics."""
  state, metrics = run(**options)
  state = state._replace(key=jax.random.key_data(state.key))
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((state, metrics))]
  found = hashlib.sha256()
  for leaf in leaves:
    found.update(f'{leaf.dtype}{leaf.shape}'.encode() + leaf.tobytes())
  return found.hexdigest()


def _losses(metrics):
  return [metric['loss'] for metric in metrics]


def test_a_run_repeats_itself_bit_by_bit_in_one_process():
  """Also when everything is traced again; another seed is another run."""
  first = digest()
  assert digest() == first
  assert digest(seed=1) != first
  jax.clear_caches()
  assert digest() == first


def test_a_run_repeats_itself_bit_by_bit_in_another_process():
  """Started the same way; hashes of Python's strings differ, and do no harm."""
  done = subprocess.run(
    [sys.executable, '-c', ONCE_MORE, __file__],
    cwd=ROOT,
    env=os.environ | {'PYTHONHASHSEED': '7', 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.stdout.strip() == digest(), done.stderr


def test_a_member_of_a_population_is_its_solo_run_to_rounding():
  """Losses to 1e-5."""
  model = model_for(TASK, (MinGRU(8),), dropout=0.1)
  together = train_population(
    model,
    TASK,
    OPTIMIZER,
    [jax.random.key(seed) for seed in range(2)],
    learning_rates=[1e-3] * 2,
    steps=20,
    batch_size=8,
    log_every=10,
    how='vmap',
  )
  losses = np.stack([metrics['loss'] for _, metrics in together])
  for seed in range(2):
    alone = _losses(run(seed=seed)[1])
    np.testing.assert_allclose(losses[:, seed], alone, rtol=1e-5)


@pytest.mark.parametrize(
  'mixer, other',
  [
    (MinGRU(8, algorithm='scan'), MinGRU(8, algorithm='associative')),
    (
      Attention(8, 71, algorithm='plain'),
      Attention(8, 71, algorithm='blockwise'),
    ),
  ],
  ids=['mingru', 'attention'],
)
def test_another_algorithm_trains_the_same_to_rounding(mixer, other):
  """Losses to 1e-5: sums run in another order."""
  plain, fast = (run(mixer=m)[1] for m in (mixer, other))
  np.testing.assert_allclose(_losses(fast), _losses(plain), rtol=1e-5)
