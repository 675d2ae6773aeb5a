"""The cells of each preset."""

from collections.abc import Sequence

from experiments.positions.main import MLP, Config

SHARING = ('gru', 'tcn')
SCHEMES = ('attention', 'attention (ALiBi)', 'attention (learned)')
# The networks that claims are about; a mixer of one's own is asked all but
# truncation.
ASKED = {
  'truncation': (MLP,),
  'permutation': (MLP, *SHARING),
  'transfer': (MLP, *SHARING, *SCHEMES),
  'data': (MLP, 'gru', 'tcn'),
  'memory': (MLP, 'gru', 'tcn', 'attention'),
}
LENGTH = {'truncation': 32, 'permutation': 16, 'transfer': 32, 'memory': 16}
HELP = {
  'lengths': 'Lengths of a row at which training examples are counted (data).',
  'data_seeds': 'Number of seeds that count training examples.',
  'many_seeds': 'Number of seeds that are asked about permutation and transfer,'
  ' where those of one network differ most.',
}
MANY = ('permutation', 'transfer')
FULL = {
  'questions': tuple(ASKED),
  'mixers': (MLP, *SHARING, *SCHEMES),
  'lengths': (12, 20, 32),
  'parameters': 12000,
  'learning_rates': (3e-3, 1e-2, 3e-2),
  'seeds': 11,
  'many_seeds': 33,
  'first_seed': 100,  # none of those that settings were tried with
  'data_seeds': 8,
  'tuning_seeds': 2,
  'steps': 400,
}
PRESETS = {
  'quick': FULL
  | {
    'mixers': (MLP, 'gru'),
    'lengths': (12, 20),
    'seeds': 5,
    'many_seeds': 5,
    'data_seeds': 5,
    'tuning_seeds': 1,
  },
  'full': FULL,
}


def cells(
  questions: Sequence[str],
  mixers: Sequence[str],
  lengths: Sequence[int],
  parameters: int,
  learning_rates: Sequence[float],
  seeds: int,
  many_seeds: int,
  first_seed: int,
  data_seeds: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each question and network, the longest first."""
  common = {
    'parameters': parameters,
    'learning_rates': tuple(learning_rates),
    'first_seed': first_seed,
    'tuning_seeds': tuning_seeds,
    'steps': steps,
  }
  asked = {
    question: [
      m for m in mixers if m in ASKED[question] or _is_other(question, m)
    ]
    for question in questions
  }
  made = [
    Config(
      question='data', mixer=mixer, length=length, seeds=data_seeds, **common
    )
    for length in sorted(lengths, reverse=True)
    for mixer in reversed(asked.get('data', []))
  ]
  return made + [
    Config(
      question=q,
      mixer=mixer,
      length=LENGTH[q],
      seeds=many_seeds if q in MANY else seeds,
      **common,
    )
    for q in sorted(set(asked) - {'data'}, reverse=True)
    for mixer in asked[q]
  ]


def _is_other(question: str, mixer: str) -> bool:
  """Tells if a mixer is asked a question though no claim is about it."""
  return question != 'truncation' and mixer not in FULL['mixers']


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: networks or tasks differ."""
  return config
