"""The cells of each preset."""

from collections.abc import Sequence

from experiments.gradients.main import Config

ELMAN = (
  *('elman (radius 0.9)', 'elman', 'elman (radius 1.1)'),
  *('elman (radius 1.2)', 'elman (radius 1.5)', 'elman (relu)'),
)
LSTM = (
  *('lstm (forget bias 0)', 'lstm', 'lstm (forget bias 3)'),
  *('lstm (forget bias 5)', 'lstm (chrono)'),
)
RECURRENT = (
  *(*ELMAN, *LSTM, 'gru', 'gru (chrono)'),
  *('mingru', 'lru', 'slstm', 'mlstm'),
)
AT_REST = ELMAN[:3]
HELP = {'at_rest': 'Mixers that are also measured with inputs of zero.'}
FULL = {
  'mixers': (*RECURRENT, 'attention'),
  'at_rest': AT_REST,
  'features': 32,
  'length': 257,
  'seeds': 8,
}
PRESETS = {
  'quick': FULL | {'mixers': (*ELMAN[:3], *LSTM, 'gru', 'mingru', 'attention')},
  'full': FULL,
}


def cells(
  mixers: Sequence[str],
  at_rest: Sequence[str],
  features: int,
  length: int,
  seeds: int,
) -> list[Config]:
  """Returns a cell for each mixer, and one for each that is left at rest."""
  size = {'features': features, 'length': length, 'seeds': seeds}
  return [
    *(Config(name, **size) for name in mixers),
    *(Config(name, drive=0.0, **size) for name in at_rest),
  ]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a mixer of its own."""
  return config
