"""Carried training: windows of a stream are read as the stream would be."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import training
from seqjax.models import Classifier, Seq2Seq, SequenceModel
from seqjax.nn import GRU, MIXERS, Attention, Bidirectional
from seqjax.tasks import Language, Recall
from seqjax.tasks.text import Text
from seqjax.typing import Batch, Segments, Spec

KEY, WINDOWS, LENGTH, ROWS = jax.random.key(3), 4, 4, 2
OPTIMIZER = optax.inject_hyperparams(optax.sgd)(learning_rate=jnp.nan)
TOKENS = Spec((), vocab=5)
NAMES = list(MIXERS)
# The contract's law of cuts is for every mixer; training is the same for all.
FEW = [
  pytest.param(
    NAMES[i : i + 4],
    marks=() if 'attention' in NAMES[i : i + 4] else pytest.mark.slow,
  )
  for i in range(0, len(NAMES), 4)
]


@dataclasses.dataclass(frozen=True)
class Stream(Language):
  """Two documents a row; the second is the same under every key.

  Row 0 comes to it within window 1, row 1 where window 2 begins.
  """

  broken_step: int = -1

  on_device: ClassVar[bool] = True
  sequential: ClassVar[bool] = True
  second: ClassVar[tuple[int, ...]] = (6, 8)

  def batch(self, key, step, batch_size, split='train'):
    shape = batch_size, WINDOWS * LENGTH + 1
    first, second = (
      jax.random.randint(k, shape, 0, TOKENS.vocab)
      for k in (key, jax.random.key(0))
    )
    places = jnp.arange(shape[1])[None] + jnp.zeros((batch_size, 1), jnp.int32)
    change = jnp.resize(jnp.array(self.second), batch_size)[:, None]
    tokens = jnp.where(places < change, first, second)
    starts = (places == change) | (places == 0)
    tokens, starts = (
      jax.lax.dynamic_slice_in_dim(a, step * LENGTH, LENGTH + 1, axis=1)
      for a in (tokens, starts)
    )
    weights = (~starts[:, 1:]).astype(jnp.float32)
    weights = jnp.where(step == self.broken_step, jnp.nan, weights)
    segments = Segments(starts[:, :-1], jnp.ones((batch_size, LENGTH), bool))
    return Batch(tokens[:, :-1], tokens[:, 1:], weights, segments)


def _model(*mixers):
  return SequenceModel(TOKENS, TOKENS, mixers, expansion=0)


def _train(model, task, optimizer=OPTIMIZER, **options):
  options = {
    'key': KEY,
    'steps': WINDOWS,
    'batch_size': ROWS,
    'learning_rate': 0.0,
    'log_every': 1,
    'carried': True,
  } | options
  return training.train(model, task, optimizer, **options)


def _losses(runs):
  return np.array([metrics['loss'] for _, metrics in runs])


def _windows(task, key):
  batch = jax.jit(task.batch, static_argnums=2)
  return [batch(key, step, ROWS) for step in range(WINDOWS)]


@pytest.mark.parametrize('names', FEW, ids='-'.join)
def test_windows_are_read_as_one_long_stream(names):
  """Losses and final carry, for every causal mixer; documents stay apart."""
  model = _model(*(MIXERS[name](8, 16) for name in names))
  task = Stream()
  runs = list(_train(model, task))
  state = runs[0][0]

  @jax.jit
  def whole(params, windows):
    stream = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *windows)
    carry, outputs = model.apply(
      {'params': params},
      model.initialize_carry(ROWS),
      stream.inputs,
      stream.segments,
      method='unroll',
    )
    parts = jnp.split(outputs, WINDOWS, axis=1)
    return carry, [task.loss(*p) for p in zip(parts, windows, strict=True)]

  carry, losses = whole(state.params, _windows(task, KEY))
  np.testing.assert_allclose(_losses(runs), losses, rtol=2e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
    runs[-1][0].carry,
    carry,
  )
  other = jax.random.key(4)
  first = training.init(
    model, task, OPTIMIZER, KEY, 0.0, carried_rows=ROWS
  )._replace(key=other)
  changed = _losses(_train(model, task, key=other, state=first))
  assert abs(changed - losses)[0] > 1e-3
  np.testing.assert_allclose(changed[2:], losses[2:], rtol=2e-5)


def test_no_gradient_passes_from_window_to_window():
  """The update is that of the window alone, its carry a constant."""
  model, task = _model(GRU(8)), Stream()
  (before, _), (after, _), *_ = list(_train(model, task, learning_rate=1.0))

  @jax.jit
  @jax.grad
  def gradient(params):
    batch = task.batch(KEY, 1, ROWS)
    _, outputs = model.apply(
      {'params': params},
      before.carry,
      batch.inputs,
      batch.segments,
      method='unroll',
    )
    return task.loss(outputs, batch)

  expected = jax.tree.map(
    lambda p, g: p - g, before.params, gradient(before.params)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    after.params,
    expected,
  )


@pytest.fixture
def text(tmp_path):
  """Some documents, of which an epoch takes eight batches."""
  rng = np.random.default_rng(0)
  for i in range(3):
    letters = rng.choice(list('abcd '), 70)
    (tmp_path / f'{i}.txt').write_text(''.join(letters))
  return Text(str(tmp_path), sampling='sequential', length=5)


def test_a_resumed_run_changes_no_bit(text):
  """Carry and parameters, over the end of an epoch; drawn on the host."""
  model = SequenceModel(text.input, text.output, (GRU(8), Attention(8, 8)))
  assert 3 < text.batches_per_epoch(4) < 12
  options = {'steps': 12, 'batch_size': 4, 'learning_rate': 0.1, 'log_every': 3}
  states = [state for state, _ in _train(model, text, **options)]
  restored = jax.tree.map(np.asarray, states[0]._replace(key=None))
  restored = restored._replace(key=KEY)
  *_, (last, _) = _train(model, text, state=restored, **options)
  for name in ('step', 'params', 'opt_state', 'carry'):
    expected = getattr(states[-1], name)
    given = getattr(last, name)
    jax.tree.map(np.testing.assert_array_equal, given, expected)
  assert np.any(last.carry[0] != 0)


def test_what_is_not_finite_stops_a_carried_run():
  """Before a state of it is yielded; the carry counts, too."""
  runs = _train(_model(GRU(8)), Stream(broken_step=2))
  next(runs), next(runs)
  with pytest.raises(training.NotFinite, match='loss is not finite at step 2'):
    next(runs)
  state = training.init(
    _model(GRU(8)), Stream(), OPTIMIZER, KEY, 0.0, carried_rows=ROWS
  )
  fault = training.step.first_fault(
    jnp.zeros(()),
    state.params,
    state.params,
    jax.tree.map(lambda x: x * jnp.nan, state.carry),
  )
  name = training.step.fault_name(int(fault), state.params)
  assert 'The carry is not finite' in str(training.NotFinite(5, KEY, name))


@pytest.mark.parametrize('on_device, at_once', [(True, ROWS), (False, 1)])
def test_an_evaluation_reads_a_text_as_one(on_device, at_once, text):
  """Scores and losses are those of one long text, by group."""
  task = Stream() if on_device else text
  spec = TOKENS if on_device else task.input
  model = SequenceModel(spec, spec, (GRU(8), Attention(8, 8)), expansion=0)
  batches = [task.batch(jax.random.key(0), i, ROWS) for i in range(2)]
  whole = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *batches)
  params = jax.jit(model.init)(KEY, whole.inputs)['params']
  outputs = jax.jit(model.apply)(
    {'params': params}, whole.inputs, whole.segments
  )
  bits, weights = task.score(outputs, whole)
  expected = np.average(bits, weights=weights)
  options = {'batches': 2, 'batch_size': ROWS, 'split': 'train'}
  score = functools.partial(training.evaluate, model, params, task, **options)
  found = score(carried=True, at_once=at_once)
  np.testing.assert_allclose(training.overall(found), expected, rtol=1e-5)
  alone = training.overall(score())
  assert abs(alone - expected) > 1e-3  # a window by itself knows less
  if not on_device:
    assert list(found) == list(range(task.length))
  losses = [
    task.loss(part, batch)
    for part, batch in zip(np.split(outputs, 2, axis=1), batches, strict=True)
  ]
  loss = training.evaluate_loss(model, params, task, carried=True, **options)
  np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)


def test_an_evaluation_begins_with_an_empty_carry():
  """Its first batch is scored as one by itself."""
  task, model = Stream(), _model(GRU(8))
  params = model.init(KEY, jnp.zeros((1, 1), jnp.int32))['params']
  first, again, alone = (
    training.evaluate(
      model, params, task, batches=1, batch_size=ROWS, carried=carried
    )
    for carried in (True, True, False)
  )
  assert first == again
  np.testing.assert_allclose(
    training.overall(first), training.overall(alone), rtol=1e-6
  )


@pytest.mark.parametrize(
  'model, task, message',
  [
    (_model(GRU(8)), Recall(), r'Recall\(.*do not: use a task that is seq'),
    (
      _model(GRU(8)),
      Text(sampling='random'),
      r"sampling='random'.*do not: use",
    ),
    (_model(Bidirectional(8)), Stream(), 'Bidirectional sees whole sequences'),
    (Classifier(TOKENS, TOKENS, (GRU(8),)), Stream(), 'A Classifier reads'),
    (
      Seq2Seq(TOKENS, TOKENS, (GRU(8),), (GRU(8),)),
      Stream(),
      'A Seq2Seq reads whole sequences',
    ),
  ],
)
@pytest.mark.parametrize(
  'use', [training.train, training.evaluate, training.evaluate_loss]
)
def test_what_cannot_be_carried_is_refused(use, model, task, message):
  """When `train` or `evaluate` is called."""
  with pytest.raises(ValueError, match=message):
    if use is training.train:
      _train(model, task)
    else:
      use(model, {}, task, batches=1, batch_size=ROWS, carried=True)


def test_a_state_with_and_one_without_a_carry_are_not_mixed_up():
  """Nor carries for other batches."""
  model, task = _model(GRU(8)), Stream()
  for rows, message in ((None, 'has nothing'), (4, r'float32\[4, 8\]')):
    state = training.init(model, task, OPTIMIZER, KEY, 0.0, carried_rows=rows)
    with pytest.raises(ValueError, match=f'carry.*{message}'):
      _train(model, task, state=state)
  with pytest.raises(ValueError, match='carry.*they need nothing'):
    _train(model, task, state=state, carried=False)
