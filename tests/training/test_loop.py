"""Training: reproducible from (arguments, step), compiled once, never NaN."""

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from seqjax import training
from seqjax.models import model_for
from seqjax.nn import GRU
from seqjax.ops import losses
from seqjax.tasks import Recall, bucketing
from seqjax.training import interval, sharding
from seqjax.training.state import Parts
from seqjax.training.step import padding
from seqjax.typing import Batch, Segments

KEY = jax.random.key(5)
TASK = Recall(num_facts=4, num_distractors=3, lag=4)
OPTIMIZER = training.adamw(60, warmup=5)


class Sums(nn.Module):
  """A readout of the sum of everything seen so far."""

  features: int = 16
  dropout: float = 0.2
  num_facts: int = 4
  fragile: bool = False
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, inputs, segments=None):
    dtypes = {'dtype': self.dtype, 'param_dtype': self.dtype}
    x = nn.relu(nn.Embed(8, self.features, **dtypes)(inputs))
    deterministic = not self.has_rng('dropout')
    x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
    outputs = nn.Dense(self.num_facts, **dtypes)(jnp.cumsum(x, axis=1))
    if self.fragile:  # the derivative of |p| by way of a root is NaN at 0
      root = self.param('root', nn.initializers.zeros, ())
      outputs += jnp.sqrt(root**2)
    return outputs


@dataclasses.dataclass(frozen=True)
class BreaksAt(Recall):
  """The weights of one batch are NaN."""

  broken_step: int = 7

  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    factor = jnp.where(step == self.broken_step, jnp.nan, 1.0)
    return batch._replace(weights=batch.weights * factor)


class Padded(Recall):
  """As many positions at the end are padding as the step's number modulo 3."""

  def batch(self, key, step, batch_size, split='train'):
    batch = super().batch(key, step, batch_size, split)
    num_positions = batch.inputs.shape[1]
    valid = jnp.arange(num_positions)[None] < num_positions - step % 3
    valid = jnp.broadcast_to(valid, batch.inputs.shape)
    return batch._replace(segments=Segments(jnp.zeros_like(valid), valid))


class OnTheHost(Recall):
  """The same batches, made outside of what is compiled."""

  on_device: ClassVar[bool] = False

  def batch(self, key, step, batch_size, split='train'):
    assert not isinstance(step, jax.core.Tracer)
    batch = super().batch(key, step, batch_size, split)
    return jax.tree.map(np.asarray, batch)


MODEL = Sums()


def _train(key=KEY, model=MODEL, task=TASK, optimizer=OPTIMIZER, **options):
  options = {'steps': 20, 'batch_size': 8, 'log_every': 10} | options
  return training.train(model, task, optimizer, key, **options)


def _last(runs):
  return list(runs)[-1][0]


def _assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, _data(a), _data(b))


def _data(state):
  return state._replace(key=jax.random.key_data(state.key))


@pytest.fixture
def loss_traces(monkeypatch):
  """Grows by one whenever a function that computes the loss is compiled."""
  traces = []
  cross_entropy = losses.cross_entropy

  def counted(*args):
    traces.append(args)
    return cross_entropy(*args)

  monkeypatch.setattr(losses, 'cross_entropy', counted)
  return traces


def test_one_compile_serves_all_seeds_and_learning_rates(loss_traces):
  """And all intervals and totals: 3 seeds, 2 rates, equal but new objects."""
  finals = []
  for seed in range(3):
    for learning_rate in (1e-3, 1e-2):
      runs = _train(
        jax.random.key(seed),
        model=Sums(features=12),
        task=Recall(num_facts=4, num_distractors=3, lag=4),
        steps=5 + seed,
        log_every=2 + seed,
        learning_rate=learning_rate,
      )
      finals.append(_last(runs).params['Dense_0']['kernel'])
  assert len(loss_traces) == 1
  assert len({np.asarray(kernel).tobytes() for kernel in finals}) == 6


def test_the_interval_changes_no_bit_of_the_parameters():
  """Logged often, seldom, or out of step: the same run."""
  final = _last(_train(log_every=20))
  for log_every in (1, 7, 100):
    _assert_same(_last(_train(log_every=log_every)), final)


def test_a_resumed_run_changes_no_bit_of_the_parameters():
  """From any state that was yielded, also one between two intervals."""
  states = [state for state, _ in _train(log_every=3)]
  assert [int(state.step) for state in states] == [3, 6, 9, 12, 15, 18, 20]
  for state, stops in (states[0], [10, 20]), (states[3], [20]):
    resumed = list(_train(state=state, log_every=10))
    assert [int(state.step) for state, _ in resumed] == stops
    _assert_same(resumed[-1][0], states[-1])


@pytest.mark.parametrize('task', [TASK, OnTheHost(4, 3, 4)])
def test_a_pause_changes_no_bit_of_what_follows(task):
  """Nor does going on from there: sums of metrics are part of the state."""
  whole = list(_train(task=task, log_every=8))
  paused = list(_train(task=task, log_every=8, pause=lambda step: step + 3))
  steps = [int(state.step) for state, _ in paused]
  assert steps == [3, 6, 8, 11, 14, 16, 19, 20]
  assert [bool(metrics) for _, metrics in paused] == [
    step in (8, 16, 20) for step in steps
  ]
  logged = [(state, metrics) for state, metrics in paused if metrics]
  resumed = list(_train(task=task, log_every=8, state=paused[3][0]))
  for expected, *found in zip(whole[1:], logged[1:], resumed, strict=True):
    for state, metrics in found:
      _assert_same(state, expected[0])
      assert metrics == expected[1]


@pytest.mark.parametrize('stack_bytes', [2**20, 500])
def test_batches_drawn_on_the_host_train_the_same(stack_bytes, monkeypatch):
  """Whatever number of them is handed over at once; when resumed, too."""
  monkeypatch.setattr('seqjax.training.interval.STACK_BYTES', stack_bytes)
  task = OnTheHost(num_facts=4, num_distractors=3, lag=4)
  expected, metrics = list(_train())[-1]
  given, same_metrics = list(_train(task=task))[-1]
  _assert_same(given, expected)
  assert metrics == same_metrics
  early = _last(_train(task=task, steps=7))
  _assert_same(_last(_train(task=task, state=early)), expected)


def test_the_host_draws_on_while_the_device_computes(monkeypatch):
  """What comes of one stack is handed to the next without a look at it."""
  events = []

  class Pending:
    def __getattr__(self, name):
      raise AssertionError(f'{name} was waited for')

  def stack(progress, stop, batches, first, **parts):
    events.append(f'from {first}')
    return interval.Progress(Pending(), Pending())

  def draw(step):
    events.append(step)
    return task.batch(KEY, step, 4)

  task = OnTheHost(num_facts=4, num_distractors=3, lag=4)
  leaves = jax.tree.leaves(task.batch(KEY, 0, 4))
  two = 2 * sum(leaf.nbytes for leaf in leaves)
  monkeypatch.setattr(interval, '_stack', stack)
  monkeypatch.setattr(interval, 'STACK_BYTES', two)
  begun = interval.Progress.begin(_last(_train(steps=1)))
  interval.steps_on_host_batches(
    draw, begun, 5, most=4, parts=Parts(None, None, None)
  )
  assert events == [1, 2, 'from 1', 3, 4, 'from 3']


@pytest.mark.parametrize('log_every, sizes', [(6, [6] * 4), (40, [10, 10])])
def test_a_stack_has_no_more_batches_than_an_interval_needs(
  log_every, sizes, monkeypatch
):
  """Shared evenly, so that all are of one shape; the last may be in part."""
  put, seen = sharding.put_stack, []

  def counted(batches, mesh):
    seen.append(len(batches.inputs))
    return put(batches, mesh)

  monkeypatch.setattr(sharding, 'put_stack', counted)
  monkeypatch.setattr('seqjax.training.interval.STACK_BYTES', 6000)
  task = OnTheHost(num_facts=4, num_distractors=3, lag=4)
  list(_train(task=task, log_every=log_every))
  assert seen == sizes


def test_a_state_from_host_memory_continues_the_run():
  """NumPy leaves, as a checkpoint may restore them."""
  states = [state for state, _ in _train()]
  restored = jax.tree.map(np.asarray, states[0]._replace(key=None))
  resumed = _last(_train(state=restored._replace(key=KEY)))
  _assert_same(resumed, states[-1])


def test_a_yielded_state_stays_valid():
  """Later steps write to none of its arrays."""
  runs = _train()
  early, _ = next(runs)
  copy = jax.tree.map(np.array, _data(early))
  late = _last(runs)
  jax.tree.map(np.testing.assert_array_equal, _data(early), copy)
  assert not np.array_equal(
    early.params['Dense_0']['kernel'], late.params['Dense_0']['kernel']
  )


def test_training_is_the_step_repeated_over_the_batches():
  """Batch number `step` of the run's key; metrics are means over interval."""
  state = training.init(MODEL, TASK, OPTIMIZER, KEY, 1e-2)
  step = jax.jit(
    lambda state, batch: training.train_step(
      state, batch, model=MODEL, task=TASK, optimizer=OPTIMIZER
    )
  )
  seen = []
  for i in range(10):
    state, metrics = step(state, TASK.batch(KEY, i, 8))
    seen.append(metrics)
  (trained, means), *_ = list(_train(learning_rate=1e-2, steps=10))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    trained.params,
    state.params,
  )
  for name in ('loss', 'gradient_norm'):
    expected = np.mean([metrics[name] for metrics in seen])
    np.testing.assert_allclose(means[name], expected, rtol=1e-4)
  np.testing.assert_allclose(means['learning_rate'], 1e-2)


def test_the_share_of_padding_is_reported():
  """Its mean over the interval; 0 where a task knows of none."""
  task = Padded(num_facts=4, num_distractors=3, lag=4)
  num_positions = task.batch(KEY, 0, 1).inputs.shape[1]
  padded = [metrics['padding'] for _, metrics in _train(task=task, log_every=6)]
  count = np.arange(20) % 3
  expected = [
    np.mean(count[i : i + 6]) / num_positions for i in range(0, 20, 6)
  ]
  np.testing.assert_allclose(padded, expected, rtol=1e-6)
  assert [metrics['padding'] for _, metrics in _train()] == [0, 0]


def test_padding_is_counted_as_where_batches_are_packed():
  """Of both sides, where source and target are apart."""
  source, target = np.zeros((2, 3), int), np.zeros((2, 5), int)
  valid = np.arange(5)[None] < np.array([[2], [4]])
  segments = Segments(np.zeros_like(valid), valid)
  for batch, expected in (
    (Batch(target, target, target, segments), 0.4),
    (Batch(target, target, target), 0.0),
    (Batch((source, target), target, target, (None, segments)), 0.25),
    (Batch((source, target), target, target), 0.0),
  ):
    assert bucketing.padding(batch) == expected
    np.testing.assert_allclose(padding(batch), expected, rtol=1e-6)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float64'])
def test_a_run_keeps_the_dtypes_of_its_parameters(dtype):
  """Also where x64 is on, which makes 64 bits of what states no dtype."""
  with jax.enable_x64(dtype == 'float64'):
    state, metrics = list(_train(model=Sums(dtype=dtype), steps=2))[-1]
  assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {dtype}
  assert state.step.dtype == jnp.int32
  assert {metric.dtype.name for metric in metrics.values()} == {'float32'}


def test_dropout_is_on_and_differs_from_step_to_step():
  """The same parameters and batch: another step, another loss."""
  state = training.init(MODEL, TASK, OPTIMIZER, KEY, 1e-3)
  batch = TASK.batch(KEY, 0, 8)
  step = jax.jit(
    lambda state: training.train_step(
      state, batch, model=MODEL, task=TASK, optimizer=OPTIMIZER
    )[1]['loss']
  )
  outputs = MODEL.apply({'params': state.params}, batch.inputs)
  seen = {
    float(TASK.loss(outputs, batch)),
    float(step(state)),
    float(step(state._replace(step=jnp.ones((), jnp.int32)))),
    float(step(state._replace(key=jax.random.key(6)))),
  }
  assert len(seen) == 4


def test_training_can_stop_on_an_evaluation():
  """The task is learnt, at every lag, before the budget is spent."""
  task = dataclasses.replace(TASK, lag=16, design='mixed')
  optimizer = training.adamw(2000)
  runs = training.train(
    Sums(dropout=0.0),
    task,
    optimizer,
    KEY,
    steps=2000,
    batch_size=32,
    learning_rate=1e-2,
    log_every=50,
  )
  for state, _ in runs:
    scores = training.evaluate(
      Sums(dropout=0.0), state.params, task, batches=2, batch_size=96
    )
    if min(score for score, _ in scores.values()) >= 0.99:
      break
  assert list(scores) == [1, 2, 4, 8, 16]
  assert training.overall(scores) >= 0.99
  assert int(state.step) < 1000


def test_a_loss_that_is_not_finite_stops_the_run():
  """At its step, with what draws the batch again; no such state is yielded."""
  task = BreaksAt(num_facts=4, num_distractors=3, lag=4)
  states = []
  with pytest.raises(training.NotFinite, match='loss.*at step 7') as error:
    for state, _ in _train(task=task, log_every=5):
      states.append(state)
  assert (error.value.step, error.value.parameter) == (7, 'loss')
  again = task.batch(error.value.key, error.value.step, 8)
  assert np.any(np.isnan(again.weights))
  assert [int(state.step) for state in states] == [5]
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(states[0].params))


def test_an_update_that_is_too_large_stops_the_run():
  """Although its loss and gradients are finite: the next ones would not be."""
  with pytest.raises(training.NotFinite, match='after its update.*at step 0'):
    next(_train(learning_rate=float('inf'), log_every=1))


def test_a_gradient_that_is_not_finite_is_named():
  """By the path of its parameter, although the loss is finite."""
  with pytest.raises(training.NotFinite, match='root.*at step 0') as error:
    list(_train(model=Sums(fragile=True)))
  assert (error.value.step, error.value.parameter) == (0, 'root')


def test_no_steps_give_no_states():
  """A total of 0, or a state that has had them all."""
  assert list(_train(steps=0)) == []
  final = _last(_train())
  assert list(_train(state=final)) == []


@pytest.mark.parametrize(
  'options, message',
  [
    ({'steps': -1}, 'steps of at least 0, but steps=-1'),
    ({'batch_size': 0}, 'batch_size of at least 1, but batch_size=0'),
    ({'log_every': 0}, 'log_every of at least 1, but log_every=0'),
    ({'optimizer': optax.sgd(0.1), 'learning_rate': 0.1}, 'inject_hyperparams'),
    ({'learning_rate': -0.01}, 'learning_rate=-0.01'),
    ({'learning_rate': float('nan')}, 'learning_rate=nan'),
  ],
)
def test_bad_arguments_are_refused_when_train_is_called(
  options, message, loss_traces
):
  """Not at the first `next`, and before anything is compiled."""
  with pytest.raises(ValueError, match=message):
    _train(**options)
  assert not loss_traces


@pytest.mark.parametrize(
  'options, message',
  [
    (
      {'model': Sums(features=8)},
      r'params/Dense_0/bias|params/Dense_0/kernel they need float32\[8, 4\],'
      r' but it has float32\[16, 4\]',
    ),
    ({'model': Sums(fragile=True)}, r'root they need.*but it has nothing'),
    (
      {'optimizer': optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)},
      'opt_state.*nothing',
    ),
    ({'key': jax.random.key(99)}, 'another key'),
    ({'learning_rate': 0.125}, 'holds the learning rate 0.001, but 0.125'),
  ],
)
def test_a_state_of_another_run_is_refused(options, message, loss_traces):
  """With the leaf that differs; what differs on purpose is set in the state."""
  state = training.init(MODEL, TASK, OPTIMIZER, KEY, 1e-3)
  with pytest.raises(ValueError, match=message):
    _train(state=state, **options)
  assert not loss_traces


@pytest.mark.parametrize('name', ['steps', 'batch_size', 'log_every'])
@pytest.mark.parametrize('value', ['8', 2.5, None, float('nan')])
def test_numbers_of_steps_are_whole(name, value, monkeypatch):
  """In the sentence that options of tasks get."""
  monkeypatch.setattr(jaxtyping.config, 'jaxtyping_disable', True)
  with pytest.raises(ValueError, match=f'train needs {name} to be a whole'):
    _train(**{name: value})


def test_norms_of_layers_make_up_that_of_the_gradient():
  """One step's; a state without them is not one that a run with them made."""
  train = functools.partial(
    *(training.train, model_for(TASK, (GRU(4),)), TASK, OPTIMIZER, KEY),
    batch_size=2,
    log_every=1,
    layer_norms=True,
  )
  ((state, metrics),) = train(steps=1)
  layers = {k: v for k, v in metrics.items() if k.startswith('gradient_norm/')}
  assert set(layers) == {
    'gradient_norm/embedding',
    'gradient_norm/readout',
    'gradient_norm/stack/blocks_0',
    'gradient_norm/stack/norm',
  }
  np.testing.assert_allclose(
    np.sqrt(sum(norm**2 for norm in layers.values())),
    metrics['gradient_norm'],
    rtol=1e-5,
  )
  ((_, later),) = train(steps=2, state=state)
  assert set(later) == set(metrics)
  with pytest.raises(ValueError, match='The state does not fit'):
    next(train(steps=2, state=state, layer_norms=False))


def test_one_of_several_processes_is_refused(monkeypatch):
  """Without a mesh over the devices of all, each would train alone."""
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  model = model_for(TASK, (GRU(4),))
  with pytest.raises(
    ValueError, match='In 2 processes .* a mesh over all .*rows:-1'
  ):
    training.train(model, TASK, OPTIMIZER, KEY, steps=1, batch_size=2)
