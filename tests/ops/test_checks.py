"""Every op refuses what does not fit in one sentence, by every algorithm."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from seqjax.ops import (
  attention,
  convolution,
  delta_product,
  diagonal_system,
  linear_attention,
  linear_recurrence,
  lyapunov,
  matrix_recurrence,
  newton,
  oscillators,
  pooling,
  positions,
  recurrence,
  sampling,
  segments,
  stabilized_gates,
  state_space,
)
from seqjax.typing import Segments
from tests import counts

SIZES = dict(B=2, T=4, S=5, D=3, E=2, H=2, G=2, K=2, V=3, N=3, M=2, L=3, W=2)
SIZES |= {'C': 7, '2K': 4, '3H': 6, '4H': 8, '4K': 8, 'P': 2, '1': 1, '8': 8}


class Op(NamedTuple):
  """An op, the axes of its arrays by name, and other arguments.

  Attributes:
    free: axes (argument, place) that may have any size.
    integers: arguments of integers, with what they hold below.
    masks: arguments of booleans.
    scalars: values refused, by argument.
  """

  run: Callable
  axes: dict
  segments: bool = False
  algorithms: tuple = (None,)
  free: tuple = ()
  integers: tuple = ()
  masks: tuple = ()
  scalars: dict = {}


def cell(op, weights, kind=None):
  """Names every array of weights and carry."""

  def run(carry=None, x=None, cell=None, hidden=None, **others):
    names = [name for name in weights._fields if name in others]
    arrays = weights(*(others.pop(name) for name in names))
    if kind is not None:
      leaves = {n: a for n, a in others.items() if n in kind._fields}
      leaves |= {'cell': cell, 'hidden': hidden}
      others = {n: a for n, a in others.items() if n not in kind._fields}
      carry = kind(**{n: leaves[n] for n in kind._fields})
    return op(arrays, carry, x, **others)

  return run


def stepwise(step):
  """Names the arguments of one position as those of many."""

  def run(carry, query, key, value, log_decay, beta=None):
    gates = (log_decay,) if beta is None else (beta, log_decay)
    return step(carry, query, key, value, *gates)

  return run


def axes_of(weights, **axes):
  return dict(zip(weights._fields, weights_axes[weights], strict=True)) | axes


weights_axes = {
  recurrence.ElmanWeights: ('D H', 'H H', 'H'),
  recurrence.GRUWeights: ('D 3H', 'H 3H', '3H', 'H'),
  recurrence.LSTMWeights: ('D 4H', 'H 4H', '4H'),
  recurrence.SLSTMWeights: ('D 4H', '1 2K 8', '4H'),
}
MEMORY = {
  'carry': 'B H K V',
  'query': 'B T H K',
  'key': 'B T H K',
  'value': 'B T H V',
}
STEPS = {'key': 'B T P H K', 'value': 'B T P H V', 'beta': 'B T P H'}
CHUNKS = {'chunk': (0, -1, 2.5, True)}
INPUT = (('x', 2),)
OPS = {
  'linear_recurrence': Op(
    linear_recurrence.linear_recurrence,
    {'carry': 'B N', 'decay': 'B T N', 'drive': 'B T N'},
    True,
    linear_recurrence.ALGORITHMS,
  ),
  'linear_recurrence_step': Op(
    linear_recurrence.linear_recurrence_step,
    {'carry': 'B N', 'decay_t': 'B N', 'drive_t': 'B N'},
  ),
  'selective_scan': Op(
    state_space.selective_scan,
    {'carry': 'B D N', 'u': 'B T D', 'step_size': 'B T D', 'rate': 'D N',
     'write': 'B T N', 'read': 'B T N'},
    True,
    linear_recurrence.ALGORITHMS,
  ),
  'selective_scan_step': Op(
    state_space.selective_scan_step,
    {'carry': 'B D N', 'u_t': 'B D', 'step_size_t': 'B D', 'rate': 'D N',
     'write_t': 'B N', 'read_t': 'B N'},
  ),
  'diagonal_system': Op(
    diagonal_system.diagonal_system,
    {'carry': 'B D N', 'x': 'B T D', 'decay': 'D N', 'gain': 'D N',
     'output': 'D N'},
    True,
    diagonal_system.ALGORITHMS[:-1],
    free=(('x', 1),),
  ),
  'diagonal_system_step': Op(
    diagonal_system.diagonal_system_step,
    {'carry': 'B D N', 'x_t': 'B D', 'decay': 'D N', 'gain': 'D N',
     'output': 'D N'},
  ),
  'matrix_recurrence': Op(
    matrix_recurrence.matrix_recurrence,
    {'matrix': 'B T N N', 'drive': 'B T N M', 'start': 'B T',
     'carry': 'B N M'},
    algorithms=linear_recurrence.ALGORITHMS,
    masks=('start',),
  ),
  'stabilized_gates': Op(
    stabilized_gates.stabilized_gates,
    {'maximum': 'B H', 'log_forget': 'B T H', 'log_input': 'B T H'},
    True,
    linear_recurrence.ALGORITHMS,
  ),
  'oscillators': Op(
    oscillators.oscillators,
    {'carry': 'B P N', 'force': 'B T N', 'stiffness': 'N', 'step_size': 'N'},
    True,
    linear_recurrence.ALGORITHMS,
    free=(('force', 1),),
  ),
  'oscillators_step': Op(
    lambda carry, force, stiffness, step_size:
      oscillators.oscillators_step(carry, force, stiffness, step_size),
    {'carry': 'B P N', 'force': 'B N', 'stiffness': 'N', 'step_size': 'N'},
  ),
  'gated_outer': Op(
    linear_attention.gated_outer,
    MEMORY | {'log_decay': 'B T H'},
    True,
    linear_attention.ALGORITHMS,
    scalars=CHUNKS,
  ),
  'gated_outer of channels': Op(
    linear_attention.gated_outer,
    MEMORY | {'log_decay': 'B T H K'},
    True,
    linear_attention.ALGORITHMS,
    free=(('log_decay', 3),),
  ),
  'delta_rule': Op(
    linear_attention.delta_rule,
    MEMORY | {'beta': 'B T H', 'log_decay': 'B T H'},
    True,
    linear_attention.ALGORITHMS,
    scalars=CHUNKS,
  ),
  'delta_rule of channels': Op(
    linear_attention.delta_rule,
    MEMORY | {'beta': 'B T H K', 'log_decay': 'B T H K', 'removal': 'B T H K'},
    True,
    linear_attention.ALGORITHMS,
    free=(('beta', 3), ('log_decay', 3)),
  ),
  'delta_product': Op(
    delta_product.delta_product,
    MEMORY | STEPS | {'log_decay': 'B T H'},
    True,
    linear_attention.ALGORITHMS,
    scalars=CHUNKS,
  ),
  'gated_outer_step': Op(
    stepwise(linear_attention.gated_outer_step),
    {'carry': 'B H K V', 'query': 'B H K', 'key': 'B H K', 'value': 'B H V',
     'log_decay': 'B H'},
  ),
  'delta_rule_step': Op(
    stepwise(linear_attention.delta_rule_step),
    {'carry': 'B H K V', 'query': 'B H K', 'key': 'B H K', 'value': 'B H V',
     'beta': 'B H', 'log_decay': 'B H'},
  ),
  'delta_product_step': Op(
    stepwise(delta_product.delta_product_step),
    {'carry': 'B H K V', 'query': 'B H K', 'key': 'B P H K',
     'value': 'B P H V', 'beta': 'B P H', 'log_decay': 'B H'},
  ),
  'attention': Op(
    attention.attention,
    {'query': 'B T H K', 'key': 'B S G K', 'value': 'B S G V', 'slopes': 'H',
     'query_positions': 'B T', 'key_positions': 'B S',
     'query_segments': 'B T', 'key_segments': 'B S'},
    algorithms=('auto', 'plain', 'blockwise'),
    free=(('value', 3),),
    integers=('query_positions', 'key_positions', 'query_segments',
              'key_segments'),
    scalars={'window': (0, -1, 1.5, True)},
  ),
  'attention with gates': Op(
    lambda log_forget_of_queries, log_forget_of_keys, **others:
      attention.attention(
        log_forget=attention.LogForget(
          log_forget_of_queries, log_forget_of_keys), **others),
    {'query': 'B T H K', 'key': 'B S G K', 'value': 'B S G V',
     'log_forget_of_queries': 'B T H', 'log_forget_of_keys': 'B S H'},
    algorithms=('plain', 'blockwise'),
    free=(('value', 3),),
  ),
  'additive_attention': Op(
    attention.additive_attention,
    {'query': 'B T H K', 'key': 'B S H K', 'value': 'B S H V', 'weight': 'H K',
     'valid': 'B S'},
    free=(('query', 1), ('value', 3)),
    masks=('valid',),
  ),
  'causal_convolution': Op(
    convolution.causal_convolution,
    {'window': 'B W D', 'x': 'B T D', 'kernel': 'L D E'},
    True,
    free=(('kernel', 2), ('x', 1)),
    scalars={'dilation': (0, 1.5)},
  ),
  'causal_convolution_step': Op(
    convolution.causal_convolution_step,
    {'window': 'B W D', 'x_t': 'B D', 'kernel': 'L D E'},
    free=(('kernel', 2),),
  ),
  'depthwise_convolution': Op(
    convolution.depthwise_convolution,
    {'window': 'B W D', 'x': 'B T D', 'kernel': 'L D'},
    True,
    free=(('x', 1),),
  ),
  'depthwise_convolution_step': Op(
    convolution.depthwise_convolution_step,
    {'window': 'B W D', 'x_t': 'B D', 'kernel': 'L D'},
  ),
  'elman': Op(
    cell(recurrence.elman, recurrence.ElmanWeights),
    axes_of(recurrence.ElmanWeights, carry='B H', x='B T D'),
    True,
    recurrence.ALGORITHMS,
    free=(('x', 1),),
  ),
  'gru': Op(
    cell(recurrence.gru, recurrence.GRUWeights),
    axes_of(recurrence.GRUWeights, carry='B H', x='B T D'),
    True,
    recurrence.ALGORITHMS,
    free=(('x', 1),),
  ),
  'lstm': Op(
    cell(recurrence.lstm, recurrence.LSTMWeights, recurrence.LSTMCarry),
    axes_of(recurrence.LSTMWeights, cell='B H', hidden='B H', x='B T D'),
    True,
    recurrence.ALGORITHMS,
    free=(('x', 1),),
  ),
  'slstm': Op(
    cell(recurrence.slstm, recurrence.SLSTMWeights, recurrence.SLSTMCarry),
    dict(input='D 8', recurrent='1 H 8', bias='8', x='B T D')
    | dict.fromkeys(recurrence.SLSTMCarry._fields, 'B H'),
    True,
    recurrence.SLSTM_ALGORITHMS,
    free=(('x', 1),),
  ),
  'newton': Op(
    lambda carry, x, **others: newton.newton(
      lambda h, x_t: jnp.tanh(h + x_t), carry, x, **others
    ),
    {'carry': 'B N', 'x': 'B T N', 'start': 'B T'},
    free=(('carry', 1), ('x', 2)),
    masks=('start',),
  ),
  **{
    f'pooling.{name}': Op(
      getattr(pooling, name),
      {'x': 'B T D', 'keep': 'B T'},
      free=INPUT,
      masks=('keep',),
    )
    for name in ('last', 'mean', 'maximum')
  },
  'rotate': Op(
    positions.rotate,
    {'x': 'B T H 2K', 'positions': 'B T'},
    free=(('x', 2),),
    integers=('positions',),
  ),
  'sinusoids': Op(
    lambda positions: lambda_sinusoids(positions),
    {'positions': 'B T'},
    free=(('positions', 0), ('positions', 1)),
    integers=('positions',),
  ),
  'look_up': Op(
    positions.look_up,
    {'table': 'N D', 'positions': 'B T'},
    free=(('table', 0), ('table', 1), ('positions', 0), ('positions', 1)),
    integers=('positions',),
  ),
  'likeliest': Op(
    sampling.likeliest,
    {'logits': 'B C'},
    free=(('logits', 0), ('logits', 1)),
    scalars={'top_k': (0, 1.5), 'top_p': (-0.1, 1.5, float('nan'))},
  ),
}  # fmt: skip


def lambda_sinusoids(places):
  return positions.sinusoids(places, 4, jnp.float32)


@pytest.fixture(autouse=True)
def without_annotations():
  """What is refused here is refused to users, who run no type checker."""
  before = jaxtyping.config.jaxtyping_disable
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', before)


def arguments(op):
  """Returns arrays of NumPy that fit."""
  rng = np.random.default_rng(0)

  def draw(name, axes):
    shape = [SIZES[axis] for axis in axes.split()]
    if name in op.integers:
      return np.zeros(shape, np.int32)
    if name in op.masks:
      return np.ones(shape, bool)
    numbers = rng.normal(size=shape).astype(np.float32)
    return -np.abs(numbers) if name.startswith('log_') else numbers

  return {name: draw(name, axes) for name, axes in op.axes.items()}


def wrong_arrays(op):
  """Yields (argument, what is wrong with it, a value for it)."""
  for name, array in arguments(op).items():
    for place in range(array.ndim):
      if (name, place) in op.free:
        continue
      more = np.concatenate([array, np.take(array, [0], place)], axis=place)
      yield name, f'axis {place} longer', more
      if array.shape[place] > 1:
        yield name, f'axis {place} of 1', np.take(array, [0], place)
    yield name, 'an axis more', array[None]
    if array.ndim > 1:
      yield name, 'an axis less', array[0]
    yield name, 'a list', array.tolist()
    for dtype in (np.int32, bool, np.complex64, object, np.float32):
      if dtype not in right_dtypes(op, name):
        yield name, f'of {dtype}', array.astype(dtype)


def right_dtypes(op, name):
  if name in op.integers:
    return (np.int32,)
  if name in op.masks:
    return (bool,)
  if op.run is OPS['newton'].run and name == 'x':
    return (np.int32, bool, np.complex64, np.float32)
  recurrences = (linear_recurrence.linear_recurrence_step,)
  recurrences += (linear_recurrence.linear_recurrence,)
  recurrences += (diagonal_system.diagonal_system,)
  recurrences += (diagonal_system.diagonal_system_step,)
  recurrences += (oscillators.oscillators, OPS['oscillators_step'].run)
  if op.run in recurrences and name == 'carry':
    return np.float32, np.complex64
  return (np.float32,)


def wrong_segments():
  valid = np.ones((2, 4), bool)
  yield 'a mask', valid
  yield 'a list of lengths', [4, 2]
  yield 'a tuple of masks', (valid, valid)
  yield 'other positions', Segments(valid[:, :3], valid[:, :3])
  yield 'integers', Segments(valid.astype(np.int32), valid)
  yield 'one row', Segments(valid[:1], valid[:1])


@pytest.mark.parametrize('name', OPS)
def test_every_op_refuses_what_does_not_fit(name):
  """By a sentence that names the op and the argument, with every algorithm."""
  op = OPS[name]
  faults, tried = [], []

  def refuse(what, **changes):
    tried.append(what)
    try:
      op.run(**arguments(op) | changes)
    except ValueError as error:
      said = str(error)
      one = said.endswith('.') and ' but ' in said and '; ' in said
      if not one or '\n' in said or name.split(' ')[0] not in said:
        faults.append((what, said))
    except Exception as error:  # noqa: BLE001  in the words of another library
      faults.append((what, repr(error)[:200]))
    else:
      faults.append((what, 'accepted'))

  for algorithm in op.algorithms:
    options = {} if algorithm is None else {'algorithm': algorithm}
    for argument, what, value in wrong_arrays(op):
      refuse(f'{argument} {what}', **{argument: value}, **options)
    for argument, values in op.scalars.items():
      for value in values:
        refuse(f'{argument}={value!r}', **{argument: value}, **options)
    for what, value in wrong_segments() if op.segments else ():
      refuse(f'segments: {what}', segments=value, **options)
  counts.show(name, len(tried), len(tried) - len(faults))
  assert not faults, '\n'.join(map(str, faults))


@pytest.mark.parametrize('name', OPS)
def test_every_op_takes_arrays_of_numpy(name):
  """As it takes those of JAX, with every algorithm."""
  op = OPS[name]
  starts = np.zeros((2, 4), bool)
  pieces = {'segments': Segments(starts, ~starts)} if op.segments else {}
  for algorithm in op.algorithms:
    options = {} if algorithm is None else {'algorithm': algorithm}
    given = op.run(**arguments(op), **pieces, **options)
    expected = op.run(
      **jax.tree.map(jnp.asarray, arguments(op) | pieces), **options
    )
    jax.tree.map(np.testing.assert_array_equal, given, expected)


def test_complex_decays_need_a_complex_carry():
  """Which was silently real."""
  decay = np.ones((1, 2, 3), np.complex64)
  for algorithm in linear_recurrence.ALGORITHMS:
    with pytest.raises(ValueError, match='the carry is float32 and decay is'):
      linear_recurrence.linear_recurrence(
        np.ones((1, 3), np.float32), decay, decay.real, algorithm=algorithm
      )


@pytest.mark.parametrize(
  'call, message',
  [
    (lambda x, w: state_space.to_state(x, w, jnp.float32), 'features = 3'),
    (state_space.from_state, 'state size = 3'),
    (
      lambda x, w: lyapunov.largest_lyapunov_exponent(max, x, w),
      r'x of shape \[batch = 2, positions\]',
    ),
    (lambda x, w: state_space.s4d_lin(0), 'state_size=0'),
  ],
)
def test_other_functions_refuse_what_does_not_fit(call, message):
  """Kernels of states, trajectories, numbers of states."""
  with pytest.raises(ValueError, match=message):
    call(np.ones((2, 3), np.float32), np.ones((1, 4, 5), np.float32))


def test_lengths_of_a_list_are_lengths():
  """And ids too; fractions are not."""
  assert segments.from_lengths([2, 0], 3).valid.sum() == 2
  assert segments.from_ids([[1, 1, 2]]).start.sum() == 1
  with pytest.raises(ValueError, match='lengths to be integers with 1 axis'):
    segments.from_lengths([0.5], 3)
