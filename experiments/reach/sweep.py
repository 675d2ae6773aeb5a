"""The cells of each preset."""

from collections.abc import Sequence

from experiments.reach.main import LAYERS, QUESTIONS, Config

CONVOLUTIONS = (
  *LAYERS,
  *('dilated, 2 layers', 'dilated, 3 layers', 'dilated, 4 layers'),
  *('kernel of 9', 'kernel of 33'),
)
WINDOWS = ('window of 9', 'window of 17')
WHOLE = ('attention', 'linear_attention', 'lstm')
RECURRENT = ('elman', 'gru', 'lstm')
STATELESS = ('window of 1', 'tcn')  # which see one token at a time
# Who is asked what. A mixer that stands nowhere here is asked everything.
ROLES = {
  'lags': (*CONVOLUTIONS, *WINDOWS, *WHOLE),
  'state': (*RECURRENT, *STATELESS),
  'motifs': ('tcn of 2 taps', *RECURRENT),
}
LONGER = {'state': 2, 'motifs': 3}  # times as many updates as for lags
FULL = {
  'mixers': tuple(dict.fromkeys(sum(ROLES.values(), ()))),
  'questions': QUESTIONS,
  'parameters': 8000,
  'learning_rates': (3e-3, 1e-2, 3e-2),
  'seeds': 11,
  'first_seed': 100,  # none of those that settings were tried with
  'tuning_seeds': 2,
  'steps': 300,
}
PRESETS = {
  'quick': FULL
  | {
    'mixers': (
      *('convolutions, 2 layers', 'dilated, 3 layers', 'dilated, 4 layers'),
      *('window of 9', 'tcn', 'lstm', 'tcn of 2 taps'),
    ),
    'learning_rates': (1e-2,),
    'seeds': 5,
    'tuning_seeds': 1,
  },
  'full': FULL,
}


def cells(
  mixers: Sequence[str],
  questions: Sequence[str],
  parameters: int,
  learning_rates: Sequence[float],
  seeds: int,
  first_seed: int,
  tuning_seeds: int,
  steps: int,
) -> list[Config]:
  """Returns a cell for each question and each mixer that it is asked of."""
  named = set(FULL['mixers'])
  return [
    Config(
      mixer=mixer,
      question=question,
      carried=mixer not in STATELESS,
      parameters=parameters,
      learning_rates=tuple(learning_rates),
      seeds=seeds,
      first_seed=first_seed,
      tuning_seeds=tuning_seeds,
      steps=steps * LONGER.get(question, 1),
    )
    for question in questions
    for mixer in mixers
    if mixer in ROLES[question] or mixer not in named
  ]


def shared(config: Config) -> Config:
  """Nothing is compiled for two cells: each has a mixer or task of its own."""
  return config
