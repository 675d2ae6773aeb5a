"""The cells of each preset."""

from collections.abc import Sequence

from experiments.forecasting.main import PERFECT, SERIES, Config

# Those that claims are about; any other of the catalogue can be named in
# --mixers.
MIXERS = (
  *('window_mlp (tau 4)', 'window_mlp (tau 24)'),
  *('gru', 'lstm', 'attention'),
)
HELP = {'twice': 'Those of mixers that are also trained on the second series.'}
FULL = {
  'mixers': (PERFECT, *MIXERS),
  'twice': (PERFECT, 'window_mlp (tau 4)', 'gru', 'attention'),
  'learning_rates': (1e-2, 3e-2),
  'seeds': 11,
  'tuning_seeds': 2,
  'steps': 300,
}
PRESETS = {
  'quick': FULL
  | {
    'mixers': (PERFECT, 'window_mlp (tau 4)', 'window_mlp (tau 24)', 'gru'),
    'twice': (PERFECT,),
    'seeds': 5,
    'tuning_seeds': 1,
    'steps': 200,
  },
  'full': FULL,
}


def cells(
  mixers: Sequence[str],
  twice: Sequence[str],
  learning_rates: Sequence[float],
  seeds: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each mixer and series; those that take longest first."""
  first, second = SERIES
  slow_first = sorted(mixers, key=lambda name: name != 'attention')
  pairs = [(name, first) for name in slow_first]
  pairs += [(name, second) for name in slow_first if name in twice]
  pairs.sort(key=lambda pair: pair[0] == PERFECT)
  return [
    Config(
      mixer=name,
      series=series,
      learning_rates=tuple(learning_rates),
      seeds=seeds,
      tuning_seeds=tuning_seeds,
      steps=steps,
    )
    for name, series in pairs
  ]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a model of its own."""
  return config
