"""The mesh axis `time`: every device holds a part of the positions of each row.

Inside of `jax.shard_map` over a mesh with an axis of this name, ops are given
the positions of one device, all of them equally many, in the order of the
devices. What an op computes is then that of the whole sequence: a carry that it
takes is the one before the first position of the whole, and equal on all
devices; so is the one that it returns, after the last position of the whole.

Ops whose parts compose associatively need log2 n rounds of messages for n
devices, each of the size of one composed part and none as long as the sequence
(Hillis & Steele, 1986, "Data parallel algorithms", section 3).

    mesh = jax.make_mesh((4,), ('time',))
    cut = P(None, 'time')
    unroll = functools.partial(mixer.apply, method='unroll')
    jax.shard_map(unroll, mesh=mesh, in_specs=(P(), P(), cut, cut),
                  out_specs=(P(), cut), check_vma=False)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int

from seqjax.typing import Array

AXIS = 'time'


def is_cut() -> bool:
  """Returns True while the axis `time` is a manual one: inside `shard_map`."""
  return AXIS in jax.sharding.get_abstract_mesh().manual_axes


def num_parts() -> int:
  """Returns the number of devices along the axis; 1 where there is none."""
  return jax.lax.axis_size(AXIS) if is_cut() else 1


def place() -> Int[Array, '']:
  """Returns the place of this device along the axis, counted from 0."""
  return jax.lax.axis_index(AXIS).astype(jnp.int32)


def offset(num_positions: int) -> int | Int[Array, '']:
  """Returns how many positions the parts before this one hold in all."""
  return place() * num_positions if is_cut() else 0


def shift(tree: Any, distance: int = 1) -> Any:
  """Returns what the device `distance` places before holds; zeros if none."""
  size = num_parts()
  pairs = [(i, i + distance) for i in range(size - distance)]
  return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, AXIS, pairs), tree)


def rotate(tree: Any, distance: int = 1) -> Any:
  """Returns what the device `distance` places before holds, in a ring."""
  size = num_parts()
  pairs = [(i, (i + distance) % size) for i in range(size)]
  return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, AXIS, pairs), tree)


def prefix(
  first: Any, part: Any, compose: Callable[[Any, Any], Any], reach: int = 0
) -> Any:
  """Composes `first` and the parts of all devices before this one.

  Args:
    first: stands before the part of the first device; equal on all devices.
    part: a tree of arrays, that of this device.
    compose: (earlier, later) -> both as one; associative.
    reach: how many parts before this one matter; 0: all of them. Fewer need
      fewer rounds of messages, and may be composed with some before them.

  Returns:
    What stands before this device's part, in the structure of `part`.
  """
  here = place()
  found = select(here == 0, first, shift(part))
  distance = 1
  while distance < min(reach or num_parts(), num_parts()):
    longer = compose(shift(found, distance), found)
    found = select(here >= distance, longer, found)
    distance *= 2
  return found


def from_last(tree: Any) -> Any:
  """Returns on every device what the last one holds."""
  if not is_cut():
    return tree
  last = place() == num_parts() - 1

  def send(leaf):
    sent = jnp.where(last, leaf, jnp.zeros((), leaf.dtype))
    return total(sent)

  return jax.tree.map(send, tree)


def total(array: Array) -> Array:
  """Sums over the devices; of booleans, says if one of them is true."""
  if not is_cut():
    return array
  if array.dtype == bool:
    return jax.lax.psum(array.astype(jnp.int32), AXIS) > 0
  return jax.lax.psum(array, AXIS)


def anywhere(flag: Array) -> Array:
  """Says if a flag is true on any device of the mesh, so that all agree.

  For loops and conditions with messages in them: devices that went different
  ways would wait for each other without end, those of other rows too.
  """
  if not is_cut():
    return flag
  axes = tuple(jax.sharding.get_abstract_mesh().manual_axes)
  return jax.lax.psum(flag.astype(jnp.int32), axes) > 0


def largest(tree: Any) -> Any:
  """Returns the largest of the entries on all devices, without a gradient."""
  if not is_cut():
    return tree
  tree = jax.lax.stop_gradient(tree)
  return jax.tree.map(lambda array: jax.lax.pmax(array, AXIS), tree)


def select(chosen: Array, yes: Any, no: Any) -> Any:
  """Returns one tree or the other, as a single boolean says."""
  return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), yes, no)


def check_whole(what: str):
  """Raises ValueError where positions are cut that are needed together."""
  if is_cut():
    raise ValueError(
      f'{what} needs all positions of a row on one device, but the mesh axis '
      f"'{AXIS}' cuts them into {num_parts()} parts; causal mixers of "
      'seqjax.nn.MIXERS can be cut, and others need a mesh without that axis.'
    )
