"""Batches over several devices: the same training, and little to send."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent


CUT = pytest.param('drawn, cut', marks=pytest.mark.slow)
QUICK = ['drawn', 'fed', 'fed, cut']
CASES = [*QUICK, CUT]


@pytest.fixture(scope='module')
def seen(tmp_path_factory):
  """What a process with eight devices saw, of what is asked for."""
  corpus = tmp_path_factory.mktemp('corpus') / 'text'
  letters = np.random.default_rng(0).choice(list('abc '), 12000)
  corpus.write_text(''.join(letters))
  flags = os.environ.get('XLA_FLAGS', '')
  flags += ' --xla_force_host_platform_device_count=8'

  @functools.cache
  def see(part):
    child = subprocess.run(
      [sys.executable, FOLDER / 'on_a_mesh.py', corpus, part],
      env=os.environ | {'XLA_FLAGS': flags, 'PJRT_NPROC': '8'},
      cwd=FOLDER.parent.parent,
      capture_output=True,
      text=True,
      timeout=600,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)

  class Seen:
    """Either part, once it is asked for."""

    def __getitem__(self, name):
      return see('slow' if name in ('drawn, cut', 'members') else 'quick')[name]

  return Seen()


@pytest.mark.parametrize('batches', CASES)
def test_losses_are_those_of_one_device(seen, batches):
  """Drawn on the device; carried, from the host; and when resumed there."""
  case = seen[batches]
  np.testing.assert_allclose(case['spread'], case['alone'], rtol=1e-5)
  np.testing.assert_allclose(case['resumed'], case['alone'][1:], rtol=1e-5)
  assert case['alone'][2] < case['alone'][0]


@pytest.mark.parametrize('batches', CASES)
def test_scores_are_those_of_one_device(seen, batches):
  """Of rows that devices cannot share evenly, some at a time."""
  alone, spread = seen[batches]['scores']
  assert len(alone) > 1 and alone[-1] == spread[-1]
  np.testing.assert_allclose(spread[:-1], alone[:-1], rtol=1e-5)


@pytest.mark.parametrize('batches', QUICK)
def test_only_gradients_cross_devices(seen, batches):
  """And single numbers: sums alone, of the shapes of parameters.

  Where positions are cut, also what a layer itself sends along time.
  """
  case = seen[batches]
  layer = {'1,10,8', '2,10,8', '10,8'} if 'cut' in batches else set()
  sums = {shape for name, shape in case['collectives'] if name == 'all-reduce'}
  others = {
    shape for name, shape in case['collectives'] if name != 'all-reduce'
  }
  parameters = {','.join(map(str, shape)) for shape in case['parameters']}
  assert sums - {''} - layer == parameters
  assert others <= layer


def test_rows_are_spread_and_parameters_copied(seen):
  """A carry lies where its rows are read, whole where positions are cut."""
  assert all(seen[batches]['copies'] for batches in QUICK)
  rows = [seen[batches]['carry'] for batches in QUICK]
  assert rows == [[], [5], [10]]


def test_what_is_not_finite_is_met_on_all_devices(seen):
  """With the sentence of one device."""
  assert 'after its update is not finite at step 0' in seen['not finite']


def test_devices_share_states_between_steps(seen):
  """None holds a whole large array; numbers and checkpoints are the same."""
  case = seen['shared states']
  np.testing.assert_allclose(case['shared'], case['alone'], rtol=1e-5)
  np.testing.assert_allclose(case['resumed'], case['alone'][1], rtol=1e-5)
  large = [(size, held) for size, held in case['shares'] if size % 4 == 0]
  assert len(large) > 9 and max(size for size, _ in large) == 64
  assert all(held == [size // 4] * 8 for size, held in large)
  assert case['kept'] and all(case['kept'])


@pytest.mark.slow
def test_a_member_is_its_solo_run_bit_by_bit(seen):
  """Two on each of two devices, where they stay; also when resumed."""
  case = seen['members']
  assert case['same'] == [True] * 4 and case['others'] == [True] * 2
  assert all(starts == [0, 2] for starts in case['devices'])
  assert len(set(case['losses'])) == 4
