"""Rows of a batch over the devices of a mesh; parameters on each of them.

Every device computes the gradient of its rows; their sum is all that devices
send each other, but for single numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from seqjax.training.state import TrainState
from seqjax.typing import Batch


def check(mesh: Mesh, batch_size: int) -> Mesh:
  """Returns the mesh, its axis left to the compiler.

  Raises:
    ValueError: it has several axes, or does not divide the batch.
  """
  if len(mesh.axis_names) != 1:
    raise ValueError(
      'Batches are spread over a mesh of one axis, but this one has the axes '
      f'{mesh.axis_names}.'
    )
  if batch_size % mesh.size:
    raise ValueError(
      f'Every device of the mesh takes as many rows, but batch_size='
      f'{batch_size} is not a multiple of its {mesh.size} devices; '
      f'{math.ceil(batch_size / mesh.size) * mesh.size} would be.'
    )
  return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,))


def put(state: TrainState, mesh: Mesh | None) -> TrainState:
  """Returns the state on the devices of the mesh, from wherever it is."""
  if mesh is None:
    return state
  return jax.tree.map(_placed, state, _of_state(state, mesh))


def put_stack(batches: Batch, mesh: Mesh | None) -> Batch:
  """Batches on top of each other, the rows of each spread over the mesh."""
  if mesh is None:
    return batches
  rows = NamedSharding(mesh, P(None, *mesh.axis_names))
  return jax.tree.map(lambda leaf: _placed(leaf, rows), batches)


def local(state: TrainState) -> TrainState:
  """Returns the whole state on devices of this process.

  Of a mesh over several processes, which all have to ask for it together.
  """

  def whole(leaf):
    if leaf.is_fully_addressable:
      return leaf
    if leaf.is_fully_replicated:
      return leaf.addressable_data(0)
    return jnp.asarray(multihost_utils.process_allgather(leaf, tiled=True))

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


def split_rows(batch: Batch, mesh: Mesh | None) -> Batch:
  """Keeps each device's rows of a batch that all of them generate; in `jit`.

  Drawing is cheap, and what draws may look across rows.
  """
  if mesh is None:
    return batch
  everywhere = NamedSharding(mesh, P())
  batch = jax.lax.with_sharding_constraint(batch, everywhere)
  return jax.lax.with_sharding_constraint(batch, _rows(mesh))


def keep(state: TrainState, mesh: Mesh | None) -> TrainState:
  """Says where the state is, so that it stays there; in `jit`."""
  if mesh is None:
    return state
  return jax.lax.with_sharding_constraint(state, _of_state(state, mesh))


def by_rows(read: Callable, mesh: Mesh | None) -> Callable:
  """Makes `read(params, key, carry, inputs, segments)` run device by device.

  Said outright, for a compiler that is to find it gathers what it need not.
  Each device has a key of its own.
  """
  if mesh is None:
    return read
  (axis,) = mesh.axis_names

  def local(params, key, *of_rows):
    return read(
      params, jax.random.fold_in(key, jax.lax.axis_index(axis)), *of_rows
    )

  return jax.shard_map(
    local,
    mesh=mesh,
    in_specs=(P(), P(), P(axis), P(axis), P(axis)),
    out_specs=P(axis),
    check_vma=False,  # or every loop would have to say what varies
  )


def _of_state(state: TrainState, mesh: Mesh) -> Any:
  """Returns shardings: all on every device, but the carry by its rows."""
  everywhere, rows = NamedSharding(mesh, P()), _rows(mesh)
  shardings = jax.tree.map(lambda _: everywhere, state)
  return shardings._replace(carry=jax.tree.map(lambda _: rows, state.carry))


def _rows(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, P(*mesh.axis_names))
