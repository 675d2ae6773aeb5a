"""The laws that every mixer keeps, ours or yours.

    from seqjax import testing
    testing.assert_mixer_contract(MyMixer(features=8, context=16))

raises `LawBroken`, which names the law, what differed, and by how much.
Anything with the mixers' protocol can be held to it, blocks and models too.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqjax.nn.mixer import (
  SequenceLayer,
  StreamingLayer,
  can_stream,
  select_rows,
)
from seqjax.ops.segments import zero_padding
from seqjax.testing.laws import LawBroken
from seqjax.typing import Segments

BATCH_SIZE, NUM_POSITIONS, CUTS = 3, 37, (1, 5, 16)
VACUOUS = 1e-6  # a tensor smaller than this proves nothing

# Largest difference allowed, as a share of the tensor's largest entry.
_FORWARD = {'float64': 1e-10, 'float32': 1e-5, 'bfloat16': 3e-2}
_BACKWARD = {'float64': 1e-10, 'float32': 1e-4}

STRUCTURE = 'the carry keeps its structure, shapes and dtypes'
CAUSALITY = 'an output sees nothing after its position'
PADDING = 'padding changes nothing, whatever it holds and wherever it stands'
PACKING = 'a packed row equals its pieces apart'
CUTTING = 'cutting anywhere is invisible'
UNROLL = 'unroll equals step by step, gradients too'
CALL = 'calling equals unrolling from the initial carry, gradients too'
NO_SEGMENTS = 'no segments means one piece, all valid'
VMAP = 'vmap over parameters equals one after another'
JIT = 'jit changes nothing'
PRECISION = 'bfloat16 stays near float32'


def reference_unroll(
  mixer: StreamingLayer,
  variables: Any,
  carry: Any,
  x: Any,
  segments: Segments | None = None,
) -> tuple[Any, Any]:
  """Defines `unroll`: `step` at every position, restarts and padding too."""
  if segments is None:
    valid = jnp.ones(x.shape[:2], bool)
    segments = Segments(jnp.zeros_like(valid), valid)

  def body(carry, inputs):
    x_t, start, valid = inputs
    initial = mixer.initialize_carry(x.shape[0])
    carry = select_rows(start, initial, carry)
    new, y_t = mixer.apply(variables, carry, x_t, method='step')
    return select_rows(valid, new, carry), y_t

  inputs = zero_padding(x, segments), *segments
  inputs = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  carry, y = jax.lax.scan(body, carry, inputs)
  return carry, zero_padding(jnp.swapaxes(y, 0, 1), segments)


def assert_mixer_contract(
  mixer: SequenceLayer, *, zero: tuple[str, ...] = (), tolerance: float = 1.0
):
  """Holds a mixer, block or model to every law that its type promises.

  Args:
    mixer: unbound; its dtypes are set here, also those of modules among its
      fields. With positions that end, its context must hold 74 positions.
    zero: at most two tensors that are zero by construction, such as
      'params/key/bias' for keys without positions; say why beside it.
    tolerance: what float32 may differ by, as a multiple of the usual; 10 for
      matrix-valued states and exponential gates.

  Raises:
    LawBroken: names the law, the tensor, the difference and what is allowed.
    ValueError: more than two tensors are said to be zero.
  """
  if len(zero) > 2:
    raise ValueError(
      f'At most two tensors may be zero by construction, but {zero} were named.'
    )
  make = functools.partial(_Subject, mixer, zero=zero, tolerance=tolerance)
  with jax.default_matmul_precision('highest'):
    if can_stream(mixer):
      _assert_causal(make)
    else:
      _assert_noncausal(make)


def _assert_causal(make):
  _check_structure(make)
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
  single = make(jnp.float32)
  carry = _reached_carry(single)
  _check_unroll(single, carry, subject)
  _check_jit(single, carry)
  _check_precision(single, make(jnp.bfloat16, param_dtype=jnp.float32), carry)


def _assert_noncausal(make):
  with jax.enable_x64(True):
    subject = make(jnp.float64)
    _check_padding(subject, None)
    _check_packing(subject)
    _check_no_segments(subject)
    _check_vmap(subject, None)
  single = make(jnp.float32)
  _check_jit(single, None)
  _check_precision(single, make(jnp.bfloat16, param_dtype=jnp.float32), None)


class _Case(NamedTuple):
  """The arguments of an unroll, and the weight of its carry in gradients."""

  carry: Any
  x: Any
  segments: Segments
  carry_weight: float = 1.0


class _Result(NamedTuple):
  """The results of an unroll, with gradients of a random projection."""

  y: Any
  carry: Any
  gradients: dict[str, Any]  # by path: 'params/...', 'x', 'carry/...'


class _Subject:
  """A mixer in one precision, random parameters, and its compiled functions."""

  def __init__(self, mixer, dtype, param_dtype=None, *, zero, tolerance):
    self.mixer = with_dtypes(mixer, dtype, param_dtype or dtype)
    self.dtype = jnp.dtype(dtype)
    self.zero, self.tolerance = zero, tolerance
    self.rng = np.random.default_rng(0)
    self.x = self.inputs()
    shapes = jax.eval_shape(self.mixer.init, jax.random.key(0), self.x)
    self.variables = jax.tree.map(self.random_like, shapes)
    self.unroll = jax.jit(self.with_gradients(self.apply_unroll))
    self.reference = jax.jit(self.with_gradients(self.apply_reference))

  @property
  def causal(self) -> bool:
    return can_stream(self.mixer)

  def initial(self):
    return self.mixer.initialize_carry(BATCH_SIZE) if self.causal else None

  def inputs(self, num_positions: int = NUM_POSITIONS):
    """Random values, or tokens where the input has a vocabulary."""
    leading = BATCH_SIZE, num_positions
    spec = getattr(self.mixer, 'input', None)
    if spec is None:
      return self._normal((*leading, self.mixer.features))
    if spec.vocab is None:
      return self._normal((*leading, *spec.shape))
    return jnp.asarray(
      self.rng.integers(spec.vocab, size=(*leading, *spec.shape))
    )

  def run(self, case: _Case) -> _Result:
    return self.unroll(self.variables, *case)

  def agree(self, law, what, given, expected):
    """Every tensor of one tree against its namesake in the other."""
    expected = jax.tree_util.tree_leaves_with_path(expected)
    given = jax.tree_util.tree_leaves_with_path(given)
    for (path, a), (_, b) in zip(given, expected, strict=True):
      name = _name(path)
      said = f'{what}: {name}' if name else what
      if name.removeprefix('gradients/') in self.zero:
        _compare_zeros(law, said, a, b)
      elif not jnp.issubdtype(b.dtype, jnp.inexact):
        _compare_exactly(law, said, a, b)
      else:
        _compare(law, said, a, b, self._allowed(name, a.dtype))

  def _allowed(self, name, dtype) -> float:
    """The share of a tensor's largest entry that it may be off by."""
    table = _BACKWARD if name.startswith('gradients') else _FORWARD
    precision = jnp.finfo(dtype).dtype.name
    return table[precision] * (self.tolerance if precision == 'float32' else 1)

  def apply_unroll(self, variables, carry, x, segments):
    return _apply_unroll(self.mixer, variables, carry, x, segments)

  def apply_reference(self, variables, carry, x, segments):
    return reference_unroll(self.mixer, variables, carry, x, segments)

  def apply_call(self, variables, carry, x, segments):
    return None, self.mixer.apply(variables, x, segments)

  def apply_bare(self, variables, carry, x, segments):
    return None, self.mixer.apply(variables, x)

  def with_gradients(self, function) -> Callable:
    """Adds the gradients of a fixed random projection of carry and outputs."""

    def value(variables, carry, x, segments, carry_weight):
      given = {**variables, 'x': x, 'carry': carry}
      inexact, rebuild = _inexact(given)

      def projected(leaves):
        given = rebuild(leaves)
        x, carry = given.pop('x'), given.pop('carry')
        carry, y = function(given, carry, x, segments)
        return _project(y) + carry_weight * _project(carry), (y, carry)

      gradients, (y, carry) = jax.grad(projected, has_aux=True)(inexact)
      return _Result(y, carry, gradients)

    return value

  def _normal(self, shape):
    return jnp.asarray(self.rng.normal(size=shape), self.dtype)

  def random_like(self, leaf):
    """Entries of the size that initialisers give; biases and scales too."""
    fan_in = max(np.prod(leaf.shape[:-1], dtype=int), 4)
    return jnp.asarray(
      self.rng.normal(size=leaf.shape) / np.sqrt(fan_in), leaf.dtype
    )


def with_dtypes(module: nn.Module, dtype: Any, param_dtype: Any) -> nn.Module:
  """The module in another precision, and every module among its fields."""

  def convert(value):
    if isinstance(value, nn.Module):
      return with_dtypes(value, dtype, param_dtype)
    if isinstance(value, tuple) and any(
      isinstance(entry, nn.Module) for entry in value
    ):
      return tuple(convert(entry) for entry in value)
    return value

  fields = {field.name for field in dataclasses.fields(module)}
  updates = {
    name: convert(getattr(module, name)) for name in fields - {'parent', 'name'}
  }
  for name, value in (('dtype', dtype), ('param_dtype', param_dtype)):
    if name in fields:
      updates[name] = value
  return module.clone(**updates)


def _check_structure(make):
  """Carries look the same before and after, whatever x64 is set to."""
  with jax.enable_x64(False):
    narrow = _carry_signature(make(jnp.float32))
  with jax.enable_x64(True):
    wide = _carry_signature(make(jnp.float32))
  if narrow != wide:
    raise LawBroken(STRUCTURE, f'x64 turns {narrow} into {wide}.')


def _carry_signature(subject):
  """Shapes and dtypes of the carry, which no step or unroll may change."""
  initial = jax.eval_shape(subject.initial)
  for leaf in jax.tree.leaves(initial):
    if leaf.shape[:1] != (BATCH_SIZE,):
      raise LawBroken(STRUCTURE, f'the first axis of {leaf} is no batch.')
  step = functools.partial(subject.mixer.apply, method='step')
  stepped, y_t = jax.eval_shape(
    step, subject.variables, initial, subject.x[:, 0]
  )
  unrolled, y = jax.eval_shape(
    subject.apply_unroll, subject.variables, initial, subject.x, None
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
  prefix = _Case(subject.initial(), subject.x, _scenarios()['random'])
  return subject.run(prefix).carry


def _check_causality(subject, carry):
  before = _Case(carry, subject.x, _scenarios()['pads at the edges'])
  other, cut = subject.inputs(), NUM_POSITIONS // 2
  changed = before._replace(x=subject.x.at[:, cut:].set(other[:, cut:]))
  expected, given = subject.run(before).y, subject.run(changed).y
  subject.agree(CAUSALITY, 'outputs', given[:, :cut], expected[:, :cut])


def _check_padding(subject, carry):
  for name, segments in _scenarios().items():
    zeros = zero_padding(subject.x, segments)
    garbage = _with_garbage(subject, segments)
    expected = subject.run(_Case(carry, zeros, segments))
    given = subject.run(_Case(carry, garbage, segments))
    subject.agree(PADDING, f'garbage, {name}', given, expected)
    if np.asarray(given.y)[~np.asarray(segments.valid)].any():
      raise LawBroken(PADDING, f'{name}: an output at padding is not zero.')

  segments = _scenarios()['pads in the middle']
  order = jnp.argsort(~segments.valid, axis=1, stable=True)
  if not subject.causal:
    order = jnp.roll(order, 5, axis=1)  # padding in front moves there as well
  rows = jnp.arange(BATCH_SIZE)[:, None]
  moved = Segments(*(array[rows, order] for array in segments))
  expected = subject.run(_Case(carry, subject.x[rows, order], moved))
  given = subject.run(_Case(carry, subject.x, segments))
  subject.agree(
    PADDING, 'moved to the end, outputs', given.y[rows, order], expected.y
  )
  subject.agree(PADDING, 'moved to the end, carry', given.carry, expected.carry)


def _check_packing(subject):
  """Row 0 holds three pieces; then each stands alone in a row of its own."""
  cuts = (0, 11, 24, NUM_POSITIONS)
  packed, apart = _trivial(), _trivial()
  packed.start[:, list(cuts[1:-1])] = True
  x = np.zeros(subject.x.shape, subject.x.dtype)
  for row, (begin, end) in enumerate(itertools.pairwise(cuts)):
    apart.valid[row, end - begin :] = False
    x[row, : end - begin] = subject.x[0, begin:end]
  carry = subject.initial()
  whole = subject.run(_Case(carry, subject.x, packed))
  pieces = subject.run(_Case(carry, jnp.asarray(x), apart))
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
  for name, segments in _scenarios().items():
    expected = subject.run(_Case(carry, subject.x, segments))
    given = in_chunks(subject.variables, carry, subject.x, segments)
    subject.agree(CUTTING, name, given, (expected.carry, expected.y))


def _check_unroll(subject, carry, exact):
  """`exact` is the same mixer in float64, and takes the steps."""
  for name, segments in _scenarios().items():
    case = _Case(carry, subject.x, segments)
    with jax.enable_x64(True):
      given = subject.variables, carry, subject.x
      variables, *wide = jax.tree.map(_widened, given)
      expected = exact.reference(variables, *_Case(*wide, segments))
    subject.agree(UNROLL, name, subject.run(case), expected)
    _reject_vacuous(UNROLL, name, expected, subject.zero)


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

  initial = subject.initial()
  for name in ('one piece',) if inherited else ('random', 'one piece'):
    segments = _scenarios()[name]
    case = _Case(initial, subject.x, segments, carry_weight=0.0)
    expected = _without_carry(subject.run(case))
    x = _with_garbage(subject, segments)
    given = run(subject.variables, *_Case(carry, x, segments))
    if not inherited:
      subject.agree(CALL, name, _without_carry(given['call']), expected)
  # The last scenario is one piece without padding: no segments at all.
  if not inherited:
    bare = _without_carry(given['bare call'])
    subject.agree(NO_SEGMENTS, 'call', bare, expected)
  whole = subject.run(_Case(carry, subject.x, segments))
  subject.agree(NO_SEGMENTS, 'unroll', given['unroll'], whole)


def _check_no_segments(subject):
  """The call of a mixer without a carry, which is all that it has."""
  bare = jax.jit(subject.with_gradients(subject.apply_bare))
  case = _Case(None, subject.x, _scenarios()['one piece'])
  expected = subject.run(case)
  subject.agree(NO_SEGMENTS, 'call', bare(subject.variables, *case), expected)
  _reject_vacuous(NO_SEGMENTS, 'call', expected, subject.zero)


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
    lambda *leaves: jnp.stack(leaves), subject.variables, other
  )
  case = _Case(carry, subject.x, _scenarios()['random'])
  mapped = jax.vmap(subject.apply_unroll, in_axes=(0, None, None, None))
  given = jax.jit(mapped)(both, *case[:3])
  for i, variables in enumerate((subject.variables, other)):
    expected = subject.unroll(variables, *case)
    member = jax.tree.map(lambda leaf: leaf[i], given)  # noqa: B023
    subject.agree(VMAP, f'member {i}', member, (expected.carry, expected.y))


def _check_jit(subject, carry):
  """A step that is not compiled, or the call of what takes none."""
  case = _Case(carry, subject.x, _scenarios()['one piece'])
  expected = subject.run(case).y
  apply = functools.partial(subject.mixer.apply, subject.variables)
  if subject.causal:
    _, y_t = apply(carry, subject.x[:, 0], method='step')
    subject.agree(JIT, 'step', y_t, expected[:, 0])
  else:
    y = apply(subject.x, case.segments)
    subject.agree(JIT, 'call', y, expected)


def _check_precision(single, half, carry):
  """Both read the same numbers, rounded so that bfloat16 can hold them.

  The steps of single precision, which nothing else looks at, go along.
  """

  def rounded(leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      return leaf
    return leaf.astype(jnp.bfloat16).astype(jnp.float32)

  variables, x = jax.tree.map(rounded, (single.variables, single.x))
  segments = _scenarios()['random']
  expected = single.unroll(variables, *_Case(carry, x, segments)).y
  forms = {'unroll': half.apply_unroll}
  if half.causal:
    signature = _carry_signature(half)
    if any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(signature)):
      raise LawBroken(PRECISION, 'a carry is held in bfloat16.')
    forms |= {'step': half.apply_reference, 'single': single.apply_reference}
  run = jax.jit(lambda *args: {k: form(*args)[1] for k, form in forms.items()})
  outputs = run(variables, carry, x, segments)
  if half.causal:
    single.agree(UNROLL, 'float32 steps', outputs.pop('single'), expected)
  for name, given in outputs.items():
    if given.dtype != jnp.bfloat16:
      raise LawBroken(PRECISION, f'{name} in bfloat16 gave {given.dtype}.')
    given = given.astype(jnp.float32)
    _compare(PRECISION, name, given, expected, _FORWARD['bfloat16'])


def _compare(law, what, given, expected, allowed):
  """Raises unless max|a - b| <= allowed max|b|; NaN never agrees."""
  given, expected = np.asarray(given), np.asarray(expected)
  if given.shape != expected.shape:
    raise LawBroken(law, f'{what} is {given.shape}, not {expected.shape}.')
  if not given.size:
    return
  if not np.isfinite(given).all():
    raise LawBroken(law, f'{what} is not finite.')
  difference = np.max(np.abs(given - expected))
  scale = np.max(np.abs(expected))
  if not difference <= allowed * scale:
    raise LawBroken(
      law,
      f'{what} differs by {difference:.1e} where the largest entry is '
      f'{scale:.1e} and a share of {allowed:.0e} is allowed.',
    )


def _compare_exactly(law, what, given, expected):
  """Counters and masks."""
  if not np.array_equal(given, expected):
    raise LawBroken(law, f'{what} is {given}, not {expected}.')


def _compare_zeros(law, what, *tensors):
  """Raises unless tensors that were said to be zero are."""
  for tensor in tensors:
    if not np.max(np.abs(np.asarray(tensor))) < VACUOUS:
      raise LawBroken(law, f'{what} was said to be zero, and is not.')


def _reject_vacuous(law, what, expected, zero):
  """Raises where a tensor is so small that agreeing on it means nothing."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
    name = _name(path).removeprefix('gradients/')
    if not jnp.issubdtype(leaf.dtype, jnp.inexact) or not leaf.size:
      continue
    if name not in zero and np.max(np.abs(np.asarray(leaf))) < VACUOUS:
      raise LawBroken(
        law,
        f'{what}: {name} is zero, so that agreeing on it proves nothing; if it '
        f'is zero by construction, pass zero=({name!r},) and say why.',
      )


def _scenarios() -> dict[str, Segments]:
  """Starts and padding of every kind, the same in every run."""
  rng = np.random.default_rng(1)
  shape = BATCH_SIZE, NUM_POSITIONS
  random = Segments(rng.random(shape) < 0.15, rng.random(shape) < 0.75)

  edges = _trivial()
  edges.valid[0, -9:] = False
  edges.valid[1, :6] = False
  edges.valid[2] = False

  middle = _trivial()  # 1 0 1, several 0, and pieces that end beside padding
  middle.valid[0, [3, 7, 8, 9, 20]] = False
  middle.valid[1, 10:30] = False
  middle.valid[2, 1::2] = False

  starts = _trivial()
  starts.start[0, [0, 15]] = True
  starts.valid[0, 14:19] = False
  starts.start[1, [4, 30]] = True
  starts.valid[1] = False
  starts.start[2, [20, 36]] = True
  starts.valid[2, [20, 35, 36]] = False

  scenarios = {
    'random': random,
    'one piece': _trivial(),
    'pads at the edges': edges,
    'pads in the middle': middle,
    'starts at padding': starts,
  }
  return {name: Segments(*map(jnp.asarray, s)) for name, s in scenarios.items()}


def _trivial() -> Segments:
  shape = BATCH_SIZE, NUM_POSITIONS
  return Segments(np.zeros(shape, bool), np.ones(shape, bool))


def _with_garbage(subject, segments):
  """NaN in the padding, or other tokens where inputs are tokens."""
  x, other = np.array(subject.x), np.asarray(subject.inputs())
  garbage = np.nan if np.issubdtype(x.dtype, np.inexact) else other
  padding = ~np.asarray(_expand(segments.valid, x))
  return jnp.asarray(np.where(padding, garbage, x), x.dtype)


def _apply_unroll(mixer, variables, carry, x, segments):
  """`unroll`, or the call of a mixer that has no carry."""
  if not can_stream(mixer):
    return None, mixer.apply(variables, x, segments)
  return mixer.apply(variables, carry, x, segments, method='unroll')


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _expand(mask, like):
  return jax.lax.expand_dims(mask, range(mask.ndim, like.ndim))


def _inexact(tree):
  """The leaves that can be differentiated by name, and how to put them back."""
  named, treedef = jax.tree_util.tree_flatten_with_path(tree)
  names = [_name(path) for path, _ in named]
  leaves = [leaf for _, leaf in named]
  differentiable = {
    name: leaf
    for name, leaf in zip(names, leaves, strict=True)
    if jnp.issubdtype(leaf.dtype, jnp.inexact)
  }

  def rebuild(chosen):
    filled = [
      chosen.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, filled)

  return differentiable, rebuild


def _project(tree):
  """A fixed random linear functional of everything inexact in the tree."""
  total = 0.0
  for i, leaf in enumerate(jax.tree.leaves(tree)):
    if jnp.issubdtype(leaf.dtype, jnp.inexact):
      rng = np.random.default_rng(i)
      weights = rng.normal(size=leaf.shape).astype(np.float32)
      total += jnp.sum(jnp.real(leaf) * weights)
      if jnp.iscomplexobj(leaf):
        weights = rng.normal(size=leaf.shape).astype(np.float32)
        total += jnp.sum(jnp.imag(leaf) * weights)
  return total
