"""Arrays in, arrays out: no files, no printing, no clocks."""

from seqjax.training.composed_optimizer import averaged_params, named_optimizer
from seqjax.training.evaluation import (
  Scores,
  evaluate,
  evaluate_lengths,
  evaluate_loss,
  overall,
)
from seqjax.training.loop import NotFinite, train
from seqjax.training.optimizer import adamw, with_learning_rate
from seqjax.training.population import (
  MemberNotFinite,
  select_members,
  train_population,
)
from seqjax.training.state import TrainState, init
from seqjax.training.step import train_step

__all__ = [
  'MemberNotFinite',
  'NotFinite',
  'Scores',
  'TrainState',
  'adamw',
  'averaged_params',
  'evaluate',
  'evaluate_lengths',
  'evaluate_loss',
  'init',
  'named_optimizer',
  'overall',
  'select_members',
  'train',
  'train_population',
  'train_step',
  'with_learning_rate',
]
