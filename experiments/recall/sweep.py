"""The cells of each preset."""

from collections.abc import Sequence

from experiments.recall.main import COUNTS, DESIGNS, HOLDING, SCHEMES, Config

# Those that claims are about; any other of the catalogue, initialisation or
# scheme of positions can be named in --mixers.
MIXERS = ('elman', 'gru', 'lstm', 'attention', '5-gram')
HELP = {
  'wide': 'Mixers that are also trained with ten times the parameters.',
  'search_up_to': 'Longest lag that is tried in the fixed design; 0: lag times '
  'search_times.',
  'search_times': 'Multiple of lag up to which lags are tried in the fixed '
  'design, where search_up_to is 0.',
}
FIRST = {
  'mixers': MIXERS,
  'designs': DESIGNS,
  'lag': 32,
  'search_up_to': 0,
  'search_times': 1,
  'parameters': 25000,
  'wide': (),
  'learning_rates': (3e-3, 1e-2),
  'seeds': 5,
  'tuning_seeds': 1,
  'steps': 300,
}
FULL = {
  'mixers': (*MIXERS, *HOLDING, *SCHEMES),
  'designs': DESIGNS,
  'lag': 64,
  'search_up_to': 0,
  'search_times': 2,
  'parameters': 25000,
  'wide': ('lstm', 'attention', 'elman'),
  'learning_rates': (1e-3, 3e-3, 1e-2),
  'seeds': 11,
  'tuning_seeds': 3,
  'steps': 300,
}
PRESETS = {
  'first': FIRST,
  'quick': FIRST | {'mixers': (*MIXERS, 'mingru')},
  'full': FULL,
  'gpu': FULL
  | {
    'lag': 256,
    'steps': 3000,
  },
}
TIMES_WIDE = 10


def cells(
  mixers: Sequence[str],
  designs: Sequence[str],
  lag: int,
  search_up_to: int,
  search_times: int,
  parameters: int,
  wide: Sequence[str],
  learning_rates: Sequence[float],
  seeds: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each mixer and design; the wide ones in mixed lags.

  Those that take longest come first, so that two workers end together. N-grams
  are counted in mixed lags, and position schemes of attention and second
  initialisations are entries of their own there.
  """
  common = {
    'parameters': parameters,
    'learning_rates': tuple(learning_rates),
    'seeds': seeds,
    'tuning_seeds': tuning_seeds,
    'steps': steps,
  }
  networks = [name for name in mixers if name not in COUNTS]
  searched = [name for name in networks if name not in HOLDING | SCHEMES]
  made = []
  if 'mixed' in designs:
    many = common | {'parameters': TIMES_WIDE * parameters}
    made += [Config(name, lag=lag, **many) for name in networks if name in wide]
  if 'fixed' in designs:
    highest = search_up_to or search_times * lag
    fixed = common | {'design': 'fixed', 'lag': highest}
    made += [Config(name, **fixed) for name in searched]
  if 'mixed' in designs:
    counted = [name for name in mixers if name in COUNTS]
    made += [Config(name, lag=lag, **common) for name in networks + counted]
  return made


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a mixer of its own."""
  return config
