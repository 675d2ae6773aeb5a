"""NaN and infinity stay where a loop over positions would leave them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.ops import linear_attention, pooling, recurrence, state_space
from seqjax.ops import linear_recurrence as linear
from seqjax.ops.attention import LogForget, additive_attention, attention
from seqjax.ops.convolution import causal_convolution, depthwise_convolution
from seqjax.ops.delta_product import delta_product
from seqjax.ops.diagonal_system import diagonal_system
from seqjax.ops.segments import piece_index
from seqjax.ops.stabilized_gates import stabilized_gates
from seqjax.typing import Segments

B, T, H, K, V = 2, 13, 2, 2, 3
STARTS = (5, 9)
SEGMENTS = Segments(np.zeros((B, T), bool), np.ones((B, T), bool))
SEGMENTS.start[:, list(STARTS)] = True
SEGMENTS.valid[:, [4, 11]] = False
POSITIONS = (1, 5, 7, 10)
ONES = np.ones((B, T + 1), np.float32)


class Op(NamedTuple):
  """An op on sequences.

  Attributes:
    run: (carry, arrays, algorithm) -> (carry, outputs); the carry may be None.
    algorithms: all but 'auto'.
    carry: shapes of the carry, without the batch.
    shapes: those of the arrays, without batch and positions.
    causal: whether outputs see no later position.
  """

  run: Callable
  algorithms: tuple
  carry: tuple
  shapes: tuple
  causal: bool = True


def recur(op, weights):
  """Elman, GRU, LSTM and sLSTM with weights of these shapes."""
  rng = np.random.default_rng(3)
  kind, *shapes = weights
  arrays = kind(*(rng.normal(size=s).astype(np.float32) for s in shapes))

  def run(carry, arrays_of_time, algorithm):
    carry = carry[0] if len(carry) == 1 else CARRIES[op](*carry)
    return op(
      jax.tree.map(jnp.asarray, arrays),
      carry,
      *arrays_of_time,
      SEGMENTS,
      algorithm=algorithm,
    )

  return run


CARRIES = {
  recurrence.lstm: recurrence.LSTMCarry,
  recurrence.slstm: recurrence.SLSTMCarry,
}


def one_carry(op, **options):
  """Returns ops that take a carry, arrays and segments."""

  def run(carry, arrays, algorithm):
    chosen = (
      options if algorithm is None else {'algorithm': algorithm, **options}
    )
    return op(*carry, *arrays, SEGMENTS, **chosen)

  return run


def gates(carry, arrays, algorithm):
  last, gates = stabilized_gates(
    *carry, -jnp.square(arrays[0]), arrays[1], SEGMENTS, algorithm=algorithm
  )
  return last, jnp.stack(gates, axis=-1)


def attend(_, arrays, algorithm, **options):
  pieces = piece_index(SEGMENTS, B, T)
  read = attention(
    *arrays,
    query_segments=pieces,
    key_segments=pieces,
    algorithm=algorithm,
    **options,
  )
  return None, jnp.where(SEGMENTS.valid[..., None, None], read, 0)


def forget(_, arrays, algorithm):
  *arrays, gates = arrays
  _, sums = linear.linear_recurrence(
    jnp.zeros_like(gates[:, 0]),
    jnp.ones_like(gates),
    -jnp.square(gates),
    SEGMENTS,
  )
  log_forget = LogForget(sums, sums)
  return attend(None, arrays, algorithm, log_forget=log_forget)


def with_negative(run):
  """Makes a log decay of the last array."""
  return lambda carry, arrays, algorithm: run(
    carry, (*arrays[:-1], -jnp.square(arrays[-1])), algorithm
  )


def taps(op, kernel):
  return lambda carry, arrays, _: op(*carry, *arrays, kernel, SEGMENTS)


def select(carry, arrays, algorithm):
  u, step, write, read = arrays
  rate = np.array([[0.1, 0.5], [1.0, 2.0], [0.0, 3.0]], np.float32)
  return state_space.selective_scan(
    *carry, u, step, rate, write, read, SEGMENTS, algorithm=algorithm
  )


def filter_rows(carry, arrays, algorithm):
  decay, gain, output = np.array(
    [[[0.1, 0.5], [1.0, 0.9]], [[1, 2], [3, -1]], [[1, -1], [2, 0.5]]],
    np.float32,
  )
  return diagonal_system(
    *carry, *arrays, decay, gain, output, SEGMENTS, algorithm=algorithm
  )


KERNEL = np.ones((3, 2, 2), np.float32)


def corrected(carry, q, k, v, beta, removal, log_decay, segments, **options):
  """Calls the delta rule with removal keys, its log decay last."""
  return linear_attention.delta_rule(
    carry, q, k, v, beta, log_decay, segments, removal=removal, **options
  )


OUTER, CORRECTED = linear_attention.gated_outer, linear_attention.delta_rule
LINEAR = tuple(a for a in linear.ALGORITHMS if a != 'auto')
NEWTON = tuple(a for a in recurrence.ALGORITHMS if a != 'auto')
OPS = {
  'linear_recurrence': Op(
    one_carry(linear.linear_recurrence), LINEAR, ((3,),), ((3,), (3,))
  ),
  'selective_scan': Op(select, LINEAR, ((3, 2),), ((3,), (3,), (2,), (2,))),
  'diagonal_system': Op(filter_rows, LINEAR, ((2, 2),), ((2,),)),
  'stabilized_gates': Op(gates, ('scan', 'associative'), ((H,),), ((H,), (H,))),
  'gated_outer': Op(
    with_negative(one_carry(OUTER, chunk=4)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (H, K), (H, V), (H,)),
  ),
  'gated_outer, channels': Op(
    with_negative(one_carry(OUTER, chunk=32)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (H, K), (H, V), (H, K)),
  ),
  'delta_rule': Op(
    with_negative(one_carry(CORRECTED, chunk=4)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (H, K), (H, V), (H,), (H,)),
  ),
  'delta_rule, channels': Op(
    with_negative(one_carry(CORRECTED, chunk=32)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (H, K), (H, V), (H, K), (H, K)),
  ),
  'delta_rule, removal': Op(
    with_negative(one_carry(corrected, chunk=32)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (H, K), (H, V), (H, K), (H, K), (H, K)),
  ),
  'delta_product': Op(
    with_negative(one_carry(delta_product, chunk=4)),
    ('plain', 'chunked'),
    ((H, K, V),),
    ((H, K), (2, H, K), (2, H, V), (2, H), (H,)),
  ),
  'attention': Op(attend, ('plain', 'blockwise'), (), ((H, K), (1, K), (1, V))),
  'attention, gates': Op(
    forget,
    ('plain', 'blockwise'),
    (),
    ((H, K), (1, K), (1, V), (H,)),
  ),
  'attention, window': Op(
    functools.partial(attend, window=2),
    ('plain', 'blockwise'),
    (),
    ((H, K), (H, K), (H, V)),
  ),
  'attention, not causal': Op(
    functools.partial(attend, causal=False),
    ('plain', 'blockwise'),
    (),
    ((H, K), (H, K), (H, V)),
    causal=False,
  ),
  'causal_convolution': Op(
    taps(causal_convolution, KERNEL), (None,), ((2, 2),), ((2,),)
  ),
  'depthwise_convolution': Op(
    taps(depthwise_convolution, KERNEL[..., 0]), (None,), ((2, 2),), ((2,),)
  ),
  'elman': Op(
    recur(recurrence.elman, (recurrence.ElmanWeights, (2, 3), (3, 3), (3,))),
    NEWTON,
    ((3,),),
    ((2,),),
  ),
  'gru': Op(
    recur(recurrence.gru, (recurrence.GRUWeights, (2, 9), (3, 9), (9,), (3,))),
    NEWTON,
    ((3,),),
    ((2,),),
  ),
  'lstm': Op(
    recur(recurrence.lstm, (recurrence.LSTMWeights, (2, 12), (3, 12), (12,))),
    NEWTON,
    ((3,), (3,)),
    ((2,),),
  ),
  'slstm': Op(
    recur(
      recurrence.slstm, (recurrence.SLSTMWeights, (2, 12), (1, 3, 12), (12,))
    ),
    ('plain', 'newton'),
    ((3,),) * 4,
    ((2,),),
  ),
}


def draw(op):
  rng = np.random.default_rng(0)
  carry = [rng.uniform(size=(B, *shape)) for shape in op.carry]
  arrays = [rng.normal(size=(B, T, *shape)) / 2 for shape in op.shapes]
  return jax.tree.map(lambda a: a.astype(np.float32), (carry, arrays))


def runner(op, algorithm):
  """Outputs, last carry, and gradients of the arrays, by one compilation.

  `weights` [B T + 1] are those of the outputs, and of the last carry, in what
  is differentiated.
  """

  def objective(arrays, carry, weights):
    carry, y = op.run(carry, arrays, algorithm)
    total = _weighted(y, weights[:, :-1])
    for leaf in jax.tree.leaves(carry):
      total += _weighted(leaf, weights[:, -1]) if leaf.size else 0
    return total, (carry, y)

  gradient = jax.jit(jax.grad(objective, has_aux=True))

  def run(carry, arrays, weights=ONES):
    gradients, (carry, y) = gradient(arrays, carry, weights)
    return jax.tree.map(np.asarray, (y, carry, gradients))

  return run


def _weighted(leaf, weights):
  axes = range(weights.ndim, leaf.ndim)
  return jnp.sum(jnp.cos(leaf) * jax.lax.expand_dims(weights, axes))


def reached(op, position):
  """Marks outputs, and gradients, that a position of row 0 may reach."""
  edges = (0, *STARTS, T)
  segment = np.searchsorted(STARTS, position, side='right')
  begin, end = edges[segment], edges[segment + 1]
  outputs, gradients = np.zeros((2, B, T), bool)
  outputs[0, max(position, 0) if op.causal else begin : end] = True
  gradients[0, begin:end] = True
  return outputs, gradients, end == T


def spoilt(op, value):
  """Inputs of which one entry is `value`, and its position; -1 in the carry."""
  carry, arrays = draw(op)
  for i in range(len(arrays)):
    for position in POSITIONS:
      if position != POSITIONS[0] and value != value:
        continue  # every position with infinity, one with NaN
      changed = [a.copy() for a in arrays]
      changed[i][0, position].flat[0] = value
      yield carry, changed, position
  for i in range(len(carry)):
    changed = [a.copy() for a in carry]
    changed[i][0].flat[0] = value
    yield changed, arrays, -1


@pytest.mark.parametrize('name', OPS)
def test_what_is_not_finite_stays_in_its_segment_and_algorithms_agree(name):
  """In outputs, carry and gradients; later positions agree on what is NaN."""
  op = OPS[name]
  runs = {a: runner(op, a) for a in op.algorithms}
  clean = {a: run(*draw(op)) for a, run in runs.items()}
  for value in (np.nan, np.inf, -np.inf):
    for carry, arrays, position in spoilt(op, value):
      outputs, gradients, last = reached(op, position)
      results = {a: run(carry, arrays) for a, run in runs.items()}
      for algorithm, (y, after, slopes) in results.items():
        expected = clean[algorithm]
        near(y[~outputs], expected[0][~outputs])
        rows = slice(1 if last else 0, None)
        for a, b in zip(
          *map(jax.tree.leaves, (after, expected[1])), strict=True
        ):
          near(a[rows], b[rows])
        for a, b in zip(slopes, expected[2], strict=True):
          near(a[~gradients], b[~gradients])
      agree(*(results[a][:2] for a in op.algorithms))


@pytest.mark.parametrize('name', OPS)
def test_gradients_that_are_not_finite_stay_in_their_segment(name):
  """The outputs are finite, and what follows the op is not."""
  op = OPS[name]
  for algorithm in op.algorithms:
    run = runner(op, algorithm)
    _, _, expected = run(*draw(op))
    for value in (np.nan, np.inf):
      for position in (*POSITIONS, T):
        if position == T and not op.carry:
          continue
        weights = ONES.copy()
        weights[0, position] = value
        _, _, given = run(*draw(op), weights)
        _, reached_, _ = reached(op, min(position, T - 1))
        said = f'{algorithm}: {value} at {position}'
        for i, (a, b) in enumerate(zip(given, expected, strict=True)):
          near(a[~reached_], b[~reached_], f'{said}, array {i}')
        if position < T:
          found = [~np.isfinite(a[0, position]).all() for a in given]
          assert any(found), f'{said} is overlooked'


def near(given, expected, said=''):
  np.testing.assert_allclose(
    given, expected, rtol=1e-4, atol=1e-5, err_msg=said
  )


def agree(first, *others):
  """Finite at the same places, and equal there."""
  for other in others:
    for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True):
      np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
      near(np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0))


@pytest.mark.parametrize('algorithm', linear.ALGORITHMS)
def test_infinity_ends_at_the_next_start(algorithm):
  """Zero times infinity would make NaN of it."""
  drive = jnp.array([[[np.inf], [1.0], [1.0]]])
  start = jnp.array([[False, False, True]])
  _, states = linear.linear_recurrence(
    jnp.zeros((1, 1)),
    jnp.full_like(drive, 0.5),
    drive,
    Segments(start, jnp.ones_like(start)),
    algorithm=algorithm,
  )
  assert states[0, :, 0].tolist() == [np.inf, np.inf, 1.0]


@pytest.mark.parametrize('algorithm', ['plain', 'blockwise'])
@pytest.mark.parametrize('position', [3, 130])
def test_a_later_value_of_nan_reaches_no_earlier_query(algorithm, position):
  """Its weight is zero there, and zero times NaN is NaN."""
  rng = np.random.default_rng(0)
  arrays = rng.normal(size=(3, 1, 140, 1, 4)).astype(np.float32)
  expected = attention(*arrays, algorithm=algorithm)
  arrays[2, :, position, :, 1] = np.nan
  given = attention(*arrays, algorithm=algorithm)
  near(given[:, :position], expected[:, :position])
  assert np.isnan(given[:, position:]).all()


def test_padding_of_nan_reaches_no_additive_score_or_gradient():
  """Its weight is zero, and so is what it adds."""
  rng = np.random.default_rng(0)
  query, key, value = rng.normal(size=(3, 1, 4, 1, 2)).astype(np.float32)
  weight = np.ones((1, 2), np.float32)
  valid = np.array([[True, True, False, True]])

  def read(query, key, value):
    return additive_attention(query, key, value, weight, valid)

  def both(*arrays):
    total = jax.grad(lambda *a: jnp.sum(jnp.cos(read(*a))), (0, 1, 2))
    return read(*arrays), total(*arrays)

  expected = both(query, key, value)
  key[:, 2], value[:, 2] = np.nan, np.inf
  jax.tree.map(near, both(query, key, value), expected)


@pytest.mark.parametrize('pool', [pooling.last, pooling.mean, pooling.maximum])
def test_pools_see_the_positions_that_are_kept(pool):
  """NaN elsewhere changes nothing; where it is kept it is never overlooked."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 128, 16)).astype(np.float32)
  keep = np.ones((2, 128), bool)
  keep[0, 3] = keep[1, 5] = False
  expected = pool(x, keep)
  x[0, 3], x[1, 5] = np.nan, np.inf
  near(pool(x, keep), expected)
  near(jax.grad(lambda x: pool(x, keep).sum())(x)[:, [3, 5]][[0, 1], [0, 1]], 0)
  x[0, -1] = np.nan
  given = pool(x, keep)
  assert np.isnan(given[0]).all() and np.isfinite(given[1]).all()
