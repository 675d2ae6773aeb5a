"""The cells of each preset."""

from experiments.card.main import Config
from experiments.card.measures import MEASURES
from experiments.card.timings import EXPONENT, TOKEN
from seqjax.nn import MIXERS

SOME = ('lstm', 'mingru', 'mamba2', 'deltanet', 'attention', 'tcn')
TIMED = EXPONENT, TOKEN
PRESETS = {
  'quick': {
    'measures': ('alone', 'gradient', 'pairs'),
    'mixers': SOME,
    'seeds': 5,
  },
  'full': {
    'measures': tuple(MEASURES),
    'mixers': tuple(MIXERS),
    'seeds': 5,
  },
}


def cells(measures, mixers, seeds: int) -> list[Config]:
  """Returns a cell for each mixer and measure."""
  return [
    Config(mixer, measure, seeds) for measure in measures for mixer in mixers
  ]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a model of its own."""
  return config


def tabulate(rows):
  """Leaves out the rows of the other experiments, of which those here are."""
  return [row for row in rows if row.get('property')]
