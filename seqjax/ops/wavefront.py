"""Recurrences that take one step after the other, over devices: rows in turn.

The rows of a batch are split into groups. While one device reads its positions
of a group, the one before it reads its own of the next group: with as many
groups G as there are devices n, all are done after 2n - 1 turns, of which each
device works for n. Many rows make that worth while; a single one gains nothing,
since its positions still follow each other.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.ops import over_time


def wavefront(
  run: Callable[..., tuple[Any, Any]], carry: Any, *inputs: Any
) -> tuple[Any, Any]:
  """Computes `run` of whole rows from that of each device's positions.

  Args:
    run: (carry, *inputs) -> carry, outputs, of this device's positions, rows
      being independent of each other; leaves are [B ...].
    carry: the one before the first position of the whole.
    *inputs: this device's positions; None may stand among them.

  Returns:
    The carry after the last position of the whole, and this device's outputs.
  """

  def take(turn, first, turns):
    return jax.lax.scan(functools.partial(turn, run), first, turns)

  return in_turns(take, carry, *inputs)


def in_turns(
  take: Callable[..., tuple[Any, Any]], carry: Any, *inputs: Any
) -> tuple[Any, Any]:
  """Computes what `wavefront` does, by a scan of the caller's.

  Args:
    take: (turn, first, turns) -> what `jax.lax.scan` returns for the function
      (carry, x) -> turn(run, carry, x), where `run` is that of `wavefront`.
    carry, *inputs: as in `wavefront`.
  """
  batch_size = jax.tree.leaves(inputs)[0].shape[0]
  parts, here = over_time.num_parts(), over_time.place()
  size = max(-(-batch_size // parts), 1)
  groups = -(-batch_size // size)

  def split(array):
    missing = groups * size - batch_size
    filled = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, filled).reshape(groups, size, *array.shape[1:])

  def join(array):
    own = jax.lax.dynamic_slice_in_dim(array, here, groups)
    return jax.lax.collapse(own, 0, 2)[:batch_size]

  rows = jax.tree.map(split, (carry, inputs))

  def turn(run, received, time):
    group = time - here
    first, inputs = jax.tree.map(
      lambda a: jax.lax.dynamic_index_in_dim(a, group, keepdims=False), rows
    )
    given = over_time.select(here == 0, first, received), inputs
    # Before its first group and after its last one, a device reads zeros.
    working = (group >= 0) & (group < groups)
    idle = jax.tree.map(jnp.zeros_like, given)
    given, inputs = over_time.select(working, given, idle)
    after, y = run(given, *inputs)
    return over_time.shift(after), (after, y)

  nothing = jax.tree.map(lambda a: jnp.zeros_like(a[0]), rows[0])
  turns = jnp.arange(groups + parts - 1, dtype=jnp.int32)
  _, done = take(turn, nothing, turns)
  carry, y = jax.tree.map(join, done)
  return over_time.from_last(carry), y
