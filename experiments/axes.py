"""Turns the axes of an experiment into the configs of its cells."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

from experiments.folders import Experiment
from seqjax import experiment

SEEDS = 'seeds'  # the axis that counts: 5 stands for the seeds 0 to 4


def field(found: Experiment, axis: str) -> str:
  """Returns the field of Config that an axis sets: itself, or its singular."""
  fields = {field.name for field in dataclasses.fields(found.main.Config)}
  return axis if axis in fields else axis.removesuffix('s')


def cells(
  found: Experiment, entries: Mapping[str, Any] | None = None, /, **axes: Any
) -> list[Any]:
  """Returns the config of every cell, each once.

  Args:
    found: the experiment.
    entries: mixers that configs may name besides those of the experiment.
    axes: values of axes, and of free fields of Config.

  Raises:
    ValueError: an axis or one of its values is unknown, or there is no cell.
  """
  known = dict.fromkeys([*_axes(found), *free_fields(found)])
  for axis, value in axes.items():
    experiment.choose(known, axis, f'axis of {found.name}')
    axes[axis] = _checked(found, axis, value)
  free = {k: axes.pop(k) for k in free_fields(found) if k in axes}
  make = found.make_cells or functools.partial(_grid, found)
  made = [dataclasses.replace(cell, **free) for cell in make(**axes)]
  for cell in made:
    experiment.validate(cell, **_choices(found, entries or {}))
  if not made:
    raise ValueError(f'The experiment {found.name!r} has no cell for {axes}.')
  return list(dict.fromkeys(made))


@functools.lru_cache(maxsize=64)
def free_fields(found: Experiment) -> tuple[str, ...]:
  """Returns the fields of Config that hold for all cells alike.

  They are set by no axis, and at their default in every cell of every preset.
  """
  make = found.make_cells or functools.partial(_grid, found)
  made = [cell for axes in found.presets.values() for cell in make(**axes)]
  set_by_axes = {field(found, axis) for axis in _axes(found)}
  return tuple(
    f.name
    for f in dataclasses.fields(found.main.Config)
    if f.name not in set_by_axes
    and all(getattr(cell, f.name) == f.default for cell in made)
  )


def _axes(found: Experiment) -> dict[str, Any]:
  """Returns {axis: a value that a preset gives it}."""
  known = {}
  if found.make_cells is not None:
    parameters = inspect.signature(found.make_cells).parameters.values()
    known = {p.name: () for p in parameters if p.kind is not p.VAR_KEYWORD}
  for axes in found.presets.values():
    known |= axes
  return known


def _grid(found: Experiment, **axes: Any) -> list[Any]:
  """Returns the grid over all axes."""
  lists = {
    field(found, axis): range(value)
    if axis == SEEDS != field(found, axis)
    else value
    if isinstance(value, tuple)
    else (value,)
    for axis, value in axes.items()
  }
  return experiment.grid(found.main.Config, **lists)


def _checked(found: Experiment, axis: str, value: Any) -> Any:
  """Returns the value of an axis, as a tuple if it is one of several values."""
  several = isinstance(_axes(found).get(axis), tuple)
  least = 0 if _may_be_empty(found, axis) else 1
  if several and isinstance(value, list | tuple | range):
    if len(value) >= least:
      return tuple(value)
  if several:
    raise ValueError(
      f'The axis {axis} of {found.name} takes at least one value, as a list, '
      f'but {value!r} was given.'
    )
  if axis == SEEDS and not (type(value) is int and value >= 1):
    raise ValueError(
      f'seeds is the number of seeds, at least 1, but {value!r} was given.'
    )
  return value


def _may_be_empty(found: Experiment, axis: str) -> bool:
  """Says whether some preset gives an axis no value."""
  return any(axes.get(axis) == () for axes in found.presets.values())


def _choices(found: Experiment, entries: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the names that mixers may have, with those of a caller's dict."""
  return {
    f.name: f.metadata['among'] | entries
    for f in dataclasses.fields(found.main.Config)
    if f.name in ('mixer', 'mixers')
  }
