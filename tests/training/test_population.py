"""A member of a population is its own run, and the choice sees no test."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import LSTM, Attention, MinGRU
from seqjax.tasks import Recall
from seqjax.training.population import (
  HOW,
  MemberNotFinite,
  select_members,
  train_population,
)


@dataclasses.dataclass(frozen=True)
class BreaksForSeed(Recall):
  """One seed's batch number 7 has weights that are NaN."""

  seed: int = 7

  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    data = jax.random.key_data(jax.random.key(self.seed))
    broken = jnp.all(jax.random.key_data(key) == data) & (step == 7)
    factor = jnp.where(broken, jnp.nan, 1.0)
    return batch._replace(weights=batch.weights * factor)


class OnTheHost(BreaksForSeed):
  """The same batches, made outside of what is compiled."""

  on_device: ClassVar[bool] = False

  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    return jax.tree.map(np.asarray, batch)


TASK = BreaksForSeed(num_facts=4, num_distractors=3, lag=6)
OPTIMIZER = training.adamw(200, warmup=20)
CELLS = [(0, 1e-3), (0, 3e-3), (1, 3e-3)]  # seed, learning rate
KEYS = [jax.random.key(seed) for seed, _ in CELLS]
RATES = [rate for _, rate in CELLS]
BROKEN = jax.random.key(TASK.seed)


def _model(mixer):
  return model_for(TASK, (mixer,), dropout=0.1)


MODEL = _model(MinGRU(8))
OPTIONS = {'batch_size': 8, 'log_every': 5}


def _population(how, model=MODEL, task=TASK, **options):
  given = {'keys': KEYS, 'learning_rates': RATES, 'steps': 15, 'how': how}
  return train_population(model, task, OPTIMIZER, **OPTIONS | given | options)


def _solo(i, model=MODEL, task=TASK, **options):
  options = OPTIONS | {'steps': 15, 'learning_rate': RATES[i]} | options
  return training.train(model, task, OPTIMIZER, KEYS[i], **options)


def _data(state):
  return state._replace(key=jax.random.key_data(state.key))


def _assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, _data(a), _data(b))


@pytest.mark.parametrize(
  'how, mixer',
  [('vmap', LSTM(8)), ('vmap', Attention(8, 16)), ('map', MinGRU(8))],
  ids=['vmap-lstm', 'vmap-attention', 'map-mingru'],
)
def test_a_members_losses_are_those_of_its_solo_run(how, mixer):
  """To 1e-5 at each of 200 steps: two seeds, two learning rates.

  Of those at which training does not let rounding grow; beyond, in float64.
  """
  options = {'model': _model(mixer), 'steps': 200, 'log_every': 1}
  rates = [1e-3, 2e-3, 2e-3]
  members = _population(how, learning_rates=rates, **options)
  together = [metrics for _, metrics in members]
  for i in range(len(CELLS)):
    solo = _solo(i, learning_rate=rates[i], **options)
    alone = [metrics for _, metrics in solo]
    assert len(alone) == len(together) == 200
    np.testing.assert_allclose(
      [metrics['loss'][i] for metrics in together],
      [metrics['loss'] for metrics in alone],
      rtol=1e-5,
    )
  assert len(set(together[-1]['loss'].tolist())) == len(CELLS)


def test_in_float64_a_members_parameters_are_those_of_its_solo_run():
  """To 1e-8 after 200 steps, also where float32 would lose track: at 1e-2."""
  types = {'dtype': 'float64', 'param_dtype': 'float64'}
  with jax.enable_x64(True):
    model = _model(LSTM(8, **types)).clone(**types)
    options = {'model': model, 'steps': 200, 'log_every': 200}
    rates = [1e-2] * 2
    ((states, _),) = _population(
      'vmap', keys=KEYS[1:3], learning_rates=rates, **options
    )
    for i in range(2):
      ((alone, _),) = _solo(1 + i, learning_rate=1e-2, **options)
      first = training.init(model, TASK, OPTIMIZER, KEYS[1 + i], 1e-2)
      for given, expected, start in zip(
        *map(
          jax.tree.leaves,
          (select_members(states, i).params, alone.params, first.params),
        ),
        strict=True,
      ):
        assert given.dtype == np.float64
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-8)
        assert np.max(np.abs(expected - start)) > 1e-2


@pytest.mark.parametrize('kind', [BreaksForSeed, OnTheHost])
def test_one_by_one_a_member_is_its_solo_run_bit_by_bit(kind):
  """States and metrics, wherever batches are drawn."""
  task = kind(**dataclasses.asdict(TASK))
  together = list(_population('one_by_one', task=task))
  assert len(together) == 3
  for i in range(len(CELLS)):
    for (states, metrics), (state, alone) in zip(
      together, _solo(i, task=task), strict=True
    ):
      _assert_same(select_members(states, i), state)
      assert {name: metrics[name][i] for name in metrics} == alone


@pytest.mark.parametrize('how', HOW[1:])
def test_a_resumed_population_changes_no_bit_of_the_parameters(how):
  """From a yielded state, which later steps have left alone."""
  states = [state for state, _ in _population(how)]
  assert [state.step.tolist() for state in states] == [
    [5] * 3,
    [10] * 3,
    [15] * 3,
  ]
  resumed = [state for state, _ in _population(how, state=states[0])]
  assert len(resumed) == 2
  _assert_same(resumed[-1], states[-1])


@pytest.mark.parametrize('how', HOW[1:])
def test_a_member_that_is_not_finite_is_named(how):
  """By its index, with its key and step; no such state is yielded."""
  states = []
  with pytest.raises(MemberNotFinite, match='^Member 1: .*at step 7') as error:
    for state, _ in _population(how, keys=[KEYS[0], BROKEN, KEYS[2]]):
      states.append(state)
  fault = error.value
  assert (fault.member, fault.step, fault.parameter) == (1, 7, 'loss')
  assert jnp.array_equal(fault.key, BROKEN)
  assert isinstance(fault, training.NotFinite)
  assert [state.step.tolist() for state in states] == [[5] * 3]


def test_the_members_beside_one_that_is_not_finite_can_go_on():
  """From the last yielded state, without it; no bit of theirs changes."""
  keys = [KEYS[0], BROKEN, KEYS[2]]
  (state, _), *_ = _population('one_by_one', keys=keys, steps=5)
  rest = {'keys': KEYS[::2], 'learning_rates': RATES[::2]}
  state = select_members(state, np.array([0, 2]))
  *_, (states, _) = _population('one_by_one', state=state, **rest)
  for i in range(2):
    *_, (alone, _) = _solo(2 * i)
    _assert_same(select_members(states, i), alone)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'keys': KEYS[:2]}, '2 keys and 3 learning rates'),
    ({'keys': [], 'learning_rates': []}, 'at least one, but 0 keys'),
    ({'how': 'vmp'}, "population 'vmp'. Did you mean 'vmap'"),
    ({'steps': -1}, 'steps of at least 0'),
    ({'how': 'one_by_one', 'log_every': 0}, 'log_every of at least 1'),
    ({'task': OnTheHost()}, "drawn on the host.*how='vmap'"),
  ],
)
def test_bad_arguments_are_refused_when_it_is_called(options, message):
  """Not at the first `next`."""
  with pytest.raises(ValueError, match=message):
    _population(**{'how': 'vmap'} | options)


@pytest.mark.parametrize(
  'axes, options, message',
  [
    (
      {'members': 2},
      {},
      '2 members in a popul.*are 3: 4 would do, or members:1',
    ),
    ({'rows': 3}, {}, "axis of a mesh 'rows'.* There are: members"),
    ({'members': 3}, {'how': 'vmap'}, "one by one, but how='vmap' was given"),
  ],
)
def test_a_mesh_that_does_not_suit_a_population_is_refused(
  axes, options, message
):
  """With what would."""
  devices = np.full(tuple(axes.values()), jax.devices()[0])
  with pytest.raises(ValueError, match=message):
    _population(**{'how': 'auto'} | options, mesh=Mesh(devices, tuple(axes)))


@pytest.mark.parametrize('how', ['one_by_one', 'vmap'])
def test_a_state_of_another_population_is_refused(how):
  """Of other keys or rates, of another size, or of members out of step."""
  (state, _), *_ = _population('one_by_one', steps=5)
  late = state._replace(step=state.step + jnp.arange(3))
  for options, message in (
    ({'keys': KEYS[::-1]}, 'another key'),
    ({'learning_rates': RATES[::-1]}, 'holds the learning rate'),
    ({'state': select_members(state, slice(2))}, r'3 holds.*\[5, 5\]'),
    ({'state': late}, r'equal steps.*\[5, 6, 7\]'),
    ({'model': _model(MinGRU(4))}, 'does not fit'),
  ):
    with pytest.raises(ValueError, match=message):
      _population(how, **{'state': state} | options)


@pytest.mark.parametrize('index', [-1, 3, np.array([0, 3])])
def test_a_member_that_is_not_there_is_refused(index):
  """JAX would give the last one."""
  states = {'step': np.zeros(3), 'params': np.zeros((3, 2))}
  with pytest.raises(ValueError, match='are 0..2'):
    select_members(states, index)
