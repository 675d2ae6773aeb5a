"""Calls take lengths in the place of segments."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from seqjax.models import Block, Classifier, Seq2Seq, SequenceModel, Stack
from seqjax.nn import GRU, MIXERS, NONCAUSAL_MIXERS, RecurrentLayers
from seqjax.ops.segments import from_lengths
from seqjax.typing import Segments, Spec

LENGTHS = jnp.array([3, 1])
VALUES = jax.ShapeDtypeStruct((2, 4, 8), jnp.float32)
LAYERS = {
  name: mixer(8, 16) for name, mixer in (MIXERS | NONCAUSAL_MIXERS).items()
} | {
  'block': Block(GRU(8)),
  'stack': Stack((GRU(8),)),
  'model': SequenceModel(Spec((8,)), Spec((2,)), (GRU(8),)),
  'classifier': Classifier(Spec((8,)), Spec((), 3), (GRU(8),)),
  'layers': RecurrentLayers((GRU(8),), bidirectional=True),
}


@pytest.mark.parametrize('name', LAYERS)
def test_lengths_are_segments_of_rows_padded_at_the_end(name):
  """A call is the same program, whichever it is given."""
  layer = LAYERS[name]
  variables = jax.eval_shape(layer.init, jax.random.key(0), VALUES)

  def program(make):
    def run(variables, x, lengths):
      return layer.apply(variables, x, **make(lengths))

    return str(jax.make_jaxpr(run)(variables, VALUES, LENGTHS))

  given = program(lambda lengths: {'lengths': lengths})
  assert given == program(lambda n: {'segments': from_lengths(n, 4)})
  assert given != program(lambda n: {})


def test_a_pair_of_lengths_is_that_of_source_and_target():
  """A Seq2Seq takes one per side, and None for a whole one."""
  model = Seq2Seq(Spec((8,)), Spec((8,)), (GRU(8),), (GRU(8),))
  x = np.ones((2, 4, 8), np.float32)
  variables = model.init(jax.random.key(0), (x, x))
  pair = LENGTHS, LENGTHS[::-1]
  segments = tuple(from_lengths(each, 4) for each in pair)
  np.testing.assert_array_equal(
    model.apply(variables, (x, x), lengths=pair),
    model.apply(variables, (x, x), segments),
  )
  one_side = model.apply(variables, (x, x), lengths=(pair[0], None))
  np.testing.assert_array_equal(
    one_side, model.apply(variables, (x, x), (segments[0], None))
  )


def test_lengths_that_do_not_fit_are_refused(monkeypatch):
  """Too few, too large, or beside segments."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
  mixer, x = GRU(8), jnp.ones((2, 4, 8))
  variables = mixer.init(jax.random.key(0), x)
  whole = Segments(jnp.zeros((2, 4), bool), jnp.ones((2, 4), bool))
  for rows, message in (
    ({'lengths': jnp.array([3])}, 'one number per row, 2 in all, but 1'),
    ({'lengths': jnp.array([3, 5])}, r'must lie in 0\.\.4'),
    ({'lengths': LENGTHS, 'segments': whole}, 'but both were given'),
  ):
    with pytest.raises(ValueError, match=message):
      mixer.apply(variables, x, **rows)
