"""Every mixer reads any width, or says in one sentence why it does not."""

import jax
import jaxtyping
import numpy as np
import pytest

from seqjax import testing
from seqjax.nn import (
  MIXERS,
  NONCAUSAL_MIXERS,
  SLSTM,
  Attention,
  FullAttention,
  LinearAttention,
  Retention,
)

CATALOG = MIXERS | NONCAUSAL_MIXERS
TURNING = ('attention', 'local_attention', 'full_attention', 'retention')
SPLIT = {
  name for name, mixer in CATALOG.items() if hasattr(mixer(8, 8), 'num_heads')
}


def output_shape(mixer):
  """Returns the shape of what a mixer makes of three positions."""
  x = np.zeros((2, 3, mixer.features), np.float32)
  return jax.eval_shape(mixer.init_with_output, jax.random.key(0), x)[0].shape


@pytest.mark.parametrize('width', [1, 2, 5, 6, 10, 12])
@pytest.mark.parametrize('name', CATALOG)
def test_small_widths_work_or_are_refused_in_a_sentence(name, width):
  """Only those that turn pairs of numbers refuse some: the odd ones."""
  if name in TURNING and width % 2:
    with pytest.raises(ValueError, match=rf'^[^\n]* even [^\n]* {width}[^\n]*'):
      CATALOG[name](width, 8)
    return
  assert output_shape(CATALOG[name](width, 8)) == (2, 3, width)


@pytest.mark.parametrize('name', TURNING)
def test_one_head_of_ten_numbers_keeps_the_contract(name):
  """Two heads would have five, which do not pair up."""
  mixer = CATALOG[name](features=10, context=16)
  assert mixer.num_heads == 1
  testing.assert_mixer_contract(mixer)


@pytest.mark.parametrize('name', sorted(SPLIT))
@pytest.mark.parametrize('width', [8, 12, 16, 32, 64, 100])
def test_heads_are_two_wherever_that_leaves_whole_pairs(name, width):
  """Whatever the mixer."""
  assert CATALOG[name](width, 8).num_heads == 2


@pytest.mark.parametrize(
  'mixer, heads',
  [
    (LinearAttention(6), 2),
    (SLSTM(5), 1),
    (Attention(6, 8, positions='alibi'), 2),
    (Attention(5, 8, positions='none'), 1),
    (Retention(6, key_size=4), 2),
    (Retention(5, key_size=4), 1),
  ],
)
def test_heads_are_one_only_where_two_do_not_fit(mixer, heads):
  """Odd sizes of heads do where no pairs are turned."""
  assert mixer.num_heads == heads
  assert output_shape(mixer) == (2, 3, mixer.features)


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: Attention(10, 8, num_heads=2), 'even head size.*num_heads=2'),
    (lambda: FullAttention(10, num_heads=3), 'multiple of num_heads=3'),
    (lambda: Retention(10, num_heads=2), 'even key_size.* is 5'),
    (lambda: SLSTM(5, num_heads=2), 'not a multiple of num_heads=2'),
    (lambda: Attention('ten', 8), 'features to be a whole number'),
  ],
)
def test_heads_that_were_requested_are_never_replaced(
  make, message, monkeypatch
):
  """They are refused where they do not fit."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
  with pytest.raises(ValueError, match=message):
    make()
