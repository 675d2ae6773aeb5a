"""The cells of each preset."""

from collections.abc import Sequence

from experiments.recall.main import VARIANTS, Config
from seqjax import experiment

# One mixer of every kind; any other of the catalogue can be named in --mixers.
MIXERS = ('elman', 'gru', 'lstm', 'mingru', 'attention', 'tcn', 'window_mlp')
EVERY = (*MIXERS, *VARIANTS)
QUICK = {
  'mixers': MIXERS,
  'lags': (8, 32, 128),
  'learning_rates': (3e-3,),
  'seeds': 3,
  'steps': 800,
}
PRESETS = {
  'first': QUICK | {'mixers': ('elman', 'gru', 'lstm', 'mingru', 'attention')},
  'quick': QUICK,
  'full': {
    'mixers': EVERY,
    'lags': (8, 32, 128, 512),
    'learning_rates': (1e-3, 3e-3),
    'rates_at_longest': (3e-3,),  # which takes as long as all other fixed lags
    'seeds': 5,
    'steps': 1000,
  },
  'gpu': {
    'mixers': EVERY,
    'lags': (8, 32, 128, 512, 2048),
    'learning_rates': (1e-3, 3e-3, 1e-2),
    'seeds': 5,
    'steps': 3000,
  },
}


def cells(
  mixers: Sequence[str],
  lags: Sequence[int],
  learning_rates: Sequence[float],
  seeds: int,
  steps: int,
  rates_at_longest: Sequence[float] = (),
) -> list[Config]:
  """Returns every mixer at every fixed lag, and once with the lags mixed.

  Long lags come first, so that two workers end together. The longest fixed lag
  has learning rates of its own where they are given.
  """
  made = []
  for design, lag in [
    ('mixed', max(lags)),
    *(('fixed', lag) for lag in sorted(lags, reverse=True)),
  ]:
    longest = (design, lag) == ('fixed', max(lags))
    rates = longest and rates_at_longest or learning_rates
    made += experiment.grid(
      Config,
      mixer=mixers,
      design=(design,),
      lag=(lag,),
      beyond=(2 if design == 'mixed' else 0,),
      steps=(steps,),
      learning_rate=rates,
      seed=range(seeds),
    )
  return made
