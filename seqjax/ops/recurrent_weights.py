"""Weights and carries of recurrent cells, and the axes that they have."""

from typing import NamedTuple

from jaxtyping import Float

from seqjax.ops import checks
from seqjax.typing import Array


class ElmanWeights(NamedTuple):
  """Weights of `elman_step`."""

  input: Float[Array, 'D H']
  recurrent: Float[Array, 'H H']
  bias: Float[Array, 'H']


class GRUWeights(NamedTuple):
  """Weights of `gru_step`; blocks along the last axis: reset, update, new."""

  input: Float[Array, 'D 3*H']
  recurrent: Float[Array, 'H 3*H']
  bias: Float[Array, '3*H']
  candidate_bias: Float[Array, 'H']


class LSTMWeights(NamedTuple):
  """Weights of `lstm_step`; blocks along the last axis: i, f, g, o."""

  input: Float[Array, 'D 4*H']
  recurrent: Float[Array, 'H 4*H']
  bias: Float[Array, '4*H']


class LSTMCarry(NamedTuple):
  """The state of an LSTM."""

  cell: Float[Array, 'B H']
  hidden: Float[Array, 'B H']


class SLSTMWeights(NamedTuple):
  """Weights of `slstm_step`; blocks along the last axis: i, f, z, o.

  G heads have K numbers each, H in all; a head's gates see its own state alone.
  """

  input: Float[Array, 'D 4*H']
  recurrent: Float[Array, 'G K 4*K']
  bias: Float[Array, '4*H']


class SLSTMCarry(NamedTuple):
  """The state of an sLSTM; all zeros before the first position.

  The paper's c and n are `cell` and `normalizer` times exp(`stabilizer`).
  """

  cell: Float[Array, 'B H']
  normalizer: Float[Array, 'B H']
  stabilizer: Float[Array, 'B H']
  hidden: Float[Array, 'B H']


_AXES = {
  'elman': ElmanWeights('D U', 'U U', 'U'),
  'gru': GRUWeights('D 3*U', 'U 3*U', '3*U', 'U'),
  'lstm': LSTMWeights('D 4*U', 'U 4*U', '4*U'),
  'slstm': SLSTMWeights('D 4*U', 'H J 4*J', '4*U'),
}
_CARRIES = {'lstm': LSTMCarry, 'slstm': SLSTMCarry}


def checked(op, weights, carry, x, segments=None):
  """Returns what an op is given as JAX arrays, if they fit each other."""
  cell, time = op.removesuffix('_step'), 'B' if op.endswith('_step') else 'B T'
  axes = _AXES[cell]
  checks.fields(op, 'weights', weights, type(axes))
  sizes = {}
  weights = checks.arrays(
    op,
    sizes,
    **{
      f'weights.{name}': (array, needed, 'real')
      for name, array, needed in zip(axes._fields, weights, axes, strict=True)
    },
  )
  if sizes.get('H', 1) * sizes.get('J', sizes['U']) != sizes['U']:
    raise ValueError(
      f'{op} needs weights.recurrent of {sizes["U"]} units over all heads, as '
      f'many as weights.input has, but its shape is {list(weights[1].shape)}; '
      'make it fit weights.input.'
    )
  (x,) = checks.arrays(op, sizes, x=(x, f'{time} D', 'real'))
  kind = _CARRIES.get(cell)
  parts = {'carry': carry}
  if kind is not None:
    checks.fields(op, 'carry', carry, kind)
    parts = {
      f'carry.{name}': a for name, a in zip(kind._fields, carry, strict=True)
    }
  leaves = checks.arrays(
    op, sizes, **{name: (leaf, 'B U', 'real') for name, leaf in parts.items()}
  )
  carry = leaves[0] if kind is None else kind(*leaves)
  if segments is not None:
    segments = checks.segments(op, segments, *x.shape[:2])
  return type(axes)(*weights), carry, x, segments
