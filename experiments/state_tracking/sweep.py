"""The cells of each preset."""

from collections.abc import Sequence

from experiments.state_tracking.main import SCHEMES, Config

RECURRENT = ('elman', 'lstm')
ATTENTION = ('attention', *SCHEMES)
OTHERS = ('mingru', 'deltanet', 'deltanet (negative)')
HELP = {
  's3_alone': 'Those of mixers that are trained on the group S3 alone.',
  's3_and_z2_alone': 'Those that are trained on the groups S3 and Z2 alone.',
}
LENGTHS = {'z2': 24, 'z5': 11}  # that leave strings to hold out; others: 10
SMALLER = {'z2': 2}  # batches by this factor, since its strings are longer
FULL = {
  'mixers': (*RECURRENT, *ATTENTION, *OTHERS),
  'tasks': ('z2', 's3', 'z5', 'a5'),
  's3_alone': OTHERS,
  's3_and_z2_alone': tuple(SCHEMES),
  'parameters': 8000,
  'learning_rates': (3e-3, 1e-2, 3e-2),
  'seeds': 9,
  'first_seed': 200,  # none of those that settings were tried with
  'tuning_seeds': 1,
  'steps': 3000,
  'batch_size': 64,
}
PRESETS = {
  'quick': FULL
  | {
    'mixers': ('lstm', *ATTENTION),
    'tasks': ('s3',),
    'seeds': 5,
    'steps': 600,
  },
  'full': FULL,
}


def cells(
  mixers: Sequence[str],
  tasks: Sequence[str],
  s3_alone: Sequence[str],
  s3_and_z2_alone: Sequence[str],
  parameters: int,
  learning_rates: Sequence[float],
  seeds: int,
  first_seed: int,
  tuning_seeds: int,
  steps: int,
  batch_size: int,
) -> list[Config]:
  """Returns a cell for each mixer and task, at the task's trained length."""
  alone = {'s3': (), 'z2': s3_alone}
  others = *s3_alone, *s3_and_z2_alone
  return [
    Config(
      mixer=mixer,
      task=task,
      length=LENGTHS.get(task, 10),
      parameters=parameters,
      learning_rates=tuple(learning_rates),
      seeds=seeds,
      first_seed=first_seed,
      tuning_seeds=tuning_seeds,
      steps=steps,
      batch_size=batch_size // SMALLER.get(task, 1),
    )
    for task in tasks
    for mixer in mixers
    if mixer not in alone.get(task, others)
  ]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a mixer or task of its own."""
  return config
