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
  """Leaves out the rows of other experiments that were read for the card's.

  Mixers are in the order of the catalogue, others after them.
  """
  own = [row for row in rows if row.get('property')]
  mixers, measures = list(MIXERS), list(MEASURES)

  def place(row):
    known = row['mixer'] in MIXERS
    at = mixers.index(row['mixer']) if known else len(mixers)
    return at, measures.index(row['measure'])

  return sorted(own, key=place)
