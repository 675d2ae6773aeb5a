"""Whole networks made of mixers."""

from seqjax.models.block import Block
from seqjax.models.classifier import MLPClassifier
from seqjax.models.sequence_model import SequenceModel
from seqjax.models.size import features_for, num_parameters
from seqjax.models.stack import Stack

__all__ = [
  'Block',
  'MLPClassifier',
  'SequenceModel',
  'Stack',
  'features_for',
  'num_parameters',
]
