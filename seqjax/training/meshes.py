"""Meshes of devices: their axes, how they are written, what they must divide.

    mesh = meshes.parse('rows:2,time:4')

Axes have fixed names: `rows` cuts a batch into groups of rows, `time` cuts each
row into parts of consecutive positions, `members` cuts a population.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from seqjax.errors import unknown
from seqjax.ops import over_time

ROWS, TIME, MEMBERS = 'rows', over_time.AXIS, 'members'
OF_TRAINING = (ROWS, TIME)
_PART = re.compile(r'([^:]*):(-1|\d+)')


def parse(text: str, among: Iterable[str] = OF_TRAINING) -> Mesh:
  """Returns the mesh of 'rows:2,time:4', over that many devices.

  A size of -1 takes all devices that the other axes leave.

  Args:
    text: the axes, and how many devices lie along each.
    among: the axes that are possible.

  Raises:
    ValueError: it is not written so, names an axis that is not possible, or
      needs more devices than there are.
  """
  sizes = {}
  for part in text.split(','):
    found = _PART.fullmatch(part.strip())
    if not found or found[1] in sizes or int(found[2]) == 0:
      raise ValueError(
        'A mesh is written as axes with their numbers of devices, each once, '
        f'as in rows:2,time:4, but {text!r} was given.'
      )
    sizes[found[1]] = int(found[2])
  _check_axes(sizes, among)
  count = jax.device_count()
  open_axes = [name for name, size in sizes.items() if size < 0]
  if len(open_axes) > 1:
    raise ValueError(
      f'One axis of a mesh takes what devices are left, but {text!r} says so '
      f'of {" and ".join(open_axes)}.'
    )
  if open_axes:
    sizes[open_axes[0]] = 1
    sizes[open_axes[0]] = max(1, count // math.prod(sizes.values()))
  needed = math.prod(sizes.values())
  if needed > count:
    raise ValueError(
      f'The mesh {text} needs {needed} devices, but there '
      f'{"is 1" if count == 1 else f"are {count}"}.'
    )
  return make(sizes)


def make(sizes: Mapping[str, int]) -> Mesh:
  """Returns the mesh of these axes, over the first devices that there are."""
  devices = jax.devices()[: math.prod(sizes.values())]
  kinds = (AxisType.Auto,) * len(sizes)
  return jax.make_mesh(
    tuple(sizes.values()), tuple(sizes), axis_types=kinds, devices=devices
  )


def check(
  mesh: Mesh, batch_size: int, num_positions: int | None = None
) -> Mesh:
  """Returns a mesh for batches, its axes left to the compiler.

  Args:
    mesh: that was given.
    batch_size: the number of rows.
    num_positions: the number of positions; asked for if the mesh cuts them.

  Raises:
    ValueError: it has an axis that batches have not, or does not divide them.
  """
  _check_axes(mesh.axis_names, OF_TRAINING)
  _check_divides(mesh, ROWS, 'rows in a batch (batch_size)', batch_size)
  if num_positions is not None:
    _check_divides(mesh, TIME, 'positions in a row', num_positions)
  return _left_to_the_compiler(mesh)


def check_members(mesh: Mesh, num_members: int) -> Mesh:
  """Returns a mesh for a population, its axis left to the compiler.

  Raises:
    ValueError: it has another axis than members, or does not divide them.
  """
  _check_axes(mesh.axis_names, (MEMBERS,))
  _check_divides(mesh, MEMBERS, 'members in a population', num_members)
  return _left_to_the_compiler(mesh)


def size(mesh: Mesh | None, axis: str) -> int:
  """Returns the number of devices along an axis; 1 if there is no such axis."""
  return 1 if mesh is None else mesh.shape.get(axis, 1)


def _left_to_the_compiler(mesh: Mesh) -> Mesh:
  kinds = (AxisType.Auto,) * len(mesh.axis_names)
  return Mesh(mesh.devices, mesh.axis_names, axis_types=kinds)


def _check_axes(given: Iterable[Any], among: Iterable[str]):
  for name in given:
    if name not in among:
      raise ValueError(unknown('axis of a mesh', str(name), among))


def _check_divides(mesh: Mesh, axis: str, what: str, number: int):
  """Raises ValueError, with what would do, unless devices share evenly."""
  parts = size(mesh, axis)
  if number % parts:
    fitting = max(n for n in range(1, parts) if number % n == 0)
    raise ValueError(
      f'A mesh with {axis}:{parts} takes a multiple of {parts} {what}, but '
      f'there are {number}: {math.ceil(number / parts) * parts} would do, or '
      f'{axis}:{fitting}.'
    )
