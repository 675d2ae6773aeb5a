"""Spreads a run over devices, which is no part of its config."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from seqjax import experiment
from seqjax.launch import processes
from seqjax.training import meshes

SWITCHES = {
  'shard': 'Spread the rows of each batch over all devices: --mesh=rows:-1.',
  'mesh': experiment.Text(
    'Spread each batch over devices, as in rows:2,time:4: its rows over two, '
    'the positions of each row over four; -1 stands for all that are left.'
  ),
  'shard_states': (
    "Share parameters and the optimizer's state among the devices along rows."
  ),
}


class Spread(NamedTuple):
  """A mesh and what is shared over it, as `training.train` takes them.

  Attributes:
    mesh: over which batches are spread; None: one device.
    shard_states: whether parameters and the optimizer's state are shared by the
      devices along rows.
  """

  mesh: Mesh | None = None
  shard_states: bool = False


def over(shard: bool, mesh: str, shard_states: bool) -> Spread:
  """Returns what switches ask for; several processes spread rows anyway.

  Raises:
    ValueError: a mesh is asked for in two ways, or cannot be.
  """
  if shard and mesh:
    raise ValueError(
      f'--shard is the mesh rows:-1, but --mesh={mesh} was given, too: leave '
      'one of them out.'
    )
  if not mesh and (shard or processes.are_several()):
    mesh = f'{meshes.ROWS}:-1'
  return Spread(meshes.parse(mesh) if mesh else None, shard_states)


@contextlib.contextmanager
def beginning(spread: Spread) -> Iterator[None]:
  """Makes whole states in the memory of the host, if devices share them."""
  if not spread.shard_states:
    yield
    return
  with jax.default_device(_host()):
    yield


def _host() -> jax.Device | None:
  """Returns the host's own device; None where JAX is told to leave it out."""
  try:
    return jax.local_devices(backend='cpu')[0]
  except RuntimeError:
    return None
