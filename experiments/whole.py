"""Whole models in the place of mixers: an entry that is a function of a task.

    def my_model(task):
      return MyModel(task.input, task.output)

    python -m experiments.card --mixers=my_package.my_module:my_model

A mixer is made of (features, context) and given a model's embedding, readout
and number of parameters by the experiment. A whole model has its own.
"""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from seqjax.cli import build
from seqjax.models import Seq2Seq, SequenceModel, num_parameters
from seqjax.nn.mixer import state_floats


def is_whole(make: Callable) -> bool:
  """Tells if an entry makes models: its only argument is called `task`."""
  try:
    return list(inspect.signature(make).parameters) == ['task']
  except (TypeError, ValueError):  # what is written in C may not say
    return False


def model(make: Callable[[Any], nn.Module], *tasks: Any) -> nn.Module:
  """Makes the model of a task, and holds it to the shapes of the task.

  Args:
    make: makes it; `model.apply(variables, inputs, segments)` returns outputs.
    *tasks: the task to train it on, then those that it is tested on.

  Raises:
    ValueError: it cannot be made, does not accept a task's inputs, has
      variables other than 'params', has other parameters for other tasks, or
      returns outputs of the wrong shape.
  """
  name = getattr(make, '__name__', str(make))
  made, trained = [], None
  for task in tasks:
    said = f'that of {task} by {name}'
    batch = build.example(task)
    try:
      made.append(make(task))
      outputs, variables = jax.eval_shape(
        made[-1].init_with_output,
        jax.random.key(0),
        batch.inputs,
        batch.segments,
      )
    except Exception as error:  # whatever a caller's model does
      why = f'{type(error).__name__}: {error}'.splitlines()[0]
      raise ValueError(
        f'A whole model reads inputs and segments, but {said} does not: {why}'
      ) from error
    if set(variables) != {'params'}:
      raise ValueError(
        f'A whole model has parameters and nothing else, but {said} has '
        f'{", ".join(sorted(variables)) or "none"}.'
      )
    _check_outputs(task, batch, outputs, said)
    trained = variables if trained is None else trained
    if variables != trained:
      raise ValueError(
        'The parameters of a whole model fit sequences of every length that '
        f'it is tested at, but {said} has others than that of {tasks[0]}.'
      )
  return made[0]


def _check_outputs(task: Any, batch: Any, outputs: Any, said: str):
  spec = task.output
  width = spec.shape if spec.vocab is None else (spec.vocab,)
  wanted = *np.shape(batch.weights), *width
  shape = getattr(outputs, 'shape', None)
  if shape != wanted:
    raise ValueError(
      f'A whole model returns outputs of the shape {wanted}, but {said} '
      f'returns {shape}.'
    )


def described(model: nn.Module, task: Any, own: bool = False) -> dict[str, Any]:
  """Returns the columns of a table that say what was trained.

  Args:
    model: it is made of mixers by an experiment, or whole.
    task: what it reads.
    own: whether it is whole.

  Returns:
    Of mixers `features` of the first, `mixer_parameters` and `carry_floats` of
    all (of the decoder's, where there are two stacks), and `model_parameters`.
    A whole model has 0 features, and all of its parameters are its mixers'; its
    carry is not known (None) unless it is a stack of mixers.
  """
  batch = build.example(task)
  variables = jax.eval_shape(
    model.init, jax.random.key(0), batch.inputs, batch.segments
  )
  size = sum(leaf.size for leaf in jax.tree.leaves(variables))
  mixers = ()
  if isinstance(model, Seq2Seq):
    mixers = model.decoder
  elif isinstance(model, SequenceModel):
    mixers = model.mixers
  return {
    'features': 0 if own else mixers[0].features,
    'mixer_parameters': size if own else sum(map(num_parameters, mixers)),
    'carry_floats': sum(map(state_floats, mixers)) if mixers else None,
    'model_parameters': size,
  }
