"""The laws that every mixer keeps, ours or yours.

    from seqjax import testing
    testing.assert_mixer_contract(MyMixer(features=8, context=16))

raises `LawBroken`, which names the law, what differed, and by how much.
Anything that follows the protocol of mixers can be tested, also blocks and
models.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.nn import bridge
from seqjax.nn.mixer import SequenceLayer, StreamingLayer, can_stream
from seqjax.testing.agreement import FORWARD, compare, reject_vacuous
from seqjax.testing.laws import LawBroken
from seqjax.testing.nnx_module import check_nnx_module
from seqjax.testing.not_finite import check_not_finite
from seqjax.testing.subject import (
  BATCH_SIZE,
  NUM_POSITIONS,
  Case,
  Subject,
  on_host,
  one_piece,
  scenarios,
  with_garbage,
  with_zeros,
)
from seqjax.typing import Segments

CUTS = (1, 5, 16)

STRUCTURE = 'the carry keeps its structure, shapes and dtypes'
CAUSALITY = 'an output sees nothing after its position'
PADDING = 'padding changes nothing, whatever it holds and wherever it stands'
PACKING = 'a packed row gives what its segments give in rows of their own'
CUTTING = 'splitting a sequence anywhere changes nothing'
UNROLL = 'unroll equals step by step, gradients too'
CALL = 'calling equals unrolling from the initial carry, gradients too'
NO_SEGMENTS = 'no segments means one piece, all valid'
VMAP = 'vmap over parameters equals one after another'
JIT = 'jit changes nothing'
PRECISION = 'bfloat16 stays near float32'


def assert_mixer_contract(
  mixer: Any, *, zero: tuple[str, ...] = (), tolerance: float = 1.0
):
  """Checks every law that the type of a mixer, block or model promises.

  Args:
    mixer: unbound, or an NNX module of `seqjax.nn.nnx` or `seqjax.models.nnx`:
      its Linen module is then held to the laws, and it must compute the same.
      Its dtypes, and those of modules among its fields, are set here. If its
      number of positions is limited, as with learned ones, its context must be
      at least 74.
    zero: at most two tensors that are zero by construction, such as
      'params/key/bias' for keys without positions; say why beside it.
    tolerance: allowed differences in float32, as a multiple of the default; 10
      for matrix-valued states and exponential gates.

  Raises:
    LawBroken: names the law, the tensor, the difference and what is allowed.
    ValueError: more than two tensors are said to be zero, or it has not the
      protocol of mixers.

  Example:
    >>> from seqjax import nn, testing
    >>> testing.assert_mixer_contract(nn.MinGRU(features=4))
  """
  given, nnx_module = mixer, isinstance(mixer, bridge.SequenceLayer)
  if nnx_module:
    mixer, _ = given.to_linen()
  if not isinstance(mixer, SequenceLayer):
    what = (
      f'the class {mixer.__name__}, not an instance of it,'
      if isinstance(mixer, type)
      else f'a {type(mixer).__name__}'
    )
    raise ValueError(
      'The laws are those of mixers, which derive from CausalMixer or '
      'SequenceMixer of seqjax.nn, and of models of them, but '
      f'{what} was given.'
    )
  if len(zero) > 2:
    raise ValueError(
      f'At most two tensors may be zero by construction, but {zero} were named.'
    )
  if nnx_module:
    check_nnx_module(given, zero=zero, tolerance=tolerance)
  make = functools.partial(Subject, mixer, zero=zero, tolerance=tolerance)
  with jax.default_matmul_precision('highest'):
    if can_stream(mixer):
      _assert_causal(make)
    else:
      _assert_noncausal(make)


def _assert_causal(make):
  single = make(jnp.float32)
  _check_structure(single, make)
  with jax.enable_x64(True):
    subject = make(jnp.float64)
    carry = _reached_carry(subject)
    _check_causality(subject, carry)
    _check_padding(subject, carry)
    _check_packing(subject)
    _check_cutting(subject, carry)
    _check_unroll(subject, carry, subject)
    _check_call(subject, carry)
    _check_vmap(subject, carry)
    check_not_finite(subject, carry)
  carry = _reached_carry(single)
  _check_unroll(single, carry, subject)
  _check_jit(single, carry)
  _check_precision(single, make(jnp.bfloat16, single.variables), carry)


def _assert_noncausal(make):
  with jax.enable_x64(True):
    subject = make(jnp.float64)
    _check_padding(subject, None)
    _check_packing(subject)
    _check_no_segments(subject)
    _check_vmap(subject, None)
    check_not_finite(subject, None)
  single = make(jnp.float32)
  _check_jit(single, None)
  _check_precision(single, make(jnp.bfloat16, single.variables), None)


def _check_structure(single, make):
  """Carries look the same before and after, whatever x64 is set to."""
  with jax.enable_x64(False):
    # The segments of other laws, which read what is traced here.
    narrow = _carry_signature(single, scenarios()['random'])
  with jax.enable_x64(True):
    wide = _carry_signature(make(jnp.float32))
  if narrow != wide:
    raise LawBroken(STRUCTURE, f'x64 turns {narrow} into {wide}.')


def _carry_signature(subject, segments=None):
  """Shapes and dtypes of the carry, which no step or unroll may change."""
  make = functools.partial(subject.mixer.initialize_carry, BATCH_SIZE)
  initial = jax.eval_shape(make)
  for leaf in jax.tree.leaves(initial):
    if leaf.shape[:1] != (BATCH_SIZE,):
      raise LawBroken(STRUCTURE, f'the first axis of {leaf} is not the batch.')
  given = subject.variables, initial
  stepped, y_t = jax.eval_shape(subject.apply_step, *given, subject.x[:, 0])
  unrolled, y = jax.eval_shape(
    subject.apply_unroll, *given, subject.x, segments
  )
  if stepped != initial or unrolled != initial:
    raise LawBroken(STRUCTURE, f'{initial} became {stepped} and {unrolled}.')
  if {y_t.dtype, y.dtype} != {subject.dtype}:
    raise LawBroken(
      STRUCTURE, f'{subject.dtype} gave {y_t.dtype} and {y.dtype}.'
    )
  if (y.shape[0], *y.shape[2:]) != y_t.shape:
    raise LawBroken(STRUCTURE, f'step gives {y_t}, unroll gives {y}.')
  return initial


def _reached_carry(subject):
  """A carry as a stream has it: after a random prefix."""
  prefix = Case(subject.initial, subject.x, scenarios()['random'])
  return subject.run(prefix).carry


def _check_causality(subject, carry):
  before = Case(carry, subject.x, scenarios()['pads at the edges'])
  other, cut = subject.inputs(), NUM_POSITIONS // 2
  changed = before._replace(
    x=np.concatenate([subject.x[:, :cut], other[:, cut:]], axis=1)
  )
  expected, given = subject.run(before).y, subject.run(changed).y
  subject.agree(CAUSALITY, 'outputs', given[:, :cut], expected[:, :cut])


def _check_padding(subject, carry):
  for name, segments in scenarios().items():
    zeros = with_zeros(subject.x, segments)
    garbage = with_garbage(subject, segments)
    expected = subject.run(Case(carry, zeros, segments))
    given = subject.run(Case(carry, garbage, segments))
    subject.agree(PADDING, f'garbage, {name}', given, expected)
    if given.y[~segments.valid].any():
      raise LawBroken(PADDING, f'{name}: an output at padding is not zero.')

  segments = scenarios()['pads in the middle']
  order = np.argsort(~segments.valid, axis=1, stable=True)
  if not subject.causal:
    order = np.roll(order, 5, axis=1)  # padding in front moves there as well
  rows = np.arange(BATCH_SIZE)[:, None]
  moved = Segments(*(array[rows, order] for array in segments))
  expected = subject.run(Case(carry, subject.x[rows, order], moved))
  given = subject.run(Case(carry, subject.x, segments))
  subject.agree(
    PADDING, 'moved to the end, outputs', given.y[rows, order], expected.y
  )
  subject.agree(PADDING, 'moved to the end, carry', given.carry, expected.carry)


def _check_packing(subject):
  """Row 0 holds three segments; then each stands alone in a row of its own."""
  cuts = (0, 11, 24, NUM_POSITIONS)
  packed, apart = one_piece(), one_piece()
  packed.start[:, list(cuts[1:-1])] = True
  x = np.zeros(subject.x.shape, subject.x.dtype)
  for row, (begin, end) in enumerate(itertools.pairwise(cuts)):
    apart.valid[row, end - begin :] = False
    x[row, : end - begin] = subject.x[0, begin:end]
  carry = subject.initial
  whole = subject.run(Case(carry, subject.x, packed))
  pieces = subject.run(Case(carry, x, apart))
  for row, (begin, end) in enumerate(itertools.pairwise(cuts)):
    given, expected = whole.y[0, begin:end], pieces.y[row, : end - begin]
    subject.agree(PACKING, f'piece {row}', given, expected)
  subject.agree(
    PACKING,
    'the last carry',
    jax.tree.map(lambda leaf: leaf[0], whole.carry),
    jax.tree.map(lambda leaf: leaf[BATCH_SIZE - 1], pieces.carry),
  )


def _check_cutting(subject, carry):
  def in_chunks(variables, carry, x, segments):
    outputs = []
    for begin, end in itertools.pairwise((0, *CUTS, NUM_POSITIONS)):
      chunk = jax.tree.map(lambda a: a[:, begin:end], (x, segments))  # noqa: B023
      carry, y = subject.apply_unroll(variables, carry, *chunk)
      outputs.append(y)
    return carry, jnp.concatenate(outputs, axis=1)

  in_chunks = jax.jit(in_chunks)
  for name, segments in scenarios().items():
    expected = subject.run(Case(carry, subject.x, segments))
    given = in_chunks(subject.variables, carry, subject.x, segments)
    subject.agree(CUTTING, name, given, (expected.carry, expected.y))


def _check_unroll(subject, carry, exact):
  """`exact` is the same mixer in float64, and takes the steps."""
  for name, segments in scenarios().items():
    case = Case(carry, subject.x, segments)
    with jax.enable_x64(True):
      given = subject.variables, carry, subject.x
      variables, *wide = jax.tree.map(_widened, given)
      expected = exact.reference(variables, *Case(*wide, segments))
    subject.agree(UNROLL, name, subject.run(case), expected)
    reject_vacuous(UNROLL, name, expected, subject.zero)


def _widened(leaf):
  if not jnp.issubdtype(leaf.dtype, jnp.inexact):
    return leaf
  return np.asarray(leaf, jnp.promote_types(leaf.dtype, jnp.float64))


def _check_call(subject, carry):
  """Calls with and without segments, and unrolls without."""

  def unroll_bare(variables, carry, x, segments):
    return subject.apply_unroll(variables, carry, x, None)

  inherited = type(subject.mixer).__call__ is StreamingLayer.__call__

  @jax.jit
  def run(*args):
    """Unrolls; calls too, unless the class inherits the call from `unroll`."""
    forms = {'unroll': unroll_bare}
    if not inherited:
      forms |= {'call': subject.apply_call, 'bare call': subject.apply_bare}
    return {k: subject.with_gradients(f)(*args) for k, f in forms.items()}

  initial = subject.initial
  for name in ('one piece',) if inherited else ('random', 'one piece'):
    segments = scenarios()[name]
    case = Case(initial, subject.x, segments, carry_weight=0.0)
    expected = _without_carry(subject.run(case))
    x = with_garbage(subject, segments)
    given = run(subject.variables, *Case(carry, x, segments))
    if not inherited:
      subject.agree(CALL, name, _without_carry(given['call']), expected)
  # The last scenario is one segment without padding: no segments at all.
  if not inherited:
    bare = _without_carry(given['bare call'])
    subject.agree(NO_SEGMENTS, 'call', bare, expected)
  whole = subject.run(Case(carry, subject.x, segments))
  subject.agree(NO_SEGMENTS, 'unroll', given['unroll'], whole)


def _check_no_segments(subject):
  """The call of a mixer without a carry, which is all that it has."""
  bare = jax.jit(subject.with_gradients(subject.apply_bare))
  case = Case(None, subject.x, scenarios()['one piece'])
  expected = subject.run(case)
  subject.agree(NO_SEGMENTS, 'call', bare(subject.variables, *case), expected)
  reject_vacuous(NO_SEGMENTS, 'call', expected, subject.zero)


def _without_carry(result):
  """Outputs and their gradients, of what has no part in a carry."""
  gradients = {
    name: gradient
    for name, gradient in result.gradients.items()
    if not name.startswith('carry')
  }
  return result._replace(carry=None, gradients=gradients)


def _check_vmap(subject, carry):
  other = jax.tree.map(subject.random_like, subject.variables)
  both = jax.tree.map(
    lambda *leaves: np.stack(leaves), subject.variables, other
  )
  case = Case(carry, subject.x, scenarios()['random'])
  mapped = jax.vmap(subject.apply_unroll, in_axes=(0, None, None, None))
  given = on_host(jax.jit(mapped)(both, *case[:3]))
  for i, variables in enumerate((subject.variables, other)):
    expected = on_host(subject.unroll(variables, *case))
    member = jax.tree.map(lambda leaf: leaf[i], given)  # noqa: B023
    subject.agree(VMAP, f'member {i}', member, (expected.carry, expected.y))


def _check_jit(subject, carry):
  """A step that is not compiled, or the call of what takes none."""
  case = Case(carry, subject.x, scenarios()['one piece'])
  expected = subject.run(case).y
  on_device = functools.partial(jax.tree.map, jnp.asarray)
  apply = functools.partial(subject.mixer.apply, on_device(subject.variables))
  if subject.causal:
    _, y_t = apply(*on_device((carry, subject.x[:, 0])), method='step')
    subject.agree(JIT, 'step', y_t, expected[:, 0])
  else:
    y = apply(on_device(subject.x), case.segments)
    subject.agree(JIT, 'call', y, expected)


def _check_precision(single, half, carry):
  """Compares outputs for the same values, rounded to what bfloat16 can hold.

  Also checks steps in float32, which no other law covers.
  """

  def rounded(leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    return leaf.astype(jnp.bfloat16).astype(np.float32)

  variables, x = jax.tree.map(rounded, (single.variables, single.x))
  segments = scenarios()['random']
  expected = single.unroll(variables, *Case(carry, x, segments)).y
  forms = {'unroll': half.apply_unroll}
  if half.causal:
    signature = _carry_signature(half)
    if any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(signature)):
      raise LawBroken(PRECISION, 'a carry is held in bfloat16.')
    forms |= {'step': half.apply_reference, 'single': single.apply_reference}
  run = jax.jit(lambda *args: {k: form(*args)[1] for k, form in forms.items()})
  outputs = on_host(run(variables, carry, x, segments))
  if half.causal:
    single.agree(UNROLL, 'float32 steps', outputs.pop('single'), expected)
  for name, given in outputs.items():
    if given.dtype != jnp.bfloat16:
      raise LawBroken(PRECISION, f'{name} in bfloat16 gave {given.dtype}.')
    given = given.astype(np.float32)
    compare(PRECISION, name, given, expected, FORWARD['bfloat16'])
