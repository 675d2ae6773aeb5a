"""Checks of the shapes of inputs and outputs: what trains and what refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.exact.checks import (
  CONTEXT,
  FEATURES,
  Mixers,
  accepted,
  check,
  jit,
)
from seqjax.models import Classifier, MLPClassifier, Seq2Seq, SequenceModel
from seqjax.nn import GRU
from seqjax.tasks import TASKS
from seqjax.typing import TaskShape

UPDATES, BATCH = 50, 16
EXAMPLES = {
  TaskShape.ONE_TO_ONE: ('multiplexer', 'two_spirals'),
  TaskShape.ONE_TO_MANY: ('unpacking', 'oscillator'),
  TaskShape.MANY_TO_ONE: ('motifs', 'trajectory_direction'),
  TaskShape.MANY_TO_MANY: ('lag_copy', 'trajectory_next'),
  TaskShape.MANY_TO_MANY_UNALIGNED: ('transduction_copy', 'translation'),
}
TO_ONE = (TaskShape.ONE_TO_ONE, TaskShape.MANY_TO_ONE)
TO_MANY = (TaskShape.ONE_TO_MANY, TaskShape.MANY_TO_MANY)
SUPPORTED = {
  'Classifier': TO_ONE,
  'MLPClassifier': TO_ONE,
  'SequenceModel': TO_MANY,
  'Seq2Seq': (TaskShape.MANY_TO_MANY_UNALIGNED,),
}
TAKES = 'the model takes the task'


def taxonomy(mixers: Mixers) -> list[dict]:
  """Gives every task to every model; those that are taken are trained."""
  del mixers
  rows = []
  for shape, names in EXAMPLES.items():
    for name in names:
      task = TASKS[name]()
      for kind, shapes in SUPPORTED.items():
        model, subject = build(kind, task, GRU(FEATURES)), f'{kind}, {name}'
        takes = accepted(functools.partial(fits, model, task))
        rows.append(check(TAKES, subject, BATCH, shape in shapes, takes))
        if takes:
          rows += _training(subject, model, task)
  return rows


def unequal_lengths(mixers: Mixers) -> list[dict]:
  """Asks for an output of another length than its input."""
  rows = []
  for name in EXAMPLES[TaskShape.MANY_TO_MANY_UNALIGNED]:
    task = TASKS[name]()
    batch = jax.eval_shape(lambda t=task: _batch(t))
    source, target = batch.inputs[0].shape[1], batch.targets.shape[1]
    rows.append(check('source and target have other lengths', name, target, 1,
                      source != target))  # fmt: skip
    for mixer, make in mixers.items():
      layer, subject = make(FEATURES, CONTEXT), f'{mixer}, {name}'
      plain, both = (
        build(k, task, layer) for k in ('SequenceModel', 'Seq2Seq')
      )
      refused = not accepted(functools.partial(fits, plain, task))
      lengths = [
        jax.eval_shape(lambda m=model, t=task: _outputs(m, _batch(t))).shape[1]
        for model in (plain, both)
      ]
      rows += [
        check('output positions of a stack', subject, source, source,
              lengths[0]),
        check('the loss refuses a stack', subject, source, 1, refused),
        check('output positions of an encoder-decoder', subject, source,
              target, lengths[1]),
      ]  # fmt: skip
    rows += _training(f'Seq2Seq, {name}', build('Seq2Seq', task, GRU(16)), task)
  return rows


def build(kind: str, task, mixer):
  """Makes a model of a kind for what stands at a task's positions."""
  if kind == 'MLPClassifier':
    return MLPClassifier(task.input, task.output.vocab or 1, CONTEXT)
  both = (mixer,), (mixer,)
  if kind == 'Seq2Seq':
    return Seq2Seq(task.input, task.output, *both)
  make = {'Classifier': Classifier, 'SequenceModel': SequenceModel}[kind]
  return make(task.input, task.output, both[0])


def fits(model, task):
  """Raises ValueError where a model or the loss refuses the other."""

  def loss():
    batch = _batch(task)
    return task.loss(_outputs(model, batch), batch)

  jax.eval_shape(loss)


def _batch(task):
  return task.batch(jax.random.key(0), 0, BATCH)


def _outputs(model, batch):
  """Computes the outputs of a model with new parameters."""
  return model.init_with_output(jax.random.key(0), *_inputs(model, batch))[0]


def _inputs(model, batch) -> tuple:
  """Returns what a model reads: of a pair, all but Seq2Seq read the source."""
  both = isinstance(batch.inputs, tuple) and not isinstance(model, Seq2Seq)
  if both:
    return batch.inputs[0], batch.segments and batch.segments[0]
  return batch.inputs, batch.segments


def _training(subject: str, model, task) -> list[dict]:
  """Takes updates on one batch: gradients are finite, and the loss falls."""
  optimizer = optax.adam(1e-2)

  @jit
  def train():
    batch = _batch(task)
    inputs = _inputs(model, batch)

    def loss(variables):
      return task.loss(model.apply(variables, *inputs), batch)

    def update(state, _):
      variables, moments = state
      value, gradient = jax.value_and_grad(loss)(variables)
      steps, moments = optimizer.update(gradient, moments)
      finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
      return (optax.apply_updates(variables, steps), moments), (value, finite)

    variables = model.init(jax.random.key(0), *inputs)
    state = variables, optimizer.init(variables)
    return jax.lax.scan(update, state, length=UPDATES)[1]

  losses, finite = map(np.asarray, train())
  return [
    check('updates with a finite gradient', subject, UPDATES, UPDATES,
          finite.sum()),
    check('the loss falls', subject, UPDATES, 1, losses[-1] < losses[0]),
  ]  # fmt: skip
