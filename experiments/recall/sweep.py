"""The cells of each preset."""

from collections.abc import Sequence

from experiments.recall.main import DESIGNS, VARIANTS, Config
from seqjax import experiment

# One mixer of every kind; any other of the catalogue can be named in --mixers.
MIXERS = ('elman', 'gru', 'lstm', 'mingru', 'attention', 'tcn', 'window_mlp')
EVERY = (*MIXERS, *VARIANTS)
HELP = {
  'rates_at_longest': 'Those of learning_rates that the longest fixed lag has.'
}
QUICK = {
  'mixers': MIXERS,
  'designs': DESIGNS,
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
    'designs': DESIGNS,
    'lags': (8, 32, 128, 512),
    'learning_rates': (1e-3, 3e-3),
    'rates_at_longest': (3e-3,),  # which takes as long as all other fixed lags
    'seeds': 5,
    'steps': 1000,
  },
  'gpu': {
    'mixers': EVERY,
    'designs': DESIGNS,
    'lags': (8, 32, 128, 512, 2048),
    'learning_rates': (1e-3, 3e-3, 1e-2),
    'seeds': 5,
    'steps': 3000,
  },
}


def cells(
  mixers: Sequence[str],
  designs: Sequence[str],
  lags: Sequence[int],
  learning_rates: Sequence[float],
  seeds: int,
  steps: int,
  rates_at_longest: Sequence[float] = (),
) -> list[Config]:
  """Returns every mixer at every fixed lag, and once with the lags mixed.

  Long lags come first, so that two workers end together. The longest fixed lag
  may have fewer of the learning rates.
  """
  few = [rate for rate in learning_rates if rate in rates_at_longest]
  made = []
  longest = max(lags)
  pairs = {
    'mixed': [longest],
    'fixed': sorted(lags, reverse=True),
  }
  for design, lag in [(d, n) for d in pairs if d in designs for n in pairs[d]]:
    at_longest = (design, lag) == ('fixed', longest)
    rates = few if few and at_longest else learning_rates
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
