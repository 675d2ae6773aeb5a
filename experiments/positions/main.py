"""Measures what a network learns at one position and knows at another.

    python -m experiments.positions --mixers=mlp,gru --questions=transfer
    python -m experiments.positions.main --mixer=mlp --question=transfer

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell: a network and a question, with all its seeds.
The network mlp pads or truncates and flattens; every other one is a mixer
between an embedding and a readout.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import command, fit
from seqjax import experiment, results, training
from seqjax.analysis import thresholds
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import MLPClassifier, model_for
from seqjax.nn import MIXERS, Attention, CausalMixer
from seqjax.tasks.synthetic.label_at_position import LabelAtPosition
from seqjax.tasks.synthetic.motifs import Motifs
from seqjax.tasks.synthetic.random_labels import RandomLabels
from seqjax.tasks.synthetic.wrappers import FixedTrainingSet, PermutedPositions

MLP = 'mlp'
EXAMPLES = 4096  # of a test split, which places share
FEWEST, STEP = 16, 4  # training examples of the smallest set, and its multiples
ENOUGH = 0.9  # accuracy that a number of training examples is asked to give


# From a name to what makes a mixer of (features, context).
ENTRIES = Importable(
  'mixer',
  {
    **MIXERS,
    'attention (ALiBi)': functools.partial(Attention, positions='alibi'),
    'attention (learned)': functools.partial(Attention, positions='learned'),
  },
  'python -m experiments.positions --mixers=help lists them',
)
NAMES = Importable('mixer', {MLP: MLPClassifier, **ENTRIES}, ENTRIES.listing)


class AnyPlace(Motifs):
  """Motifs whose places are scored together."""

  def _batch(self, key, step, batch_size, split):
    batch = super()._batch(key, step, batch_size, split)
    return batch._replace(group=None)


class Memorized(RandomLabels):
  """Random labels that are scored on the training set: 1 can be reached."""

  ceiling = 1.0

  def _batch(self, key, step, batch_size, split):
    return super()._batch(key, step, batch_size, 'train')


@dataclasses.dataclass(frozen=True)
class Config(fit.Budget):
  """The options of one cell: a network and a question, with all seeds."""

  question: str = option(
    'transfer',
    'Task: the token at a position (truncation), motifs in a fixed other order'
    ' (permutation), at other places than in training (transfer), with few'
    ' examples (data), or random labels (memory).',
    among=('truncation', 'permutation', 'transfer', 'data', 'memory'),
    named=True,
  )
  mixer: str = option(MLP, 'Sequence mixer, or mlp.', among=NAMES)
  length: int = option(32, 'Length of a row, in positions.')
  most_examples: int = option(
    16384, 'Examples of the largest training set (data).'
  )
  labels: int = option(128, 'Examples with random labels (memory).')
  parameters: int = option(12000, 'Parameters per network, within a tenth.')
  steps: int = option(400, 'Number of updates of a training.')

  def __post_init__(self):
    super().__post_init__()
    fit.at_least(self, 'length', 12)
    fit.at_least(self, 'most_examples', STEP * FEWEST)

  @property
  def kept(self) -> int:
    """The positions that truncation keeps: half of them."""
    return self.length // 2

  @property
  def last_place(self) -> int:
    """The last place of a motif in training (transfer)."""
    return self.length // 4


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Tunes, trains and tests one network; a finished cell is skipped."""
  experiment.validate(config, mixer={MLP: MLPClassifier, **mixers})
  done = results.finished(workdir, config)
  if done is not None:
    return done
  check(config, mixers)
  ask = {
    'truncation': _truncation,
    'permutation': _permutation,
    'transfer': _transfer,
    'data': _data,
    'memory': _memory,
  }[config.question]
  with results.Run(workdir, config) as record:

    def fitted(model, task, tests=None, **changed):
      """Returns the rows of `fit`, tested on the training task by itself."""
      batches = EXAMPLES // fit.BATCH_SIZE
      tests = [(task if tests is None else tests, batches)]
      plan = config.plan(**changed)
      rows = fit.fit({'default': model}, task, plan, record, tests)
      for row in rows:
        row |= {'position': row.pop('group'), 'accuracy': row.pop('score')}
      return rows

    return record.finish(rows=list(ask(config, mixers, fitted)))


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
):
  """Refuses in a sentence what `run` could not do.

  Raises:
    ValueError: only the MLP truncates, labels are not balanced, or no width
      gives the network as many parameters.
  """
  if config.question == 'truncation' and config.mixer != MLP:
    raise ValueError(
      f'Only mlp truncates, but mixer={config.mixer!r} was given for it.'
    )
  Memorized(num_examples=config.labels)
  model_of(config, mixers, config.length)(Motifs(length=config.length))


def model_of(
  config: Config,
  mixers: Mapping[str, Callable[..., CausalMixer]],
  length: int,
) -> Callable[[Any], nn.Module]:
  """Returns what makes the model of a task, at the wanted size.

  A recurrent mixer answers at the last position, one that sees a window by the
  largest feature over positions. The MLP reads `length` positions.
  """
  if config.mixer == MLP:

    def mlp(task: Any) -> MLPClassifier:
      inputs = length * task.input.vocab
      hidden = round(config.parameters / (inputs + 1))
      if not hidden or abs(hidden * (inputs + 1) / config.parameters - 1) > 0.1:
        raise ValueError(
          f'An MLP of {inputs} inputs has no width with parameters='
          f'{config.parameters} within a tenth: give more.'
        )
      return MLPClassifier(
        task.input, task.output.vocab, length, hidden, truncate=True
      )

    return mlp
  make = mixers[config.mixer]
  mixer = fit.mixer_of_size(make, config.parameters, config.length)
  pooling = 'last' if mixer.receptive_field is None else 'max'
  return lambda task: model_for(task, (mixer,), pooling=pooling, expansion=0)


def _truncation(config, mixers, fitted) -> Iterator[dict[str, Any]]:
  """Asks for one position, of an MLP that cuts rows and of one that does not.

  Among them the last position that is kept, and the first that is cut.
  """
  half, whole = config.kept, config.length
  positions = (0, half // 2, half - 1, half, (half + whole) // 2, whole - 1)
  for kept in (half, whole):
    model = model_of(config, mixers, kept)
    for position in positions:
      task = LabelAtPosition(position=position, length=whole)
      for row in fitted(model, task, stop_when_solved=True):
        yield row | {
          'kept': kept, 'position': position, 'chance': task.chance,
        }  # fmt: skip


def _permutation(config, mixers, fitted) -> Iterator[dict[str, Any]]:
  """Trains on motifs, and on motifs whose positions are permuted."""
  plain = AnyPlace(length=config.length)
  model = model_of(config, mixers, config.length)
  for order, task in {
    'plain': plain,
    'permuted': PermutedPositions(plain),
  }.items():
    for row in fitted(model, task):
      yield row | {'order': order, 'chance': task.chance}


def _transfer(config, mixers, fitted) -> Iterator[dict[str, Any]]:
  """Trains on motifs in the first places, and tests on those in all."""
  trained = Motifs(length=config.length, positions=(0, config.last_place))
  tested = Motifs(length=config.length)
  model = model_of(config, mixers, config.length)
  seen = {}
  for row in fitted(model, trained, tested):
    extra = {'trained_to': config.last_place, 'chance': tested.chance}
    if config.mixer == MLP:
      seed = row['seed']
      seen[seed] = seen.get(seed) or gradients(model(trained), trained, seed)
      extra |= seen[seed]
    yield row | extra


def gradients(model: MLPClassifier, task: Motifs, seed: int) -> dict[str, Any]:
  """Measures the gradient on the weights of a motif's symbols, by position.

  Of an MLP at initialisation, over 2,048 training examples. No example has
  these symbols beyond the places of training.

  Returns:
    The largest of all absolute gradients at unseen positions, and the smallest
    over seen positions of the largest there.
  """
  state = training.init(
    model, task, training.adamw(1), jax.random.key(seed), 1e-3
  )

  @jax.jit
  def largest(params):
    batch = task.batch(jax.random.key(seed), 0, 2048)

    def loss(params):
      return task.loss(model.apply({'params': params}, batch.inputs), batch)

    kernel = jax.grad(loss)(params)['Dense_0']['kernel']
    kernel = kernel.reshape(task.length, task.input.vocab, -1)
    return jnp.abs(kernel[:, : task.num_motifs]).max(axis=(1, 2))

  by_position = np.asarray(largest(state.params))
  seen = task.positions[1] + task.num_motifs
  return {
    'gradient_unseen': float(by_position[seen:].max()),
    'gradient_seen': float(by_position[:seen].min()),
  }


def _data(config, mixers, fitted) -> Iterator[dict[str, Any]]:
  """Trains with ever more examples, each seed with a set of its own.

  First with those of the ladder; then with others, until the fewest examples
  with which most seeds are accurate lie between two within a factor of 1.5.
  """
  plain = AnyPlace(length=config.length)
  model = model_of(config, mixers, config.length)
  rows = []

  def lacks(num_examples: int) -> bool:
    task = FixedTrainingSet(plain, num_examples, seed=None)
    found = fitted(model, task, stop_when_solved=True)
    columns = {'num_examples': num_examples, 'chance': task.chance}
    rows.extend(row | columns for row in found)
    return sum(row['accuracy'] < ENOUGH for row in found) * 2 > len(found)

  known = {number: lacks(number) for number in ladder(config)}
  limits = {'lowest': FEWEST, 'highest': config.most_examples}
  thresholds.narrow(lacks, known, **limits)
  yield from rows


def ladder(config: Config) -> list[int]:
  """Returns the sizes of training sets that every network is tried with."""
  sizes = [FEWEST]
  while sizes[-1] * STEP <= config.most_examples:
    sizes.append(sizes[-1] * STEP)
  return sizes


def _memory(config, mixers, fitted) -> Iterator[dict[str, Any]]:
  """Trains on random labels, and measures the loss on the training set."""
  task = Memorized(num_examples=config.labels, length=config.length)
  for row in fitted(model_of(config, mixers, config.length), task):
    yield row | {'chance': task.chance}


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/positions')
