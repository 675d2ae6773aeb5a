"""Arrays in, arrays out: no files, no printing, no clocks."""

from seqjax.training.evaluation import evaluate, overall
from seqjax.training.loop import NotFinite, train
from seqjax.training.optimizer import adamw, with_learning_rate
from seqjax.training.state import TrainState, init
from seqjax.training.step import train_step

__all__ = [
  'NotFinite',
  'TrainState',
  'adamw',
  'evaluate',
  'init',
  'overall',
  'train',
  'train_step',
  'with_learning_rate',
]
