"""Positions cut over devices: every causal mixer gives what it gives alone."""

import pytest

from seqjax import testing
from seqjax.nn import MIXERS

QUICK = ('mingru', 'gla', 'tcn')
DEVICES = 4


@pytest.mark.parametrize(
  'name',
  [
    'mingru',
    'minlstm',
    'lru',
    's4d',
    's5',
    'rglru',
    'mamba',
    'tcn',
    'gated_conv',
    'window_mlp',
  ],
)
def test_a_mixer_is_the_same_over_devices(name):
  """Outputs, carries, gradients, and what NaN and infinity reach."""
  testing.assert_same_over_devices(MIXERS[name](8, 16), DEVICES)
