"""The law of numbers that are not finite: where they show, and where not."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.testing.agreement import FORWARD, compare
from seqjax.testing.laws import LawBroken
from seqjax.testing.subject import BATCH_SIZE, Case, on_host, one_piece
from seqjax.typing import Segments

NOT_FINITE = (
  'NaN or infinity reaches no other segment, no other row and no earlier '
  'position'
)
STARTS = (11, 24)  # of every row
POSITIONS = (5, 11, 17, 30)  # in each segment, and at the start of one
CARRY = -1  # the position of what is not finite in the carry


class _Reach(NamedTuple):
  """Marks where something that is not finite may show."""

  outputs: np.ndarray  # [B T]
  gradients: np.ndarray  # [B T], of inputs
  carry: np.ndarray  # [B], after the last position
  first: np.ndarray  # [B], gradients of the carry before the first one


def check_not_finite(subject, carry):
  """Holds row 0 with NaN, or infinities, to a run without them.

  Inputs of row 0 are spoilt at one position, or its carry is. Outputs, carry
  and gradients that this must not reach are equal to those of clean inputs;
  the output at a position of NaN is not finite; and steps agree with `unroll`
  about what is finite. Then what is differentiated has NaN for the weight of
  one position's output: it reaches gradients of its segment, and no others.
  """
  if not np.issubdtype(subject.x.dtype, np.inexact):
    return  # tokens are always finite
  segments = _segments(subject.x.shape[1])
  clean = subject.run(Case(carry, subject.x, segments))
  for value in (np.nan, np.inf):
    for position in POSITIONS:
      x = np.array(subject.x)
      x[0, position] = value
      case = Case(carry, x, segments)
      what = f'{value} at position {position} of row 0'
      given = subject.run(case)
      _compare(subject, what, given, clean, _reach(subject, position))
      if np.isnan(value) and np.isfinite(given.y[0, position]).all():
        raise LawBroken(NOT_FINITE, f'{what} is overlooked by its output.')
      if subject.causal and position == POSITIONS[0]:
        _compare_steps(subject, what, case, given)
    if subject.causal and jax.tree.leaves(carry):
      given = subject.run(Case(_spoilt(carry, value), subject.x, segments))
      what = f'{value} in the carry of row 0'
      _compare(subject, what, given, clean, _reach(subject, CARRY))
  for position in POSITIONS:
    _check_gradients(subject, Case(carry, subject.x, segments), clean, position)


def _check_gradients(subject, case: Case, clean, position: int):
  """Holds gradients of row 0 with NaN to those without."""
  what = f'NaN as the gradient of the output at position {position} of row 0'
  given = subject.run(case._replace(position=position, weight=np.nan))
  reach = _reach(subject, position)
  none = jax.tree.map(np.zeros_like, (reach.outputs, reach.carry))
  _compare(
    subject, what, given, clean, reach._replace(outputs=none[0], carry=none[1])
  )
  if np.isfinite(given.gradients['x'][0, position]).all():
    raise LawBroken(NOT_FINITE, f'{what} is overlooked by that of its input.')


def _segments(num_positions: int) -> Segments:
  segments = one_piece(num_positions)
  segments.start[:, list(STARTS)] = True
  # Padding in the segment of each position, and beside its ends.
  segments.valid[:, [7, 10, 20, num_positions - 1]] = False
  return segments


def _reach(subject, position: int) -> _Reach:
  """Marks what a position of row 0 may reach."""
  num_positions = subject.x.shape[1]
  edges = (0, *STARTS, num_positions)
  segment = int(np.searchsorted(STARTS, position, side='right'))
  begin, end = edges[segment], edges[segment + 1]
  outputs = np.zeros((BATCH_SIZE, num_positions), bool)
  gradients, rows = outputs.copy(), np.zeros((2, BATCH_SIZE), bool)
  outputs[0, max(position, 0) if subject.causal else begin : end] = True
  gradients[0, begin:end] = True
  rows[0, 0] = end == num_positions
  rows[1, 0] = begin == 0
  return _Reach(outputs, gradients, *rows)


def _spoilt(carry, value):
  """Puts a value into row 0 of every inexact leaf of a carry."""

  def spoil(leaf):
    leaf = np.array(leaf)
    if np.issubdtype(leaf.dtype, np.inexact) and leaf.size:
      leaf[0] = value
    return leaf

  return jax.tree.map(spoil, carry)


def _compare(subject, what, given, clean, reach: _Reach):
  """Compares what must not be reached, with zeros in place of the rest."""

  def hide(mask, array):
    if not jnp.issubdtype(array.dtype, jnp.inexact):
      return array
    mask = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
    return np.where(mask, np.zeros((), array.dtype), array)

  def hidden(result):
    gradients = {
      name: hide(reach.gradients if name == 'x' else reach.first, gradient)
      for name, gradient in result.gradients.items()
      if name == 'x' or name.startswith('carry')
    }
    carry = jax.tree.map(lambda leaf: hide(reach.carry, leaf), result.carry)
    return result._replace(
      y=hide(reach.outputs, result.y), carry=carry, gradients=gradients
    )

  subject.agree(NOT_FINITE, what, hidden(given), hidden(clean))


def _compare_steps(subject, what, case, given):
  """Compares what is finite, and the numbers that are, with those of steps."""
  expected = on_host(subject.reference(subject.variables, *case))
  for name in ('y', 'carry'):
    for a, b in zip(
      *(jax.tree.leaves(getattr(r, name)) for r in (given, expected)),
      strict=True,
    ):
      finite = np.isfinite(b)
      if not np.array_equal(np.isfinite(a), finite):
        raise LawBroken(
          NOT_FINITE, f'{what}: steps disagree about which {name} are finite.'
        )
      if jnp.issubdtype(b.dtype, jnp.inexact):
        a, b = (np.where(finite, c, np.zeros((), c.dtype)) for c in (a, b))
        share = FORWARD[jnp.finfo(b.dtype).dtype.name]
        compare(NOT_FINITE, f'{what}: {name} of steps', a, b, share)
