"""Measures how far back each mixer remembers one fact.

    python -m experiments.recall --mixers=lstm,attention --lags=32,128
    python -m experiments.recall.main --mixer=lstm --design=mixed --lag=128

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell trains one mixer with one seed, stops
once validation is solved at every lag, and writes a row per lag of the test
split. In the fixed design all examples have the same lag, in the mixed one lags
are log-uniform up to it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments import command, fit
from seqjax import experiment, results, training
from seqjax.errors import Catalog
from seqjax.experiment import option
from seqjax.models import SequenceModel, features_for, num_parameters
from seqjax.nn import LSTM, MIXERS, Attention, CausalMixer, WindowMLP
from seqjax.tasks.synthetic.recall import DESIGNS, Recall


def _chrono(features: int, context: int) -> LSTM:
  """An LSTM that is given the scale of the lags: its context in training."""
  return LSTM(features, context, max_lag=max(context, 3))


def _forget_bias(features: int, context: int) -> LSTM:
  return LSTM(features, context, forget_bias=3.0)


def _without_positions(features: int, context: int) -> Attention:
  return Attention(features, context, positions='none')


def _window_mlp(features: int, context: int) -> WindowMLP:
  """At its default width no multiple of 8 has the others' parameters."""
  return WindowMLP(features, context, hidden=36)


# From a name to what makes a mixer of (features, context).
VARIANTS = {
  'lstm (forget bias 3)': _forget_bias,
  'lstm (chrono)': _chrono,
  'attention (no positions)': _without_positions,
}
ENTRIES = Catalog(
  'mixer',
  {**MIXERS, 'window_mlp': _window_mlp, **VARIANTS},
  'python -m experiments.recall --mixers=help lists them',
)


@dataclasses.dataclass(frozen=True)
class Config:
  """The knobs of one training run."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=ENTRIES)
  design: str = option('fixed', 'Lags of the training examples.', among=DESIGNS)
  lag: int = option(128, 'The lag (fixed) or the longest one (mixed).')
  beyond: int = option(
    0, 'Also test at this many times the longest lag; 0: do not.'
  )
  learning_rate: float = option(3e-3, 'Peak learning rate.')
  steps: int = option(
    800, 'Largest number of updates; a solved cell stops earlier.'
  )
  batch_size: int = option(32, 'Number of examples per update.')
  parameters: int = option(25000, 'Parameters per mixer, within a tenth.')
  solved: float = option(
    0.99, 'Validation accuracy at every lag at which training stops.'
  )
  seed: int = option(0, 'Seeds the parameters and the training examples.')

  def __post_init__(self):
    for name in ('lag', 'steps', 'batch_size', 'parameters'):
      if getattr(self, name) < 1:
        raise ValueError(
          f'{name} is a number of at least 1, but {name}='
          f'{getattr(self, name)} was given.'
        )
    if self.beyond < 0 or not self.learning_rate > 0:
      raise ValueError(
        'beyond is at least 0 and learning_rate positive, but '
        f'beyond={self.beyond} and learning_rate={self.learning_rate} were '
        'given.'
      )


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Trains and tests one mixer; what has finished is not done again."""
  experiment.validate(config, mixer=mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  task, mixer, model = check(config, mixers)
  _, longer_model = make_model(config, task, mixers, max(config.beyond, 1))
  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} on recall, lag {config.lag} ({config.design}), '
      f'seed {config.seed}; written to {workdir}.',
      flush=True,
    )
    state, validation = fit.fit(
      model,
      task,
      record,
      steps=config.steps,
      batch_size=config.batch_size,
      learning_rate=config.learning_rate,
      seed=config.seed,
      solved=config.solved,
    )
    rows = _rows(model, state.params, task)
    if config.beyond:
      longer = Recall(lag=config.beyond * config.lag, design='fixed')
      rows += _rows(longer_model, state.params, longer)
    return record.finish(
      rows=rows,
      features=mixer.features,
      mixer_parameters=num_parameters(mixer),
      steps_taken=int(state.step),
      validation=training.overall(validation),
      chance=task.chance,
      ceiling=task.ceiling,
    )


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
) -> tuple[Recall, CausalMixer, SequenceModel]:
  """Makes the task, the mixer and the model, or refuses to in a sentence.

  Raises:
    ValueError: a short lag has too few examples to hold some out, or no width
      gives the mixer as many parameters.
  """
  task = Recall(lag=config.lag, design=config.design)
  jax.eval_shape(lambda: task.batch(jax.random.key(0), 0, 1, 'validation'))
  return task, *make_model(config, task, mixers)


def make_model(
  config: Config, task: Recall, mixers: Mapping[str, Callable], times: int = 1
) -> tuple[CausalMixer, SequenceModel]:
  """One block without a perceptron: the mixer alone has to remember.

  `times` the longest lag fit into the context; parameters do not depend on it.
  """
  make = experiment.choose(mixers, config.mixer, 'mixer')
  context = times * config.lag + 1
  features = features_for(lambda width: make(width, context), config.parameters)
  mixer = make(features, context)
  model = SequenceModel(task.input, task.output, (mixer,), expansion=0)
  return mixer, model


def _rows(model, params, task) -> list[dict[str, Any]]:
  """Returns a row per lag of the test split: the share of right answers."""
  scores = fit.test_scores(model, params, task)
  return [
    {'tested_lag': lag, 'accuracy': accuracy, 'examples': int(weight)}
    for lag, (accuracy, weight) in scores.items()
  ]


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/recall')
