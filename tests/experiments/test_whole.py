"""Whole models in the place of mixers, in each experiment that takes them."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import pytest

from experiments import command, folders, whole
from experiments.capacity import main as capacity
from experiments.card import main as card
from experiments.recall import main as recall
from experiments.state_tracking import main as state_tracking
from seqjax.models import SequenceModel
from seqjax.nn import GRU, MIXERS
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
  'name, make, widths',
  [('recall', sums, 0), ('state_tracking', stacked, 8), ('capacity', sums, 0)],
)
def test_a_whole_model_is_trained_and_measured(name, make, widths, tmp_path):
  """With its own parameters, whatever was wanted of mixers."""
  main, options = TAKERS[name]
  config = main.Config(mixer='mine', **TINY | options)
  rows = main.run(config, tmp_path, {'mine': make})['rows']
  scored = 'value' if name == 'capacity' else 'accuracy'
  assert rows and all(row[scored] is not None for row in rows)
  assert {row.get('features', row.get('width')) for row in rows} == {widths}


def test_what_was_trained_is_counted():
  """By hand: a matrix and a bias; and three matrices for each gate."""
  task = Recall(lag=8)
  tokens, classes = task.input.vocab, task.output.vocab
  found = whole.described(sums(task), task)
  assert found['mixer_parameters'] == (tokens + 1) * classes
  assert found['carry_floats'] is None
  assert whole.described(stacked(task), task)['carry_floats'] == 16


@pytest.mark.parametrize(
  'make, message',
  [
    (too_wide, r'returns outputs of the shape \(1, 9, 8\).*\(1, 9, 9\)'),
    (unread, 'reads inputs and segments, but that of Recall by unread does'),
    (counting, 'has parameters and nothing else.*has counts, params'),
  ],
)
def test_a_model_that_does_not_suit_the_task_is_refused(make, message):
  """Before anything is trained."""
  with pytest.raises(ValueError, match=message):
    recall.check(recall.Config('mine', lag=8), {'mine': make})


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
  """Lists the experiments about mixers that take no whole models."""
  for found in map(folders.find, folders.names()):
    fields = {field.name for field in dataclasses.fields(found.main.Config)}
    if {'mixer', 'mixers'} & fields and not found.takes_models:
      yield found.name


@pytest.mark.parametrize('name', list(refusing()))
def test_other_experiments_refuse_them_in_a_sentence(name, tmp_path):
  """And name those that do not."""
  with pytest.raises(ValueError, match='whole model of a task: .*card, recall'):
    command.run(name, tmp_path / 'run', {'mine': sums}, mixers=('mine',))
  assert not list(tmp_path.iterdir())
