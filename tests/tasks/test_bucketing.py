"""Padded, bucketed and packed: other rows, the same pieces and losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import SequenceModel
from seqjax.nn import GRU
from seqjax.ops import losses
from seqjax.tasks import TASKS
from seqjax.tasks.bucketing import bucketed, lengths, packed, padding
from seqjax.typing import Batch, Segments, Spec

LENGTHS = [3, 8, 1, 5, 5, 2, 8, 4]


def ragged(of_row=LENGTHS, length=8, seed=0):
  """Random tokens and targets, a third of them not scored."""
  rng = np.random.default_rng(seed)
  shape = (len(of_row), length)
  valid = np.arange(length)[None] < np.array(of_row)[:, None]
  return Batch(
    inputs=np.where(valid, rng.integers(1, 7, shape), 0).astype(np.int32),
    targets=np.where(valid, rng.integers(0, 5, shape), 0).astype(np.int32),
    weights=(valid & (rng.random(shape) < 0.7)).astype(np.float32),
    segments=Segments(np.zeros(shape, bool), valid),
    group=np.where(valid, np.arange(length)[None], 0).astype(np.int32),
  )


def pieces(batch):
  """The pieces of a batch, each as the numbers at its positions, sorted."""
  found = []
  for row in range(len(batch.inputs)):
    start, valid = (leaf[row] for leaf in batch.segments)
    columns = np.stack(
      [leaf[row] for leaf in (*batch[:3], batch.group)], axis=1
    )
    cuts = np.flatnonzero(start)
    for piece in np.split(np.arange(len(valid)), cuts):
      piece = piece[valid[piece]]
      if len(piece):
        found.append(columns[piece].tolist())
  return sorted(found)


def test_no_piece_is_lost_or_cut():
  """Inputs, targets, weights and groups move together."""
  batch = ragged()
  expected = pieces(batch)
  assert len(expected) == len(LENGTHS)
  assert pieces(packed(batch)) == expected
  assert pieces(packed(batch, length=11, num_rows=7)) == expected
  buckets = bucketed(batch, (2, 5, 8))
  assert [b.inputs.shape for b in buckets] == [(2, 2), (4, 5), (2, 8)]
  assert sorted(sum((pieces(b) for b in buckets), [])) == expected


def test_the_share_of_padding_falls():
  """28 of 64 positions padded; 1 + 3 of 44 bucketed; 4 of 40 packed."""
  batch = ragged()
  assert padding(batch) == 28 / 64
  buckets = bucketed(batch, (2, 5, 8))
  assert [padding(b) for b in buckets] == pytest.approx([1 / 4, 3 / 20, 0])
  assert packed(batch).inputs.shape == (5, 8)
  assert padding(packed(batch)) == pytest.approx(4 / 40)
  assert padding(batch._replace(segments=None)) == 0


def test_packed_rows_are_first_fit_decreasing():
  """Lengths 8 8 5 5 4 3 2 1 into rows of 8."""
  batch = packed(ragged())
  begins = [np.flatnonzero(start).tolist() for start in batch.segments.start]
  taken = batch.segments.valid.sum(axis=1).tolist()
  assert taken == [8, 8, 8, 8, 4]
  assert begins == [[], [], [5], [5, 7], []]


def test_all_three_have_the_same_loss_and_gradient():
  """Of a recurrent model, as a mean over scored positions."""
  batch = ragged()
  model = SequenceModel(Spec((), 7), Spec((), 5), (GRU(8),))
  init = jax.jit(model.init)
  params = init(jax.random.key(0), batch.inputs)['params']

  def total(params, batch):
    logits = model.apply({'params': params}, batch.inputs, batch.segments)
    return losses.cross_entropy(logits, batch.targets, batch.weights) * jnp.sum(
      batch.weights
    )

  gradient = jax.jit(jax.value_and_grad(total))
  expected, expected_gradient = gradient(params, batch)
  for batches in ([packed(batch, num_rows=8)], bucketed(batch, (5, 8))):
    sums = [gradient(params, part) for part in batches]
    given, given_gradient = jax.tree.map(lambda *leaves: sum(leaves), *sums)
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      given_gradient,
      expected_gradient,
    )


def test_a_batch_without_segments_is_all_pieces_of_full_length():
  """Two of them fit into rows of twice the length."""
  batch = ragged(of_row=[4, 4, 4], length=4)._replace(segments=None)
  np.testing.assert_array_equal(lengths(batch), 4)
  both = packed(batch, length=8)
  assert both.inputs.shape == (2, 8) and both.segments.start[0, 4]
  np.testing.assert_array_equal(both.inputs[0], batch.inputs[:2].ravel())


@pytest.mark.parametrize('name', [
  'parity', 'listops', 'transduction_sort', 'reverse_string', 'trajectory_next'
])  # fmt: skip
def test_batches_of_every_shape_are_bucketed(name):
  """Row by row, everything that is valid is kept; less is padded."""
  batch = jax.jit(TASKS[name]().batch, static_argnums=2)(
    jax.random.key(0), 0, 32
  )
  of_row, bounds = lengths(batch), (8, 16, 32, 64)
  buckets = bucketed(batch, bounds)
  of_bucket = np.searchsorted(bounds, of_row)
  for found, i in zip(buckets, np.unique(of_bucket), strict=True):
    rows = np.flatnonzero(of_bucket == i)
    assert lengths(found).max() <= bounds[i]
    np.testing.assert_array_equal(lengths(found), of_row[rows])
    for given, kept in zip(
      jax.tree.leaves(batch), jax.tree.leaves(found), strict=True
    ):
      both = tuple(map(slice, np.minimum(kept.shape, given.shape)))[1:]
      np.testing.assert_array_equal(
        kept[:, *both], np.asarray(given)[rows][:, *both]
      )
  assert padding(batch) > 0
  valid = sum((1 - padding(b)) * _positions(b) for b in buckets)
  assert valid == pytest.approx((1 - padding(batch)) * _positions(batch))
  assert packs(batch) == (name in ('reverse_string', 'trajectory_next'))


def _positions(batch):
  return sum(leaf.size for leaf in jax.tree.leaves(batch.segments)) // 2


def packs(batch):
  try:
    return padding(packed(batch)) < padding(batch)
  except ValueError as error:
    assert 'pad or bucket it' in str(error)
    return False


@pytest.mark.parametrize('call, message', [
  (lambda b: packed(b, length=7), 'segment of 8 positions.*rows of 7'),
  (lambda b: packed(b, num_rows=4), 'need 5 rows of 8.*num_rows=4'),
  (lambda b: bucketed(b, (4, 7)), r'longest segment, 8, but bounds=\(4, 7\)'),
  (lambda b: bucketed(b, (8, 4)), 'ascending bounds'),
  (lambda b: packed(b._replace(weights=b.weights[:, 0])), 'its own target'),
  (lambda b: packed(packed(b)), 'at the end can be regrouped, but row 2'),
])  # fmt: skip
def test_what_cannot_be_regrouped_is_refused(call, message):
  """One sentence with the expected and the given value."""
  with pytest.raises(ValueError, match=message):
    call(ragged())
