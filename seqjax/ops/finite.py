"""Keeping NaN and infinity from what does not depend on them.

A mask multiplied into a matrix product hides numbers, but not NaN or infinity,
whose products with zero are NaN. So vectors that are not finite are replaced by
zero before such a product, and NaN is put back where they are to be seen. The
same is done to cotangents, which the transposed product multiplies by the mask.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Inexact, Shaped

from seqjax.ops.cotangents import change_cotangents
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments


def flawed(*vectors: Float[Array, '*B _']) -> Bool[Array, '*B']:
  """Marks where a vector, of any of the arrays, is not finite."""
  return _materialized(not_finite(*vectors))


def not_finite(*vectors: Float[Array, '*B _']) -> Bool[Array, '*B']:
  """Computes `flawed` anew for every use: for conditions, not selections.

  By the vectors' products with zeros, which are NaN there, and which take XLA a
  third of the time of other sums on a CPU. The barrier keeps zeros from being
  folded.
  """

  def product(array):
    array = jax.lax.stop_gradient(jnp.asarray(array))
    zeros = jnp.zeros(array.shape[-1:], array.dtype)
    return jnp.matmul(array, jax.lax.optimization_barrier(zeros))

  return jnp.isnan(sum(product(array) for array in vectors))


@jax.jit  # also outside of jit, where a condition is compiled at every call
def _materialized(mask: Bool[Array, '*B']) -> Bool[Array, '*B']:
  """Returns the mask, which XLA would compute anew for all that it selects.

  Nearly always nothing is marked, so that a branch without it is as good.
  """
  return jax.lax.cond(jnp.any(mask), lambda: mask, lambda: jnp.zeros_like(mask))


def zero_where(
  mask: Bool[Array, '*B'], array: Shaped[Array, '...']
) -> Shaped[Array, '...']:
  """Replaces by zeros what the mask of its leading axes marks."""
  return _fill(mask, array, 0)


def nan_where(
  mask: Bool[Array, '*B'], array: Inexact[Array, '...']
) -> Inexact[Array, '...']:
  """Replaces by NaN what the mask marks, through which no gradient passes."""
  return _fill(mask, array, np.nan)


def _fill(mask, array, value):
  mask = jax.lax.expand_dims(mask, range(mask.ndim, array.ndim))
  return jnp.where(mask, np.asarray(value, array.dtype), array)


class Flaws(NamedTuple):
  """Marks queries, and keys or values, that are not finite."""

  query: Bool[Array, 'B T']
  key: Bool[Array, 'B S']


class Flawed(NamedTuple):
  """Marks the heads of what is not finite: see `repaired`."""

  carry: Bool[Array, 'B H']
  read: Bool[Array, 'B T H']
  entering: Bool[Array, 'B T H']


class Reach(NamedTuple):
  """Marks the outputs and the last states that something not finite reaches."""

  outputs: Bool[Array, 'B T H']
  last: Bool[Array, 'B H']


@jax.jit
def reach(
  before: Bool[Array, 'B H'],
  flaws: Bool[Array, 'B T H'],
  segments: Segments | None,
) -> Reach:
  """Marks all that follows a flaw in its segment.

  Nearly always there is none, and the search, a twentieth of the time of a
  mixer, is left out.

  Args:
    before: flaws of the carry.
    flaws: those of the positions.
    segments: segments of the rows, or None.
  """
  return jax.lax.cond(
    jnp.any(before) | jnp.any(flaws),
    lambda: _reach(before, flaws, segments),
    lambda: Reach(jnp.zeros_like(flaws), jnp.zeros_like(before)),
  )


def _reach(before, flaws, segments):
  place = np.arange(flaws.shape[1], dtype=np.int32)[None, :, None]
  first = jnp.where(before, -1, -2).astype(jnp.int32)[:, None]
  latest = jnp.concatenate([first, jnp.where(flaws, place, -2)], axis=1)
  latest, begin = jax.lax.cummax(latest, axis=1), -1
  if segments is not None:
    begin = jnp.where(segments.start[..., None], place, -1)
    begin = jnp.pad(begin, ((0, 0), (1, 0), (0, 0)), constant_values=-1)
    begin = jax.lax.cummax(begin, axis=1)
  reached = latest >= begin
  return Reach(reached[:, 1:], reached[:, -1])


def _reach_back(
  after: Bool[Array, 'B H'],
  flaws: Bool[Array, 'B T H'],
  segments: Segments | None,
) -> Reach:
  """Marks all that precedes a flaw in its segment, and the carry before it.

  Args:
    after: flaws of the last state's cotangent.
    flaws: those of the outputs' cotangents.
    segments: segments of the rows, or None.
  """
  flaws = jnp.pad(flaws[:, ::-1], ((0, 0), (0, 1), (0, 0)))
  if segments is not None:  # it begins, seen from its end, before a start
    start = jnp.pad(segments.start[:, ::-1], ((0, 0), (1, 0)))
    segments = Segments(start, jnp.ones_like(start))
  reached = _reach(after, flaws, segments).outputs
  return Reach(reached[:, -2::-1], reached[:, -1])


@jax.jit
def repaired(
  flaws: Flawed,
  carry: Float[Array, 'B H K V'],
  read: Float[Array, 'B T H _'],
  entering: Sequence[Float[Array, 'B T H _']],
  segments: Segments | None,
) -> tuple[Array, Array, list[Array], Reach]:
  """Replaces what is not finite by zero, and marks what that reaches.

  Args:
    flaws: marks what is not finite.
    carry: what a recurrence begins with.
    read: what reads the state, of its own position alone.
    entering: what enters the state, and what the state decays by.
    segments: segments of the rows, or None.
  """
  of_carry, of_read, of_entering = flaws

  def repair(carry, read, entering):
    found = _reach(of_carry, of_entering, segments)
    found = found._replace(outputs=found.outputs | of_read)
    entering = [zero_where(of_entering, array) for array in entering]
    return (
      zero_where(of_carry, carry),
      zero_where(of_read, read),
      entering,
      found,
    )

  def keep(*arrays):
    return *arrays, Reach(jnp.zeros_like(of_entering), jnp.zeros_like(of_carry))

  return jax.lax.cond(any_of(flaws), repair, keep, carry, read, entering)


def put_back(
  reach: Reach,
  carry: Float[Array, 'B H K V'],
  y: Float[Array, 'B T H V'],
  segments: Segments | None,
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Puts NaN into the last states and outputs that are reached."""
  carry, y = _put_back(reach, carry, y)
  return carry, zero_padding(y, segments)


@jax.jit
def _put_back(reach, carry, y):
  def put(carry, y):
    return nan_where(reach.last, carry), nan_where(reach.outputs, y)

  return where_any(reach, put, carry, y)


def where_any(marks: Any, change: Callable[..., Any], *arrays: Any) -> Any:
  """Returns `change(*arrays)` if anything is marked, else the arrays.

  A condition, which takes no time where nothing is, as it nearly always is; a
  selection would read and write all arrays. For callers within `jax.jit`:
  outside of it a condition is compiled at every call.

  Args:
    marks: a tree of masks.
    change: returns arrays like those that it is given.
    arrays: one or several.
  """

  def keep(*arrays):
    return arrays if len(arrays) > 1 else arrays[0]

  return jax.lax.cond(any_of(marks), change, keep, *arrays)


def any_of(marks: Any) -> Bool[Array, '']:
  """Tells whether anything is marked in any mask of a tree."""
  flags = [jnp.any(mask) for mask in jax.tree.leaves(marks)]
  return functools.reduce(jnp.logical_or, flags)


def no_marks(array: Float[Array, '...'], ndim: int) -> Float[Array, '...']:
  """Returns zeros of the array's leading axes, and on its devices.

  Where a mesh has explicit axes, zeros of a shape alone would not fit to it.
  """
  trailing = tuple(range(ndim, array.ndim))
  return jnp.zeros_like(jnp.sum(jax.lax.stop_gradient(array), axis=trailing))


def shield(
  compute: Callable[..., tuple[Array, Array]],
  carry: Float[Array, 'B H K V'],
  operands: Sequence[Float[Array, 'B T H _']],
  segments: Segments | None,
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H _']]:
  """Computes with cotangents of zero for those that are not finite.

  Gradients are NaN where a loop over the positions would make them so: for the
  query of an output with such a cotangent, and for the carry and all else that
  this output, or the last state, depends on in its segment.

  Args:
    compute: (carry, *operands) -> (last state, outputs).
    carry: what the recurrence begins with.
    operands: the query, which reads the state, and what enters it.
    segments: segments of the rows, or None.
  """
  marks = [no_marks(array, array.ndim - 1) for array in (operands[0], carry)]
  given = [carry, *operands, *marks]
  inputs = change_cotangents(given, _spread_back, segments)
  outputs = compute(*inputs[:-2])
  last, y, *_ = change_cotangents([*outputs, *inputs[-2:]], _mark_cotangents)
  return last, y


@jax.jit
def _mark_cotangents(cotangents):
  """Replaces cotangents that are not finite by zero, and marks them."""
  last, y, *marks = cotangents
  spoilt = not_finite(y), not_finite(last)

  def clear(last, y):
    return zero_where(spoilt[1], last), zero_where(spoilt[0], y)

  last, y = where_any(spoilt, clear, last, y)
  marks = (m.astype(a.dtype) for m, a in zip(spoilt, marks, strict=True))
  return [last, y, *marks]


@jax.jit
def _spread_back(cotangents, segments):
  """Makes NaN of the cotangents of all that what is marked depends on."""
  *others, read, last = cotangents
  spoilt = read > 0, jnp.any(last > 0, axis=-1)

  def spread(carry, query, *others):
    reached = _reach_back(spoilt[1], spoilt[0], segments)
    others = (nan_where(reached.outputs, other) for other in others)
    return nan_where(reached.last, carry), nan_where(spoilt[0], query), *others

  changed = where_any(spoilt, spread, *others)
  return [*changed, jnp.zeros_like(read), jnp.zeros_like(last)]
