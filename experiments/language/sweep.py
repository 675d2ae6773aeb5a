"""The cells of each preset."""

from collections.abc import Sequence

from experiments.language.main import COUNTED, COUNTS, PARTS, Config

MIXERS = ('attention', 'tcn', 'lstm', 'elman', 'gru', 'mingru', COUNTS)
HELP = {
  'small_parameters': 'Parameters of `small` mixers, and of carried ones.',
  'small': 'Those of mixers that also read the text with fewer parameters.',
  'carried': 'Those of mixers that train with and without the carry.',
  'windows': 'Characters of a window of those.',
  'carry_steps': 'Number of updates of those, and of what learns synonyms.',
  'synonym_parameters': 'Parameters of networks that learn synonyms.',
  'other_seeds': 'Number of seeds of mixers that no claim tests.',
}
QUICK = {
  'mixers': ('attention', 'gru', COUNTS),
  'parts': PARTS,
  'parameters': 25000,
  'small': (),
  'small_parameters': 6000,
  'carried': ('gru',),
  'windows': (4, 16, 64),
  'carry_steps': 50,
  'synonym_parameters': (420, 14000),
  'learning_rates': (1e-2,),
  'seeds': 2,
  'other_seeds': 1,
  'tuning_seeds': 1,
  'steps': 50,
}
PRESETS = {
  'quick': QUICK,
  'full': QUICK
  | {
    'mixers': MIXERS,
    'small': ('gru',),
    'carry_steps': 200,
    'learning_rates': (1e-2, 3e-2),
    'seeds': 11,
    'other_seeds': 5,
    'steps': 300,
  },
}


def cells(
  mixers: Sequence[str],
  parts: Sequence[str],
  parameters: int,
  small: Sequence[str],
  small_parameters: int,
  carried: Sequence[str],
  windows: Sequence[int],
  carry_steps: int,
  synonym_parameters: Sequence[int],
  learning_rates: Sequence[float],
  seeds: int,
  other_seeds: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each mixer that reads a text, and those of each part."""
  common = {
    'learning_rates': tuple(learning_rates),
    'seeds': seeds,
    'tuning_seeds': tuning_seeds,
    'steps': steps,
  }
  few = common | {'parameters': small_parameters}
  short = {'steps': carry_steps}
  made = []
  if 'text' in parts:
    for mixer in mixers:
      least = seeds if mixer in carried else min(seeds, other_seeds)
      sized = common | {'parameters': parameters, 'seeds': least}
      made.append(Config(mixer, 'text', **sized))
    made += [Config(m, 'text', **few) for m in mixers if m in small]
  found = [m for m in mixers if m in carried]
  if 'carry' in parts:
    made += [
      Config(m, 'carry', num_steps=n, **few | short)
      for m in found
      for n in windows
    ]
  if 'synonyms' in parts:
    made += [
      Config(m, 'synonyms', parameters=n, **common | short)
      for m in found
      for n in synonym_parameters
    ]
  counted = [part for part in COUNTED if part in parts and part != 'text']
  if COUNTS in mixers:
    made += [Config(COUNTS, part, **common | short) for part in counted]
  return made


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells."""
  return config
