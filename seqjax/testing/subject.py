"""A mixer under the laws: in one precision, with random parameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqjax.nn.mixer import (
  StreamingLayer,
  can_stream,
  input_width,
  select_rows,
)
from seqjax.ops.segments import zero_padding
from seqjax.testing.agreement import (
  BACKWARD,
  FORWARD,
  compare,
  compare_exactly,
  compare_zeros,
  path_name,
)
from seqjax.typing import Segments

BATCH_SIZE, NUM_POSITIONS = 3, 37


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
  step = functools.partial(mixer.apply, variables, method='step')
  return scan_steps(step, mixer.initialize_carry, carry, x, segments)


def scan_steps(step, initialize_carry, carry, x, segments):
  """Scans `step`, which maps a carry and one position's inputs."""

  def body(carry, inputs):
    x_t, start, valid = inputs
    carry = select_rows(start, initialize_carry(x.shape[0]), carry)
    new, y_t = step(carry, x_t)
    return select_rows(valid, new, carry), y_t

  inputs = zero_padding(x, segments), *segments
  inputs = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
  carry, y = jax.lax.scan(body, carry, inputs)
  return carry, zero_padding(jnp.swapaxes(y, 0, 1), segments)


class Case(NamedTuple):
  """The arguments of an unroll, and what is differentiated.

  Attributes:
    carry, x, segments: the arguments.
    carry_weight: weight of the carry in the sum that is differentiated.
    position: where the output of row 0 has the weight `weight`; -1: nowhere.
    weight: that weight; others have 1.
  """

  carry: Any
  x: Any
  segments: Segments
  carry_weight: float = 1.0
  position: int = -1
  weight: float = 1.0


class Result(NamedTuple):
  """The results of an unroll, with gradients of a random projection."""

  y: Any
  carry: Any
  gradients: dict[str, Any]  # by path: 'params/...', 'x', 'carry/...'


class Subject:
  """A mixer in one precision, random parameters, and its compiled functions.

  Laws share what they trace: `apply_unroll` and `apply_step` are traced once
  for the shapes that laws have in common, whatever is made of them.
  """

  def __init__(self, mixer, dtype, variables=None, *, zero, tolerance):
    param_dtype = jnp.float32 if dtype == jnp.bfloat16 else dtype
    self.mixer = with_dtypes(mixer, dtype, param_dtype)
    self.dtype = jnp.dtype(dtype)
    self.zero, self.tolerance = zero, tolerance
    self.rng = np.random.default_rng(0)
    self.x = self.inputs()
    self.variables = variables or self._random_variables()
    self.apply_step = jax.jit(
      functools.partial(self.mixer.apply, method='step')
    )
    self.apply_unroll = jax.jit(
      functools.partial(apply_unroll_or_call, self.mixer)
    )
    self.unroll = jax.jit(self.with_gradients(self.apply_unroll))
    self.reference = jax.jit(self.with_gradients(self.apply_reference))

  def _random_variables(self):
    def init(x):
      return self.mixer.init(jax.random.key(0), x)

    return jax.tree.map(self.random_like, jax.eval_shape(init, self.x))

  @property
  def causal(self) -> bool:
    return can_stream(self.mixer)

  @functools.cached_property
  def initial(self):
    if not self.causal:
      return None
    make = functools.partial(self.mixer.initialize_carry, BATCH_SIZE)
    return on_host(jax.jit(make)())

  def inputs(self, num_positions: int = NUM_POSITIONS):
    """Random values, or tokens where the input has a vocabulary."""
    leading = BATCH_SIZE, num_positions
    spec = getattr(self.mixer, 'input', None)
    if spec is None:
      return self._normal((*leading, input_width(self.mixer)))
    if spec.vocab is None:
      return self._normal((*leading, *spec.shape))
    values = self.rng.integers(spec.vocab, size=(*leading, *spec.shape))
    return values.astype(jax.dtypes.canonicalize_dtype(values.dtype))

  def run(self, case: Case) -> Result:
    """Returns NumPy arrays: what laws do with them compiles nothing."""
    return on_host(self.unroll(self.variables, *case))

  def agree(self, law, what, given, expected):
    """Every tensor of one tree against its namesake in the other."""
    expected = jax.tree_util.tree_leaves_with_path(expected)
    given = jax.tree_util.tree_leaves_with_path(given)
    for (path, a), (_, b) in zip(given, expected, strict=True):
      name = path_name(path)
      said = f'{what}: {name}' if name else what
      if name.removeprefix('gradients/') in self.zero:
        compare_zeros(law, said, a, b)
      elif not jnp.issubdtype(b.dtype, jnp.inexact):
        compare_exactly(law, said, a, b)
      else:
        compare(law, said, a, b, self._allowed(name, a.dtype))

  def _allowed(self, name, dtype) -> float:
    """The share of a tensor's largest entry that it may be off by."""
    table = BACKWARD if name.startswith('gradients') else FORWARD
    precision = jnp.finfo(dtype).dtype.name
    return table[precision] * (self.tolerance if precision == 'float32' else 1)

  def apply_reference(self, variables, carry, x, segments):
    step = functools.partial(self.apply_step, variables)
    initialize = self.mixer.initialize_carry
    return scan_steps(step, initialize, carry, x, segments)

  def apply_call(self, variables, carry, x, segments):
    return None, self.mixer.apply(variables, x, segments)

  def apply_bare(self, variables, carry, x, segments):
    return None, self.mixer.apply(variables, x)

  def with_gradients(self, function) -> Callable:
    """Adds the gradients of a fixed random projection of carry and outputs."""

    def value(variables, carry, x, segments, carry_weight, position, weight):
      given = {**variables, 'x': x, 'carry': carry}
      inexact, rebuild = _inexact(given)

      def projected(leaves):
        given = rebuild(leaves)
        x, carry = given.pop('x'), given.pop('carry')
        carry, y = function(given, carry, x, segments)
        total = project(_weigh(y, position, weight))
        return total + carry_weight * project(carry), (y, carry)

      gradients, (y, carry) = jax.grad(projected, has_aux=True)(inexact)
      return Result(y, carry, gradients)

    return value

  def _normal(self, shape):
    return self.rng.normal(size=shape).astype(self.dtype)

  def random_like(self, leaf):
    """Entries of the size that initialisers give; biases and scales too."""
    fan_in = max(np.prod(leaf.shape[:-1], dtype=int), 4)
    values = self.rng.normal(size=leaf.shape) / np.sqrt(fan_in)
    return np.asarray(values, leaf.dtype)


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


def apply_unroll_or_call(mixer, variables, carry, x, segments):
  """`unroll`, or the call of a mixer that has no carry."""
  if not can_stream(mixer):
    return None, mixer.apply(variables, x, segments)
  return mixer.apply(variables, carry, x, segments, method='unroll')


def _inexact(tree):
  """The leaves that can be differentiated by name, and how to put them back."""
  named, treedef = jax.tree_util.tree_flatten_with_path(tree)
  names = [path_name(path) for path, _ in named]
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


def _weigh(y, position, weight):
  """Multiplies by a weight what row 0 has at one position."""
  here = (jnp.arange(y.shape[0]) == 0)[:, None]
  here &= (jnp.arange(y.shape[1]) == position)[None]
  return y * jnp.where(here, weight, 1.0).astype(y.dtype)[..., None]


def project(tree):
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


def scenarios() -> dict[str, Segments]:
  """Starts and padding of every kind, the same in every run."""
  rng = np.random.default_rng(1)
  shape = BATCH_SIZE, NUM_POSITIONS
  random = Segments(rng.random(shape) < 0.15, rng.random(shape) < 0.75)

  edges = one_piece()
  edges.valid[0, -9:] = False
  edges.valid[1, :6] = False
  edges.valid[2] = False

  middle = one_piece()  # 1 0 1, several 0, and segments that end beside padding
  middle.valid[0, [3, 7, 8, 9, 20]] = False
  middle.valid[1, 10:30] = False
  middle.valid[2, 1::2] = False

  starts = one_piece()
  starts.start[0, [0, 15]] = True
  starts.valid[0, 14:19] = False
  starts.start[1, [4, 30]] = True
  starts.valid[1] = False
  starts.start[2, [20, 36]] = True
  starts.valid[2, [20, 35, 36]] = False

  made = {
    'random': random,
    'one piece': one_piece(),
    'pads at the edges': edges,
    'pads in the middle': middle,
    'starts at padding': starts,
  }
  return made


def one_piece(num_positions: int = NUM_POSITIONS) -> Segments:
  shape = BATCH_SIZE, num_positions
  return Segments(np.zeros(shape, bool), np.ones(shape, bool))


def with_garbage(subject, segments):
  """NaN in the padding, or other tokens where inputs are tokens."""
  x, other = np.array(subject.x), np.asarray(subject.inputs())
  garbage = np.nan if np.issubdtype(x.dtype, np.inexact) else other
  padding = ~np.asarray(_expand(segments.valid, x))
  return np.where(padding, garbage, x).astype(x.dtype)


def with_zeros(x, segments):
  """Returns x with zeros in the padding."""
  return np.where(_expand(segments.valid, x), x, np.zeros((), x.dtype))


def on_host(tree):
  """Returns the tree with NumPy arrays for leaves."""
  return jax.tree.map(np.asarray, tree)


def _expand(mask, like):
  return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
