"""The cells of each preset: the grid over these axes."""

QUICK = {'mixers': ('lstm', 'attention'), 'lags': (4, 16), 'seeds': 5}
PRESETS = {
  'quick': QUICK,
  'full': QUICK | {'lags': (4, 16, 64), 'seeds': 11},
}
