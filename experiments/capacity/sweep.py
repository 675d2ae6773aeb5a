"""The cells of each preset."""

from collections.abc import Sequence

from experiments import whole
from experiments.capacity.main import ENTRIES, PARTS, Config
from seqjax.errors import is_imported

# Those that claims are about; any other of the catalogue can be named in
# --mixers.
MIXERS = ('deltanet', 'attention', 'gru', 'lstm', 'slstm', 'elman')
HELP = {
  'mixers': 'Mixers that are asked for the values of keys.',
  'widths': 'Their widths.',
  'widest': 'Those of mixers that are tried at the largest width alone.',
  'copying': 'Mixers that copy symbols.',
  'copy_widths': 'Their widths.',
  'translating': 'Mixers of an encoder-decoder, with attention and without.',
  'steps': 'The most updates of a training that recalls; a part may take more.',
}
# How many times the updates of `recall` a part takes, the same for all.
TIMES = {'recall': 1, 'copy': 2.5, 'translate': 1.5}
FULL = {
  'parts': PARTS,
  'mixers': MIXERS,
  'widths': (8, 16, 32),
  'widest': ('gru', 'lstm', 'slstm', 'elman'),
  'copying': ('gru',),
  'copy_widths': (4, 16, 64),
  'translating': ('gru',),
  'learning_rates': (3e-3, 1e-2, 3e-2),
  'seeds': 8,
  'first_seed': 100,  # none of those that settings were tried with
  'tuning_seeds': 1,
  'steps': 1200,
}
PRESETS = {
  'quick': FULL
  | {
    'parts': ('recall',),
    'mixers': ('deltanet', 'attention'),
    'widest': (),
    'widths': (16, 32),
    'learning_rates': (1e-2,),
    'seeds': 5,
  },
  'full': FULL,
}


def cells(
  parts: Sequence[str],
  mixers: Sequence[str],
  widths: Sequence[int],
  widest: Sequence[str],
  copying: Sequence[str],
  copy_widths: Sequence[int],
  translating: Sequence[str],
  learning_rates: Sequence[float],
  seeds: int,
  first_seed: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each mixer, task and width; the longest come first."""
  made = {
    'translate': [
      {'mixer': name, 'attention': reads}
      for name in translating
      for reads in (False, True)
    ],
    'recall': [
      {'mixer': name, 'features': width}
      for name in mixers
      for width in sorted(widths, reverse=True)
      if width == max(widths) or not (name in widest or _has_own_width(name))
    ],
    'copy': [
      {'mixer': name, 'features': width}
      for name in copying
      for width in copy_widths
    ],
  }
  return [
    Config(
      part=part,
      steps=int(TIMES[part] * steps),
      learning_rates=tuple(learning_rates),
      seeds=seeds,
      first_seed=first_seed,
      tuning_seeds=tuning_seeds,
      **own,
    )
    for part, each in made.items()
    if part in parts
    for own in each
  ]


def _has_own_width(name: str) -> bool:
  """Tells if an entry of another module makes whole models."""
  return is_imported(name) and whole.is_whole(ENTRIES[name])


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a model of its own."""
  return config
