"""Bugs in what devices send each other, planted where the law is checked.

A module of its own, since the process with several devices imports it.
"""

from unittest import mock

import jax
import jax.numpy as jnp

from seqjax.nn import GLA, RGLRU, FullAttention, MinGRU
from seqjax.ops import over_time
from seqjax.ops.linear_recurrence import Part
from seqjax.testing import over_devices


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
