"""Trains on eight devices of the host and on one, and prints what it saw.

A program of its own: how many devices there are is settled when jax starts.
"""

import functools
import json
import re
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh

from seqjax import training
from seqjax.models import SequenceModel
from seqjax.nn import GRU, Attention, MinGRU
from seqjax.nn.mixer import CausalMixer
from seqjax.results.checkpoint import Checkpoints
from seqjax.tasks import Recall
from seqjax.tasks.text import Text
from seqjax.training import interval, meshes, sharding
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


class RunningSum(CausalMixer):
  """The sum of all inputs so far, on one device or with positions cut."""

  @nn.nowrap
  def initialize_carry(self, batch_size):
    return jnp.zeros((batch_size, self.features))

  def step(self, carry, x_t):
    carry = carry + x_t
    return carry, carry

  def unroll(self, carry, x, segments=None):
    sums = jnp.cumsum(x, axis=1)
    if 'time' in jax.sharding.get_abstract_mesh().manual_axes:
      totals = jax.lax.all_gather(sums[:, -1], 'time')
      before = jnp.arange(len(totals)) < jax.lax.axis_index('time')
      sums += jnp.sum(totals * before[:, None, None], axis=0)[:, None]
      return carry + jnp.sum(totals, axis=0), carry[:, None] + sums
    return carry + sums[:, -1], carry[:, None] + sums


def case(task, mesh, mixers, *, carried):
  """Losses on one device and on the mesh, and what crosses."""
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
  mesh = meshes.check(mesh, BATCH_SIZE, 6)
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
  scored = {'batches': 2, 'batch_size': 12, 'at_once': 9, 'carried': carried}
  params = alone[-1][0].params
  scores = [
    training.evaluate(model, params, task, **scored, mesh=devices)
    for devices in (None, mesh)
  ]
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
    'scores': [[*map(list, of.values()), of.share] for of in scores],
  }


def shared_states(task, mesh, mixers, folder):
  """Losses and states where devices share parameters between steps."""
  model = SequenceModel(task.input, task.output, mixers, expansion=0)
  optimizer = training.adamw(6)
  train = functools.partial(
    *(training.train, model, task, optimizer, KEY),
    **{'steps': 6, 'batch_size': BATCH_SIZE, 'log_every': 3},
  )
  alone = list(train())
  shared = list(train(mesh=mesh, shard_states=True))
  (first, _), (last, _) = shared
  resumed = [list(train(state=first))]
  resumed += [list(train(state=alone[0][0], mesh=mesh, shard_states=True))]
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(6, last, {})
    checkpoints.wait()
    kept, _ = checkpoints.restore(alone[-1][0])
  held = last.params, last.opt_state
  return {
    'alone': [float(metrics['loss']) for _, metrics in alone],
    'shared': [float(metrics['loss']) for _, metrics in shared],
    'resumed': [float(run[0][1]['loss']) for run in resumed],
    'shares': [
      (leaf.size, [part.data.size for part in leaf.addressable_shards])
      for leaf in jax.tree.leaves(held)
    ],
    'kept': [
      np.array_equal(*pair)
      for pair in zip(
        jax.tree.leaves((kept.params, kept.opt_state)),
        jax.tree.leaves(held),
        strict=True,
      )
    ],
  }


def population(task, mixers):
  """Which members of a population, on two devices, are their solo runs."""
  rates = [1e-3, 3e-3, 1e-3, 3e-3]
  keys = [jax.random.key(seed) for seed in range(len(rates))]
  model = SequenceModel(task.input, task.output, mixers, dropout=0.1)
  parts = {'model': model, 'task': task, 'optimizer': training.adamw(6)}
  options = parts | {'steps': 6, 'batch_size': 8, 'log_every': 3}
  train = functools.partial(
    training.train_population, keys=keys, learning_rates=rates, **options
  )
  mesh = meshes.make({'members': 2})
  (first, _), (last, metrics) = train(mesh=mesh)
  ((resumed, _),) = train(mesh=mesh, state=first)
  *_, (of_one_device, _) = train(how='one_by_one')
  alone = []
  for key, rate in zip(keys, rates, strict=True):
    *_, solo = training.train(key=key, learning_rate=rate, **options)
    alone.append(solo)
  return {
    'same': [
      same(training.select_members(last, i), state)
      and all(metrics[name][i] == of[name] for name in of)
      for i, (state, of) in enumerate(alone)
    ],
    'others': [same(resumed, last), same(of_one_device, last)],
    'losses': metrics['loss'].tolist(),
    'devices': [
      sorted(part.index[0].start or 0 for part in leaf.addressable_shards)
      for leaf in jax.tree.leaves(last.params)
    ],
  }


def same(a, b):
  """Equal bit by bit."""
  a, b = ([*jax.tree.leaves((x.params, x.opt_state))] for x in (a, b))
  return all(np.array_equal(*pair) for pair in zip(a, b, strict=True))


def error(function, *args, **options):
  try:
    function(*args, **options)
  except (ValueError, FloatingPointError) as raised:
    return str(raised)


def meshes_of_all():
  """A row of all devices, and a square of them."""
  devices = np.array(jax.devices())
  # As jax.make_mesh makes it by default.
  mesh = Mesh(devices, ('rows',), axis_types=(AxisType.Explicit,))
  return mesh, Mesh(devices.reshape(4, 2), ('rows', 'time'))


RECALL = Recall(num_facts=4, num_distractors=3, lag=15)
MIXERS = GRU(8), Attention(8, 16)


def quick(corpus):
  mesh, square = meshes_of_all()
  text = Text(corpus, sampling='sequential', length=6)
  model = SequenceModel(RECALL.input, RECALL.output, MIXERS, expansion=0)
  diverge = training.train(
    model,
    RECALL,
    OPTIMIZER,
    KEY,
    steps=6,
    batch_size=BATCH_SIZE,
    learning_rate=jnp.inf,
    mesh=mesh,
  )
  sums = (RunningSum(8),)
  return {
    'drawn': case(RECALL, mesh, MIXERS, carried=False),
    'fed': case(text, mesh, MIXERS, carried=True),
    'fed, cut': case(text, square, sums, carried=True),
    'shared states': shared_states(RECALL, square, sums, f'{corpus}.run'),
    'not finite': error(list, diverge),
  }


def slow(corpus):
  del corpus
  _, square = meshes_of_all()
  hybrid = MinGRU(8), Attention(8, 16)
  return {
    'drawn, cut': case(RECALL, square, hybrid, carried=False),
    'members': population(RECALL, MIXERS),
  }


if __name__ == '__main__':
  print(json.dumps({'quick': quick, 'slow': slow}[sys.argv[2]](sys.argv[1])))
