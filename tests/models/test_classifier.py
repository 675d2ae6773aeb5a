"""One answer for a row: pooled over what counts, or of a fixed length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models.classifier import Classifier, MLPClassifier
from seqjax.nn import GRU, MIXERS, NONCAUSAL_MIXERS, Bidirectional, Elman
from seqjax.ops import segments as segments_lib
from seqjax.typing import Segments, Spec

LENGTHS = (6, 4, 1, 0)


def size(variables) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(variables))


def rows(lengths, offset: int, num_positions: int) -> Segments:
  """One piece a row, which begins after `offset` positions of padding."""
  places = np.arange(num_positions)[None] - offset
  valid = (places >= 0) & (places < np.asarray(lengths)[:, None])
  return Segments(np.zeros(valid.shape, bool), valid)


@pytest.mark.parametrize(
  'mixer, pooling',
  [
    (Elman(8), 'last'),
    (Elman(8), 'mean'),
    (Bidirectional(8, mixer=Elman(8)), 'max'),
  ],
)
def test_padding_anywhere_changes_nothing(mixer, pooling):
  """Behind, in front, on both sides: values and gradients, whatever it holds.

  A row of nothing else gives what the readout makes of zeros.
  """
  model = Classifier(Spec((3,)), Spec((), 5), (mixer,), pooling)
  x = np.float32(np.random.default_rng(0).normal(size=(4, 6, 3)))
  variables = jax.jit(model.init)(jax.random.key(1), x)
  variables['params']['readout']['bias'] = np.arange(5, dtype=np.float32)

  @jax.jit
  def outputs(variables, x, segments):
    def total(variables):
      y = model.apply(variables, x, segments)
      return jnp.sum(jnp.sin(y)), y

    return jax.grad(total, has_aux=True)(variables)

  def padded(offset, filler):
    segments = rows(LENGTHS, offset, 9)
    wide = np.pad(x, ((0, 0), (offset, 3 - offset), (0, 0)))
    wide = np.where(segments.valid[..., None], wide, np.float32(filler))
    return jax.tree.map(np.asarray, outputs(variables, wide, segments))

  gradients, y = padded(0, 0.0)
  assert y.shape == (4, 5)
  np.testing.assert_allclose(y[3], np.arange(5.0), atol=1e-6)
  for offset in (0, 1, 3):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      padded(offset, np.nan),
      (gradients, y),
    )
  alone = jax.jit(model.apply)(variables, x[1:2, :4])
  np.testing.assert_allclose(y[1:2], alone, rtol=1e-5, atol=1e-6)


def test_a_row_answers_for_its_last_piece():
  """What stands before the last start is as good as gone."""
  model = Classifier(Spec((), 7), Spec((2,)), (Elman(8),), 'mean')
  tokens = np.array([[1, 2, 3, 4, 5, 6]], np.int32)
  variables = jax.jit(model.init)(jax.random.key(0), tokens)
  segments = jax.jit(segments_lib.from_ids)(np.array([[1, 1, 1, 2, 2, 2]]))
  apply = jax.jit(model.apply)
  np.testing.assert_allclose(
    apply(variables, tokens, segments),
    apply(variables, tokens[:, 3:]),
    rtol=1e-5,
  )


@pytest.mark.parametrize('name', MIXERS | NONCAUSAL_MIXERS)
def test_every_mixer_classifies(name):
  """Logits over classes, or values of a shape, once a row."""
  mixer = (MIXERS | NONCAUSAL_MIXERS)[name](8, 16)
  x = jax.ShapeDtypeStruct((2, 6), jnp.int32)
  for spec, shape in ((Spec((), 5), (2, 5)), (Spec((3, 2)), (2, 3, 2))):
    model = Classifier(Spec((), 4), spec, (mixer, mixer))
    y, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    assert y.shape == shape and y.dtype == jnp.float32


def test_an_unknown_pooling_is_refused():
  """With what may have been meant."""
  with pytest.raises(ValueError, match="Did you mean 'mean'"):
    Classifier(Spec((3,)), Spec((), 5), (GRU(8),), 'men')
  with pytest.raises(ValueError, match='one mixer or more'):
    Classifier(Spec((3,)), Spec((), 5), ())


def test_an_mlp_classifier_pads_truncates_and_refuses():
  """Short rows are padded with zeros, long ones refused unless told."""
  spec = Spec((2,))
  x = jax.random.normal(jax.random.key(0), (3, 6, 2))
  model = MLPClassifier(spec, num_classes=4, max_length=6)
  variables = jax.jit(model.init)(jax.random.key(1), x)
  padded = jnp.pad(x[:, :4], ((0, 0), (0, 2), (0, 0)))
  np.testing.assert_array_equal(
    model.apply(variables, x[:, :4]), model.apply(variables, padded)
  )
  longer = jnp.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=9.0)
  with pytest.raises(ValueError, match='max_length=6 positions, but 7'):
    model.apply(variables, longer)
  np.testing.assert_array_equal(
    model.clone(truncate=True).apply(variables, longer),
    model.apply(variables, x),
  )
  segments = segments_lib.from_lengths(jnp.array([4, 4, 4]), 6)
  np.testing.assert_array_equal(
    model.apply(variables, jnp.where(segments.valid[..., None], x, jnp.nan),
                segments),
    model.apply(variables, padded),
  )  # fmt: skip


def test_an_mlp_classifier_grows_with_its_length():
  """A row of weights for every feature of every position."""
  counts = []
  for max_length in (5, 6):
    model = MLPClassifier(Spec((), 3), 4, max_length, hidden=7)
    tokens = jnp.zeros((1, 5), jnp.int32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
    counts.append(size(shapes))
  assert counts[1] - counts[0] == 3 * 7


@pytest.mark.parametrize('bad', [{'num_classes': 0}, {'max_length': 0}])
def test_an_mlp_classifier_refuses_sizes_below_one(bad):
  """At construction."""
  with pytest.raises(ValueError, match='at least 1'):
    MLPClassifier(Spec((2,)), **{'num_classes': 2, 'max_length': 3} | bad)
