"""Inputs that are no array, or no pair of them, are refused in a sentence."""

import jax
import numpy as np
import pytest

from seqjax.models import (
  Classifier,
  MLPClassifier,
  Seq2Seq,
  SequenceModel,
  prompt,
)
from seqjax.nn import GRU
from seqjax.typing import Spec

TOKENS = np.zeros((2, 5), np.int32)
SPEC = Spec((), vocab=7)
ONE = {
  'SequenceModel': SequenceModel(SPEC, SPEC, (GRU(4),)),
  'Classifier': Classifier(SPEC, SPEC, (GRU(4),)),
  'MLPClassifier': MLPClassifier(SPEC, 7, max_length=5, hidden=4),
}


@pytest.mark.parametrize('given', [(TOKENS, TOKENS), TOKENS.tolist(), None])
@pytest.mark.parametrize('name', ONE)
def test_a_model_of_one_sequence_reads_one_array(name, given, untyped):
  """A pair is what Seq2Seq reads."""
  with pytest.raises(ValueError, match=f'^{name} reads one array.*Seq2Seq'):
    ONE[name].init(jax.random.key(0), given)


@pytest.mark.parametrize(
  'given', [TOKENS, (TOKENS,), (TOKENS, None), (TOKENS,) * 3, None]
)
def test_a_seq2seq_reads_a_pair(given, untyped):
  """Two rows of one array are no pair."""
  model = Seq2Seq(SPEC, SPEC, (GRU(4),), (GRU(4),))
  with pytest.raises(ValueError, match='^Seq2Seq reads a pair of arrays'):
    model.init(jax.random.key(0), given)


def test_several_tokens_stand_at_a_position_of_outputs_alone():
  """As inputs they are refused, and so is text of them."""
  several = Spec((3,), vocab=7)
  outputs = jax.eval_shape(
    Classifier(SPEC, several, (GRU(4),)).init_with_output,
    jax.random.key(0),
    TOKENS,
  )[0]
  assert outputs.shape == (2, 3, 7)
  with pytest.raises(ValueError, match='^One token stands at a position'):
    Classifier(several, SPEC, (GRU(4),)).init(jax.random.key(0), TOKENS)
  with pytest.raises(ValueError, match='reads the tokens that it writes'):
    prompt.check_vocabularies(SequenceModel(SPEC, several, (GRU(4),)))
