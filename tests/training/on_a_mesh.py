"""Trains on eight devices of the host and on one, and prints what it saw.

A program of its own: how many devices there are is settled when jax starts.
"""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh

from seqjax import training
from seqjax.models import SequenceModel
from seqjax.nn import GRU, Attention
from seqjax.tasks import Recall
from seqjax.tasks.text import Text
from seqjax.training import interval, sharding
from seqjax.training.state import Parts

KEY, BATCH_SIZE = jax.random.key(0), 40
OPTIMIZER = optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jnp.float32)(
  learning_rate=jnp.nan, momentum=0.9
)
COLLECTIVE = re.compile(
  r'= (\S.*?) (all-\w+|reduce-scatter|collective-\w+)(?:-start)?\('
)


def collectives(lowered):
  """[operation, shape] of all that devices send each other."""
  found = COLLECTIVE.findall(lowered.compile().as_text())
  return sorted(
    {
      (operation, shape)
      for shapes, operation in found
      for shape in re.findall(r'\[([\d,]*)\]', shapes)
    }
  )


def case(task, mesh, *, carried):
  """Losses on one device and on the mesh, and what crosses."""
  mixers = GRU(8), Attention(8, 16)
  model = SequenceModel(task.input, task.output, mixers, expansion=0)
  parts = {'model': model, 'task': task, 'optimizer': OPTIMIZER}
  options = {'batch_size': BATCH_SIZE, 'learning_rate': 0.5, 'log_every': 2}
  options |= {'steps': 6, 'carried': carried, 'key': KEY}
  alone = list(training.train(**parts, **options))
  spread = list(training.train(**parts, **options, mesh=mesh))
  resumed = list(
    training.train(**parts, **options, mesh=mesh, state=alone[0][0])
  )
  state = spread[-1][0]
  progress = interval.Progress.begin(state)
  mesh = sharding.check(mesh, BATCH_SIZE)
  if task.on_device:
    lowered = interval._steps_on_device.lower(
      progress, 8, {}, parts=Parts(**parts, mesh=mesh), batch_size=BATCH_SIZE
    )
  else:
    batch = task.batch(KEY, 0, BATCH_SIZE)
    stack = jax.tree.map(lambda leaf: np.stack([leaf] * 32), batch)
    stack = sharding.put_stack(stack, mesh)
    lowered = interval._stack.lower(
      progress, 8, stack, 6, parts=Parts(**parts, mesh=mesh)
    )
  scores = training.evaluate(
    model, state.params, task, batches=1, batch_size=BATCH_SIZE
  )
  return {
    'alone': [float(metrics['loss']) for _, metrics in alone],
    'spread': [float(metrics['loss']) for _, metrics in spread],
    'resumed': [float(metrics['loss']) for _, metrics in resumed],
    'collectives': collectives(lowered),
    'parameters': [list(leaf.shape) for leaf in jax.tree.leaves(state.params)],
    'copies': all(
      leaf.is_fully_replicated for leaf in jax.tree.leaves(state.params)
    ),
    'carry': sorted(
      {
        leaf.addressable_shards[0].data.shape[0]
        for leaf in jax.tree.leaves(state.carry)
      }
    ),
    'score': training.overall(scores),
  }


def error(function, *args, **options):
  try:
    function(*args, **options)
  except (ValueError, FloatingPointError) as raised:
    return str(raised)


def main(corpus):
  devices = np.array(jax.devices())
  # As jax.make_mesh makes it by default.
  mesh = Mesh(devices, ('data',), axis_types=(AxisType.Explicit,))
  recall = Recall(num_facts=4, num_distractors=3, lag=15)
  text = Text(corpus, sampling='sequential', length=6)
  model = SequenceModel(
    recall.input, recall.output, (GRU(8), Attention(8, 16)), expansion=0
  )
  diverge = training.train(
    model,
    recall,
    OPTIMIZER,
    KEY,
    steps=6,
    batch_size=BATCH_SIZE,
    learning_rate=jnp.inf,
    mesh=mesh,
  )
  square = Mesh(devices.reshape(4, 2), ('data', 'model'))
  return {
    'drawn': case(recall, mesh, carried=False),
    'fed': case(text, mesh, carried=True),
    'not finite': error(list, diverge),
    'rows': error(sharding.check, mesh, 20),
    'axes': error(sharding.check, square, 24),
  }


if __name__ == '__main__':
  print(json.dumps(main(sys.argv[1])))
