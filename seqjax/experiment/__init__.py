"""Frozen dataclasses that describe experiments: flags, grids, checks.

@dataclasses.dataclass(frozen=True)
class Config:
  mixer: str = option('lstm', 'Sequence mixer to train.', among=MIXERS)
  lengths: tuple[int, ...] = option((64, 256), 'Positions in a sequence.')

if __name__ == '__main__':
  experiment.launch(Config, run, workdir='runs/question')
"""

from seqjax.experiment.command_line import (
  Choice,
  Text,
  arguments,
  define_flags,
  from_flags,
  launch,
  parse_grid,
)
from seqjax.experiment.config import (
  check_types,
  choose,
  field_types,
  folder_in,
  folder_name,
  from_dict,
  grid,
  option,
  to_dict,
  validate,
  without_seed_and_rate,
)

__all__ = [
  'Choice',
  'Text',
  'arguments',
  'check_types',
  'choose',
  'define_flags',
  'field_types',
  'folder_in',
  'folder_name',
  'from_dict',
  'from_flags',
  'grid',
  'launch',
  'option',
  'parse_grid',
  'to_dict',
  'validate',
  'without_seed_and_rate',
]
