"""Measures what n-grams and networks know of a text, and what they store.

    python -m experiments.language --mixers=gru,mamba --parts=text
    python -m experiments.language.main --mixer=gru --part=text

The first command measures many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell counts a text, or tunes and trains one
mixer with several seeds, for one part: `text` (bits by position and bytes),
`carry` (windows that are read as one text), `synonyms` (pairs of words that
happen not to be in a small training set), and of n-grams alone `shuffling`,
`smoothing` and `storage`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import command, fit
from experiments.language import counting, networks
from seqjax import experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.nn import MIXERS, CausalMixer

COUNTS = 'n-grams'
ENTRIES = Importable(
  'mixer', MIXERS, 'python -m experiments.language --mixers=help lists them'
)
NAMES = ENTRIES | {COUNTS: None}
TRAINED = {
  'text': networks.text_rows,
  'carry': networks.carry_rows,
  'synonyms': networks.synonym_rows,
}
COUNTED = {
  'text': counting.text_rows,
  'synonyms': counting.synonym_rows,
  'shuffling': counting.shuffling_rows,
  'smoothing': counting.smoothing_rows,
  'storage': counting.storage_rows,
}
PARTS = tuple(TRAINED | COUNTED)


@dataclasses.dataclass(frozen=True)
class Config(fit.Budget):
  """The options of one cell: n-grams, or a mixer with all of its seeds."""

  mixer: str = option('gru', 'Sequence mixer to train, or n-grams.', NAMES)
  part: str = option('text', 'What to measure.', PARTS, named=True)
  corpus: str = option(
    'python', 'Text to read: python (its standard library), or a path.'
  )
  num_steps: int = option(64, 'Characters of a window in training.')
  examples: int = option(64, 'Training examples of the part synonyms.')
  _: dataclasses.KW_ONLY
  learning_rates: tuple[float, ...] = option(
    (3e-3, 1e-2, 3e-2),
    'Peak learning rates to choose from; more are tried beyond the best one'
    ' where it is the largest or the smallest.',
  )
  steps: int = option(300, 'Number of updates of a training.')
  solved: float = option(
    4.0, 'Bits per character from which on a text counts as learnt.'
  )
  tuning_seeds: int = option(1, 'Number of seeds that choose the settings.')

  def __post_init__(self):
    super().__post_init__()
    for name in ('num_steps', 'examples'):
      fit.at_least(self, name, 1)


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Measures one cell; a finished cell is not measured again."""
  experiment.validate(config, mixer=mixers | {COUNTS: None})
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  with results.Run(workdir, config) as record:
    print(f'{config.mixer}, {config.part}; written to {workdir}.', flush=True)
    if config.mixer == COUNTS:
      rows = COUNTED[config.part](config)
    else:
      rows = TRAINED[config.part](config, mixers[config.mixer], record)
    return record.finish(rows=rows)


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
):
  """Refuses in a sentence what `run` could not do.

  Raises:
    ValueError: the part is not measured of such a model, the text or a window
      is too short, or no width gives the mixer as many parameters.
  """
  counted = config.mixer == COUNTS
  known = COUNTED if counted else TRAINED
  if config.part not in known:
    raise ValueError(
      f'Of {"n-grams" if counted else "a mixer"} the parts '
      f'{", ".join(known)} are measured, but part={config.part!r} was given.'
    )
  if config.part == 'text' and config.num_steps <= networks.LATE:
    raise ValueError(
      f'Bits by position take windows of more than {networks.LATE} characters, '
      f'but num_steps={config.num_steps} was given.'
    )
  if config.part == 'carry' and networks.CHARACTERS % config.num_steps:
    raise ValueError(
      f'An update reads {networks.CHARACTERS} characters in whole windows, but '
      f'num_steps={config.num_steps} was given.'
    )
  if config.part != 'synonyms':
    counting.check_length(config)
  if not counted:
    networks.make_mixer(mixers[config.mixer], config)


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/language')
