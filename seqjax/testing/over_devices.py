"""The law of positions that are cut over devices.

from seqjax import testing
testing.assert_same_over_devices(MyMixer(features=8, context=16))
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from seqjax.nn.mixer import SequenceLayer, StreamingLayer, can_stream
from seqjax.ops import over_time
from seqjax.testing import another_process
from seqjax.testing.agreement import reject_vacuous
from seqjax.testing.laws import LawBroken
from seqjax.testing.not_finite import check_not_finite
from seqjax.testing.subject import (
  BATCH_SIZE,
  Case,
  Subject,
  apply_unroll_or_call,
  on_host,
)
from seqjax.typing import Segments

OVER_DEVICES = (
  'positions cut over devices give what one device gives, gradients too'
)
_POSITIONS = 40  # or some more, for parts of equal length


def assert_same_over_devices(
  mixer: Any, devices: int = 4, *, zero: tuple[str, ...] = ()
):
  """Checks outputs, carries and gradients of cut rows, in float64.

  Inside of `jax.shard_map` over a mesh with the axis `time`, what a
  mixer computes of parts of the rows is what it computes of whole rows on one
  device: with segments that begin at cuts and elsewhere, padding across cuts, a
  part of nothing but padding, and without segments. NaN and infinity reach no
  more than on one device.

  Args:
    mixer: unbound, with few features.
    devices: how many parts; where this process has fewer devices, another one
      makes them of its CPU, and has to find the mixer's class in a module.
    zero: as in `assert_mixer_contract`.

  Raises:
    LawBroken: names the law, the tensor, and the difference.
    ValueError: it is no mixer, or one that cannot be cut.

  Example:
    >>> from seqjax import nn, testing
    >>> testing.assert_same_over_devices(nn.MinGRU(features=4))
  """
  if not isinstance(mixer, SequenceLayer):
    raise ValueError(
      'Mixers, and models of them, can be cut over devices, but a '
      f'{type(mixer).__name__} was given.'
    )
  arguments = mixer, devices, zero
  if jax.device_count() >= devices:
    broken = check(arguments)
  else:
    broken = another_process.call(check, arguments, devices=devices)
  if broken:
    raise LawBroken(*broken)


def check(arguments) -> tuple[str, str] | None:
  """Returns the law that is broken, and what of it, or None."""
  mixer, devices, zero = arguments
  try:
    with jax.default_matmul_precision('highest'), jax.enable_x64(True):
      _check(mixer, devices, zero)
  except LawBroken as error:
    return error.law, str(error).removeprefix(f'{error.law}: ')
  return None


def _check(mixer, devices, zero):
  length = -(-_POSITIONS // devices)
  alone = Subject(mixer, jnp.float64, zero=zero, tolerance=1.0)
  alone.x = alone.inputs(devices * length)
  several = Subject(mixer, jnp.float64, alone.variables, zero=zero, tolerance=1)
  several.x = alone.x
  mesh = jax.make_mesh(
    (devices,),
    (over_time.AXIS,),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:devices],
  )
  unroll = functools.partial(apply_unroll_or_call, several.mixer)
  several.apply_unroll = cut_positions(unroll, mesh)
  several.unroll = jax.jit(several.with_gradients(several.apply_unroll))

  segments = _segments(devices, length)
  carry = alone.run(Case(alone.initial, alone.x, segments)).carry
  case = Case(carry, alone.x, segments)
  expected = alone.run(case)
  several.agree(OVER_DEVICES, 'segments', several.run(case), expected)
  reject_vacuous(OVER_DEVICES, 'segments', expected, zero)
  bare = case._replace(segments=None)
  for name, case in (
    ('no segments', bare),
    ('the initial carry', bare._replace(carry=alone.initial)),
  ):
    several.agree(OVER_DEVICES, name, several.run(case), alone.run(case))
  check_not_finite(several, carry)
  own = type(mixer).__call__ is not StreamingLayer.__call__
  if own and can_stream(mixer):
    _check_call(alone, several, mesh, segments)


def _check_call(alone, several, mesh, segments):
  """The call of a layer that defines one of its own."""

  def call(variables, carry, x, segments):
    return carry, several.mixer.apply(variables, x, segments)

  cut = jax.jit(several.with_gradients(cut_positions(call, mesh)))
  whole = jax.jit(alone.with_gradients(call))
  for name, given in (('segments', segments), ('no segments', None)):
    case = Case(None, alone.x, given)
    found, expected = (on_host(f(alone.variables, *case)) for f in (cut, whole))
    several.agree(OVER_DEVICES, f'call, {name}', found, expected)


def cut_positions(function, mesh):
  """Spreads (variables, carry, x, segments) -> (carry, y) over devices."""
  copied = PartitionSpec()
  cut = PartitionSpec(None, over_time.AXIS)
  return jax.shard_map(
    function,
    mesh=mesh,
    in_specs=(copied, copied, cut, cut),
    out_specs=(copied, cut),
    check_vma=False,
  )


def _segments(devices: int, length: int) -> Segments:
  """Starts at cuts and beside them, padding across cuts, a part of padding."""
  shape = BATCH_SIZE, devices * length
  first, second = length, min(2, devices - 1) * length
  start, valid = np.zeros(shape, bool), np.ones(shape, bool)
  start[0, [first, second + 1]] = True
  valid[0, first - 2 : first] = False
  valid[0, 3 * length // 2 : 3 * length // 2 + 3] = False
  valid[1, first - 3 : second + 1] = False
  start[1, [3, first + 2]] = True
  valid[2, [0, second - 1, second, -1]] = False
  return Segments(start, valid)
