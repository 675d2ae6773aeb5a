"""Measures who tracks a state at lengths beyond those of training.

    python -m experiments.state_tracking --mixers=lstm,attention --tasks=s3
    python -m experiments.state_tracking.main --mixer=lstm --task=s3

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell tunes and trains one mixer with several
seeds on the word problem of one group (of Z2 it is parity), and tests it at up
to 12 times the trained length.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from experiments import command, fit, whole
from seqjax import experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import model_for
from seqjax.nn import MIXERS, TCN, Attention, CausalMixer, DeltaNet
from seqjax.tasks.synthetic.formal.groups import GROUPS, GroupWord
from seqjax.tasks.task import HELD_OUT_BITS

TIMES = (1, 2, 4, 8, 12)  # of the trained length, up to which all are tested
EXAMPLES = 512  # of the test split
# Blocks and the expansion of their perceptrons, of which validation chooses.
DEPTHS = {'1 bare block': (1, 0), '2 blocks': (2, 2)}


SCHEMES = {
  'attention (ALiBi)': functools.partial(Attention, positions='alibi'),
  'attention (sinusoidal)': functools.partial(
    Attention, positions='sinusoidal'
  ),
  'attention (no positions)': functools.partial(Attention, positions='none'),
}
# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    **SCHEMES,
    'tcn': functools.partial(TCN, levels=4),
    'deltanet (negative)': functools.partial(
      DeltaNet, negative_eigenvalues=True
    ),
  },
  'python -m experiments.state_tracking --mixers=help lists them',
)
WHOLE_MODELS = True  # may stand in the place of mixers


@dataclasses.dataclass(frozen=True)
class Config(fit.Budget):
  """The options of one cell: a mixer and a task, with all seeds."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=ENTRIES)
  task: str = option(
    's3',
    'Group whose word problem is trained on.',
    among={group: group for group in GROUPS},
  )
  length: int = option(10, 'Length of the strings of training, in symbols.')

  def __post_init__(self):
    super().__post_init__()
    fit.at_least(self, 'length', 1)


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Tunes, trains and tests one mixer; finished cells are skipped."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  models = check(config, mixers)
  task, test = _tasks(config)
  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} on {config.task}, length {config.length}; '
      f'written to {workdir}.',
      flush=True,
    )
    tests = [(test, EXAMPLES // fit.BATCH_SIZE)]
    rows = fit.fit(models, task, config.plan(), record, tests)
    own = whole.is_whole((ENTRIES | mixers)[config.mixer])
    trained = {
      name: whole.described(make(task), task, own)
      for name, make in models.items()
    }
    for row in rows:
      for column in ('features', 'mixer_parameters'):
        row[column] = trained[row['variant']][column]
    return record.finish(
      rows=by_times(rows, config.length),
      chance=task.chance,
      ceiling=task.ceiling,
    )


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
) -> dict[str, Callable[[Any], nn.Module]]:
  """Returns, for each depth, what makes the model of a task.

  A depth shares the wanted parameters among its mixers; a whole model has the
  depth that it has.

  Raises:
    ValueError: no width has so many, a whole model does not suit the task, or
      strings are so short that training would see all of them.
  """
  task, test = _tasks(config)
  if task.bits < HELD_OUT_BITS:
    raise ValueError(
      f'Strings of {config.task} have {HELD_OUT_BITS} bits or more, so that '
      f'some are held out, but those of length={config.length} have '
      f'{task.bits:.0f}.'
    )
  make = (ENTRIES | mixers)[config.mixer]
  if whole.is_whole(make):
    whole.model(make, task, test)
    return {'whole': make}
  return {
    name: functools.partial(
      model_for,
      mixers=blocks
      * (fit.mixer_of_size(make, config.parameters // blocks, test.length),),
      expansion=expansion,
    )
    for name, (blocks, expansion) in DEPTHS.items()
  }


def _tasks(config: Config) -> tuple[GroupWord, GroupWord]:
  """Returns the task to train on, and the longest to test on."""
  lengths = config.length, max(TIMES) * config.length
  return tuple(GroupWord(config.task, length) for length in lengths)


def by_times(rows: list[dict[str, Any]], length: int) -> list[dict[str, Any]]:
  """Returns a row for each seed and multiple of the trained length.

  Its accuracy is the mean over the last `length` positions up to the multiple.
  Of a training that met what is not finite there is one row, of None times.

  Args:
    rows: of `fit`, each of a position, from 0.
    length: the trained length.
  """
  found = {}
  for row in rows:
    position = row.pop('group')
    times = None if position is None else position // length + 1
    if times in (None, *TIMES):
      found.setdefault((row['seed'], times), []).append(row)
  return [
    part[0]
    | {
      'times': times,
      'accuracy': float(np.mean([r.pop('score') for r in part])),
    }
    for (_, times), part in found.items()
  ]


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/state_tracking')
