"""Whole networks made of mixers, and counting language models.

`seqjax.models.nnx` has blocks and models as NNX modules; it is imported when it
is first used.
"""

import importlib
from typing import Any

from seqjax.models import ngram
from seqjax.models.beams import Hypotheses, beam_search
from seqjax.models.block import Block
from seqjax.models.classifier import Classifier, MLPClassifier
from seqjax.models.for_task import model_for
from seqjax.models.generation import generate, rollout
from seqjax.models.language_model import LanguageModel, NeuralLanguageModel
from seqjax.models.seq2seq import Seq2Seq, Seq2SeqCarry
from seqjax.models.sequence_model import SequenceModel
from seqjax.models.size import features_for, num_parameters
from seqjax.models.stack import Stack

__all__ = [
  'Block',
  'Classifier',
  'Hypotheses',
  'LanguageModel',
  'MLPClassifier',
  'NeuralLanguageModel',
  'Seq2Seq',
  'Seq2SeqCarry',
  'SequenceModel',
  'Stack',
  'beam_search',
  'features_for',
  'generate',
  'model_for',
  'ngram',
  'num_parameters',
  'rollout',
]


def __getattr__(name: str) -> Any:
  """Imports `nnx`, which takes long, when it is first used."""
  if name == 'nnx':
    return importlib.import_module('seqjax.models.nnx')
  raise AttributeError(f'seqjax.models has no {name!r}.')
