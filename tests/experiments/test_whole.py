"""Whole models in the place of mixers, in each experiment that takes them."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from experiments import axes, command, folders, whole
from experiments.capacity import main as capacity
from experiments.capacity import sweep
from experiments.card import main as card
from experiments.recall import main as recall
from experiments.state_tracking import main as state_tracking
from seqjax.models import SequenceModel
from seqjax.nn import GRU, MIXERS, WindowMLP
from seqjax.tasks import Recall

TINY = {
  'steps': 4, 'batch_size': 8, 'seeds': 1, 'tuning_seeds': 1,
  'learning_rates': (3e-3,),
}  # fmt: skip
TAKERS = {
  'recall': (recall, {'lag': 8, 'beyond': 2}),
  'state_tracking': (state_tracking, {'task': 's3', 'length': 10}),
  'capacity': (capacity, {'part': 'recall', 'features': 8}),
}


class Sums(nn.Module):
  """Reads nothing but how often each token came before; not of this library."""

  vocab: int
  classes: int
  spread: int = 0

  @nn.compact
  def __call__(self, inputs, segments=None):
    seen = jnp.cumsum(nn.one_hot(inputs, self.vocab), axis=1)
    return nn.Dense(self.classes + self.spread)(jnp.log1p(seen))


def sums(task):
  return Sums(task.input.vocab, task.output.vocab)


def stacked(task):
  return SequenceModel(task.input, task.output, (GRU(8), GRU(8)))


def too_wide(task):
  return Sums(task.input.vocab, task.output.vocab, spread=1)


def unread(task):
  return nn.Dense(4)


def broken(task):
  return task.no_such_thing


class Placed(Sums):
  length: int = 1

  @nn.compact
  def __call__(self, inputs, segments=None):
    places = self.param('places', nn.initializers.zeros, (self.length,))
    logits = nn.Dense(self.classes)(nn.one_hot(inputs, self.vocab))
    return logits + places[None, : inputs.shape[1], None]


def placed(task):
  return Placed(task.input.vocab, task.output.vocab, length=task.lag + 1)


def counting(task):
  class Counts(Sums):
    @nn.compact
    def __call__(self, inputs, segments=None):
      self.variable('counts', 'calls', jnp.zeros, ())
      return nn.Dense(self.classes)(nn.one_hot(inputs, self.vocab))

  return Counts(task.input.vocab, task.output.vocab)


def test_the_only_argument_of_a_whole_model_is_a_task():
  """Mixers are made of two, however they are called."""
  assert whole.is_whole(sums)
  entries = [*MIXERS.values(), lambda features, context: None, int, len]
  entries += [
    make for main, _ in TAKERS.values() for make in main.ENTRIES.values()
  ]
  assert not any(map(whole.is_whole, entries))


@pytest.mark.parametrize(
  'name, make, width',
  [('recall', sums, 0), ('state_tracking', stacked, 0), ('capacity', sums, 8)],
)
def test_a_whole_model_is_trained_and_measured(name, make, width, tmp_path):
  """With its own parameters, whatever was wanted of mixers."""
  main, options = TAKERS[name]
  config = main.Config(mixer='mine', **TINY | options)
  rows = main.run(config, tmp_path, {'mine': make})['rows']
  scored = 'value' if name == 'capacity' else 'accuracy'
  assert rows and all(row[scored] is not None for row in rows)
  assert {row.get('features', row.get('width')) for row in rows} == {width}


def test_what_was_trained_is_counted():
  """Counts by hand: a matrix and a bias; two layers of eight numbers each."""
  task = Recall(lag=8)
  tokens, classes = task.input.vocab, task.output.vocab
  found = whole.described(sums(task), task, own=True)
  assert found['mixer_parameters'] == (tokens + 1) * classes
  assert found['carry_floats'] is None and found['features'] == 0
  found = whole.described(stacked(task), task, own=True)
  assert found['carry_floats'] == 16
  assert found['mixer_parameters'] == found['model_parameters']
  mixers = whole.described(stacked(task), task)
  assert mixers['mixer_parameters'] < mixers['model_parameters']
  assert mixers['features'] == 8


@pytest.mark.parametrize(
  'make, message',
  [
    (too_wide, r'returns outputs of the shape \(1, 9, 8\).*\(1, 9, 9\)'),
    (unread, r'reads inputs and segments, but that of Recall\(.* by unread'),
    (broken, 'by broken does not: AttributeError'),
    (counting, 'has parameters and nothing else.*has counts, params'),
    (placed, r'fit sequences of every length.*Recall\(.*by placed has others'),
  ],
)
def test_a_model_that_does_not_suit_the_task_is_refused(make, message):
  """Before anything is trained."""
  with pytest.raises(ValueError, match=message) as refused:
    recall.check(recall.Config('mine', lag=8), {'mine': make})
  assert '\n' not in str(refused.value)


def test_what_is_neither_a_mixer_nor_a_whole_model_is_refused(tmp_path):
  """An argument of another name, say."""
  near = {'mine': lambda spec: GRU(8)}
  with pytest.raises(ValueError, match=r"whole model of `task` alone, but 'mi"):
    command.run('recall', tmp_path / 'run', near, mixers=('mine',))


def test_a_whole_model_has_one_cell_of_capacity():
  """It has its own width."""
  name = f'{__name__}:sums'
  configs = axes.cells(
    folders.find('capacity'), **sweep.FULL | {'mixers': (name,)}
  )
  assert [c.features for c in configs if c.mixer == name] == [32]


def test_stacked_windows_see_what_all_of_them_see():
  """One less for each layer; nobody says what a whole model sees."""
  task = Recall(lag=8)
  windows = (WindowMLP(8, tau=4), WindowMLP(8, tau=3))
  model = SequenceModel(task.input, task.output, windows)
  assert recall._receptive_field(model) == 6
  assert recall._receptive_field(sums(task)) is None
  assert recall._receptive_field(stacked(task)) is None


@pytest.mark.parametrize('measure', card.OF_MIXERS)
def test_the_card_leaves_out_what_only_a_mixer_has(measure, tmp_path):
  """A row without a value for each property: the card is never empty."""
  config = card.Config('mine', measure)
  rows = card.run(config, tmp_path, {'mine': sums})['rows']
  assert {row['property'] for row in rows} == set(card.OF_MIXERS[measure])
  assert {(row['value'], row['solved']) for row in rows} == {(None, None)}
  assert card.applies(card.Config('mine', 'parity'), {'mine': sums})
  assert card.applies(config, {'mine': GRU})


def refusing():
  """Lists the experiments that take mixers but no whole models."""
  for found in map(folders.find, folders.names()):
    if command.takes_mixers(found) and not found.takes_models:
      yield found.name


@pytest.mark.parametrize('name', list(refusing()))
def test_other_experiments_refuse_them_in_a_sentence(name, tmp_path):
  """And name those that do not."""
  with pytest.raises(ValueError, match='whole model of a task: .*card, recall'):
    command.run(name, tmp_path / 'run', {'mine': sums}, mixers=('mine',))
  assert not list(tmp_path.iterdir())
