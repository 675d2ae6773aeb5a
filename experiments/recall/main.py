"""Measures how far back each mixer remembers one fact.

    python -m experiments.recall --mixers=lstm,attention --lag=32
    python -m experiments.recall.main --mixer=lstm --design=mixed --lag=64

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell tunes and trains one mixer with several
seeds. In the mixed design lags are log-uniform up to the longest, and each
network is tested at all of them and at multiples of the longest. In the fixed
design all examples have one lag, and lags are searched for the longest that is
learnt within the budget.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import command, fit, whole
from experiments.recall import counting
from experiments.recall.curves import SOLVED
from seqjax import experiment, results
from seqjax.analysis import thresholds
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import SequenceModel
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  Attention,
  CausalMixer,
  Elman,
  WindowMLP,
)
from seqjax.tasks.synthetic.recall import DESIGNS, Recall

LADDER = (8, 32, 128, 512)  # fixed lags that all mixers are tried at
LAG_OF_COUNTS = 30  # beyond the reach of every n-gram model that is tried
EXAMPLES = 1024  # of the test split, at least, for each lag


def _told(make: Callable[..., CausalMixer]) -> Callable[..., CausalMixer]:
  """Makes mixers whose gates are initialised to remember over the context."""
  return lambda features, context: make(
    features, context, max_lag=max(context, 3)
  )


# The other initialisation of each recurrent network, which begins by holding
# what it reads for longer.
INITIALISATIONS = {
  'elman': {
    'elman (relu)': functools.partial(
      Elman, activation='relu', initialization='identity'
    )
  },
  'gru': {'gru (chrono)': _told(GRU)},
  'lstm': {'lstm (chrono)': _told(LSTM)},
}
HOLDING = {k: v for each in INITIALISATIONS.values() for k, v in each.items()}
SCHEMES = {
  'attention (no positions)': functools.partial(Attention, positions='none'),
  'attention (ALiBi)': functools.partial(Attention, positions='alibi'),
}
# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    # At its default width no multiple of 8 has the others' parameters.
    'window_mlp': functools.partial(WindowMLP, hidden=36),
    **HOLDING,
    **SCHEMES,
  },
  'python -m experiments.recall --mixers=help lists them',
)
WHOLE_MODELS = True  # may stand in the place of mixers
COUNTS = {f'{order}-gram': order for order in (2, 3, 5)}
NAMES = ENTRIES | COUNTS


@dataclasses.dataclass(frozen=True)
class Config(fit.Budget):
  """The options of one cell: a mixer with all of its seeds."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=NAMES)
  design: str = option(
    'mixed',
    'Lags of the training examples: all up to the longest (mixed), or a'
    ' single lag per training (fixed).',
    among=DESIGNS,
    named=True,
  )
  lag: int = option(64, 'Longest lag, in positions.')
  beyond: int = option(
    8,
    'In the mixed design, also test at 2, 4, ... up to this many times the'
    ' longest lag.',
  )

  def __post_init__(self):
    super().__post_init__()
    fit.at_least(self, 'lag', 1)
    fit.at_least(self, 'beyond', 1)


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Tunes, trains and tests one mixer; finished cells are skipped."""
  experiment.validate(config, mixer=mixers | COUNTS)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} on recall, {config.design} lags up to '
      f'{config.lag}; written to {workdir}.',
      flush=True,
    )
    if config.mixer in COUNTS:
      tasks = [task for task, _ in tests(config)][:2]
      rows = counting.rows(COUNTS[config.mixer], config, tasks)
    elif config.design == 'mixed':
      rows = _mixed(config, mixers, record)
    else:
      rows = _searched(config, mixers, record)
    task = Recall(lag=config.lag)
    return record.finish(rows=rows, chance=task.chance, ceiling=task.ceiling)


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
):
  """Refuses in a sentence what `run` could not do.

  Raises:
    ValueError: a short lag has too few examples to hold some out, n-grams are
      counted in mixed lags alone, or no width gives the mixer as many
      parameters.
  """
  task = Recall(lag=config.lag, design=config.design)
  jax.eval_shape(lambda: task.batch(jax.random.key(0), 0, 1, 'validation'))
  if config.mixer not in COUNTS and whole.is_whole(mixers[config.mixer]):
    tested = [task for task, _ in tests(config)]
    whole.model(mixers[config.mixer], task, *tested)
  elif config.mixer not in COUNTS:
    for make in models(config, mixers).values():
      make(task)
  elif config.design != 'mixed':
    raise ValueError(
      f'{config.mixer} is counted in the mixed design, but design='
      f'{config.design!r} was given.'
    )


def make_mixer(make: Callable, config: Config, lag: int) -> CausalMixer:
  """Makes the mixer at the width that has the wanted number of parameters."""
  return fit.mixer_of_size(make, config.parameters, context=lag + 1)


def models(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]]
) -> dict[str, Callable[[Recall], nn.Module]]:
  """Returns, for each initialisation to choose from, what makes its models.

  In the mixed design networks are also tested at lags that they were not
  trained on, for which validation cannot rank initialisations: each is an entry
  with its own name. In the fixed design tuning chooses among them.

  One block without a perceptron: the mixer alone has to remember.
  """
  variants = {'default': mixers[config.mixer]}
  ours = variants['default'] is ENTRIES.get(config.mixer)
  if ours and config.design == 'fixed':
    variants |= INITIALISATIONS.get(config.mixer, {})

  def model(make: Callable) -> Callable[[Recall], nn.Module]:
    def of_task(task: Recall) -> nn.Module:
      if whole.is_whole(make):
        return whole.model(make, task)
      mixer = make_mixer(make, config, task.lag)
      return SequenceModel(task.input, task.output, (mixer,), expansion=0)

    return of_task

  return {name: model(make) for name, make in variants.items()}


def tests(config: Config) -> list[tuple[Recall, int]]:
  """Returns the tasks that networks of mixed lags are tested on.

  Each with its number of batches: the trained lags, one that no n-gram spans,
  and 2, 4, ... times the longest.
  """
  trained = Recall(lag=config.lag, design='mixed')
  times = [2**i for i in range(1, config.beyond.bit_length())]
  lags = [LAG_OF_COUNTS, *(n * config.lag for n in times)]
  one = EXAMPLES // fit.BATCH_SIZE
  return [
    (trained, one * len(trained.evaluation_lags)),
    *((Recall(lag=lag), one) for lag in lags),
  ]


def _mixed(config, mixers, record) -> list[dict[str, Any]]:
  """Returns a row for each seed and tested lag."""
  task = Recall(lag=config.lag, design='mixed')
  made = models(config, mixers)
  rows = fit.fit(made, task, config.plan(), record, tests(config))
  own = whole.is_whole(mixers[config.mixer])
  return _columns(rows, made['default'](task), task, own)


def _searched(config, mixers, record) -> list[dict[str, Any]]:
  """Returns a row for each seed and each lag that was tried.

  Those of the ladder first, then others until the longest lag that most seeds
  learn lies between two within a factor of 1.5.
  """
  rows = []

  def learnt(lag: int) -> bool:
    found = _at_lag(config, mixers, record, lag)
    rows.extend(found)
    return sum(row['accuracy'] >= SOLVED for row in found) * 2 >= len(found)

  highest = config.lag
  ladder = [lag for lag in LADDER if lag < highest] + [highest]
  thresholds.narrow(
    learnt, {lag: learnt(lag) for lag in ladder}, lowest=8, highest=highest
  )
  return rows


def _at_lag(config, mixers, record, lag) -> list[dict[str, Any]]:
  """Trains at one lag; a mixer that cannot see so far is not trained."""
  task, made = Recall(lag=lag), models(config, mixers)
  model = made['default'](task)
  sees = _receptive_field(model)
  if sees is not None and sees <= lag:
    _check_blind(model, task)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    guess = {'group': lag, 'score': task.chance, 'examples': 0}
    rows = [{'seed': seed, 'steps_taken': 0} | guess for seed in seeds]
  else:
    plan = config.plan(stop_when_solved=True)
    tested = [(task, EXAMPLES // fit.BATCH_SIZE)]
    rows = fit.fit(made, task, plan, record, tested)
  return _columns(rows, model, task, whole.is_whole(mixers[config.mixer]))


def _receptive_field(model: nn.Module) -> int | None:
  """Returns that of all mixers together; None if it sees all or nobody says."""
  fields = [None]
  if type(model) is SequenceModel:
    fields = [mixer.receptive_field for mixer in model.mixers]
  return None if None in fields else 1 + sum(field - 1 for field in fields)


def _check_blind(model: SequenceModel, task: Recall):
  """Holds a model to its receptive field, since nothing is trained beyond it.

  Raises:
    ValueError: its answer depends on an input at the task's lag.
  """
  tokens = jnp.arange(task.lag + 1)[None] % task.input.vocab
  variables = jax.jit(model.init)(jax.random.key(1), tokens)
  answer, changed = (
    model.apply(variables, given)[0, -1]
    for given in (tokens, tokens.at[0, 0].add(1))
  )
  if (answer != changed).any():
    raise ValueError(
      f'A mixer with receptive_field={_receptive_field(model)} sees as many '
      f'positions, but its output depends on one {task.lag} positions earlier.'
    )


def _columns(
  rows, model: nn.Module, task: Recall, own: bool
) -> list[dict[str, Any]]:
  """Names a row's group and score, and says what was trained."""
  trained = whole.described(model, task, own)
  return [
    {
      'trained_lag': task.lag,
      'tested_lag': row.pop('group'),
      'accuracy': row.pop('score'),
      'features': trained['features'],
      'mixer_parameters': trained['mixer_parameters'],
      'receptive_field': _receptive_field(model),
    }
    | row
    for row in rows
  ]


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/recall')
