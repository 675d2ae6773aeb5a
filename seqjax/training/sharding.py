"""Rows and positions of a batch over the devices of a mesh.

Every device computes the gradient of its part; their sum is all that devices
send each other, but for single numbers, and for what passes along time where
positions are cut. Parameters are on each device, or, at rest, in parts.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from seqjax.training.meshes import MEMBERS, ROWS, TIME, size
from seqjax.training.state import TrainState
from seqjax.typing import Batch


def put(
  state: TrainState, mesh: Mesh | None, shard_states: bool = False
) -> TrainState:
  """Returns the state on the devices of the mesh, from wherever it is."""
  if mesh is None:
    return state
  return jax.tree.map(_placed, state, _of_state(state, mesh, shard_states))


def put_copies(tree: Any, mesh: Mesh | None) -> Any:
  """Returns a tree with copies on all devices of the mesh.

  What lies on these devices already stays as it is, such as a state at rest.
  """
  if mesh is None:
    return tree
  everywhere = NamedSharding(mesh, P())

  def put(leaf):
    sharding = getattr(leaf, 'sharding', None)
    there = isinstance(sharding, NamedSharding) and sharding.mesh == mesh
    return leaf if there else _placed(leaf, everywhere)

  return jax.tree.map(put, tree)


def put_stack(batches: Batch, mesh: Mesh | None) -> Batch:
  """Returns batches on top of each other, each of them spread over the mesh."""
  if mesh is None:
    return batches
  return jax.tree.map(_placed, batches, _of_batch(batches, mesh, stacked=True))


def local(state: TrainState) -> TrainState:
  """Returns the whole state on devices of this process, or in its memory.

  Of a mesh over several processes, which all have to ask for it together. What
  they share is put together in the memory of the host, an array at a time.
  """

  def whole(leaf):
    if leaf.is_fully_addressable:
      return leaf
    if leaf.is_fully_replicated:
      return leaf.addressable_data(0)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

  return jax.tree.map(whole, state)


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
  """Returns an array, or a PRNG key, by its parts on each device.

  Of a mesh over several processes, each of which holds the whole array, and
  gives its own devices their parts.
  """
  if sharding.is_fully_addressable:
    return jax.device_put(leaf, sharding)
  if not getattr(leaf, 'is_fully_addressable', True):
    return leaf  # it has been placed before
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    numbers = _placed(jax.random.key_data(leaf), sharding)
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
  whole = np.asarray(leaf)
  return jax.make_array_from_callback(
    whole.shape, sharding, lambda index: whole[index]
  )


def split(batch: Batch, mesh: Mesh | None) -> Batch:
  """Keeps each device's part of a batch that all of them generate; in `jit`.

  Generating is cheap, and may look across rows and positions.
  """
  if mesh is None:
    return batch
  everywhere = NamedSharding(mesh, P())
  batch = jax.lax.with_sharding_constraint(batch, everywhere)
  return jax.lax.with_sharding_constraint(batch, _of_batch(batch, mesh))


def members_together(trees: Sequence[Any], mesh: Mesh) -> Any:
  """Stacks the trees of members, each of which stays on its device."""
  share = len(trees) // mesh.size
  stacks = [
    jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees[i : i + share])
    for i in range(0, len(trees), share)
  ]
  sharding = NamedSharding(mesh, P(MEMBERS))

  def join(*parts):
    shape = len(trees), *parts[0].shape[1:]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)

  return jax.tree.map(join, *stacks)


def gathered(tree: Any, mesh: Mesh | None) -> Any:
  """Gives every device all of these arrays; in `jit`."""
  if mesh is None:
    return tree
  return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, P()))


def keep(
  state: TrainState, mesh: Mesh | None, shard_states: bool = False
) -> TrainState:
  """Says where the state is, so that it stays there; in `jit`."""
  if mesh is None:
    return state
  where = _of_state(state, mesh, shard_states)
  return jax.lax.with_sharding_constraint(state, where)


def keep_at_rest(tree: Any, mesh: Mesh) -> Any:
  """Gives every device along rows its part of parameters; in `jit`."""
  return jax.lax.with_sharding_constraint(tree, _at_rest(tree, mesh))


def by_parts(
  read: Callable, mesh: Mesh | None, *, same_over_time: bool = False
) -> Callable:
  """Makes `read(params, key, carry, inputs, segments)` run device by device.

  Said outright, for a compiler that is to find it gathers what it need not.
  Inside, layers find that their positions are a part of a row's by the name of
  the axis; the carry is that of whole rows, before and after.

  Args:
    read: returns the carry after its rows, and outputs. Its key may be None.
    mesh: of the devices.
    same_over_time: whether devices that hold parts of one row have the same
      key, as dropout needs that drops alike at all positions. Otherwise each
      device has a key of its own.
  """
  if mesh is None:
    return read
  random_over = [ROWS] if same_over_time else [ROWS, TIME]
  rows, part = _axes(mesh, ROWS), _axes(mesh, ROWS, TIME)

  def local(params, key, *of_rows):
    for axis in random_over:
      if key is not None and axis in mesh.axis_names:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    return read(params, key, *of_rows)

  return jax.shard_map(
    local,
    mesh=mesh,
    in_specs=(P(), P(), rows, part, part),
    out_specs=(rows, part),
    check_vma=False,  # or every loop would have to say what varies
  )


def _of_state(state: TrainState, mesh: Mesh, shard_states: bool) -> Any:
  """Returns shardings: all on every device, but the carry by its rows.

  With `shard_states`, also parameters and the optimizer's state in parts.
  """
  everywhere = NamedSharding(mesh, P())
  rows = NamedSharding(mesh, _axes(mesh, ROWS))
  shardings = jax.tree.map(lambda _: everywhere, state)
  if shard_states:
    params, opt_state = _at_rest((state.params, state.opt_state), mesh)
    shardings = shardings._replace(params=params, opt_state=opt_state)
  return shardings._replace(carry=jax.tree.map(lambda _: rows, state.carry))


def _at_rest(tree: Any, mesh: Mesh) -> Any:
  """Returns shardings: each leaf in as many parts as there are along rows."""
  return jax.tree.map(
    lambda leaf: NamedSharding(mesh, P(*_parts_of(leaf, size(mesh, ROWS)))),
    tree,
  )


def _parts_of(leaf: Any, count: int) -> list[str | None]:
  """Cuts the largest axis that can be cut evenly, if there is one."""
  cut = [axis for axis, n in enumerate(leaf.shape) if n and n % count == 0]
  if not cut or jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return []
  largest = max(cut, key=lambda axis: leaf.shape[axis])
  return [None] * largest + [ROWS]


def bytes_in_parts(tree: Any, count: int) -> int:
  """Counts the bytes of a tree, of shapes, that devices along rows share."""
  return sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if _parts_of(leaf, count)
  )


def _of_batch(batch: Batch, mesh: Mesh, stacked: bool = False) -> Any:
  """Returns shardings: by rows, and by positions what has them.

  Args:
    batch: its leaves begin with rows.
    mesh: of the devices.
    stacked: whether an axis of batches stands before the rows.
  """
  before = (None,) if stacked else ()
  place = len(before) + 1
  num_positions = num_positions_of(batch, place)

  def sharding(leaf):
    cut = leaf.ndim > place and leaf.shape[place] == num_positions
    names = (ROWS, TIME) if cut and size(mesh, TIME) > 1 else (ROWS,)
    return NamedSharding(mesh, P(*before, *_axes(mesh, *names)))

  return jax.tree.map(sharding, batch)


def num_positions_of(batch: Batch, place: int = 1) -> int:
  """Returns the number of positions of the rows of a batch's inputs."""
  return max(x.shape[place] for x in jax.tree.leaves(batch.inputs))


def _axes(mesh: Mesh, *names: str) -> P:
  """Returns the spec of the first axes; what the mesh lacks is not cut."""
  there = [name if name in mesh.axis_names else None for name in names]
  while there and there[-1] is None:
    there.pop()  # for arrays that have fewer axes
  return P(*there)
