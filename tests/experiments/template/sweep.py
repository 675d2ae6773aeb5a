"""The cells of each preset: the grid over these axes."""

PRESETS = {
  'quick': {'mixers': ('lstm', 'attention'), 'lags': (4, 16), 'seeds': 5},
}
