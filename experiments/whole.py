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


def model(make: Callable[[Any], nn.Module], task: Any) -> nn.Module:
  """Makes the model of a task, and holds it to the shapes of the task.

  Args:
    make: makes it; `model.apply(variables, inputs, segments)` returns outputs.
    task: the task to train it on.

  Raises:
    ValueError: it does not read the task's inputs, has more than parameters,
      or returns outputs of another shape.
  """
  made = make(task)
  batch = build.example(task)
  said = f'of {type(task).__name__} by {getattr(make, "__name__", make)}'
  try:
    outputs, variables = jax.eval_shape(
      made.init_with_output, jax.random.key(0), batch.inputs, batch.segments
    )
  except Exception as error:  # whatever a caller's model does
    raise ValueError(
      f'A whole model reads inputs and segments, but that {said} does not: '
      f'{type(error).__name__}: {error}'
    ) from error
  if set(variables) != {'params'}:
    raise ValueError(
      f'A whole model has parameters and nothing else, but that {said} has '
      f'{", ".join(sorted(variables)) or "none"}.'
    )
  spec = task.output
  width = spec.shape if spec.vocab is None else (spec.vocab,)
  wanted = *np.shape(batch.weights), *width
  shape = getattr(outputs, 'shape', None)
  if shape != wanted:
    raise ValueError(
      f'A whole model returns outputs of the shape {wanted} for inputs of the '
      f'shape {batch.inputs.shape}, but that {said} returns {shape}.'
    )
  return made


def described(model: nn.Module, task: Any) -> dict[str, Any]:
  """Returns the columns of a table that say what was trained.

  `features` of the first mixer, `mixer_parameters` and `carry_floats` of all,
  which are those of the decoder where there are two stacks; of a model that is
  no stack of mixers 0, its parameters, and None. And `model_parameters`.
  """
  batch = build.example(task)
  variables = jax.eval_shape(
    model.init, jax.random.key(0), batch.inputs, batch.segments
  )
  size = sum(leaf.size for leaf in jax.tree.leaves(variables))
  if not isinstance(model, SequenceModel | Seq2Seq):
    own = {'features': 0, 'mixer_parameters': size, 'carry_floats': None}
    return own | {'model_parameters': size}
  mixers = model.decoder if isinstance(model, Seq2Seq) else model.mixers
  return {
    'features': mixers[0].features,
    'mixer_parameters': sum(map(num_parameters, mixers)),
    'carry_floats': sum(map(state_floats, mixers)),
    'model_parameters': size,
  }
