"""The cells of each preset: one for each claim."""

from collections.abc import Sequence

from experiments.exact.main import CHECKS, Config
from seqjax.nn import MIXERS

# Lengths and text: no mixer has to be compiled many times.
FIRST = ('0.3', '0.5', '1.3', '1.8', '1.14', '1.16')
SOME = ('elman', 'gru', 'lstm', 'mamba2', 'attention', 'tcn')
PRESETS = {
  'first': {'claims': FIRST, 'mixers': ('lstm', 'attention', 'tcn')},
  'quick': {'claims': tuple(CHECKS), 'mixers': SOME},
  'full': {'claims': tuple(CHECKS), 'mixers': tuple(MIXERS)},
}


def cells(claims: Sequence[str], mixers: Sequence[str]) -> list[Config]:
  """Returns a cell for each claim, with all mixers."""
  return [Config(claim, tuple(mixers)) for claim in claims]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has checks of its own."""
  return config


def tabulate(rows):
  """Writes claim 0.10 as text, which a table would else read as the number 0.1.

  Leaves out the list of mixers, of which each row names one.
  """
  return [
    {'claim': f'claim {row["claim"]}'}
    | {k: v for k, v in row.items() if k not in ('claim', 'mixers')}
    for row in rows
  ]
