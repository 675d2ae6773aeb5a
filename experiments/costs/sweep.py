"""The cells of each preset."""

from collections.abc import Sequence

from experiments.costs.main import Config
from seqjax import experiment

ALONE = True  # times are taken with nothing else on the machine
MIXERS = ('elman', 'lstm', 'mingru', 'attention', 'tcn')
SIZES = {'members': 8, 'features': 64, 'length': 64, 'batch_size': 32}
PRESETS = {
  'quick': {'kinds': ('loop', 'population'), 'mixers': ('lstm',)}
  | SIZES
  | {'rounds': 6},
  'full': {'kinds': ('loop', 'population', 'saving'), 'mixers': MIXERS}
  | SIZES
  | {'rounds': 11},
  'gpu': {'kinds': ('loop', 'population'), 'mixers': MIXERS}
  | SIZES
  | {'rounds': 11},
}


def cells(
  kinds: Sequence[str], mixers: Sequence[str], rounds: int, **sizes: int
) -> list[Config]:
  """Returns a cell per kind, and one per mixer of populations."""
  made = []
  for kind in kinds:
    made += experiment.grid(
      Config,
      kind=[kind],
      mixer=mixers if kind == 'population' else ['lstm'],
      rounds=[rounds],
      **{name: [size] for name, size in sizes.items()},
    )
  return made
