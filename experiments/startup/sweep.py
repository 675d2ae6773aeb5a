"""The cells of each preset."""

from collections.abc import Sequence

from experiments.startup.main import PARTS, Config
from seqjax import experiment
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS

ALONE = True  # times are taken with nothing else on the machine
PRESETS = {
  'quick': {
    'parts': ('command', 'imports', 'compilation'),
    'mixers': ('lstm',),
    'lengths': (256,),
    'processes': 1,
  },
  'full': {
    'parts': ('command', 'imports', 'compilation'),
    'mixers': tuple(MIXERS | NONCAUSAL_MIXERS),
    'lengths': (256, 1024, 4096, 16384),
    'processes': 5,
  },
}


def cells(
  parts: Sequence[str],
  mixers: Sequence[str],
  lengths: Sequence[int],
  processes: int,
) -> list[Config]:
  """Returns a cell for the command, for imports, and for each compilation."""
  made = []
  for part in parts:
    axes = {}
    if part == 'compilation':
      axes = {'mixer': mixers, 'length': lengths}
    else:
      axes = {'processes': [processes]}
    experiment.choose(PARTS, part, 'part')
    made += experiment.grid(Config, part=[part], **axes)
  return made
