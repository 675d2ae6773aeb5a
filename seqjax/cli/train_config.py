"""The options of seqjax-train."""

import dataclasses
from typing import Any

from seqjax.errors import Catalog
from seqjax.experiment import check_types, option
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.tasks import TASKS
from seqjax.training.composed_optimizer import OPTIMIZERS, SCHEDULES

CHECKPOINTS = 'checkpoints'  # their folder in that of a run
DATA_FLAGS = ('corpus', 'include', 'data_dir')  # options of tasks, too
SEVERAL = '+'  # between the mixers of a hybrid
DTYPES = ('float32', 'bfloat16')
MOST = {'features': 2**20, 'expansion': 1024, 'layers': 1024}
LEAST = {
  **dict.fromkeys(
    ('patience', 'save_every', 'keep_best', 'dropout', 'weight_decay'), 0
  ),
  **dict.fromkeys(
    ('features', 'layers', 'context', 'expansion', 'steps', 'batch_size'), 1
  ),
  **dict.fromkeys(
    ('log_every', 'keep_latest', 'accumulate'),
    1,
  ),
  **{'clip': 0, 'ema': 0, 'warmup': -1},
}


class _Mixers(Catalog):
  """The catalogue, in which a hybrid is there if each of its mixers is."""

  def __contains__(self, name: object) -> bool:
    return all(dict.__contains__(self, part) for part in parts_of(str(name)))

  def unknown(self, name: str, listing: str = '') -> str:
    lacking = [x for x in parts_of(name) if not dict.__contains__(self, x)]
    return super().unknown(lacking[0], listing)


def parts_of(mixer: str) -> tuple[str, ...]:
  """Returns the names of the mixers of a hybrid, as in 'gru+attention'."""
  return tuple(mixer.split(SEVERAL))


EVERY_MIXER = _Mixers('mixer', MIXERS | NONCAUSAL_MIXERS, MIXERS.listing)


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one training run."""

  task: str = option('recall', 'Task to train on.', among=TASKS)
  mixer: str = option(
    'lstm',
    'Sequence mixer to train. Join several by + to alternate them over the '
    'layers, as in gru+attention.',
    among=EVERY_MIXER,
  )
  task_options: str = option(
    '', 'Options of the task, as in length=32,num_symbols=8.'
  )
  mixer_options: str = option('', 'Options of the mixer, as in num_heads=4.')
  corpus: str = option(
    '', 'A file or folder that the task text reads, or the name of a corpus.'
  )
  include: str = option(
    '', 'Pattern of the files of a corpus that is a folder, as in *.py.'
  )
  data_dir: str = option('', 'Folder with the prepared data of the task.')
  features: int = option(64, 'Width of the residual stream.')
  layers: int = option(2, 'Number of blocks.')
  context: int = option(1024, 'Number of past positions that attention reads.')
  expansion: int = option(
    2, "Width of each block's perceptron, as a multiple of features."
  )
  dropout: float = option(0.0, 'Dropout rate of each block.')
  variational: bool = option(
    False, 'Drop the same entries at all positions of a sequence.'
  )
  dtype: str = option(
    'float32',
    'Precision of the arithmetic; parameters are float32.',
    among=DTYPES,
  )
  remat: bool = option(
    False, 'Recompute blocks in the backward pass instead of storing them.'
  )
  steps: int = option(1000, 'Number of updates.')
  batch_size: int = option(32, 'Number of examples per update.')
  learning_rate: float = option(3e-3, 'Peak learning rate of the schedule.')
  weight_decay: float = option(
    0.01,
    'Decoupled weight decay of kernels and embeddings, multiplied by the '
    'learning rate; biases, scales and time scales do not decay.',
  )
  optimizer: str = option(
    'adamw', 'Optimizer of the parameters.', among=tuple(OPTIMIZERS)
  )
  schedule: str = option(
    'cosine',
    'Shape of the schedule after the warm-up; cosine and linear decay to 0.',
    among=SCHEDULES,
  )
  warmup: int = option(
    -1,
    'Number of updates in which the learning rate rises from 0; -1: a tenth of '
    'all updates, but at most 50.',
  )
  clip: float = option(
    1.0, 'Largest global norm of a gradient; 0 does not clip.'
  )
  accumulate: int = option(
    1,
    'Number of batches whose gradients are averaged for one update. steps '
    'counts batches.',
  )
  ema: float = option(
    0.0,
    'Decay of an exponential moving average of the parameters, which is scored '
    'and exported in their place; 0 takes none.',
  )
  log_every: int = option(100, 'Number of updates between lines of metrics.')
  seed: int = option(0, 'Seed of the parameters and of the order of the data.')
  carried: bool = option(
    False,
    'Begin each batch with the final carry of the one before. Scores begin '
    'every window without one.',
  )
  layer_norms: bool = option(
    False, "Also record the norm of each layer's gradient."
  )
  patience: int = option(
    0,
    'Number of evaluations in a row without a better score that end training; '
    '0 disables this.',
  )
  save_every: float = option(60.0, 'Seconds between checkpoints.')
  keep_latest: int = option(2, 'Number of newest checkpoints to keep.')
  keep_best: int = option(
    1, 'Number of checkpoints to keep that score best on validation.'
  )

  def __post_init__(self):
    check_types(self)
    for name, least in LEAST.items():
      if getattr(self, name) < least:
        raise ValueError(
          f'{name} must be at least {least}, but {name}={getattr(self, name)} '
          'was given.'
        )
    for name, most in MOST.items():
      if getattr(self, name) > most:
        raise ValueError(
          f'{name} must be at most {most}, but {name}={getattr(self, name)} '
          'was given.'
        )
    if self.learning_rate <= 0:
      raise ValueError(
        'learning_rate must be greater than 0, but '
        f'learning_rate={self.learning_rate} was given.'
      )
    if self.ema >= 1 or self.steps % self.accumulate:
      raise ValueError(
        'ema must be less than 1 and accumulate divide steps, but '
        f'ema={self.ema}, accumulate={self.accumulate} and steps={self.steps} '
        'were given.'
      )
    if self.warmup >= self.steps // self.accumulate:
      raise ValueError(
        f'warmup must be less than the {self.steps // self.accumulate} updates '
        f'of the schedule, but warmup={self.warmup} was given.'
      )
    if self.dropout >= 1:
      raise ValueError(
        f'dropout must be less than 1, but dropout={self.dropout} was given.'
      )
    for name in DATA_FLAGS:
      if getattr(self, name) and f',{name}=' in f',{self.task_options}':
        raise ValueError(
          f'{name} was given twice, as --{name}={getattr(self, name)} and in '
          f'task_options={self.task_options}: leave one of them out.'
        )
    reads_text = self.task.startswith('text')
    if (self.corpus or self.include) and not reads_text:
      raise ValueError(
        f'A corpus is what the task text reads, but task={self.task} was given.'
      )


def with_options(config: Config, **options: Any) -> Config:
  """Returns the config with further options of the task, which take over."""
  given = [f'{name}={value}' for name, value in options.items()]
  text = ','.join(filter(None, [config.task_options, *given]))
  return dataclasses.replace(config, task_options=text)
