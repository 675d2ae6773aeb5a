"""Bytes between devices, counted by hand and by the compiled program."""

import functools
import pathlib

import pytest

from seqjax.analysis import communication
from seqjax.nn import MIXERS, Attention, GatedConv, MinGRU
from seqjax.testing import another_process
from tests.analysis import communicated

PAGE = pathlib.Path(__file__).parent.parent.parent / 'docs' / 'scale.md'
call = functools.partial(another_process.call, devices=8)
slow = pytest.mark.slow


def ring(length: int, features: int) -> tuple[int, int]:
  """Bytes of attention over four devices, forward and in training."""
  keys = 2 * 4 * length * features
  places = 2 * 4 * length  # positions and segments
  forward = 3 * (keys + places)
  # Keys go around again with their gradients, which then go home.
  return forward, forward + 3 * (2 * keys + places) + keys


@pytest.mark.parametrize(
  'mixer, forward, training',
  [
    # A decay and a state of 8 numbers to the next device, and to the one after
    # that; of what comes two further, the state alone; and all of it back.
    pytest.param(MinGRU(8), 5 * 8 * 4, 10 * 8 * 4, id='mingru'),
    # Two positions of 8 numbers.
    pytest.param(GatedConv(8), 2 * 8 * 4, 4 * 8 * 4, id='gated_conv'),
    pytest.param(Attention(8, 1024), *ring(256, 8), id='ring', marks=slow),
  ],
)
def test_bytes_are_those_counted_by_hand(mixer, forward, training):
  """Counts for one row of 1,024 positions, over four devices."""
  found = call(communicated.count, (mixer, 1024))
  assert found[:2] == (forward, training)
  if isinstance(mixer, MinGRU):
    # A sum over four devices sends 6/4 of its size.
    assert found[2] == 2 * (8 * 8 + 8) * 4 * 6 // 4


LINEAR = ('mingru', 'gla', 'lru', 's4d', 'rglru', 'mamba', 'mlstm', 'deltanet')


@pytest.mark.parametrize(
  'name',
  [pytest.param(n, marks=() if n in LINEAR[:2] else slow) for n in LINEAR],
)
def test_nothing_as_long_as_the_sequence_crosses_devices(name):
  """Neither those of one device nor those of all are an axis of anything."""
  length, devices = 97, 4
  found = call(communicated.shapes, (MIXERS[name](8), devices * length))
  assert found
  for shape in found:
    assert length not in shape and devices * length not in shape, shape


def rows_of_the_page() -> list[str]:
  """Returns the lines of the table on the page."""
  lines = PAGE.read_text(encoding='utf-8').splitlines()
  begin = lines.index('| ' + ' | '.join(communication.HEADER) + ' |')
  count = len(communication.TABLE) + 2
  return lines[begin : begin + count]


@pytest.mark.parametrize(
  'names',
  [
    pytest.param(('mingru',), id='one'),
    pytest.param(tuple(communication.TABLE), id='all', marks=slow),
  ],
)
def test_the_table_of_the_page_is_what_the_program_prints(names):
  """One row, and all of them."""
  for line in call(communicated.table, names):
    assert line in rows_of_the_page()


def test_what_cannot_be_counted_is_refused():
  """With what would do."""
  assert 'needs 64 devices' in communicated.refusal((64, 64))
  assert 'num_positions=1001' in call(communicated.refusal, (4, 1001))
