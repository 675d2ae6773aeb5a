"""Segments from ids and lengths, and the positions they give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import segments as segments_lib
from seqjax.typing import Segments


def random_segments(seed=0, shape=(6, 23)):
  rng = np.random.default_rng(seed)
  return Segments(
    jnp.asarray(rng.random(shape) < 0.2), jnp.asarray(rng.random(shape) < 0.6)
  )


def test_a_piece_starts_where_the_id_differs_from_the_previous_valid_one():
  """An id that returns is a new piece; the first valid position is none."""
  ids = jnp.array(
    [
      [1, 1, 0, 1, 2, 2, 0, 0, 3],
      [0, 0, 5, 5, 5, 5, 0, 5, 0],
      [7, 8, 7, 7, 0, 8, 8, 0, 0],
      [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
  )
  segments = segments_lib.from_ids(ids)
  np.testing.assert_array_equal(segments.valid, ids != 0)
  for row, starts in zip(ids, segments.start, strict=True):
    previous, expected = 0, []
    for value in row.tolist():
      expected.append(value != 0 and previous not in (0, value))
      previous = value or previous
    assert starts.tolist() == expected


def test_lengths_pad_at_the_end():
  """One piece a row, and no start."""
  segments = segments_lib.from_lengths(jnp.array([0, 2, 3]), 3)
  assert segments.valid.tolist() == [
    [False, False, False],
    [True, True, False],
    [True, True, True],
  ]
  assert not segments.start.any()


def test_lengths_may_be_constants_of_a_compiled_function():
  """They are arrays of JAX that the function closes over."""
  lengths = jnp.array([0, 2, 3])
  made = jax.jit(lambda: segments_lib.from_lengths(lengths, 3))()
  expected = segments_lib.from_lengths(lengths, 3)
  np.testing.assert_array_equal(made.valid, expected.valid)


@pytest.mark.parametrize('lengths', [[-1, 2], [1, 4]])
def test_lengths_outside_the_row_are_refused(lengths):
  """Negative ones, and ones beyond the row."""
  with pytest.raises(ValueError, match=r'0\.\.3.*: \[(-1|4)\]'):
    segments_lib.from_lengths(jnp.array(lengths), 3)


def test_positions_count_valid_positions_of_the_piece():
  """As the loop does that has a counter a row."""
  segments = random_segments()
  count = jnp.arange(6, dtype=jnp.int32)
  after, places = segments_lib.positions(count, segments, 23)
  counters = count.tolist()
  for t in range(23):
    for b in range(6):
      if segments.start[b, t]:
        counters[b] = 0
      assert places[b, t] == counters[b]
      counters[b] += int(segments.valid[b, t])
  assert after.tolist() == counters


def test_positions_without_segments_go_on_from_the_count():
  """A row that has had c positions goes on with c."""
  after, places = segments_lib.positions(jnp.array([0, 5]), None, 3)
  assert places.tolist() == [[0, 1, 2], [5, 6, 7]]
  assert after.tolist() == [3, 8]


def test_reversed_twice_is_the_same_but_for_a_start_at_the_first_position():
  """Boundaries between positions stay where they are."""
  segments = random_segments(1)
  again = segments_lib.reverse(segments_lib.reverse(segments))
  np.testing.assert_array_equal(again.valid, segments.valid)
  np.testing.assert_array_equal(again.start[:, 1:], segments.start[:, 1:])
  assert not again.start[:, 0].any()


def test_a_reversed_piece_starts_at_its_last_position():
  """[a b | c] read backwards is [c | b a]."""
  segments = segments_lib.from_ids(jnp.array([[1, 1, 2]]))
  assert segments_lib.reverse(segments).start.tolist() == [[False, True, False]]


@pytest.mark.parametrize('shape', [(2, 4), (3, 3)])
def test_segments_of_another_shape_are_refused(shape):
  """The sentence has both shapes."""
  wrong = Segments(jnp.zeros(shape, bool), jnp.ones(shape, bool))
  with pytest.raises(ValueError, match=r'\[2, 3\].*bool\[\d, \d\]'):
    segments_lib.check(wrong, 2, 3)


def test_segments_of_integers_are_refused():
  """Ids are made into segments first."""
  ids = jnp.ones((2, 3), jnp.int32)
  with pytest.raises(ValueError, match='must be booleans.*int32'):
    segments_lib.check(Segments(ids, ids), 2, 3)


def test_the_compiler_does_not_sum_up_what_has_no_starts():
  """It would take minutes for the rows of a long task."""

  def index(lengths):
    pieces = segments_lib.from_lengths(lengths, 64)
    return segments_lib.piece_index(pieces, 2, 64)

  program = jax.jit(index).lower(np.array([3, 64])).compile().as_text()
  assert 'reduce-window' in program
