"""Measures how far back a network reaches, by its window, layers and state.

    python -m experiments.reach --mixers=lstm,attention --questions=lags
    python -m experiments.reach.main --mixer=tcn --question=lags

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell tunes and trains one mixer with several
seeds, for one of three questions. Lags: one network recalls a fact from 1 to 64
positions ago, and the derivatives of its output are followed back. State:
tokens come one at a time; was this one there before? Motifs: patterns of
patterns.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import command, fit
from seqjax import experiment, results
from seqjax.analysis import influence
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import model_for, num_parameters
from seqjax.models.stack import Stack
from seqjax.nn import MIXERS, TCN, CausalMixer, WindowMLP
from seqjax.tasks.synthetic.motifs import HierarchicalMotifs
from seqjax.tasks.synthetic.recall import Recall
from seqjax.tasks.synthetic.seen_before import SeenBefore
from seqjax.typing import Segments

QUESTIONS = ('lags', 'state', 'motifs')
LAG = 64  # the longest that everyone is trained on
EXAMPLES = 512  # of the test split, for each lag
KERNEL = 5  # taps of a plain or dilated layer


# Entries that are several layers of one mixer.
LAYERS = {f'convolutions, {n} layers': n for n in (2, 4, 8)}
# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    **dict.fromkeys(
      LAYERS, functools.partial(TCN, kernel_size=KERNEL, levels=1)
    ),
    **{
      f'dilated, {n} layers': functools.partial(
        TCN, kernel_size=KERNEL, levels=n
      )
      for n in (2, 3, 4)
    },
    **{
      f'kernel of {n}': functools.partial(TCN, kernel_size=n, levels=1)
      for n in (9, 33)
    },
    **{
      f'window of {n}': functools.partial(WindowMLP, tau=n) for n in (1, 9, 17)
    },
    'tcn of 2 taps': functools.partial(TCN, kernel_size=2, levels=4),
  },
  'python -m experiments.reach --mixers=help lists them',
)


@dataclasses.dataclass(frozen=True)
class Config(fit.Budget):
  """The options of one cell: a mixer and a question, with all seeds."""

  mixer: str = option('lstm', 'Sequence mixer to train.', among=ENTRIES)
  question: str = option(
    'lags',
    'Question to ask.',
    among={name: name for name in QUESTIONS},
    named=True,
  )
  carried: bool = option(
    True, 'Carry the state from token to token, in the question on state.'
  )


@dataclasses.dataclass(frozen=True)
class RecallAt(Recall):
  """Recall of mixed lags that is validated and tested at given ones.

  Attributes:
    lags: those of validation and test; training has all, up to `lag`.
  """

  lag: int = LAG
  design: str = 'mixed'
  lags: tuple[int, ...] = (LAG,)

  @property
  def evaluation_lags(self) -> tuple[int, ...]:
    return self.lags


@dataclasses.dataclass(frozen=True)
class SeenByTokens(SeenBefore):
  """Repetition of tokens that come one at a time.

  Attributes:
    carried: whether the network's state goes from one token to the next; else
      each is a sequence of its own, as for a network that has no state.
  """

  num_symbols: int = 16
  length: int = 24
  carried: bool = True

  def _sample(self, key, batch_size: int):
    batch = super()._sample(key, batch_size)._replace(group=None)
    if self.carried:
      return batch
    each = jnp.ones(batch.inputs.shape, bool)
    return batch._replace(segments=Segments(start=each, valid=each))


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Tunes, trains and tests one mixer; finished cells are skipped."""
  experiment.validate(config, mixer=ENTRIES | mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  stacked = check(config, mixers)
  reach = window(stacked)
  task, test = tasks(config, reach)

  def model(task: Any) -> nn.Module:
    return model_for(task, stacked, expansion=0)

  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} for the question on {config.question}; '
      f'written to {workdir}.',
      flush=True,
    )
    lags = getattr(test, 'lags', (None,))
    batches = EXAMPLES * len(lags) // fit.BATCH_SIZE
    plan = config.plan(stop_when_solved=config.question == 'lags')
    rows = fit.fit({'default': model}, task, plan, record, [(test, batches)])
    names = {'group': 'lag', 'score': 'accuracy'}
    return record.finish(
      rows=[{names.get(k, k): v for k, v in row.items()} for row in rows],
      chance=task.chance,
      ceiling=task.ceiling,
      features=stacked[0].features,
      mixer_parameters=sum(map(num_parameters, stacked)),
      layers=len(stacked) * getattr(stacked[0], 'levels', 1),
      receptive_field=reach,
      farthest=farthest(stacked, reach) if config.question == 'lags' else None,
    )


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
) -> tuple[CausalMixer, ...]:
  """Makes the mixers, which have the wanted number of parameters together.

  Raises:
    ValueError: no width gives them so many.
  """
  make, layers = (ENTRIES | mixers)[config.mixer], LAYERS.get(config.mixer, 1)
  mixer = fit.mixer_of_size(make, config.parameters // layers, LAG + 1)
  return (mixer,) * layers


def tasks(config: Config, reach: int | None) -> tuple[Any, Any]:
  """Returns the task to train and validate on, and the one to test on.

  Lags are validated within the window: no training brings what lies beyond.
  """
  if config.question == 'state':
    task = SeenByTokens(carried=config.carried)
    return task, task
  if config.question == 'motifs':
    task = HierarchicalMotifs(depth=4, num_symbols=4, num_synonyms=3)
    return task, task
  powers = {2**i for i in range(LAG.bit_length())}
  edge = set() if reach is None else {reach - 1, reach}
  tested = sorted(lag for lag in powers | edge if 1 <= lag <= LAG)
  seen = [lag for lag in tested if reach is None or lag < reach]
  return RecallAt(lags=tuple(seen or [1])), RecallAt(lags=tuple(tested))


def window(stacked: tuple[CausalMixer, ...]) -> int | None:
  """Returns the positions that a stack sees; None where it sees all lags."""
  reach = Stack(stacked, expansion=0).receptive_field
  return None if reach is None or reach > LAG else reach


def farthest(stacked: tuple[CausalMixer, ...], reach: int | None) -> int | None:
  """Returns the largest t - s at which dy_t/dx_s is not exactly zero.

  Of a network at initialization; one position more than its window is read.
  None where it has no window.
  """
  if reach is None:
    return None
  stack = Stack(stacked, expansion=0)
  x = jax.random.normal(jax.random.key(0), (2, reach + 1, stack.features))
  variables = jax.jit(stack.init)(jax.random.key(1), x)
  seen = influence.support(stack, variables, x)
  return int(np.subtract(*np.nonzero(seen)).max(initial=0))


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/reach')
