"""The names of parameters, which files of weights have: a rename is noticed."""

import pytest
from flax.traverse_util import flatten_dict

from seqjax.models import Classifier, Seq2Seq, SequenceModel
from seqjax.models.size import variable_shapes
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.typing import Spec

SEQUENCE_MODEL = """
embedding.embedding [5, 4]
readout.bias [5]
readout.kernel [4, 5]
stack.blocks_0.mixer.bias [16]
stack.blocks_0.mixer.input [4, 16]
stack.blocks_0.mixer.recurrent [4, 16]
stack.blocks_0.mixer_norm.scale [4]
stack.blocks_0.mlp_norm.scale [4]
stack.blocks_0.perceptron.gate.bias [8]
stack.blocks_0.perceptron.gate.kernel [4, 8]
stack.blocks_0.perceptron.narrow.bias [4]
stack.blocks_0.perceptron.narrow.kernel [8, 4]
stack.blocks_0.perceptron.widen.bias [8]
stack.blocks_0.perceptron.widen.kernel [4, 8]
stack.blocks_1.mixer.key.kernel [4, 2, 2]
stack.blocks_1.mixer.out.kernel [2, 2, 4]
stack.blocks_1.mixer.query.kernel [4, 2, 2]
stack.blocks_1.mixer.value.kernel [4, 2, 2]
stack.blocks_1.mixer_norm.scale [4]
stack.blocks_1.mlp_norm.scale [4]
stack.blocks_1.perceptron.gate.bias [8]
stack.blocks_1.perceptron.gate.kernel [4, 8]
stack.blocks_1.perceptron.narrow.bias [4]
stack.blocks_1.perceptron.narrow.kernel [8, 4]
stack.blocks_1.perceptron.widen.bias [8]
stack.blocks_1.perceptron.widen.kernel [4, 8]
stack.norm.scale [4]
"""

CLASSIFIER = """
embedding.bias [4]
embedding.kernel [3, 4]
readout.bias [2]
readout.kernel [4, 2]
stack.blocks_0.mixer.bias [40]
stack.blocks_0.mixer.decay.bias [2]
stack.blocks_0.mixer.decay.log_rate [2]
stack.blocks_0.mixer.enter.kernel [4, 50]
stack.blocks_0.mixer.kernel [4, 40]
stack.blocks_0.mixer.norm.scale [1, 8]
stack.blocks_0.mixer.out.kernel [8, 4]
stack.blocks_0.mixer.skip [2]
stack.blocks_0.mixer_norm.scale [4]
stack.blocks_0.mlp_norm.scale [4]
stack.blocks_0.perceptron.narrow.bias [4]
stack.blocks_0.perceptron.narrow.kernel [8, 4]
stack.blocks_0.perceptron.widen.bias [8]
stack.blocks_0.perceptron.widen.kernel [4, 8]
stack.blocks_1.mixer.backward.bias [12]
stack.blocks_1.mixer.backward.candidate_bias [4]
stack.blocks_1.mixer.backward.input [4, 12]
stack.blocks_1.mixer.backward.recurrent [4, 12]
stack.blocks_1.mixer.forward.bias [12]
stack.blocks_1.mixer.forward.candidate_bias [4]
stack.blocks_1.mixer.forward.input [4, 12]
stack.blocks_1.mixer.forward.recurrent [4, 12]
stack.blocks_1.mixer.out.bias [4]
stack.blocks_1.mixer.out.kernel [8, 4]
stack.blocks_1.mixer_norm.scale [4]
stack.blocks_1.mlp_norm.scale [4]
stack.blocks_1.perceptron.narrow.bias [4]
stack.blocks_1.perceptron.narrow.kernel [8, 4]
stack.blocks_1.perceptron.widen.bias [8]
stack.blocks_1.perceptron.widen.kernel [4, 8]
stack.norm.scale [4]
"""

SEQ2SEQ = """
blocks_0.block.mixer.bias [12]
blocks_0.block.mixer.candidate_bias [4]
blocks_0.block.mixer.input [4, 12]
blocks_0.block.mixer.recurrent [4, 12]
blocks_0.block.mixer_norm.scale [4]
blocks_0.mlp_norm.scale [4]
blocks_0.perceptron.narrow.bias [4]
blocks_0.perceptron.narrow.kernel [8, 4]
blocks_0.perceptron.widen.bias [8]
blocks_0.perceptron.widen.kernel [4, 8]
blocks_0.reader.key.kernel [4, 2, 2]
blocks_0.reader.out.kernel [2, 2, 4]
blocks_0.reader.query.kernel [4, 2, 2]
blocks_0.reader.value.kernel [4, 2, 2]
blocks_0.reader_norm.scale [4]
norm.scale [4]
readout.bias [6]
readout.kernel [4, 6]
source_embedding.embedding [5, 4]
stack.blocks_0.mixer.bias [12]
stack.blocks_0.mixer.candidate_bias [4]
stack.blocks_0.mixer.input [4, 12]
stack.blocks_0.mixer.recurrent [4, 12]
stack.blocks_0.mixer_norm.scale [4]
stack.blocks_0.mlp_norm.scale [4]
stack.blocks_0.perceptron.narrow.bias [4]
stack.blocks_0.perceptron.narrow.kernel [8, 4]
stack.blocks_0.perceptron.widen.bias [8]
stack.blocks_0.perceptron.widen.kernel [4, 8]
stack.norm.scale [4]
target_embedding.embedding [6, 4]
"""


def sequence_model(**options):
  mixers = MIXERS['lstm'](4), MIXERS['attention'](4, context=8)
  return SequenceModel(Spec((), 5), Spec((), 5), mixers, mlp='gated', **options)


def classifier(**options):
  mixers = MIXERS['mamba2'](4), NONCAUSAL_MIXERS['bidirectional'](4)
  return Classifier(Spec((3,)), Spec((), 2), mixers, **options)


def seq2seq(**options):
  gru = MIXERS['gru'](4)
  specs = Spec((), 5), Spec((), 6)
  return Seq2Seq(*specs, (gru,), (gru,), attention='dot', **options)


@pytest.mark.parametrize('options', [{}, {'remat': True}], ids=str)
@pytest.mark.parametrize(
  'make, names',
  [
    (sequence_model, SEQUENCE_MODEL),
    (classifier, CLASSIFIER),
    (seq2seq, SEQ2SEQ),
  ],
)
def test_parameters_keep_their_names(make, names, options):
  """In files that were written before, they are these."""
  shapes = variable_shapes(make(**options))
  assert shapes.keys() == {'params'}
  given = [
    f'{name} {list(leaf.shape)}'
    for name, leaf in flatten_dict(shapes['params'], sep='.').items()
  ]
  assert sorted(given) == names.split('\n')[1:-1]
