"""Computations for tests of cut positions, on several devices."""

from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from seqjax.models import Classifier, SequenceModel
from seqjax.nn import GLA, RGLRU, Elman, FullAttention, MinGRU
from seqjax.nn.mixer import CausalMixer, carry_dtype
from seqjax.ops import over_time
from seqjax.ops.linear_recurrence import Part
from seqjax.testing import over_devices
from seqjax.typing import Segments, Spec


class StepByStep(CausalMixer):
  """A mixer that defines its step alone."""

  def setup(self):
    self.project = nn.Dense(self.features, **self._types)

  @nn.nowrap
  def initialize_carry(self, batch_size):
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def step(self, carry, x_t):
    carry = jnp.tanh(carry + self.project(x_t))
    return carry, carry.astype(self.dtype)


def first_forgotten(first, part, compose, reach=0):
  first = jax.tree.map(jnp.zeros_like, first)
  return prefix(first, part, compose, reach)


def starts_overlooked(earlier, later):
  decay = earlier.decay * later.decay
  drive = later.decay * earlier.drive + later.drive
  return Part(decay, drive, earlier.start)


def left_where_they_are(tree, distance=1):
  return tree if distance < 0 else rotate(tree, distance)


prefix, rotate = over_time.prefix, over_time.rotate
BUGS = {
  'the carry is forgotten on the first device': (
    MinGRU(4), {'seqjax.ops.over_time.prefix': first_forgotten}),
  'decays are not cleared at a start': (
    GLA(4, num_heads=1), {
      'seqjax.ops.linear_recurrence._compose': starts_overlooked,
      'seqjax.ops.matrix_parts.clear': lambda array, start: array}),
  'gradients of keys do not travel back': (
    FullAttention(4, num_heads=1),
    {'seqjax.ops.over_time.rotate': left_where_they_are}),
  'positions begin anew on every device': (
    RGLRU(4), {'seqjax.ops.over_time.offset': lambda num_positions: 0}),
}  # fmt: skip


def check(name: str):
  """Returns the law that is broken with a bug planted, and what of it."""
  mixer, changes = BUGS[name]
  patches = [mock.patch(target, new) for target, new in changes.items()]
  for patch in patches:
    patch.start()
  try:
    return over_devices.check((mixer, 4, ()))
  finally:
    for patch in patches:
      patch.stop()


def square(mesh_shape, module, x, segments, out):
  """Returns outputs and gradients on a mesh of rows and parts, and alone."""
  mesh = jax.make_mesh(
    mesh_shape, ('rows', over_time.AXIS), axis_types=(AxisType.Auto,) * 2
  )
  cut = PartitionSpec('rows', over_time.AXIS)
  variables = module.init(jax.random.key(0), x[:, :2])
  spread = jax.shard_map(
    module.apply,
    mesh=mesh,
    in_specs=(PartitionSpec(), cut, cut),
    out_specs=out,
    check_vma=False,
  )

  @jax.jit
  def run(variables, x, segments):
    def loss(apply, variables):
      y = apply(variables, x, segments)
      return jnp.sum(jnp.sin(y)), y

    return [
      jax.grad(lambda v: loss(apply, v), has_aux=True)(variables)  # noqa: B023
      for apply in (spread, module.apply)
    ]

  return jax.tree.map(np.asarray, run(variables, x, segments))


def on_a_square_mesh(name: str):
  """Returns (gradients, outputs) of a model, on four devices and on one."""
  model, out = MODELS[name]
  rng = np.random.default_rng(0)
  x = rng.integers(0, 5, (4, 12))
  segments = Segments(rng.random(x.shape) < 0.2, rng.random(x.shape) < 0.8)
  return square((2, 2), model, x, segments, out)


IN_ROWS = PartitionSpec('rows')
TOKENS = Spec(vocab=5)
MODELS = {
  'sequence': (
    SequenceModel(TOKENS, TOKENS, (MinGRU(4), Elman(4)), expansion=0),
    PartitionSpec('rows', over_time.AXIS)),
} | {
  pool: (Classifier(TOKENS, TOKENS, (MinGRU(4),), pooling=pool), IN_ROWS)
  for pool in ('last', 'mean', 'max')
}  # fmt: skip
